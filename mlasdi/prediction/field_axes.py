"""Names of dimensions and coordinates for data sets in which each field has axes of its own."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import StateLayout

# Dimension, values and unit of a coordinate.
Coordinate = tuple[str, Float[np.ndarray, " n"], str]


@dataclass(frozen=True)
class FieldAxes:
    """Dimensions and coordinates of the fields of a layout.

    Attributes:
        dimensions: field -> names of its dimensions beside those of runs and times.
        sizes: dimension -> length.
        coordinates: variable -> its dimension, values and unit.
        places: field -> variables with the coordinates of its scattered points; none for fields on a grid.
    """

    dimensions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    coordinates: dict[str, Coordinate] = field(default_factory=dict)
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: StateLayout, taken: Collection[str]) -> "FieldAxes":
        """Fields on equal grids share names; those of another grid with the same ones end with the name of its field.

        Args:
            layout: fields and grids.
            taken: names that are in use; a coordinate of this name is called `coordinate_NAME`.
        """
        found = cls()
        for name in layout.fields:
            one = layout.of(name)
            variables = _variables(one, taken, "")
            if not found._agrees_with(variables, one.scattered):
                variables = _variables(one, taken, f"_{name}")
            dimensions = tuple(dict.fromkeys(dimension for dimension, _, _ in variables.values()))
            found.coordinates.update(variables)
            found.sizes.update(zip(dimensions, one.shape, strict=True))
            found.dimensions[name] = dimensions
            found.places[name] = tuple(variables) if one.scattered else ()
        return found

    def _agrees_with(self, variables: dict[str, Coordinate], scattered: bool) -> bool:
        """Whether coordinates of these names are new, or the same."""
        known = [name for name in variables if name in self.coordinates]
        if scattered and not known and any(dimension in self.sizes for dimension, _, _ in variables.values()):
            return False
        same = (self.coordinates[name] for name in known)
        pairs = zip(same, (variables[name] for name in known), strict=True)
        return all(one[0] == other[0] and np.array_equal(one[1], other[1]) for one, other in pairs)


def _variables(layout: StateLayout, taken: Collection[str], suffix: str) -> dict[str, Coordinate]:
    found = {}
    for axis, values in layout.coordinates.items():
        name = (f"coordinate_{axis}" if axis in taken else axis) + suffix
        dimension = f"place{suffix}" if layout.scattered else name
        found[name] = (dimension, np.asarray(values, dtype=float), layout.coordinate_units.get(axis, ""))
    return found
