"""The HTTP server: a listening socket, and uvicorn on it until it is interrupted."""

import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI


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


def run_server(app: FastAPI, opened: socket.socket) -> None:
    """Serve until interrupted or terminated; requests that have arrived are still answered."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=10)
    try:
        with suppress(KeyboardInterrupt):  # Ctrl-C ends the server
            uvicorn.Server(config).run([opened])
    finally:
        opened.close()
