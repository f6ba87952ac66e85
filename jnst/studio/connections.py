"""Connections to the studio: a limited number, and none that stays silent, whoever makes them.

Every process of the machine can connect, with the link or without. Each connection takes a file descriptor of the
process that paints, which has few (256 on macOS), and needs them to write pictures.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# How many there may be at once, and for how many seconds one may be open without a request.
MOST_CONNECTIONS, PATIENCE = 100, 10.0


class Connection(H11Protocol):
    """One connection, read by h11, which ends a request whose head is above 64 KB; httptools has no limit."""

    _seen: Any = None
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Takes the connection, or ends it at once where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        """Ends the connection where no request is being answered and none has come since the last look."""
        if self.cycle is self._seen and (self.cycle is None or self.cycle.response_complete):
            self.transport.abort()
        else:
            self._seen = self.cycle
            self._wait()
