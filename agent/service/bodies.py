"""What the service is asked, and what it answers, as JSON."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Level = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Point = Annotated[dict[str, FiniteFloat], Field(min_length=1, max_length=100, examples=[{"a": 0.8, "w": 1.0}])]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    std: bool = Field(True, description="whether the answer contains the standard deviation")
    extrapolate: bool = Field(False, description="whether points and times outside the trained ranges are allowed")


class TrajectoryRequest(_Body):
    """A request for trajectories, of the whole state, of some fields, or at sensors."""

    points: Annotated[list[Point], Field(min_length=1)] = Field(description="parameters by name")
    times: Annotated[list[FiniteFloat], Field(min_length=1)] | None = Field(None, description="those of training")
    quantiles: Annotated[list[Level], Field(max_length=100)] = Field([], description="levels between 0 and 1")
    fields: Annotated[list[str], Field(min_length=1)] | None = Field(None, description="all by default")
    sensors: Annotated[list[Point], Field(min_length=1)] | None = Field(None, description="coordinates by name")


class ProbeRequest(_Body):
    """A request for one value in space and time."""

    point: Point = Field(description="parameters by name")
    time: FiniteFloat
    place: Point = Field(description="coordinates by name")
    field: str | None = Field(None, description="the first by default")


class TrajectoryAnswer(BaseModel):
    """Trajectories. Axes of `mean` and `std`: point, time, value; of `quantiles`: point, quantile, time, value.

    Where runs end at different times, `end_time` has that of each point, and values after it are null.
    """

    times: list[float]
    mean: list[list[list[float | None]]]
    std: list[list[list[float | None]]] | None
    quantiles: list[list[list[list[float | None]]]] | None
    end_time: list[float] | None = None
    end_time_std: list[float] | None = None
    estimated_relative_error: float | None
    warnings: list[str]


class ProbeAnswer(BaseModel):
    """One value in space and time."""

    mean: float
    std: float | None
    warnings: list[str]


class ErrorAnswer(BaseModel):
    """Why a request was refused."""

    error: str
