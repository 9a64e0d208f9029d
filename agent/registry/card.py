"""The model card of a surrogate, in Markdown: its domain, accuracy, origin and limits."""

import json
from collections.abc import Mapping
from importlib.metadata import version

from mlasdi.formatting import counted, percent
from mlasdi.solvers import StateLayout
from mlasdi.surrogate import Surrogate
from mlasdi.validation import describe_dynamics

# MLflow keeps 5,000 characters of a description, so a long identity of a solver is shortened.
_MAX_IDENTITY = 800


def model_card(surrogate: Surrogate, tags: Mapping[str, str]) -> str:
    """The card of a surrogate.

    Args:
        tags: those of its registered version: `problem`, `solver_runs`, `data_hash` and, if known, `solver_identity`,
            `max_error`, `mean_error` and `coverage`.
    """
    name = surrogate.info.get("campaign", tags.get("problem", "surrogate"))
    sections = [
        f"# {name}\n\nA surrogate model of `{tags.get('problem', 'a solver')}`: it predicts whole trajectories with "
        f"standard deviations from the parameters. {_accuracy(surrogate, tags)}",
        "## Domain\n\n" + _box(surrogate),
        "## What it predicts\n\n" + _state(surrogate),
        "## Accuracy\n\n" + _errors(surrogate, tags),
        "## Origin\n\n" + _origin(surrogate, tags),
        "## Limits\n\nThe model was not tested outside the box and the time interval; predictions there need "
        "`--extrapolate`. The errors above are relative L2 errors of the whole state, the largest over time; single "
        "values and small regions may have larger errors. The standard deviation is calibrated by leave-one-out "
        "errors, on average over the state.",
    ]
    return "\n\n".join(sections) + "\n"


def _accuracy(surrogate: Surrogate, tags: Mapping[str, str]) -> str:
    """How good it is, in a sentence."""
    estimate = surrogate.error_estimate
    begin = f"It is trained on {counted(int(tags['solver_runs']), 'solver run')}. " if "solver_runs" in tags else ""
    known = "is not known yet" if estimate is None else f"is estimated to be {percent(estimate)} at most"
    checked = f"; at validation points it is {_percent(tags['max_error'])} at most" if "max_error" in tags else ""
    return f"{begin}Its error {known}{checked}."


def _box(surrogate: Surrogate) -> str:
    rows = [f"| `{p.name}` | {p.low:g} | {p.high:g} | {p.unit or '-'} |" for p in surrogate.space.parameters]
    t = surrogate.t
    unit = f" {surrogate.layout.time_unit}".rstrip()
    return "\n".join(
        [
            "| parameter | from | to | unit |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Times from {t[0]:g} to {t[-1]:g}{unit}."
            + ("" if surrogate.end_times is None else " Each run has an end of its own, which is predicted, too."),
        ]
    )


def _state(surrogate: Surrogate) -> str:
    layout = surrogate.layout
    by_grid: dict[str, list[str]] = {}
    for name in layout.fields:
        by_grid.setdefault(_grid(layout.of(name)), []).append(f"`{name}`" + _unit(layout.field_units.get(name, "")))
    fields = "; ".join(f"{', '.join(names)} {grid}" for grid, names in by_grid.items())
    return f"Fields {fields}. {layout.n_state} values at each time."


def _grid(layout: StateLayout) -> str:
    """The axes of a field, in words."""
    steady = ", the same at all times" if layout.steady else ""
    if not layout.shape:
        return f"(one number){steady}"
    axes = ", ".join(
        f"`{name}` from {min(x):g} to {max(x):g}" + _unit(layout.coordinate_units.get(name, ""))
        for name, x in layout.coordinates.items()
    )
    if layout.scattered:
        return f"on {layout.n_points} scattered points: {axes}{steady}"
    grid = "on a grid of " + " x ".join(map(str, layout.shape)) + " points"
    grid += f", of which {layout.n_points} are in the domain" if layout.mask is not None else ""
    return f"{grid}: {axes}{steady}"


def _unit(unit: str) -> str:
    return f" [{unit}]" if unit else ""


def _errors(surrogate: Surrogate, tags: Mapping[str, str]) -> str:
    lines = [f"- estimated without further solves: {_percent(surrogate.error_estimate)}"]
    if "max_error" in tags:
        lines.append(
            f"- validated by solves that were not used in training: {_percent(tags['max_error'])} at most, "
            f"{_percent(tags.get('mean_error'))} on average"
        )
    else:
        lines.append("- not validated")
    if "coverage" in tags:
        lines.append(f"- the 90 % band contains {_percent(tags['coverage'])} of the values at validation points")
    if len(surrogate.layout.fields) > 1:
        validated = json.loads(tags.get("output_errors", "{}"))
        lines += ["", "| output | estimated error | validated error |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_percent(error)} | {_percent(validated.get(name))} |"
            for name, error in surrogate.error_estimates.items()
        ]
    stages = [
        f"| {name} | {_percent(error)} |"
        for name, error in zip(surrogate.record.stage_names, surrogate.record.stage_errors, strict=False)
    ]
    table = ["", "| with the stages up to | leave-one-out error |", "|---|---|", *stages] if stages else []
    return "\n".join(lines + table)


def _origin(surrogate: Surrogate, tags: Mapping[str, str]) -> str:
    identity, dynamics = tags.get("solver_identity", ""), describe_dynamics(surrogate)
    facts = {
        "solver runs": tags.get("solver_runs"),
        "training points": str(len(surrogate.model.latent.x)),
        "latent dynamics": f"`{dynamics['equation']}`" if dynamics else "none",
        "scaling laws": "; ".join(f"{what} `{law}`" for what, law in surrogate.scaling_laws.items()),
        "POD modes": f"{surrogate.basis.rank}, truncation error {_percent(surrogate.record.truncation_error)}",
        "solver": f"`{identity[:_MAX_IDENTITY]}`" + (" (shortened)" if len(identity) > _MAX_IDENTITY else "")
        if identity
        else None,
        "data": f"SHA-256 `{tags['data_hash']}`" if "data_hash" in tags else None,
        "campaign, round": f"{json.dumps(surrogate.info.get('campaign'))}, {surrogate.info.get('round')}",
        "program": f"mlasdi {version('mlasdi')}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value)


def _percent(fraction: float | str | None) -> str:
    return percent(None if fraction is None else float(fraction))
