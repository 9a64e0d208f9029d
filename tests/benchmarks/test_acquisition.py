"""Error against solver runs for every acquisition function; writes ACQUISITION.md, then checks the default."""

from pathlib import Path

import pytest
from acquisition_page import SAVING, Findings, error_figure, page
from acquisition_problems import studies
from acquisition_study import BATCHES, POLICIES, SEEDS, Curve, curve

from mlasdi.agent.figures import save
from mlasdi.training import ModelSettings

pytestmark = [pytest.mark.bench, pytest.mark.timeout(14400)]
PAGE = Path(__file__).with_name("ACQUISITION.md")
FIGURE = PAGE.with_name("acquisition.png")
WITH_DEFAULT_MODEL = ("field-std", "coefficient-std", "sobol")  # each takes minutes
JUDGED = [study.name for study in studies() if study.is_judged]


@pytest.fixture(scope="module")
def found(plain_signatures: None) -> Findings:
    result = Findings()
    for study in studies():
        model = ModelSettings.model_validate({"kind": "snapshot-gp", "n_time": len(study.t)})
        result.curves[study.name] = [told(curve(study, policy, model)) for policy in POLICIES]
        result.batches[study.name] = [told(curve(study, policy, model)) for policy in BATCHES]
    burgers1d = studies()[0].until(14)
    default = ModelSettings.model_validate({"n_time": len(burgers1d.t)})
    for policy in (policy for policy in POLICIES if policy.label in WITH_DEFAULT_MODEL):
        result.with_default_model.append(told(curve(burgers1d, policy, default, SEEDS[:3])))
    save(error_figure(result), FIGURE)
    PAGE.write_text(page(result, FIGURE))
    print(f"written: {PAGE}")
    return result


def told(curve: Curve) -> Curve:
    history = ", ".join(f"{n}: {100 * error:.3g} %" for n, error in zip(curve.runs, curve.median, strict=True))
    print(f"{curve.study.name}, {curve.label}: {history}", flush=True)
    return curve


@pytest.mark.parametrize("problem", JUDGED)
def test_the_default_needs_no_more_runs_than_the_control_to_any_error(found: Findings, problem: str) -> None:
    """But for one run, which hangs on the order in which points of nearly the same deviation are taken."""
    assert found.behind(problem, by_more_than=1) == []


@pytest.mark.parametrize("problem", JUDGED)
def test_the_default_saves_a_fifth_of_the_runs_to_the_target(found: Findings, problem: str) -> None:
    default, control = found.runs_at_target(problem)
    assert default <= (1 - SAVING) * control
