"""The HTML report: what it says of a campaign in any state, that it is safe and self-contained, and in a browser."""

import base64
import json
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from headless import SCREENS
from mlflow import MlflowClient
from recorded_campaign import Recorded
from typer.testing import CliRunner

from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.cli.main import app
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.records import SOLVE, TRAIN, UNKNOWN, WASTED, Ledger, Span
from mlasdi.agent.report import NothingToReport, write_html_report
from mlasdi.agent.report import html as html_report
from mlasdi.agent.report.charts import MAX_BARS, convergence, cost, error_split, reliability, timeline
from mlasdi.agent.report.maps import largest, over_box
from mlasdi.agent.report.trajectories import MAX_CHARACTERS, Places, packed
from mlasdi.agent.tracking_store import connect, store_uri
from mlasdi.formatting import percent, point
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.surrogate import Prediction, Surrogate, relative_error
from mlasdi.validation import Assessment

MAX_BYTES = 5_000_000
PARTS = ("projection", "autoencoder", "latent_dynamics", "interpolation", "total")
BURGERS = {
    "solver": "burgers1d",
    "options": {"n_x": 101, "n_t": 51},
    "parameters": {"a": {"low": 0.7, "high": 0.9, "unit": "m/s"}, "w": [0.9, 1.1]},
}
CORNERS_AND_CENTRE = [(0.7, 0.9), (0.7, 1.1), (0.9, 0.9), (0.9, 1.1), (0.8, 1.0)]
HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
FAILURE = TaskFailure("not-converged", f"residual 3 after 50 steps {HOSTILE}")


def waves(names: tuple[str, ...], **options: Any) -> dict[str, Any]:
    return {
        "solver": "waves:Waves",
        "options": {"names": list(names), **options},
        "parameters": {name: [1.0, 2.0] for name in names},
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Two parameters, a line, validated."""
    campaign = Recorded(tmp_path_factory.mktemp("finished"), BURGERS, CORNERS_AND_CENTRE, grid=3)
    campaign.train()
    campaign.finish()
    return campaign


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Three parameters, two fields in a plane with a hole, in progress, with a failed solve; the names are hostile."""
    names = (HOSTILE, "b", "c")
    mus = np.array(np.meshgrid(*[[1.0, 2.0]] * 3, indexing="ij")).reshape(3, -1).T
    problem = waves(names, n_y=9, unit=HOSTILE)
    campaign = Recorded(tmp_path_factory.mktemp("running"), problem, [*mus, (1.5, 1.5, 1.5)], grid=3, failure=FAILURE)
    campaign.train()
    return campaign


@pytest.fixture(scope="module")
def unvalidated(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One parameter, no validation."""
    campaign = Recorded(tmp_path_factory.mktemp("unvalidated"), waves(("p",)), [(1.0,), (2.0,), (1.5,)])
    campaign.train()
    campaign.finish()
    return campaign


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """No model yet."""
    return Recorded(
        tmp_path_factory.mktemp("begun"), BURGERS, CORNERS_AND_CENTRE, grid=3, failure=TaskFailure("signal", "killed")
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Six parameters, more than a grid can be sliced for."""
    names = tuple("abcdef")
    mus = ParameterSpace(tuple(Parameter(name, 1.0, 2.0) for name in names)).sobol(8, seed=1)
    campaign = Recorded(tmp_path_factory.mktemp("many"), waves(names), mus.tolist())
    campaign.train()
    return campaign


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: dict[str, str] = {}
        self._raw: str | None = None
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._raw = (dict(attrs).get("id") or tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw is None:
            self.words.append(data)
        else:
            self.scripts[self._raw] = data


@cache
def page_file(campaign: Recorded) -> Path:
    """The page of a campaign that does not change any more."""
    return write_html_report(campaign.config, campaign.path.with_suffix(".html"))


@cache
def page_of(campaign: Recorded) -> Elements:
    return Elements(page_file(campaign).read_text())


def page_now(campaign: Recorded, report: dict[str, Any] | None = None) -> Elements:
    """The page of a campaign as it is at this moment, which ends just now if there is a report."""
    return Elements(write_html_report(campaign.config, report=report).read_text())


def charts_of(page: Elements) -> dict[str, Any]:
    return json.loads(page.scripts["charts"])


def unpacked(found: dict[str, Any], n_time: int) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(found["codes"]), "<u2").reshape(n_time, -1)
    values = found["low"] + codes / 65534 * (found["high"] - found["low"])
    return np.where(codes == 65535, np.nan, values)


# What it says


def test_the_headline_comes_first(finished: Recorded) -> None:
    report = finished.report()
    page = page_of(finished)
    worst = largest(charts_of(page)["error_map"], finished.space)
    assert worst is not None
    headline = page.text[: page.text.index("Predict with it")]
    for part in (
        "finished",
        "stopped by: solver runs",
        f"Error {percent(report['max_relative_error'])} largest at 9 validation points",
        f"mean {percent(report['mean_relative_error'])}",
        f"Estimate without validation: {percent(report['error_estimate'])}",
        f"Where {point(worst)} validation point with the largest error, {percent(report['max_relative_error'])}",
        f"Coverage {percent(report['coverage'])} of the values",
        "Cost 5 solver runs; 4 s in total",
    ):
        assert part in headline


def test_errors_are_compared_with_their_estimates_between_the_training_points(finished: Recorded) -> None:
    """Four of the nine validation points are corners, and one is the centre: training points."""
    charts = charts_of(page_of(finished))
    ratios = np.array(charts["ratio_map"]["values"], dtype=float).reshape(3, 3)
    errors = np.array(charts["error_map"]["values"], dtype=float).reshape(3, 3)
    assert np.isnan(ratios[::2, ::2]).all()
    assert np.isnan(ratios[1, 1])
    assert finished.surrogate is not None
    edge = [[charts["ratio_map"]["axes"][0][0], charts["ratio_map"]["axes"][1][1]]]
    estimate = finished.surrogate.relative_std(np.array(edge))[0]
    assert ratios[0, 1] == pytest.approx(errors[0, 1] / estimate, rel=1e-3)


def test_the_other_sections_follow(finished: Recorded) -> None:
    report = finished.report(
        diagnostics=[{"kind": "few-points", "message": "5 points do not tell", "remedy": "budget.solver_runs: more"}],
        dropped_stages={"sine-features": 0.0123},
        error_split=[dict.fromkeys(PARTS, 0.01)] * 2,
        scaling_laws={"rate of time": "a^1", "unit of u": "w^-0.5"},
    )
    page = page_now(finished, report)
    for part in (
        "mlasdi predict models:/small/2 --at a=0.8 w=1 --root",
        "few points : 5 points do not tell Try budget.solver_runs: more",
        f"2. kriging {percent(report['stages'][1]['leave_one_out'])}",
        "tried and dropped: sine-features 1.23 %",
        "found variables in which the trajectories are alike, and interpolates them there: rate of time a^1; "
        "unit of u w^-0.5.",
        "solve 2.5 s",
        "9 validation solves are not part of the budget",
        "solver: burgers1d",
        "max_failures: 5",
    ):
        assert part in page.text, part
    assert [trace["y"] for trace in charts_of(page)["error_split"]["traces"]] == [[1.0, 1.0]] * 5
    rows = [attributes.get("class") for tag, attributes in page.found if tag == "tr"]
    assert rows.count("solved") == 5


def test_a_running_campaign_is_in_progress_and_lists_failures(running: Recorded) -> None:
    page = page_of(running)
    assert "in progress" in page.text
    assert "this report describes the model of round 1" in page.text
    assert "Cost so far 10 solver runs, 1 of them failed" in page.text
    assert f"not-converged : {FAILURE.message}" in page.text
    assert "Predict with it" not in page.text
    points = charts_of(page)["points"]
    assert [(p["number"], p["status"], p["chosen"]) for p in points if p["status"] != "solved" or p["chosen"]] == [
        (9, "failed", False),
        (10, "solved", True),
    ]


def test_a_resumed_campaign_is_no_longer_finished(tmp_path: Path) -> None:
    """With a larger budget, its `report.json` is that of the earlier end."""
    campaign = Recorded(tmp_path, waves(("p",)), [(1.0,), (2.0,), (1.5,)])
    campaign.train()
    campaign.finish()
    assert "finished" in page_now(campaign).text
    with campaign.ledger() as ledger:
        campaign.solve(ledger, 2, "train", np.array([[1.2]]))
    page = page_now(campaign)
    assert "in progress" in page.text
    assert "Cost so far 4" in page.text


def test_without_validation_errors_are_estimates(unvalidated: Recorded) -> None:
    page, report = page_of(unvalidated), unvalidated.report()
    assert (
        f"Error {percent(report['error_estimate'])} largest error over the box, estimated by the model; not validated"
        in page.text
    )
    assert "Coverage not validated" in page.text
    assert "point with the largest estimated error" in page.text
    assert "Without validation, the error between the training points is not measured" in page.text
    assert "validated, largest" not in page.text
    charts = charts_of(page)
    assert (charts["error_map"], charts["reliability"]) == (None, None)
    assert all("training point" in trajectory["label"] for trajectory in charts["trajectories"])


def test_before_there_is_a_model(begun: Recorded) -> None:
    page = page_of(begun)
    assert "Error not known yet no model has been trained" in page.text
    assert "signal : killed" in page.text
    charts = charts_of(page)
    assert (charts["uncertainty_map"], charts["convergence"], charts["trajectories"]) == (None, None, [])


def test_a_lost_solution_costs_only_its_trajectory(tmp_path: Path) -> None:
    campaign = Recorded(tmp_path, waves(("p",)), [(1.0,), (2.0,), (1.5,)])
    campaign.train()
    for path in campaign.store.root.glob("*.h5"):
        path.unlink()
    page = page_now(campaign)
    assert page.text.count("is missing from the store or damaged") == 2
    assert charts_of(page)["trajectories"] == []
    assert charts_of(page)["uncertainty_map"] is not None


@pytest.fixture(scope="module")
def diverged(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Validated, and infinite at one of the validation points; all that it predicts is infinite, too."""
    campaign = Recorded(tmp_path_factory.mktemp("diverged"), BURGERS, CORNERS_AND_CENTRE, grid=3)
    campaign.train()
    path = campaign.config.folder / "assessments" / "round-001.npz"
    assessment = Assessment.load(path)
    assessment.errors[:, 5] = np.inf
    assessment.save(path)

    def predict(self: Surrogate, mu: Any, t: np.ndarray) -> Prediction:
        return Prediction(t, *np.full((2, 1, len(t), self.layout.n_state), np.inf))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Surrogate, "predict", predict)
        page_of(campaign)
    return campaign


def test_a_prediction_that_diverged_is_not_a_number(diverged: Recorded) -> None:
    page = page_of(diverged)
    assert "Error not finite largest at 9 validation points; mean unknown" in page.text
    assert "Where a=0.8 w=1.1 the prediction diverges here" in page.text
    charts = charts_of(page)
    assert charts["error_map"]["values"][5] is None
    assert charts["trajectories"][0]["mu"] == {"a": 0.8, "w": 1.1}
    assert set(charts["trajectories"][0]["errors"]) == {None}


def test_a_campaign_that_has_not_started(finished: Recorded, tmp_path: Path) -> None:
    config = finished.config.model_copy(update={"root": tmp_path})
    with pytest.raises(NothingToReport, match=r"'small' has not started: there is no .*ledger\.db"):
        write_html_report(config)
    assert not list(tmp_path.iterdir())


# What is drawn


def test_the_player_shows_the_truth_and_what_the_surrogate_makes_of_it(finished: Recorded) -> None:
    surrogate = finished.surrogate
    assert surrogate is not None
    shown = charts_of(page_of(finished))["trajectories"]
    labels = ["worst validation point", "median validation point", "hardest training point"]
    assert [one["label"] for one in shown] == labels
    assert shown[0]["error"] == pytest.approx(finished.report()["max_relative_error"], rel=1e-3)
    for one in shown:
        t, (field,) = np.array(one["t"]), one["fields"]
        solved = finished.fom.solve(one["mu"])
        truth = solved.u[np.abs(solved.t[:, None] - t).argmin(axis=0)]
        prediction = surrogate.predict(one["mu"], t)
        assert prediction.std is not None
        wanted = {"truth": truth, "difference": prediction.mean[0] - truth, "std": prediction.std[0]}
        for name, values in wanted.items():
            np.testing.assert_allclose(unpacked(field[name], len(t)), values, atol=np.ptp(values) / 1e5 + 1e-9)
        np.testing.assert_allclose(one["errors"], relative_error(truth, prediction.mean[0]), rtol=1e-3, atol=1e-9)


def test_what_a_mask_leaves_out_is_left_out(running: Recorded) -> None:
    shown = charts_of(page_of(running))["trajectories"][0]
    layout = running.fom.layout
    assert layout is not None
    assert layout.mask is not None
    assert [field["name"] for field in shown["fields"]] == ["u", "v"]
    for field in shown["fields"]:
        values = unpacked(field["truth"], len(shown["t"]))
        np.testing.assert_array_equal(np.isfinite(values), np.tile(layout.mask.ravel(), (len(shown["t"]), 1)))


@pytest.mark.parametrize("campaign", ["finished", "running", "unvalidated"])
def test_charts_are_what_plotly_takes(request: pytest.FixtureRequest, campaign: str) -> None:
    charts = charts_of(page_of(request.getfixturevalue(campaign)))
    drawn = [charts[name] for name in ("convergence", "reliability", "cost") if charts[name]]
    assert len(drawn) >= 2
    for chart in drawn:
        go.Figure(chart["traces"], chart["layout"])  # raises ValueError for what Plotly does not know


def test_charts_say_nothing_where_there_is_nothing() -> None:
    assert convergence([], 0.01) is None
    assert convergence([{"solver_runs": 4, "estimate": None, "max_error": None, "mean_error": None}], None) is None
    assert error_split(["kriging"], None) is None
    assert reliability(None) is None
    assert cost({}) is None
    assert timeline([]) is None
    assert timeline([Span(UNKNOWN, 0, SOLVE, 1.0, 0.0, 2.0)]) is None


def test_the_timeline_has_a_row_for_each_place_of_a_host() -> None:
    found = [
        Span("a:1", 0, SOLVE, 1.0, 0.0, 2.0),
        Span("a:2", 1, SOLVE, 1.0, 0.5, 1.5),
        Span("b:3", 0, TRAIN, 1.0, 2.0, 3.5),
        Span(UNKNOWN, 0, WASTED, 1.0, 0.0, 9.0),
    ]
    chart = timeline(found)
    assert chart is not None
    drawn = {trace["name"]: (trace["y"], trace["base"], trace["x"]) for trace in chart["traces"]}
    assert drawn == {SOLVE: (["a 1", "a 2"], [0.0, 0.5], [2.0, 1.0]), TRAIN: (["b 1"], [2.0], [1.5])}
    assert chart["layout"]["yaxis"]["categoryarray"] == ["b 1", "a 2", "a 1"]  # from the bottom


def test_a_timeline_of_very_many_solves_keeps_the_longest() -> None:
    found = [Span("a:1", 0, SOLVE, 1.0, float(i), i + 0.001 * (i + 1)) for i in range(MAX_BARS + 10)]
    chart = timeline(found)
    assert chart is not None
    (trace,) = chart["traces"]
    assert len(trace["x"]) == MAX_BARS
    assert trace["base"][0] == 10.0


def test_convergence_is_in_per_cent_and_leaves_out_what_is_unknown() -> None:
    rounds = [
        {"solver_runs": 4, "estimate": None, "max_error": 0.02, "mean_error": float("inf")},
        {"solver_runs": 5, "estimate": 0.004, "max_error": 0.01, "mean_error": None},
    ]
    chart = convergence(rounds, 0.001)
    assert chart is not None
    assert {trace["name"]: trace["y"] for trace in chart["traces"]} == {
        "validated, largest": [2.0, 1.0],
        "estimate": [None, 0.4],
    }
    assert chart["layout"]["shapes"][0]["y0"] == pytest.approx(0.1)
    go.Figure(chart["traces"], chart["layout"])


def test_error_split_has_a_bar_for_each_part() -> None:
    parts = {"projection": 0.0, "autoencoder": 0.01, "latent_dynamics": 0.02, "interpolation": None, "total": 0.03}
    chart = error_split(["first"], [parts])
    assert chart is not None
    assert [trace["y"] for trace in chart["traces"]] == [[0.0], [1.0], [2.0], [None], [3.0]]
    go.Figure(chart["traces"], chart["layout"])


def test_values_on_a_grid_keep_their_places_and_holes_are_empty() -> None:
    space = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("b", 1.0, 100.0, scale="log")))
    mu = space.grid([2, 3])
    found = over_box(np.delete(mu, 3, axis=0), np.array([0.0, 0.1, 0.2, np.inf, 0.5]))
    assert found == {"axes": [[0, 1], [1, 10, 100]], "values": [0, 0.1, 0.2, None, None, 0.5]}
    assert largest(found, space) == {"a": 1.0, "b": 100.0}


def test_values_off_a_grid_keep_their_points() -> None:
    space = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 1.0)))
    mu = space.sobol(8, seed=0)
    found = over_box(mu, np.arange(8.0))
    np.testing.assert_allclose(found["mu"], mu, rtol=1e-6)
    assert list((largest(found, space) or {}).values()) == pytest.approx(mu[7], rel=1e-6)
    assert largest(over_box(mu, np.full(8, np.nan)), space) is None


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e200])
def test_packed_values_come_back_to_five_digits(scale: float) -> None:
    values = scale * np.random.default_rng(0).normal(size=(4, 25))
    values[1, 3] = np.nan
    found = unpacked(packed(values), 4)
    np.testing.assert_allclose(found, values, atol=np.nanmax(values) * 1e-4)
    assert np.isnan(found[1, 3])


@pytest.mark.parametrize(
    ("given", "wanted"), [([7.0, 7.0], 7.0), ([np.inf, np.nan], np.nan), ([-1.7e308, 1.7e308], np.nan)]
)
def test_packing_what_has_no_width(given: list[float], wanted: float) -> None:
    """Constant, not finite at all, or wider than a number can be."""
    found = packed(np.array([given]))
    assert json.dumps(found, allow_nan=False)
    np.testing.assert_array_equal(unpacked(found, 1), [[wanted, wanted]])


def test_three_axes_are_cut_where_the_difference_is_largest() -> None:
    x = {"x": np.arange(4.0), "y": np.arange(5.0), "z": np.arange(6.0)}
    layout = StateLayout(("u",), x, coordinate_units={"z": "m"})
    difference = np.zeros((2, 4, 5, 6))
    difference[1, 2, 3, 4] = 1.0
    places = Places.of(layout, difference, 1000)
    assert (places.kind, places.elsewhere, places.to_scale) == ("grid", "z [m] = 4", True)
    values = np.random.default_rng(0).normal(size=difference.shape)
    np.testing.assert_array_equal(places.take(values), values[..., 4].reshape(2, 20))


def test_places_are_thinned_evenly_and_keep_to_the_limit() -> None:
    layout = StateLayout(("u",), {"x": np.arange(400.0), "v": np.arange(50.0)})
    places = Places.of(layout, np.zeros((1, 400, 50)), 600)
    x, v = places.axes.values()
    assert 300 <= len(x) * len(v) <= 600
    assert not places.to_scale
    for along in (x, v):
        assert np.ptp(np.diff(along)) == 0
    values = np.arange(20_000.0).reshape(1, 400, 50)
    np.testing.assert_array_equal(places.take(values)[0], (50 * x[:, None] + v).ravel())


def test_scattered_points_stay_points_and_a_scattered_line_is_put_in_order() -> None:
    rng = np.random.default_rng(0)
    plane = StateLayout(("u",), {"x": rng.random(90), "y": rng.random(90)}, scattered=True)
    places = Places.of(plane, np.zeros((2, 90)), 40)
    assert places.kind == "points"
    assert places.take(rng.random((2, 90))).shape == (2, len(next(iter(places.axes.values())))) == (2, 30)
    x = rng.random(20)
    line = Places.of(StateLayout(("u",), {"x": x}, scattered=True), np.zeros((1, 20)), 1000)
    np.testing.assert_array_equal(line.take(x[None])[0], np.sort(x))


# That it is safe, and complete in itself


@pytest.mark.parametrize(
    "campaign", ["finished", "running", "unvalidated", "begun", pytest.param("many", marks=pytest.mark.slow)]
)
def test_nothing_is_fetched_and_only_our_scripts_run(request: pytest.FixtureRequest, campaign: str) -> None:
    recorded: Recorded = request.getfixturevalue(campaign)
    page = page_of(recorded)
    sources = [attributes[key] for _, attributes in page.found for key in ("src", "href") if key in attributes]
    assert sources == ["data:,"]
    policies = [a["content"] for tag, a in page.found if tag == "meta" and "Content-Security-Policy" in a.values()]
    (nonce,) = {a["nonce"] for tag, a in page.found if tag == "script" and "type" not in a}
    assert f"default-src 'none'; script-src 'nonce-{nonce}'" in str(policies)
    assert page_file(recorded).stat().st_size < MAX_BYTES


def test_each_page_has_its_own_nonce(begun: Recorded) -> None:
    nonces = [{a["nonce"] for _, a in page_now(begun).found if "nonce" in a} for _ in range(2)]
    assert len(nonces[0] | nonces[1]) == 2


def test_names_and_messages_are_text(running: Recorded) -> None:
    page = page_of(running)
    assert page.text.count(HOSTILE) >= 3  # the card, the table of solves, the failure
    assert not [tag for tag, _ in page.found if tag == "img"]
    assert not [a for _, a in page.found if any(key.startswith("on") for key in a)]
    assert charts_of(page)["box"][0]["name"] == HOSTILE


@pytest.mark.slow
def test_many_large_fields_stay_within_the_limit(tmp_path: Path) -> None:
    campaign = Recorded(tmp_path, waves(("p",), n_y=300), [(1.0,), (2.0,), (1.5,)], grid=4)
    campaign.train()
    page = page_of(campaign)
    shown = json.dumps(charts_of(page)["trajectories"])
    assert 0.4 * MAX_CHARACTERS < len(shown) < 1.1 * MAX_CHARACTERS
    assert page_file(campaign).stat().st_size < MAX_BYTES


def test_long_ledgers_are_cut(monkeypatch: pytest.MonkeyPatch, finished: Recorded) -> None:
    monkeypatch.setattr(html_report, "MAX_ROWS", 2)
    page = page_now(finished)
    assert "5 points; no failed attempts; 3 more are only in the ledger" in page.text
    assert [a.get("class") for tag, a in page.found if tag == "tr"].count("solved") == 2


# The command, and MLflow


def mlasdi(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="mlasdi")


def test_the_command_writes_into_the_campaign_or_where_it_is_told(begun: Recorded, tmp_path: Path) -> None:
    result = mlasdi("report", begun.path)
    own = begun.config.folder / "report.html"
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{own}\n", "")
    out = tmp_path / "page.html"
    result = mlasdi("report", begun.path, "--out", out, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = {"campaign": "small", "file": str(out), "bytes": out.stat().st_size, "figures": []}
    assert json.loads(result.stdout) == found
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert "<title>small: report</title>" in own.read_text()


def test_the_command_refuses(begun: Recorded, finished: Recorded, tmp_path: Path) -> None:
    for arguments, code, message in (
        (["--out", tmp_path / "no" / "page.html"], 2, "there is no folder"),
        (["--out", tmp_path], 2, "that is a folder; name a file in it"),
        (["--figures", "tiff"], 2, "--figures 'tiff': allowed: png, svg, pdf"),
        (["--figures", "pdf"], 1, "campaign 'small' has no model yet, and no figures"),
        ([f"root={tmp_path}"], 1, f"there is no {tmp_path}/campaigns/small/ledger.db; start it with: mlasdi run"),
    ):
        result = mlasdi("report", begun.path, *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert message in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr
    shutil.copytree(finished.config.root, tmp_path / "copy")
    (tmp_path / "copy/campaigns/small/models/round-001/surrogate.json").write_text("{")
    result = mlasdi("report", finished.path, f"root={tmp_path / 'copy'}")
    assert result.exit_code == 1
    assert "surrogate.json is damaged" in result.stderr


def test_the_page_opens_in_the_browser(begun: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    page = (begun.config.folder / "report.html").resolve()
    assert mlasdi("report", begun.path, "--open").stderr == ""
    assert "no browser can be opened here" in mlasdi("report", begun.path, "--open").stderr
    assert opened == [page.as_uri()] * 2


def test_the_page_of_a_campaign_that_runs_reloads_itself_until_it_ends(
    begun: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(begun.config.root, tmp_path / "copy")
    page = tmp_path / "copy" / "campaigns" / "small" / "report.html"
    with Ledger(page.with_name("ledger.db")) as ledger:
        run = ledger.activity_log.begin("run")
        seen: list[bool] = []

        def end(_seconds: float) -> None:
            seen.append('http-equiv="refresh"' in page.read_text())
            ledger.activity_log.end(run)

        monkeypatch.setattr("mlasdi.agent.cli.progress_commands.time.sleep", end)
        result = mlasdi("watch", begun.path, f"root={tmp_path / 'copy'}")
    assert (result.exit_code, seen) == (0, [True])
    assert result.stdout.splitlines() == [
        str(page),
        *(f"{state}: 5 solver runs, estimated error unknown" for state in ("running", "stopped")),
    ]
    assert 'http-equiv="refresh"' not in page.read_text()


@pytest.mark.slow
def test_figures_for_print(finished: Recorded, tmp_path: Path) -> None:
    shutil.copytree(finished.config.root, tmp_path / "copy")
    result = mlasdi("report", finished.path, f"root={tmp_path / 'copy'}", "--figures", "svg,pdf", "--json")
    assert result.exit_code == 0, result.stderr
    paths = [Path(path) for path in json.loads(result.stdout)["figures"]]
    assert {"error_map.svg", "error_map.pdf", "ratio_map.pdf", "convergence.svg"} <= {path.name for path in paths}
    assert all(path.read_bytes()[:5] in (b"%PDF-", b"<?xml") for path in paths)


def test_help_has_an_example() -> None:
    for command in ("report", "watch"):
        assert f"Example: mlasdi {command} configs/burgers1d.yaml" in mlasdi(command, "--help").stdout


def test_the_end_of_a_campaign_logs_it(root: Path, finished: Recorded) -> None:
    shutil.copytree(finished.config.root, root / "mlruns", dirs_exist_ok=True)
    config = finished.config.model_copy(update={"root": root / "mlruns"})
    publisher = Publisher(config, "c1")
    publisher.start()
    publisher.finish(finished.report(), [])
    client: MlflowClient = connect(store_uri(None, config.root))
    assert {file.path for file in client.list_artifacts(publisher.tracker.run_id)} == {"config.yaml", "report.html"}
    assert "finished" in Elements((config.folder / "report.html").read_text()).text


def test_a_fault_in_the_page_does_not_keep_a_campaign_from_its_end(
    root: Path, finished: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = finished.config.model_copy(update={"root": root / "mlruns"})
    publisher = Publisher(config, "c1")
    publisher.start()

    def broken(*_: Any, **__: Any) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr("mlasdi.agent.campaign.publication.write_html_report", broken)
    with pytest.warns(UserWarning, match="the HTML report cannot be written: OSError: no space left"):
        publisher.finish(finished.report(), [])
    client: MlflowClient = connect(store_uri(None, config.root))
    assert client.get_run(publisher.tracker.run_id).info.status == "FINISHED"


# In a browser


class Visit:
    """A page that is open in the browser, with all that it complained of and asked the network for."""

    def __init__(self, browser: Any, path: Path, screen: str, scheme: str = "light") -> None:
        width, height = SCREENS[screen]
        is_phone = screen == "phone"
        self.page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=is_phone, is_mobile=is_phone
        )
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-charts]", state="attached")

    def fine(self) -> bool:
        """Drawn, without a complaint, a request or anything wider than the screen."""
        drawn = self.page.evaluate("document.documentElement.dataset.charts")
        overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        asked = [url for url in self.requests[1:] if not url.startswith(("data:", "blob:"))]
        assert (drawn, self.complaints, asked, overflow) == ("drawn", [], [], 0)
        return True


QUICK = [("running", "phone")]
ALL = [
    (campaign, screen)
    for campaign in ("finished", "running", "unvalidated", "begun", "many", "diverged")
    for screen in SCREENS
]


@pytest.mark.parametrize(
    ("campaign", "screen"), [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in ALL]
)
def test_in_a_browser(browser: Any, request: pytest.FixtureRequest, campaign: str, screen: str) -> None:
    visit = Visit(
        browser, page_file(request.getfixturevalue(campaign)), screen, "dark" if screen == "phone" else "light"
    )
    assert visit.fine()
    assert visit.page.title() == "small: report"
    charts = visit.page.locator(".chart")
    assert charts.count() == visit.page.locator(".chart .main-svg:first-child").count() >= (campaign != "begun")
    visit.page.click("#theme")
    assert visit.fine()


def test_the_page_needs_no_network_and_offers_no_upload(browser: Any, finished: Recorded) -> None:
    context = browser.new_context()
    context.set_offline(True)
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file(finished).as_uri())
    page.wait_for_selector("html[data-charts=drawn]", state="attached")
    page.hover("#convergence")
    buttons = page.locator(".modebar-btn")
    titles = {buttons.nth(k).get_attribute("data-title") for k in range(buttons.count())}
    assert "Zoom" in titles
    assert not [title for title in titles if title and "share" in title.lower()]
    assert not [url for url in requests[1:] if not url.startswith(("data:", "blob:"))]
    context.close()


@pytest.mark.slow
def test_pointing_at_the_map_tells_parameters_and_error(browser: Any, finished: Recorded) -> None:
    visit = Visit(browser, page_file(finished), "laptop")
    visit.page.locator("#error-map").scroll_into_view_if_needed()
    plot = visit.page.locator("#error-map .nsewdrag").bounding_box()
    visit.page.mouse.move(plot["x"] + 0.5 * plot["width"], plot["y"] + 0.1 * plot["height"])
    hover = visit.page.locator("#error-map .hovertext").text_content()
    found = charts_of(page_of(finished))["error_map"]
    assert found["axes"][1] == [0.9, 1.0, 1.1]
    error = found["values"][1 * 3 + 2]
    assert hover.startswith("a = 0.8w = 1.1error: ")
    assert float(hover.removeprefix("a = 0.8w = 1.1error: ").removesuffix(" %")) == pytest.approx(100 * error, rel=5e-3)
    assert visit.fine()


@pytest.mark.slow
def test_slices_of_more_than_two_parameters(browser: Any, running: Recorded) -> None:
    """What is drawn is the slice of the map at the values that the reader chose."""
    visit = Visit(browser, page_file(running), "laptop")
    controls = visit.page.locator("#error-map-controls select")
    assert controls.count() == 3
    controls.nth(0).select_option(label="c")  # across; up stays b, and the first parameter is what is left
    controls.nth(2).select_option("2")
    found = charts_of(page_of(running))["error_map"]
    values = np.array(found["values"], dtype=float).reshape([len(axis) for axis in found["axes"]])
    drawn = np.array(visit.page.evaluate("document.getElementById('error-map').data[0].z"))
    shared = [value for one in ("error_map", "uncertainty_map") for value in charts_of(page_of(running))[one]["values"]]
    known = [value for value in shared if value]  # both maps have one scale
    np.testing.assert_allclose(10**drawn, np.maximum(values[2], max(min(known), max(known) / 100)), rtol=1e-6)
    assert visit.page.title() == "small: report"
    assert visit.fine()


@pytest.mark.slow
def test_the_player_plays(browser: Any, finished: Recorded) -> None:
    visit = Visit(browser, page_file(finished), "laptop")
    (worst, *_) = charts_of(page_of(finished))["trajectories"]
    assert visit.page.input_value("#player-time") == str(int(np.argmax(worst["errors"])))
    visit.page.fill("#player-time", "0")
    truth = unpacked(worst["fields"][0]["truth"], len(worst["t"]))
    curve = "document.querySelector('#player .chart').data.find((trace) => trace.name === 'truth').y"
    np.testing.assert_allclose(visit.page.evaluate(curve), truth[0], rtol=1e-9, atol=1e-12)
    visit.page.click("#player-play")
    visit.page.locator("#player-now", has_not_text="t = 0,").wait_for()
    visit.page.click("#player-play")
    frame = int(visit.page.input_value("#player-time"))
    np.testing.assert_allclose(visit.page.evaluate(curve), truth[frame], rtol=1e-9, atol=1e-12)
    visit.page.select_option("#player-trajectory", label="median validation point")
    assert "a = " in visit.page.text_content("#player-about")
    assert visit.fine()


@pytest.mark.slow
def test_a_browser_that_cannot_unpack_says_so(browser: Any, finished: Recorded, tmp_path: Path) -> None:
    """The tables stay."""
    path = tmp_path / "page.html"
    path.write_text(page_file(finished).read_text().replace("new DecompressionStream", "new NoSuchStream"))
    visit = Visit(browser, path, "laptop")
    assert "The charts cannot be drawn by this browser" in visit.page.text_content("#trouble")
    assert visit.page.is_visible("#trouble")
    assert visit.page.locator("tr.solved").count() == 5
