"""Campaigns that an earlier version has begun."""

from pathlib import Path

import pytest
from quick_campaign import quick_config, run_quick

from mlasdi.agent.campaign import CampaignError


def test_a_campaign_of_a_version_with_another_default_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation once kept 101 times where nothing was said; its solves are neither repeated nor counted twice."""
    validation = {"grid": 2, "n_time": 101}
    begun = run_quick(quick_config(tmp_path, budget={"solver_runs": 5}, validation=validation), monkeypatch)
    unsaid = quick_config(tmp_path, budget={"solver_runs": 5}, validation={"grid": 2})
    assert run_quick(unsaid, monkeypatch) == begun
    longer = run_quick(quick_config(tmp_path, budget={"solver_runs": 7}, validation={"grid": 2}), monkeypatch)
    assert (longer["solver_runs"], longer["validation_runs"]) == (7, 4)
    said = quick_config(tmp_path, budget={"solver_runs": 7}, validation={"grid": 2, "n_time": None})
    with pytest.raises(CampaignError, match=r"validation\.n_time: 101, now None"):
        run_quick(said, monkeypatch)
