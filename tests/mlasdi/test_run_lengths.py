"""Runs that end at different times: a battery until it is empty, and a mixture until it has ignited."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import qmc

import mlasdi
from mlasdi.preprocessing import TrainingData, common_runs
from mlasdi.solvers import Parameter, ParameterSpace, Snapshots, StateLayout
from mlasdi.training import ModelSettings
from mlasdi.training import fit as fit_trajectories
from mlasdi.validation import assess

N_TIME, BOX = 151, {"current": (0.5, 2.0), "temperature": (273.0, 313.0)}


def discharge(current: float, temperature: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A cell of one hour at current 1, until its voltage has fallen to 3 V: voltage and state of charge over time.

    The resistance and the time constant of the polarisation follow Arrhenius laws.
    """
    cold = 1 / temperature - 1 / 298.15
    resistance, relaxation = 0.05 * np.exp(1500 * cold), 600 * np.exp(800 * cold)

    def voltage(y: np.ndarray) -> Any:
        open_circuit = 3.45 + 0.35 * y[0] + 0.12 * np.tanh(8 * (y[0] - 0.55)) - 0.35 * np.exp(-22 * y[0])
        return open_circuit - resistance * current - y[1]

    def cut_off(t: float, y: np.ndarray) -> Any:
        return voltage(y) - 3.0

    cut_off.terminal = True  # type: ignore[attr-defined]  # as solve_ivp reads it
    found = solve_ivp(
        lambda t, y: [-current / 3600, (0.06 * current - y[1]) / relaxation], (0, 1e5), [1.0, 0.0], events=cut_off,
        rtol=1e-9, atol=1e-10, dense_output=True, max_step=60,
    )  # fmt: skip
    t = np.linspace(0, found.t_events[0][0], N_TIME)
    y = found.sol(t)
    return t, {"voltage": voltage(y), "charge": y[0]}


def ignition(start: float, activation: float) -> tuple[np.ndarray, np.ndarray]:
    """Temperature, over its start, of a reacting mixture until 90 % of the fuel is gone."""

    def rates(t: float, y: np.ndarray) -> list[float]:
        rate = y[0] * np.exp(-activation * (1 / (start * (2.5 - 1.5 * y[0])) - 1))
        return [-rate]

    def burnt(t: float, y: np.ndarray) -> Any:
        return y[0] - 0.1

    burnt.terminal = True  # type: ignore[attr-defined]
    found = solve_ivp(rates, (0, 1e9), [1.0], events=burnt, rtol=1e-9, atol=1e-11, dense_output=True, method="LSODA")
    t = np.linspace(0, found.t_events[0][0], 301)
    return t, (2.5 - 1.5 * found.sol(t)[0])[:, None]


def design(n: int, low_high: np.ndarray, seed: int) -> np.ndarray:
    """The corners of a box and Sobol points."""
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    x = np.concatenate([corners, qmc.Sobol(2, rng=seed).random(16)])[:n]
    return low_high[:, 0] + x * np.diff(low_high, axis=1)[:, 0]


def points(n: int, low_high: np.ndarray) -> np.ndarray:
    return low_high[:, 0] + qmc.Sobol(2, rng=5).random(n) * np.diff(low_high, axis=1)[:, 0]


LIMITS = np.array(list(BOX.values()))


@pytest.fixture(scope="module")
def battery() -> mlasdi.Surrogate:
    """Trained with twelve discharges, whose durations differ by a factor of 4.2."""
    mu = design(12, LIMITS, seed=1)
    runs = [discharge(*point) for point in mu]
    return mlasdi.fit(
        mu, [t for t, _ in runs], {name: [u[name] for _, u in runs] for name in ("voltage", "charge")}, BOX,
        effort="quick", outputs={"energy": "integral over time of voltage", "last": "min over time of voltage"},
    )  # fmt: skip


def test_a_discharge_until_cut_off_is_predicted_to_half_a_percent(battery: mlasdi.Surrogate) -> None:
    """No run is cut off, and nothing is rescaled by hand; the largest errors at 16 other points."""
    errors: dict[str, list[float]] = {name: [] for name in ("end", "voltage", "charge", "energy", "at times")}
    inside, deviations = [], []
    for mu in points(16, LIMITS):
        t, truth = discharge(*mu)
        found = battery.predict(mu[None])
        assert found.end_time is not None
        assert found.end_time_std is not None
        assert found.t[-1] == pytest.approx(found.end_time[0], rel=1e-9)  # by default, the times of this run
        assert np.isfinite(found.mean).all()
        errors["end"].append(abs(found.end_time[0] / t[-1] - 1))
        deviations.append(abs(found.end_time[0] - t[-1]) / found.end_time_std[0])
        for name, values in truth.items():
            errors[name].append(np.abs(found[name][0] - np.interp(np.linspace(0, 1, len(found.t)),
                np.linspace(0, 1, N_TIME), values)).max() / np.abs(values).max())  # fmt: skip
        energy = np.trapezoid(truth["voltage"], t)
        errors["energy"].append(abs(found.quantity("energy", 8).mean[0] / energy - 1))
        at_times = battery.predict(mu[None], t)
        known = np.isfinite(at_times["voltage"][0])
        distance = np.abs(at_times["voltage"][0] - truth["voltage"])[known]
        errors["at times"].append(distance.max() / 4)
        inside.append(np.mean(distance <= 1.645 * at_times.field("voltage", "std")[0][known]))
    assert {name: max(found) for name, found in errors.items() if max(found) > 0.005} == {}
    assert np.mean(inside) > 0.75
    assert max(deviations) < 4


def test_the_end_time_is_an_output_with_an_error_of_its_own(battery: mlasdi.Surrogate) -> None:
    known = battery.error_estimates
    assert set(known) == {"voltage", "charge", "end_time", "energy", "last"}
    assert 1e-5 < known["end_time"] < 0.02
    assert battery.relative_std({"current": 1.0, "temperature": 300.0}, field="end_time")[0] < 0.02
    mus = points(4, LIMITS)
    truths = [discharge(*mu) for mu in mus]
    runs = [Snapshots(t, np.concatenate([u["voltage"][:, None], u["charge"][:, None]], axis=1)) for t, u in truths]
    found = assess(battery, zip(mus, runs, strict=True), len(runs))
    predicted = battery.predict(mus).end_time
    assert predicted is not None
    np.testing.assert_allclose(
        found.fields["end_time"],
        [abs(end / run.t[-1] - 1) for end, run in zip(predicted, runs, strict=True)],
        rtol=1e-6,
    )
    assert found.final.max() < 0.005  # of states at equal parts of the runs
    assert found.fields["energy"].max() < 0.005


def test_after_the_end_there_are_no_values(battery: mlasdi.Surrogate) -> None:
    found = battery.predict({"current": [0.5, 2.0], "temperature": [300.0, 300.0]})
    assert found.end_time is not None
    assert found.t[-1] == pytest.approx(found.end_time[0])
    for row, end in enumerate(found.end_time):
        np.testing.assert_array_equal(np.isnan(found["voltage"][row]), found.t > end * (1 + 1e-9))
        np.testing.assert_array_equal(np.isnan(found.field("voltage", "std")[row]), found.t > end * (1 + 1e-9))
    assert "nan" not in repr(found)
    late = battery.predict({"current": 1.0, "temperature": 300.0}, [0.0, 1e6])  # no warning: no time is too late
    assert np.isnan(late.mean[0, 1]).all()
    assert late.quantity("max over time of voltage", 4).mean[0] == late["voltage"][0, 0]
    with pytest.raises(ValueError, match="a run ends after its first time"):
        battery.ending_at(0.0)


def test_the_bands_know_the_end_time(battery: mlasdi.Surrogate) -> None:
    """Near the end, where the voltage falls fast, an error of the end time moves it."""
    mu = {"current": 1.3, "temperature": 285.0}
    found = battery.predict(mu)
    assert found.end_time is not None
    assert found.end_time_std is not None
    knowing = battery.ending_at(float(found.end_time[0])).predict(mu, found.t)
    np.testing.assert_allclose(knowing.mean, found.mean, atol=1e-9)
    slope = np.abs(np.gradient(found["charge"][0], found.t))
    expected = np.hypot(knowing.field("charge", "std")[0], slope * found.t / found.end_time[0] * found.end_time_std[0])
    np.testing.assert_allclose(found.field("charge", "std")[0][5:], expected[5:], rtol=0.1)
    assert knowing.end_time_std is not None
    assert knowing.end_time_std[0] == 0
    drawn = battery.sample(mu, 200, np.random.default_rng(0), found.t)
    lengths = np.isfinite(drawn[0, :, :, 0]).sum(axis=1)
    assert len(set(lengths.tolist())) > 1  # each drawn run has an end of its own
    end = found.quantity("end_time", 4000)
    assert end.samples.std() == pytest.approx(found.end_time_std[0], rel=0.1)


@pytest.mark.slow
def test_analyses_know_the_end_time(battery: mlasdi.Surrogate) -> None:
    shares = battery.sensitivity("end_time", n=64, draws=4).to_dataframe().set_index("parameter")
    assert shares.loc["current", "total"] > 0.8
    spread = battery.propagate(
        {"current": "uniform(0.9, 1.1)", "temperature": 300.0}, n=64, quantity="end_time", draws=4
    )
    table = spread.to_dataframe()
    expected = battery.predict({"current": 1.0, "temperature": 300.0}).end_time
    assert expected is not None
    assert table["mean"].iloc[0] == pytest.approx(expected[0], rel=0.02)
    fields = battery.propagate({"current": "uniform(0.9, 1.1)", "temperature": 300.0}, n=16)
    assert np.isfinite(fields.to_dataframe()["mean"]).all()  # runs that have ended keep their last values


def test_it_is_saved_without_pickle_and_read_again(battery: mlasdi.Surrogate, tmp_path: Path) -> None:
    mu = {"current": [0.7, 1.7], "temperature": [280.0, 310.0]}
    battery.save(tmp_path / "model")
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    found, loaded = battery.predict(mu), mlasdi.load(tmp_path / "model").predict(mu)
    for name in ("t", "mean", "std", "end_time", "end_time_std"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))


@pytest.mark.slow
def test_delays_over_decades() -> None:
    """Ignition delays are products of exponentials: their logarithms are interpolated, not they themselves."""
    limits = np.array([[0.7, 1.0], [10.0, 14.0]])
    mu = design(12, limits, seed=3)
    runs = [ignition(*point) for point in mu]
    ends = np.array([t[-1] for t, _ in runs])
    assert ends.max() / ends.min() > 100
    model = mlasdi.fit(
        mu, [t for t, _ in runs], [u for _, u in runs], {"start": (0.7, 1.0), "activation": (10.0, 14.0)},
        fields=("temperature",), effort="quick",
    )  # fmt: skip
    for point in points(16, limits):
        t, u = ignition(*point)
        found = model.predict(point[None])
        assert found.end_time is not None
        assert found.end_time[0] == pytest.approx(t[-1], rel=0.02)
        over_run = model.ending_at(t[-1]).predict(point[None], t)
        assert np.linalg.norm(over_run.mean[0] - u) / np.linalg.norm(u) < 0.05


# Which treatment, and what cannot be treated

SPACE = ParameterSpace((Parameter("a", 1.0, 2.0),))
LAYOUT = StateLayout(("u",), {"x": np.arange(2.0)})


def run(end: float, n: int = 21, start: float = 0.0) -> Snapshots:
    t = np.linspace(start, end, n)
    return Snapshots(t, np.exp(-t / end)[:, None] * np.ones(2))


def common(runs: list[Snapshots], **options: Any) -> tuple[TrainingData, dict[str, float]]:
    mus = [{"a": a} for a in np.linspace(1, 2, len(runs))]
    return common_runs(SPACE, LAYOUT, mus, runs, **options)


def test_runs_are_normalised_where_their_lengths_differ() -> None:
    data, facts = common([run(1.0), run(2.0), run(4.0, 31)])
    assert data.durations is not None
    np.testing.assert_allclose(data.durations, [1, 2, 4])
    assert (data.t[0], data.t[-1], len(data.t), facts["unused_time"]) == (0, 4, 31, 0)
    states = np.stack([data.trajectory(i) for i in range(3)])
    np.testing.assert_allclose(states, np.exp(-data.t / 4)[None, :, None] * np.ones((3, 1, 2)), atol=1e-4)
    assert common([run(1.0), run(1.0)])[0].durations is None
    assert common([run(1.0), run(1.005)])[0].durations is None  # the last step of a solver
    assert common([run(1.0), run(1.5, start=0.2)])[0].durations is None  # windows of a longer run
    assert common([run(1.0), run(1.005)], run_length="normalised")[0].durations is not None
    shortest, facts = common([run(1.0), run(2.0)], run_length="shortest")
    assert (shortest.durations, shortest.t[-1], facts["unused_time"]) == (None, 1.0, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ([run(1.0), run(1.0, 1)], {}, r"the run at {'a': 2.0} has one time, and others have several"),
        (
            [run(1.0), run(4.0)],
            {"run_length": "shortest"},
            "share only .*; model.run_length: normalised uses the whole",
        ),
        (
            [run(1.0), run(4.0, start=0.5)],
            {"run_length": "normalised"},
            "runs begin at times from 0 to 0.5; they must begin at the same time",
        ),
    ],
)
def test_runs_that_cannot_be_common_are_refused(runs: list[Snapshots], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        common(runs, **options)


T = [np.linspace(0, end, 11) for end in (1.0, 1.5, 2.0)]
U = [np.exp(-t)[:, None] for t in T]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": [T[0], T[1], np.array([0.0])]}, r"t\[2\] has 1 times; a run needs at least 2"),
        ({"t": [T[0], np.where(T[1] == 0, np.nan, T[1]), T[2]]}, r"t\[1\] is not finite at t\[1\]\[0\]"),
        ({"t": [T[0], T[1][::-1], T[2]]}, r"t\[1\] must increase; t\[1\]\[0\] = 1.5 is followed by 1.35"),
        ({"t": T[:2]}, "t has the times of 2 runs, and mu has 3 rows"),
        ({"u": U[:2]}, "u has 2 runs, and mu has 3 rows"),
        ({"u": {"v": U[:2]}}, r"u\['v'\] has 2 runs"),
        ({"u": [U[0], U[1][:5], U[2]]}, r"u\[1\] has 5 times; expected finite values at the 11 times of t\[1\]"),
        ({"u": [U[0], U[1] * np.nan, U[2]]}, r"u\[1\] has values that are not finite"),
        ({"u": [U[0], np.repeat(U[1], 2, axis=1), U[2]]}, "run 1 has other fields or axes than run 0"),
        ({"mu": [[1.0], [1.5], [3.0]]}, r"mu\[2\] = {'a': 3.0} lies outside of the box"),
        ({"run_length": "longest"}, "run_length"),
        ({"outputs": {"end_time": "max over time of u"}}, "this is the name of the end time"),
    ],
)
def test_bad_runs_are_named(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"mu": [[1.0], [1.5], [2.0]], "t": T, "u": U, "parameters": {"a": (1, 2)}}
    with pytest.raises(ValueError, match=message):
        mlasdi.fit(**{**given, "kind": "snapshot-gp", **changes})


@pytest.mark.slow
def test_an_earlier_model_of_the_same_runs_is_tested_by_new_ones() -> None:
    """Errors of a model with end times count; those of one that was cut off at the shortest run mean something else."""
    ends = np.linspace(1, 2, 5)
    mus, runs = [{"a": a} for a in ends], [run(end) for end in ends]
    settings = ModelSettings.model_validate({"kind": "snapshot-gp"})

    def fitted(chosen: list[int], before: Any = None, **options: Any) -> Any:
        data, _ = common_runs(SPACE, LAYOUT, [mus[k] for k in chosen], [runs[k] for k in chosen], **options)
        return fit_trajectories(data, settings, seed=0, before=before)

    first = fitted([0, 4, 2])
    later = fitted([0, 4, 2, 1, 3], first)
    assert len(later.record.prequential) == 2
    predicted = first.predict(np.array([[1.25], [1.75]])).end_time
    found = [fields["end_time"] for fields in later.record.prequential.fields]
    np.testing.assert_allclose(found, np.abs(predicted / ends[[1, 3]] - 1), rtol=1e-6)
    cut = fitted([0, 4, 2], run_length="shortest")
    assert len(fitted([0, 4, 2, 1, 3], cut).record.prequential) == 0
