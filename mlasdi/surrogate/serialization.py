"""A surrogate as arrays and JSON, and back."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mlasdi.alignment import AxisMap, CoordinateScaling, TimeScaling
from mlasdi.curves import CurveStage
from mlasdi.interpolation import EndTimes, Kernel
from mlasdi.latent import LatentModel
from mlasdi.prediction import Probes
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import ParameterSpace, StateLayout, evenly_spread
from mlasdi.stages import (
    AverageStage,
    DynamicsStage,
    Encoder,
    FeatureStage,
    KrigingStage,
    LinearEncoder,
    NetworkEncoder,
    NetworkStage,
    Stage,
    StagedModel,
)
from mlasdi.surrogate.files import END_TIMES_FORMAT
from mlasdi.surrogate.local_calibration import Disagreement, LocalCalibration
from mlasdi.surrogate.results import FieldErrors, PrequentialErrors, TrainingRecord

if TYPE_CHECKING:
    from mlasdi.surrogate.surrogate import Surrogate

ENCODERS: dict[str, type[Encoder]] = {cls.kind: cls for cls in (LinearEncoder, NetworkEncoder)}
STAGES: dict[str, type[Stage]] = {
    cls.kind: cls for cls in (FeatureStage, AverageStage, NetworkStage, KrigingStage, DynamicsStage, CurveStage)
}

MAX_CHECKED = 100_000  # values of a state that are predicted to check a loaded surrogate


def disassembled(surrogate: "Surrogate") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A surrogate as arrays and JSON."""
    space, layout, basis, model = surrogate.space, surrogate.layout, surrogate.basis, surrogate.model
    arrays = {"t": surrogate.t}
    arrays |= {f"basis.{name}": getattr(basis, name) for name in ("mean", "modes", "unit", "balance")}
    latent_settings, latent_arrays = model.latent.state()
    arrays |= {f"latent.{name}": array for name, array in latent_arrays.items()}
    layout_parts, layout_arrays = layout.parts()
    arrays |= {f"layout.{name}": array for name, array in layout_arrays.items()}
    parts = {"encoder": surrogate.encoder} | {f"stages.{k}": stage for k, stage in enumerate(model.stages)}
    states = {prefix: part.state() for prefix, part in parts.items()}
    for prefix, (_, tensors) in states.items():
        arrays |= {f"{prefix}.{name}": tensor.numpy() for name, tensor in tensors.items()}
    description = {
        **space.to_json(),
        "layout": layout_parts,
        "times": _extent(surrogate.t),
        "basis": {"scale": basis.scale, "truncation_error": basis.truncation_error},
        **latent_settings,
        "encoder": {"kind": surrogate.encoder.kind, "settings": states["encoder"][0]},
        "stages": [{"kind": stage.kind, "settings": states[f"stages.{k}"][0]} for k, stage in enumerate(model.stages)],
        "record": asdict(surrogate.record),
        "time_scaling": None if surrogate.time_scaling.is_common else asdict(surrogate.time_scaling),
        "coordinate_scaling": _coordinate_settings(surrogate.coordinate_scaling),
        "info": dict(surrogate.info),
    }
    ends = surrogate.end_times
    if ends is not None:
        arrays |= {"end_times.x": ends.x, "end_times.logarithms": ends.logarithms}
        settings = {
            "kernel": ends.kernel.model_dump(),
            "rougher": ends.rougher.model_dump(),
            "spans": ends.spans,
            "has_trend": ends.has_trend,
        }
        description |= {"format": END_TIMES_FORMAT, "end_times": settings}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}, description


def assembled(arrays: dict[str, np.ndarray], description: dict[str, Any]) -> dict[str, Any]:
    """The attributes of the surrogate that was saved as these, by name.

    Raises:
        KeyError: something is missing.
        ValueError: the times are not as many, or not from and to when, as the description says; nothing else depends on
            how many they are.
    """

    def within(prefix: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(f"{prefix}."): v for k, v in arrays.items() if k.startswith(f"{prefix}.")}

    def tensors(prefix: str) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in within(prefix).items()}

    if "times" in description and description["times"] != _extent(arrays["t"]):  # earlier versions saved no extent
        raise ValueError("its times are not those that were saved")
    stages = [
        STAGES[stage["kind"]].from_state(stage["settings"], tensors(f"stages.{k}"))
        for k, stage in enumerate(description["stages"])
    ]
    encoder, layout = description["encoder"], StateLayout.from_parts(description["layout"], within("layout"))
    record = {name: _tuples(value) for name, value in description["record"].items()}
    record["calibration"] = LocalCalibration(**record.get("calibration", {}))
    record["bands"] = LocalCalibration(**record.get("bands", {}))
    record["disagreement"] = Disagreement(**record.get("disagreement", {}))
    record["prequential"] = PrequentialErrors(**record.get("prequential", {}))
    balance = arrays.get("basis.balance", np.ones(1))  # models of earlier versions have fields of one size
    columns = arrays["basis.mean"], arrays["basis.modes"]
    for kind in ("fields", "quantities"):
        record[kind] = {
            name: FieldErrors(**{**one, "calibration": LocalCalibration(**one["calibration"])})
            for name, one in record.get(kind, {}).items()
        }
    basis = PodBasis(*columns, unit=arrays["basis.unit"], balance=balance, **description["basis"])
    return {
        "space": ParameterSpace.from_json(description["parameters"], description.get("constraints", ())),
        "layout": layout,
        "t": arrays["t"],
        "basis": basis,
        "model": StagedModel(LatentModel.from_state(description, within("latent")), tuple(stages)),
        "encoder": ENCODERS[encoder["kind"]].from_state(encoder["settings"], tensors("encoder")),
        "record": TrainingRecord(**record),
        "info": description["info"],
        "time_scaling": _time_scaling(description.get("time_scaling")),
        "coordinate_scaling": _coordinate_scaling(layout, description.get("coordinate_scaling")),
        "end_times": _end_times(description.get("end_times"), within("end_times")),
    }


def check_consistency(surrogate: "Surrogate") -> None:
    """Check the shapes of the grid, times and basis, and predict some values at a training point.

    Raises:
        Exception: of any kind: a part does not fit another, or the prediction is not a number.
    """
    basis, t, n_state = surrogate.basis, surrogate.t, surrogate.layout.n_state
    shapes = {"basis.mean": (basis.mean, (n_state,)), "basis.modes": (basis.modes, (n_state, basis.modes.shape[-1]))}
    for name, (array, expected) in shapes.items():
        if array.shape != expected:
            raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
    if t.ndim != 1 or len(t) < 1 or not (np.diff(t) > 0).all():
        raise ValueError("its times do not increase")
    x = surrogate.model.latent.x
    if x.ndim != 2 or x.shape[1] != surrogate.space.n_params or not len(x):
        raise ValueError(f"its training points have shape {x.shape}, with {surrogate.space.n_params} parameters")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = evenly_spread(n_state, MAX_CHECKED)[:, None]
        some: dict[str, Any] = {} if len(entries) == n_state else {"probes": Probes(entries, np.ones(entries.shape))}
        found = surrogate.holding_end().predict(
            surrogate.space.from_unit(x[:1]), t[[0, -1]] if len(t) > 1 else t, **some
        )
    expected = (1, min(len(t), 2), len(entries))
    if found.mean.shape != expected:
        raise ValueError(f"its prediction has shape {found.mean.shape}, expected {expected}")
    if np.isnan(found.mean).any() or found.std is None or np.isnan(found.std).any():  # infinite: it has diverged
        raise ValueError("its prediction at a training point is not a number")


def _end_times(saved: Mapping[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> EndTimes | None:
    if saved is None:
        return None
    kernels = Kernel(**saved["kernel"]), Kernel(**saved["rougher"])
    return EndTimes(arrays["x"], arrays["logarithms"], *kernels, tuple(saved["spans"]), bool(saved["has_trend"]))


def _extent(t: np.ndarray) -> list[float]:
    """Number of times, the first and the last."""
    return [t.size, float(t.flat[0]), float(t.flat[-1])]


def _time_scaling(saved: Any) -> TimeScaling:
    """From a mapping; or from the list of format 4: logarithms of rates that are exponential over the unit cube."""
    if isinstance(saved, Mapping):
        return TimeScaling(**{name: _tuples(value) for name, value in saved.items()})
    return TimeScaling(tuple(saved or ()))


def _coordinate_settings(coordinate_scaling: CoordinateScaling | None) -> dict[str, Any] | None:
    if coordinate_scaling is None:
        return None
    axes = [axis and asdict(axis) for axis in coordinate_scaling.axes]
    return {"axes": axes, "log_amplitudes": coordinate_scaling.log_amplitudes, "spans": coordinate_scaling.spans}


def _coordinate_scaling(layout: StateLayout, saved: Mapping[str, Any] | None) -> CoordinateScaling | None:
    if saved is None:
        return None
    axes = [axis and AxisMap(**{name: _tuples(value) for name, value in axis.items()}) for axis in saved["axes"]]
    return CoordinateScaling(layout, tuple(axes), _tuples(saved["log_amplitudes"]), _tuples(saved["spans"]))


def _tuples(value: Any) -> Any:
    """The value with tuples in place of JSON arrays."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
