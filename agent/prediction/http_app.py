"""The HTTP service of a surrogate: a FastAPI application with limits, and its requests and answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from mlasdi.agent.prediction.batching import Batcher, Busy, Probe, tolerate_extrapolation
from mlasdi.agent.prediction.description import description
from mlasdi.agent.prediction.predict import Selection
from mlasdi.surrogate import Surrogate

Level = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Point = Annotated[dict[str, FiniteFloat], Field(min_length=1, max_length=100, examples=[{"a": 0.8, "w": 1.0}])]


@dataclass(frozen=True)
class Limits:
    """Limits on requests.

    Attributes:
        body_bytes: largest size of a request.
        values: largest number of predicted values in one answer; mean, standard deviation and each quantile count.
        waiting: largest number of waiting probes; further ones get status 429.
    """

    body_bytes: int = 1 << 20
    values: int = 1_000_000
    waiting: int = 1000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    std: bool = Field(True, description="whether the answer contains the standard deviation")
    extrapolate: bool = Field(False, description="whether points and times outside the trained ranges are allowed")


class TrajectoryRequest(_Body):
    """A request for trajectories, of the whole state, of some fields, or at sensors."""

    points: Annotated[list[Point], Field(min_length=1)] = Field(description="parameters by name")
    times: Annotated[list[FiniteFloat], Field(min_length=1)] | None = Field(None, description="those of training")
    quantiles: Annotated[list[Level], Field(max_length=100)] = []
    fields: Annotated[list[str], Field(min_length=1)] | None = Field(None, description="all by default")
    sensors: Annotated[list[Point], Field(min_length=1)] | None = Field(None, description="coordinates by name")


class ProbeRequest(_Body):
    """A request for one value in space and time."""

    point: Point = Field(description="parameters by name")
    time: FiniteFloat
    place: Point = Field(description="coordinates by name")
    field: str | None = Field(None, description="the first by default")


class TrajectoryAnswer(BaseModel):
    """Trajectories. Axes of `mean` and `std`: point, time, value; of `quantiles`: point, quantile, time, value."""

    times: list[float]
    mean: list[list[list[float]]]
    std: list[list[list[float]]] | None
    quantiles: list[list[list[list[float]]]] | None
    estimated_relative_error: float | None
    warnings: list[str]


class ProbeAnswer(BaseModel):
    """One value in space and time."""

    mean: float
    std: float | None
    warnings: list[str]


class _Refused(Exception):
    """A request that is refused, with the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def application(surrogate: Surrogate, model: str, limits: Limits | None = None) -> FastAPI:
    """The application that serves one surrogate.

    Args:
        model: name of the model in answers.
        limits: on requests.
    """
    limits = limits or Limits()
    batcher = Batcher(surrogate, limits.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher:
            yield

    app = FastAPI(
        title=f"mlasdi: {model}",
        description="Predicts trajectories with standard deviations from parameters.",
        lifespan=lifespan,
        responses={status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()},
    )
    app.add_middleware(_BodyLimit, limit=limits.body_bytes)
    _add_handlers(app)
    _add_routes(app, surrogate, model, limits, batcher)
    return app


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    error: str


_MAX_MESSAGE = 500
_ERRORS = {
    400: "the body is not JSON",
    413: "the body, or the answer, is too large",
    422: "the request cannot be used",
    429: "too many requests are waiting",
}


def _add_routes(app: FastAPI, surrogate: Surrogate, model: str, limits: Limits, batcher: Batcher) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service is up."""
        return {"status": "ok", "model": model}

    @app.get("/model")
    async def describe() -> dict[str, Any]:
        """What the model predicts, its domain, and its accuracy."""
        return description(surrogate, model)

    @app.post("/predict")
    async def predict(body: TrajectoryRequest) -> TrajectoryAnswer:
        """Trajectories at parameter points."""
        return await batcher.run(lambda: _trajectories(surrogate, body, limits))

    @app.post("/probe")
    async def probe(body: ProbeRequest) -> ProbeAnswer:
        """One value in space and time; concurrent requests are evaluated as a batch."""
        point = surrogate.space.as_array(body.point)
        time = np.array([body.time])
        with tolerate_extrapolation():
            extrapolation_note = _allowed(surrogate, point, time, body.extrapolate)
        selection = Selection(
            (body.field or surrogate.layout.fields[0],), {k: np.array([v]) for k, v in body.place.items()}
        )
        probes = selection.probes(surrogate.layout)
        assert probes is not None  # a place is given
        mean, std = await batcher.probe(Probe(point[0], body.time, probes, body.std))
        return ProbeAnswer(mean=mean, std=std, warnings=extrapolation_note)


def _allowed(surrogate: Surrogate, points: np.ndarray, t: np.ndarray, extrapolate: bool) -> list[str]:
    """Warnings about extrapolation.

    Raises:
        ValueError: extrapolation is needed and not allowed.
    """
    extrapolation_note = surrogate.outside(points, t)
    if extrapolation_note and not extrapolate:
        raise ValueError(f'{extrapolation_note}; send "extrapolate": true to predict there')
    return [extrapolation_note] if extrapolation_note else []


@tolerate_extrapolation()
def _trajectories(surrogate: Surrogate, body: TrajectoryRequest, limits: Limits) -> TrajectoryAnswer:
    points = surrogate.space.as_array(body.points)
    times = surrogate.t if body.times is None else np.array(body.times)
    extrapolation_note = _allowed(surrogate, points, times, body.extrapolate)
    selection = Selection(tuple(body.fields) if body.fields else None, _sensors(body.sensors))
    probes = selection.probes(surrogate.layout)
    n_values = surrogate.layout.n_state if probes is None else len(probes)
    total = len(points) * len(times) * n_values * (1 + body.std + len(body.quantiles))
    if total > limits.values:
        raise _Refused(413, f"{total} values requested; at most {limits.values} are allowed in one answer")
    found = surrogate.predict(points, times, std=body.std or bool(body.quantiles), probes=probes)
    error = None if surrogate.error_estimate is None else float(surrogate.relative_std(points).max())
    if not (np.isfinite(found.mean).all() and (found.std is None or np.isfinite(found.std).all())):
        raise ValueError("the prediction is not finite so far outside the trained ranges")
    return TrajectoryAnswer(
        times=times.tolist(),
        mean=found.mean.tolist(),
        std=found.std.tolist() if body.std and found.std is not None else None,
        quantiles=found.quantiles(body.quantiles).tolist() if body.quantiles else None,
        estimated_relative_error=error if error is not None and np.isfinite(error) else None,
        warnings=extrapolation_note,
    )


def _sensors(sensors: list[dict[str, float]] | None) -> dict[str, np.ndarray] | None:
    if sensors is None:
        return None
    if any(set(one) != set(sensors[0]) for one in sensors):
        raise ValueError("sensors have different coordinates")
    return {name: np.array([one[name] for one in sensors]) for name in sensors[0]}


def _add_handlers(app: FastAPI) -> None:
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
        return answer(422, f"{where}: {first['msg']} (send a JSON object as application/json)"[:_MAX_MESSAGE])

    @app.exception_handler(ValueError)
    async def unusable(_: Request, error: ValueError) -> JSONResponse:
        return answer(422, str(error))

    @app.exception_handler(_Refused)
    async def refused(_: Request, error: _Refused) -> JSONResponse:
        return answer(error.status, str(error))

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return answer(429, str(error))


class _BodyLimit:
    """Refuses bodies that are too large while they arrive, whatever size their header announces."""

    def __init__(self, app: Callable[..., Awaitable[None]], limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.limit:
                refusal = JSONResponse(
                    {"error": f"the body has more than {self.limit} bytes"}, 413, {"Connection": "close"}
                )
                await refusal(scope, receive, send)
                return
        whole = {"type": "http.request", "body": bytes(body), "more_body": False}
        given = iter([whole])

        async def replay() -> Any:
            return next(given, None) or await receive()

        await self.app(scope, replay, send)
