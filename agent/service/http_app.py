"""The HTTP service of a surrogate: a FastAPI application with limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

from mlasdi.agent.prediction import Selection
from mlasdi.agent.service.batching import Batcher, Probe, tolerate_extrapolation
from mlasdi.agent.service.bodies import ErrorAnswer, ProbeAnswer, ProbeRequest, TrajectoryAnswer, TrajectoryRequest
from mlasdi.agent.service.description import description
from mlasdi.agent.service.fair_queue import FairQueue
from mlasdi.agent.service.middleware import BodyLimit, Refused, add_error_answers
from mlasdi.agent.service.page import service_page
from mlasdi.agent.service.trajectories import Trajectories, allowed
from mlasdi.surrogate import Surrogate


@dataclass(frozen=True)
class Limits:
    """Limits on requests.

    Attributes:
        body_bytes: largest size of a request.
        body_s: seconds in which it must arrive.
        values: largest number of predicted values in one answer; mean, standard deviation and each quantile count.
        work_s: largest estimate of the seconds that an answer takes; see `Trajectories.seconds`.
        waiting: largest number of waiting probes, and of waiting trajectories; further ones get status 429.
    """

    body_bytes: int = 1 << 20
    body_s: float = 20.0
    values: int = 1_000_000
    work_s: float = 10.0
    waiting: int = 1000

    def shown(self) -> dict[str, str]:
        """For the page of the service."""
        return {
            "size of a request": f"{self.body_bytes / 1024:g} kB, within {self.body_s:g} s",
            "values in an answer": f"{self.values:,}, with standard deviations and quantiles",
            "work": f"{self.work_s:g} s, as estimated before it begins",
            "waiting requests": f"{self.waiting:,}; further ones get status 429",
        }


_ERRORS = {
    400: "the body is not JSON",
    408: "the body did not arrive in time",
    413: "the body, the answer, or the work is too large",
    422: "the request cannot be used",
    429: "too many requests are waiting",
}


def application(surrogate: Surrogate, model: str, limits: Limits | None = None) -> FastAPI:
    """The application that serves one surrogate.

    Args:
        model: name of the model in answers.
        limits: on requests.
    """
    limits = limits or Limits()
    batcher = Batcher(surrogate, limits.waiting)
    queue = FairQueue(batcher.run, limits.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher, queue:
            yield

    app = FastAPI(
        title=f"mlasdi: {model}",
        description="Predicts trajectories with standard deviations from parameters.",
        lifespan=lifespan,
        responses={status: {"model": ErrorAnswer, "description": text} for status, text in _ERRORS.items()},
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
    )
    app.add_middleware(BodyLimit, n_bytes=limits.body_bytes, seconds=limits.body_s)
    add_error_answers(app)
    _add_descriptions(app, surrogate, model, limits)
    _add_predictions(app, surrogate, limits, batcher, queue)
    return app


def _add_descriptions(app: FastAPI, surrogate: Surrogate, model: str, limits: Limits) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service is up."""
        return {"status": "ok", "model": model}

    @app.get("/model")
    async def describe() -> dict[str, Any]:
        """What the model predicts, its domain, and its accuracy."""
        return description(surrogate, model)

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def page(request: Request) -> HTMLResponse:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(service_page(surrogate, description(surrogate, model), limits.shown(), address))


def _add_predictions(app: FastAPI, surrogate: Surrogate, limits: Limits, batcher: Batcher, queue: FairQueue) -> None:
    @app.post("/predict", response_model=TrajectoryAnswer)
    async def predict(body: TrajectoryRequest, request: Request) -> Response:
        """Trajectories at parameter points."""
        wanted = await batcher.run(lambda: Trajectories.of(surrogate, body))
        _check_size(wanted, limits)
        client = request.client.host if request.client else ""
        answer = await queue.finished(client, wanted.steps(), request.is_disconnected)
        return Response(answer, media_type="application/json")

    @app.post("/probe")
    async def probe(body: ProbeRequest) -> ProbeAnswer:
        """One value in space and time; concurrent requests are evaluated as a batch."""
        point = surrogate.space.as_array(body.point)
        with tolerate_extrapolation():
            note = allowed(surrogate, point, np.array([body.time]), body.extrapolate)
        selection = Selection(
            (body.field or surrogate.layout.fields[0],), {k: np.array([v]) for k, v in body.place.items()}
        )
        probes = selection.probes(surrogate.layout)
        assert probes is not None  # a place is given
        _check_size(Trajectories(surrogate, point, np.array([body.time]), probes, (), body.std, tuple(note)), limits)
        mean, std = await batcher.probe(Probe(point[0], body.time, probes, body.std))
        return ProbeAnswer(mean=mean, std=std, warnings=note)


def _check_size(wanted: Trajectories, limits: Limits) -> None:
    """Check what a request asks for, before anything is computed.

    Raises:
        Refused: it is too much.
    """
    if wanted.n_numbers > limits.values:
        raise Refused(413, f"{wanted.n_numbers} values requested; at most {limits.values} are allowed in one answer")
    if wanted.seconds() > limits.work_s:
        raise Refused(
            413,
            f"the answer would take about {wanted.seconds():.2g} s; at most {limits.work_s:g} s are allowed: "
            "ask for fewer points or times, for values at sensors, or without the standard deviation",
        )
