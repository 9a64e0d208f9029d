"""The commands `sensitivity`, `propagate`, `calibrate` and `optimise`.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlasdi.agent.model_commands.options import Debug, Json, Model, Root, Uri, load_surrogate, user_errors
from mlasdi.agent.terminal import BadInput, WorkFailed, command_errors

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mlasdi.surrogate import Surrogate

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=LAW ...",
        help="Distributions: 'a=normal(0.8,0.02)', lognormal(median,sigma), uniform, loguniform, or a number.",
    ),
]
More = Annotated[list[str] | None, typer.Argument(metavar="NAME=LAW", hidden=True)]
QUANTITY = "mean(u), rms(u), min(u) or max(u) of a field, or u(x=0.5) at a place"
QuantityOption = Annotated[list[str] | None, typer.Option("--quantity", help=f"{QUANTITY}; may be repeated.")]
Times = Annotated[str | None, typer.Option(help="start:stop:count, or 0,0.5,1; by default the times of training.")]
Out = Annotated[Path | None, typer.Option(help="Write the whole table to this file: .csv or .parquet.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all random numbers.")]
Draws = Annotated[int, typer.Option(min=2, help="Functions drawn from the distribution of the surrogate.")]


def add_analysis_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (sensitivity, propagate, calibrate, optimise):
        app.command()(command)


def sensitivity(
    model: Model,
    where: Where = None,
    more: More = None,
    quantity: QuantityOption = None,
    times: Times = None,
    n: Annotated[int, typer.Option(help="Number of base points, a power of 2.")] = 512,
    draws: Draws = 32,
    seed: Seed = 0,
    out: Out = None,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which parameters matter: Sobol indices of quantities, first-order and total, with their errors.

    Example: mlasdi sensitivity models:/burgers1d@champion --quantity 'max(u)' --where 'a=normal(0.8,0.02)'
    """
    with command_errors(as_json, debug) as answer:
        with _analysed(model, out, uri, root) as surrogate:
            found = surrogate.sensitivity(
                quantity or None, _laws(where, more), _times(times), n=n, draws=draws, seed=seed
            )
            table = found.to_dataframe()
            _written(found.to_dataframe(over_time=True), out)
        data = {"model": model, "distributions": found.distributions, "n": n, "draws": draws}
        _show(answer, data, table, (), out)


def propagate(
    model: Model,
    where: Where = None,
    more: More = None,
    quantity: QuantityOption = None,
    times: Times = None,
    n: Annotated[int, typer.Option(help="Number of points; the next power of 2 is taken.")] = 1024,
    quantiles: Annotated[str, typer.Option(help="Levels of quantiles.")] = "5%,50%,95%",
    draws: Draws = 32,
    seed: Seed = 0,
    out: Out = None,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Propagate distributions of the parameters to fields or quantities: mean, std, quantiles.

    Example: mlasdi propagate models:/burgers1d@champion --where 'a=normal(0.8,0.02)' w=1.0 --quantity 'max(u)'
    """
    with command_errors(as_json, debug) as answer:
        with _analysed(model, out, uri, root) as surrogate:
            from mlasdi.agent.text import levels

            found = surrogate.propagate(
                _laws(where, more), n, quantity or None, _times(times), levels=levels(quantiles), draws=draws, seed=seed
            )
            table = found.to_dataframe()
            _written(table, out)
        data = {
            "model": model, "distributions": found.distributions, "outside": found.outside, "n": len(found.mu),
            "draws": draws,
        }  # fmt: skip
        _show(answer, data, table if quantity else _largest(table), found.warnings, out)


def calibrate(
    model: Model,
    data: Annotated[
        Path, typer.Option(help="Table of measurements (.csv, .parquet): t, coordinates, and measured fields.")
    ],
    noise: Annotated[str, typer.Option(help="Standard deviation of the noise: 0.01, or u=0.01,v=0.2.")],
    where: Where = None,
    more: More = None,
    max_steps: Annotated[int, typer.Option(help="Largest number of steps of the sampler.")] = 1000,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write points drawn from the posterior to this file: .csv or .parquet.")
    ] = None,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Infer the parameters from measurements: their posterior, with the noise and the surrogate's error.

    --where gives the prior. An empty cell of the table is not measured.

    Example: mlasdi calibrate models:/burgers1d@champion --data probes.csv --noise 0.01
    """
    with command_errors(as_json, debug) as answer:
        with _analysed(model, out, uri, root) as surrogate:
            given = _measurements(data, surrogate)
            found = surrogate.calibrate(given, _noise(noise), prior=_laws(where, more), max_steps=max_steps, seed=seed)
            if out is not None:
                import pandas as pd

                _written(pd.DataFrame(found.samples, columns=list(found.names)), out)
        facts = {
            "model": model, "prior": found.prior, "measurements": found.n_measurements, "misfit": found.misfit,
            "surrogate_share": found.surrogate_share, "steps": found.steps, "acceptance": found.acceptance,
        }  # fmt: skip
        _show(answer, facts, found.to_dataframe(), found.warnings, out)


def optimise(
    model: Model,
    minimise: Annotated[str | None, typer.Option(help=f"Quantity to minimise: {QUANTITY}.")] = None,
    maximise: Annotated[str | None, typer.Option(help="Quantity to maximise.")] = None,
    subject_to: Annotated[
        list[str] | None, typer.Option(help="Constraint at all times: 'max(u) <= 0.9'; may be repeated.")
    ] = None,
    over_time: Annotated[
        str | None, typer.Option(help="How values at all times become one: mean, min, max or last.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="NAME=RANGE ...", help="'a=uniform(0.7,0.8)' or a fixed number; else the box."),
    ] = None,
    more: More = None,
    times: Times = None,
    draws: Draws = 64,
    seed: Seed = 0,
    out: Out = None,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the parameters at which a quantity is smallest or largest, and the surrogate's error there.

    Example: mlasdi optimise models:/a@champion --minimise 'max(u)' --over-time last --subject-to 'mean(u) >= 0.2'
    """
    with command_errors(as_json, debug) as answer:
        objective = minimise or maximise
        if objective is None or (minimise and maximise):
            raise BadInput("give --minimise QUANTITY or --maximise QUANTITY, one of them")
        with _analysed(model, out, uri, root) as surrogate:
            found = surrogate.optimise(
                objective, subject_to or (), _times(times), over_time=over_time, maximise=maximise is not None,
                ranges=_laws(where, more), draws=draws, seed=seed,
            )  # fmt: skip
            if not found.is_feasible:
                raise WorkFailed(f"{found.warnings[0]}: {found.mu}; loosen a constraint")
            _written(found.to_dataframe(), out)
        data = {"model": model, "objective": objective, "evaluations": found.evaluations, "edges": found.edges}
        _show(answer, data, found.to_dataframe(), found.warnings, out)


@contextmanager
def _analysed(model: str, out: Path | None, uri: str | None, root: Path) -> Iterator["Surrogate"]:
    """The model, for work whose bad input is an error of the user; warnings are shown with the answer."""
    import warnings

    with user_errors():
        from mlasdi.agent.model_commands.analysis_tables import check_table
        from mlasdi.analysis import AnalysisWarning
        from mlasdi.preprocessing import limited_threads

        check_table(out)
        with limited_threads(), warnings.catch_warnings():
            warnings.simplefilter("ignore", AnalysisWarning)
            yield load_surrogate(model, uri, root)


def _show(
    answer: Callable[..., None],
    data: dict[str, Any],
    table: "pd.DataFrame",
    warnings: tuple[str, ...],
    out: Path | None,
) -> None:
    from mlasdi.agent.model_commands.analysis_tables import as_rows, show_analysis
    from mlasdi.agent.terminal import output

    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    found = data | {"rows": as_rows(table), "warnings": list(warnings), "file": None if out is None else str(out)}
    answer(found, lambda: show_analysis(output(), data, table, found["file"]))


def _written(table: "pd.DataFrame", out: Path | None) -> None:
    from mlasdi.agent.model_commands.analysis_tables import write_table

    if out is not None:
        write_table(table, out)


def _largest(table: "pd.DataFrame") -> "pd.DataFrame":
    """For each field, the place and time of the largest standard deviation."""
    return table.loc[table.groupby("field", sort=False)["std"].idxmax()]


def _laws(where: list[str] | None, more: list[str] | None) -> dict[str, str]:
    from mlasdi.agent.text import texts

    return texts([*(where or []), *(more or [])])


def _times(text: str | None) -> "np.ndarray | None":
    from mlasdi.agent.text import time_points

    return None if text is None else time_points(text)


def _noise(text: str) -> float | dict[str, float]:
    """One number, or field -> number."""
    from mlasdi.agent.text import values

    if "=" in text:
        return values([text])
    (found,) = values([f"noise={text}"]).values()
    return found


def _measurements(path: Path, surrogate: "Surrogate") -> dict[str, Any]:
    """The columns of a table of measurements that the model knows; an empty cell is not measured."""
    from mlasdi.solvers import read_table

    table = read_table(path)
    known = {"t", *surrogate.layout.coordinates, *surrogate.layout.fields}
    return {name: table.numbers_or_nan(name) for name in table.columns if name in known}
