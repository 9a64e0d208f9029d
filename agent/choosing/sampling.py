"""Points chosen without a model: initial designs, and the Sobol sequence as a baseline of acquisition functions."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, Field

from mlasdi.preprocessing import SAME_POINT
from mlasdi.solvers import ParameterSpace, read_columns

AcquisitionName = Literal["field-std", "coefficient-std", "integrated-variance", "sobol"]
InitialDesign = Literal["corners", "sobol", "corners+sobol", "all"]

# Up to this number of parameters the default initial design is the corners; with more, corners are many and contain
# little information about the interior, so it is Sobol points.
MAX_PARAMS_OF_CORNERS = 4
# A design with more corners than this is an error.
MAX_CORNERS = 64


class SamplingSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The initial design and the choice of further points."""

    initial: InitialDesign | None = Field(
        None, description=f"null: corners of up to {MAX_PARAMS_OF_CORNERS} parameters, Sobol points of more"
    )
    initial_sobol: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="number of Sobol points in the initial design, if it has any; null: 2 (number of parameters + 1)",
    )
    acquisition: AcquisitionName = "field-std"
    batch: int = Field(
        1, ge=1, le=100_000, description="points chosen in a round; in asynchronous mode, solves that run at once"
    )
    rounds: Literal["fixed", "greedy"] = Field(
        "fixed", description="fixed: `batch` points in a round; greedy: the number with the largest error reduction "
        "per second, of which `batch` are solved in parallel",
    )  # fmt: skip
    candidates: int = Field(
        16,
        ge=1,
        le=65_536,
        description="next points of the Sobol sequence, of which the one with the highest score is chosen; more as "
        "soon as more points are known, and with integrated-variance",
    )
    candidate_set: Path | None = Field(
        None, description="CSV, JSON or Parquet table of the only points that may be chosen"
    )

    def design_of(self, space: ParameterSpace) -> InitialDesign:
        """The kind of initial design; by default the one for this number of parameters."""
        return self.initial or ("corners" if space.n_corners <= 2**MAX_PARAMS_OF_CORNERS else "sobol")


def read_candidates(path: Path, space: ParameterSpace) -> Float[np.ndarray, "m n_params"]:
    """The different feasible points of a table.

    Raises:
        ValueError: the table cannot be read, lacks a parameter, or holds no such point.
    """
    table = read_columns(path, space.names)
    points = table[space.feasible(table)]
    points = points[np.sort(np.unique(points, axis=0, return_index=True)[1])]
    if not len(points):
        raise ValueError(f"{path}: none of its {len(table)} points lies in the box of problem.parameters")
    return points


def initial_design(
    space: ParameterSpace,
    settings: SamplingSettings,
    seed: int,
    available: Float[np.ndarray, "m n_params"] | None = None,
) -> Float[np.ndarray, "point n_params"]:
    """Points to solve before there is a model.

    Args:
        available: the only points that can be solved; None for the whole box. The design then consists of the points
            nearest to the design in the box, or with `initial: all` of all of them.

    Raises:
        ValueError: `initial: all` without `available`, or too many corners.
    """
    kind = settings.design_of(space)
    if kind == "all":
        if available is None:
            raise ValueError(
                "sampling.initial: 'all' is for a data set or a sampling.candidate_set; a box has infinite points"
            )
        return available
    parts = []
    if "corners" in kind:
        if space.n_corners > MAX_CORNERS:
            raise ValueError(
                f"sampling.initial: '{kind}' of {space.n_params} parameters are {space.n_corners} corners, more than "
                f"{MAX_CORNERS}; give 'sobol', and how many as sampling.initial_sobol"
            )
        parts.append(space.corners())
    if "sobol" in kind:
        n = settings.initial_sobol
        parts.append(space.sobol(2 * (space.n_params + 1) if n is None else n, seed))
    design = np.concatenate(parts)
    if space.is_restricted:  # with integer parameters, a Sobol point may be a corner
        design = design[np.sort(np.unique(design, axis=0, return_index=True)[1])]
    return design if available is None else _nearest(space, design, available)


def _nearest(
    space: ParameterSpace, wanted: Float[np.ndarray, "n n_params"], available: Float[np.ndarray, "m n_params"]
) -> Float[np.ndarray, "k n_params"]:
    """For each wanted point, in order, the nearest available one that is not taken yet."""
    x, free = space.to_unit(available), np.ones(len(available), dtype=bool)
    taken = []
    for point in space.to_unit(wanted)[: len(available)]:
        taken.append(int(np.argmin(np.where(free, np.linalg.norm(x - point, axis=1), np.inf))))
        free[taken[-1]] = False
    return available[taken]


def next_sobol(
    space: ParameterSpace,
    known: Float[np.ndarray, "point n_params"],
    n: int,
    seed: int,
    available: Float[np.ndarray, "m n_params"] | None,
) -> Float[np.ndarray, "n_found n_params"]:
    """The next points of the Sobol sequence that are not known yet, or the nearest available ones.

    The candidates and the baseline of acquisition functions, and the replacement for failed points of the initial
    design.
    """
    if available is not None:
        available = available[~is_near(space.to_unit(available), space.to_unit(known), SAME_POINT)]
    sequence = space.sobol(len(known) + n, seed)
    points = sequence[~is_near(space.to_unit(sequence), space.to_unit(known), SAME_POINT)][:n]
    return points if available is None else _nearest(space, points, available)


def is_near(
    x: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"], limit: float | Float[np.ndarray, " d"]
) -> Bool[np.ndarray, " n"]:
    """Whether each point lies within `limit` of one of the others, in every parameter of the unit cube."""
    from scipy.spatial import cKDTree  # slow to import, and settings are in this file

    distance, _ = cKDTree(others / limit).query(x / limit, p=np.inf, distance_upper_bound=1.0)
    return np.isfinite(distance)
