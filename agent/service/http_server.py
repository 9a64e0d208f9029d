"""The HTTP server: a listening socket, and uvicorn on it until it is interrupted."""

import asyncio
import socket
from contextlib import suppress

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 20.0  # in which the head of a request must arrive
MAX_CONNECTIONS = 1000  # further ones get status 503


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket and its address; clients that connect before the application is ready wait.

    Raises:
        OSError: the address is in use, or is not one of this machine.
    """
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
        opened.listen()
    except OSError:
        opened.close()
        raise
    shown = f"[{host}]" if ":" in host else host
    return opened, f"http://{shown}:{opened.getsockname()[1]}"


class TimedProtocol(H11Protocol):
    """HTTP that closes connections on which the head of a request takes too long, or never comes.

    uvicorn itself limits the time between requests only.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:  # the head is complete
            self._stop_waiting()
        elif self._timer is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def run_server(app: FastAPI, opened: socket.socket) -> None:
    """Serve until interrupted or terminated; requests that have arrived are still answered."""
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
        limit_concurrency=MAX_CONNECTIONS,
    )
    try:
        with suppress(KeyboardInterrupt):  # Ctrl-C ends the server
            uvicorn.Server(config).run([opened])
    finally:
        opened.close()
