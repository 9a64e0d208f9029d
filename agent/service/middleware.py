"""Bodies of limited size that arrive in limited time, and errors in one form."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mlasdi.agent.service.batching import Busy
from mlasdi.agent.service.fair_queue import Gone

MAX_MESSAGE = 500
_CLIENT_CLOSED = 499  # not a standard status; nobody reads it


class Refused(Exception):
    """A request that is refused, with the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def add_error_answers(app: FastAPI) -> None:
    """Turn errors into answers of one form, in ASCII."""

    def answer(status: int, message: str) -> JSONResponse:
        headers = {"Retry-After": "1"} if status == 429 else None
        return JSONResponse({"error": message.encode("ascii", "backslashreplace").decode()}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answer(400, "the body is not JSON")
        where = ".".join(map(str, first["loc"][1:])) or "body"
        return answer(422, f"{where}: {first['msg']} (send a JSON object as application/json)"[:MAX_MESSAGE])

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        found = answer(
            error.status_code,
            f"{request.method} {request.url.path[:MAX_MESSAGE]}: {str(error.detail).lower()}; see /docs",
        )
        found.headers.update(error.headers or {})
        return found

    @app.exception_handler(ValueError)
    async def unusable(_: Request, error: ValueError) -> JSONResponse:
        return answer(422, str(error))

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return answer(error.status, str(error))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return answer(429, str(error))

    @app.exception_handler(Gone)
    async def gone(_: Request, error: Gone) -> JSONResponse:
        return answer(_CLIENT_CLOSED, "the client has left")


class BodyLimit:
    """Refuses bodies that are too large while they arrive, whatever size their header announces, or that take too long.

    Args:
        n_bytes: largest size.
        seconds: in which the whole body must arrive.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], n_bytes: int, seconds: float) -> None:
        self.app, self.n_bytes, self.seconds = app, n_bytes, seconds

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.seconds):
                body = await self._body(receive)
        except TimeoutError:
            await self._refuse(408, f"the body did not arrive within {self.seconds:g} s", scope, receive, send)
            return
        except Refused as error:
            await self._refuse(error.status, str(error), scope, receive, send)
            return
        if body is None:
            return
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            return next(given, None) or await receive()

        await self.app(scope, replay, send)

    async def _body(self, receive: Any) -> bytes | None:
        """The whole body; None if the client has left."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.n_bytes:
                raise Refused(413, f"the body has more than {self.n_bytes} bytes")
        return bytes(body)

    async def _refuse(self, status: int, message: str, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await JSONResponse({"error": message}, status, {"Connection": "close"})(scope, receive, send)
