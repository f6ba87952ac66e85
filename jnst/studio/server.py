"""Listening on the loopback interface until Ctrl-C."""

import socket
from collections.abc import Callable

import uvicorn

from jnst.errors import JnstError
from jnst.runtime import Interruptions
from jnst.studio.app import make_app
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
    """Serves the studio until Ctrl-C or SIGTERM; `ready` is called with the link."""
    port, token = listener.getsockname()[1], make_token()
    config = uvicorn.Config(
        make_app(studio, token=token, port=port),
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=2,
    )
    # uvicorn hands the signal that ended it on to whoever had it before: here that is nothing to fail by.
    with Interruptions():
        _Server(config, lambda: ready(f"http://127.0.0.1:{port}/?token={token}")).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says that it is ready when it is, and when Ctrl-C would end it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
