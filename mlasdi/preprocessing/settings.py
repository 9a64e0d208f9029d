"""Settings of the preprocessing, in a file that imports no numerical library: configurations are read without them."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

MEMORY_MB = 2000  # of a training

NoiseSetting = Literal["estimate", "none"] | Annotated[float, Field(gt=0, le=10)]
RunLength: TypeAlias = Literal["auto", "shortest", "normalised"]


class BasisSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Size of the POD basis: the smallest rank that meets `tolerance`, but at most `max_rank`."""

    tolerance: float = Field(1e-7, gt=0, lt=1, description="relative L2 error of all training snapshots together")
    max_rank: int = Field(400, ge=1)
    compress: bool = Field(
        True,
        description="false: networks are trained on full states, as published, and the basis has all modes of the "
        "training snapshots, whatever tolerance and max_rank are",
    )
