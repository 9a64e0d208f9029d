"""What a surrogate predicts, its domain and its accuracy, as JSON."""

from typing import Any

import numpy as np

from mlasdi.surrogate import Surrogate


def description(surrogate: Surrogate, model: str) -> dict[str, Any]:
    """Parameters, fields, coordinates, times and accuracy of a surrogate, as JSON."""
    layout = surrogate.layout
    coordinates = {
        name: {
            "name": name,
            "low": float(np.min(x)),
            "high": float(np.max(x)),
            "unit": one.coordinate_units.get(name, ""),
        }
        for one in (*layout.others.values(), layout)
        for name, x in one.coordinates.items()
    }
    return {
        "model": model,
        "parameters": [
            {"name": p.name, "low": p.low, "high": p.high, "unit": p.unit} for p in surrogate.space.parameters
        ],
        "fields": [
            {"name": name, "unit": layout.field_units.get(name, ""), "axes": layout.of(name).axes, "values": size}
            for name, size in zip(layout.fields, layout.sizes, strict=True)
        ],
        "coordinates": list(coordinates.values()),
        "times": {
            "low": float(surrogate.t[0]),
            "high": float(surrogate.t[-1]),
            "count": len(surrogate.t),
            "unit": layout.time_unit,
        },
        "values": layout.n_state,
        "error_estimate": surrogate.error_estimate,
        "error_estimates": surrogate.error_estimates,
        "stages": list(surrogate.record.stage_names),
    }
