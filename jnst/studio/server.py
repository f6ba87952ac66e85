"""Listening on the loopback interface until Ctrl-C."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from jnst.errors import JnstError
from jnst.runtime import Interruptions
from jnst.studio.app import make_app
from jnst.studio.connections import Connection
from jnst.studio.security import make_token
from jnst.studio.session import Studio


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 takes a free one.

    Raises:
        JnstError: where the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise JnstError(
            f"cannot listen at port {port}: {error.strerror or error}; leave --port out to take a free one"
        ) from None
    return listener


def serve(studio: Studio, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Serves the studio until Ctrl-C, SIGTERM or the end of the terminal; `ready` is called with the link."""
    # uvicorn hands the signal that ended it on to whoever had it before: here that is nothing to fail by.
    with Interruptions() as interruptions:
        _Server(studio, listener, ready, interruptions).run(sockets=[listener])


@contextlib.contextmanager
def serving(studio: Studio, listener: socket.socket) -> Iterator[str]:
    """Serves the studio in a thread of its own for as long as the block lasts, which is given the link."""
    links: queue.SimpleQueue[str] = queue.SimpleQueue()
    server = _Server(studio, listener, links.put)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True)
    thread.start()
    try:
        yield links.get(timeout=30)
    finally:
        server.should_exit = True
        thread.join(timeout=10)


class _Server(uvicorn.Server):
    """Says that it is ready when it is, and when Ctrl-C would end it; tells the pages before it ends."""

    def __init__(
        self,
        studio: Studio,
        listener: socket.socket,
        ready: Callable[[str], None],
        interruptions: Interruptions | None = None,
    ) -> None:
        port, token = listener.getsockname()[1], make_token()
        super().__init__(
            uvicorn.Config(
                make_app(studio, token=token, port=port),
                log_config=None,  # its own would close the handlers of whoever logs in this process
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                http=Connection,
                timeout_graceful_shutdown=2,
            )
        )
        self._studio, self._link, self._ready = studio, f"http://127.0.0.1:{port}/?token={token}", ready
        self._interruptions = interruptions

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready(self._link)

    async def on_tick(self, counter: int) -> bool:
        # Ten times a second; of the signals that end a run, uvicorn knows Ctrl-C and SIGTERM alone.
        ended = self._interruptions is not None and self._interruptions.signal != 0
        return await super().on_tick(counter) or ended

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._studio.leave()
        await super().shutdown(sockets)
