"""Points that are chosen without a model: initial designs, and the Sobol sequence as the control of all others."""

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, Field

from mlasdi.agent.text import read_columns
from mlasdi.solvers import ParameterSpace

AcquisitionName = Literal["field-std", "coefficient-std", "integrated-variance", "sobol"]
InitialDesign = Literal["corners", "sobol", "corners+sobol", "all"]

# Points of the unit cube that differ by less than this are one point, rounded.
SAME = 1e-9
# With more parameters than this the corners are many, and say little of the inside: Sobol points are the default.
MOST_PARAMS_BY_CORNERS = 4
# More corners than this are not worth their solves, whatever the budget.
MOST_CORNERS = 64


class SamplingSettings(BaseModel, frozen=True, extra="forbid"):
    """The initial design and the choice of further points."""

    initial: InitialDesign | None = Field(
        None, description=f"null: corners of up to {MOST_PARAMS_BY_CORNERS} parameters, Sobol points of more"
    )
    initial_sobol: int | None = Field(
        None, ge=0, description="Sobol points of the initial design, where it has any; null: two more than twice the "
        "number of parameters",
    )  # fmt: skip
    acquisition: AcquisitionName = "field-std"
    batch: int = Field(1, ge=1, description="points chosen in a round")
    rounds: Literal["fixed", "greedy"] = Field(
        "fixed", description="greedy: as many points in a round as lower the error fastest, per second; `batch` of "
        "them are solved side by side",
    )  # fmt: skip
    candidates: int = Field(256, ge=8, description="Sobol points from which the maximisation starts")
    candidate_set: Path | None = Field(None, description="CSV or Parquet table of the only points that may be chosen")

    def design_of(self, space: ParameterSpace) -> InitialDesign:
        """The kind of initial design, where it is not given the default for this many parameters."""
        return self.initial or ("corners" if space.n_params <= MOST_PARAMS_BY_CORNERS else "sobol")


def read_candidates(path: Path, space: ParameterSpace) -> Float[np.ndarray, "m n_params"]:
    """The points of a table that lie in the box and keep to its constraints, each once.

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
        available: the only points that can be solved; None for the whole box. Of these, the nearest to the points that
            would be taken from the box, or with `initial: all` every one.

    Raises:
        ValueError: all points of a box, or too many corners, are asked for.
    """
    kind = settings.design_of(space)
    if kind == "all":
        if available is None:
            raise ValueError(
                "sampling.initial: 'all' is for a data set or a sampling.candidate_set; this box has no last point"
            )
        return available
    parts = []
    if "corners" in kind:
        if 2**space.n_params > MOST_CORNERS:
            raise ValueError(
                f"sampling.initial: '{kind}' of {space.n_params} parameters are {2**space.n_params} corners, more than "
                f"{MOST_CORNERS}; give 'sobol', and how many as sampling.initial_sobol"
            )
        parts.append(space.corners())
    if "sobol" in kind:
        n = settings.initial_sobol
        parts.append(space.sobol(2 * (space.n_params + 1) if n is None else n, seed))
    design = np.concatenate(parts)
    if space.is_restricted:  # of a few whole numbers, one may be a corner and a point of the sequence
        design = design[np.sort(np.unique(design, axis=0, return_index=True)[1])]
    return design if available is None else _nearest(space, design, available)


def _nearest(
    space: ParameterSpace, wanted: Float[np.ndarray, "n n_params"], available: Float[np.ndarray, "m n_params"]
) -> Float[np.ndarray, "k n_params"]:
    """For each wanted point the nearest of the available ones that is not taken yet, while there are any."""
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
    """The next points of the sequence that are not known yet, or what is available near them.

    The control for every other choice of points, and what stands in for failed points of the initial design.
    """
    if available is not None:
        available = available[~near(space.to_unit(available), space.to_unit(known), SAME)]
    sequence = space.sobol(len(known) + n, seed)
    points = sequence[~near(space.to_unit(sequence), space.to_unit(known), SAME)][:n]
    return points if available is None else _nearest(space, points, available)


def near(
    x: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"], limit: float | Float[np.ndarray, " d"]
) -> Bool[np.ndarray, " n"]:
    """Which points lie within `limit` of one of the others, in every parameter of the unit cube."""
    return (np.abs(x[:, None] - others) < limit).all(axis=-1).any(axis=1)
