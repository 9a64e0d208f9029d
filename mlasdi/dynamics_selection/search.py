"""Search for the hyperparameters of latent dynamics: starts of all forms, then coordinate descents from the best."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from mlasdi.dynamics_selection.evaluation import Evaluator, Finalist, score
from mlasdi.dynamics_selection.hyperparameters import allows_powers, degrees, forms_for, neighbours, ranks
from mlasdi.dynamics_selection.probes import Probes, is_identifiable
from mlasdi.dynamics_selection.work import Effort, Work, budget, estimated_seconds, n_unknowns
from mlasdi.operator_inference import (
    KERNEL,
    LINEAR,
    OF_SECOND_ORDER,
    Forcing,
    Form,
    OperatorInferenceSettings,
    TrajectoryData,
    find_forcing,
)

Json = dict[str, Any]

MOST_ROWS: dict[Effort, int] = {"quick": 500, "normal": 1000, "thorough": 2100}  # of kernel forms, while searching
MOST_UNKNOWNS: dict[Effort, int] = {"quick": 500, "normal": 900, "thorough": 3000}  # per latent coordinate
# Beyond this many times the error to beat, what the starts reach is not worth more than the search of effort "quick". A
# guess that saves time; it was not measured how often a longer search would win after all.
FAR = 10.0
FINALISTS = 6
# Of the work of a search, at most, for the starts: the rest is for what lies around them. Set when the starts of heat4
# with 22 points took five times the work of a whole search; other shares were not tried.
SHARE_OF_STARTS = 0.6
# Of the same work, at most, for other powers of the parameters at one candidate of a form that is not linear, and for
# the comparison of powers by the equations of a linear form. Set when the first took the time of the search on
# ignition with 20 points; other shares were not tried.
SHARE_OF_POWERS = 0.05


class SelectionSettings(BaseModel, frozen=True, extra="forbid"):
    """How much to search, and what is known beside the trajectories."""

    effort: Effort = "normal"
    frequencies: tuple[float, ...] | None = Field(
        None, description="angular, of a periodic forcing; null: found in the trajectories; []: there is none"
    )
    known_start: bool = Field(False, description="whether initial states are given when predicting")
    forms: tuple[Form, ...] | None = Field(None, description="null: all that the times admit")
    to_beat: float = Field(np.inf, description="leave-one-out error that is reached without latent dynamics")
    carried_over: tuple[OperatorInferenceSettings, ...] = Field(
        (), description="what was best with fewer trajectories of the same problem: the search begins there, too"
    )


@dataclass
class Search:
    """Coordinate descent over the hyperparameters, form by form, within a budget of work."""

    data: TrajectoryData
    probes: Probes
    settings: SelectionSettings
    deadline: float
    work: Work = field(default_factory=Work)
    forcing: Forcing = field(default_factory=Forcing)
    evaluator: Evaluator = field(init=False)
    _identifiable: dict[tuple, bool] = field(default_factory=dict)
    coarse: Evaluator = field(init=False)

    def __post_init__(self) -> None:
        self.evaluator = Evaluator(self.data, self.settings.known_start, self.work)
        thinning = int(np.ceil(self.data.n_points * len(self.data.t) / MOST_ROWS[self.settings.effort]))
        thinning = max(min(thinning, (len(self.data.t) - 1) // 40), 1)
        self.coarse = self.evaluator
        if thinning > 1:
            self.coarse = Evaluator(self.data.thinned(thinning), self.settings.known_start, self.work)
        if self.settings.frequencies is not None:
            self.forcing = Forcing(self.settings.frequencies)
        elif max(degrees(self.data)) > 0:
            self.forcing = find_forcing(self.data, ranks(self.data, "linear")[-1], min(2, max(degrees(self.data))))

    def _evaluator(self, form: Form) -> Evaluator:
        return self.coarse if form in KERNEL else self.evaluator

    def run(self) -> None:
        """One look at the starts of all forms, then coordinate descents from the best of them on."""
        admitted = forms_for(self.data)
        forms = [form for form in admitted if self.settings.forms is None or form in self.settings.forms]
        starts = [self._carried_over(one) for one in self.settings.carried_over if one.form in forms]
        starts += [self._admitted(start) for form in forms for start in self._starts(form)]
        values = self._looked_at(starts)
        order = sorted(values, key=lambda start: values[start])
        if values[order[0]] > FAR * self.settings.to_beat:
            self.deadline = min(self.deadline, budget("quick", len(self.data.fold_points)))
        for k, start in enumerate(order):
            # The better half of the starts shares the time; what a descent leaves of its share goes to the others.
            now = self.work.seconds
            self._descend(start, now + (self.deadline - now) / max(len(order) // 2 - k, 1))

    def _looked_at(self, starts: list[OperatorInferenceSettings]) -> dict[OperatorInferenceSettings, float]:
        """Scores of the starts, cheap ones first, until these have taken their share of the work."""

        def cost(start: OperatorInferenceSettings) -> float:
            return estimated_seconds(self._evaluator(start.form).data, start)

        values: dict[OperatorInferenceSettings, float] = {}
        for start in sorted(starts, key=cost):
            if values and self.work.seconds + cost(start) > SHARE_OF_STARTS * self.deadline:
                break
            values[start] = self._evaluator(start.form)(start)
        return values

    def _carried_over(self, settings: OperatorInferenceSettings) -> OperatorInferenceSettings:
        """The settings, with what these trajectories have of ranks, degrees and frequencies."""
        rank = min(ranks(self.data, settings.form), key=lambda one: abs(one - settings.rank))
        changes: Json = {"rank": rank, **self.forcing.settings}
        degree = max(degrees(self.data))
        if settings.degree > degree:
            changes |= {"degree": degree, "parameter_degrees": ()}
        return self._admitted(settings.model_copy(update=changes))

    def _admitted(self, start: OperatorInferenceSettings) -> OperatorInferenceSettings:
        """The start, with a degree and a rank that are admitted."""
        while start.degree and not self._admits(start):
            start = start.model_copy(update={"degree": start.degree - 1, "parameter_degrees": ()})
        return start

    def _starts(self, form: Form) -> list[OperatorInferenceSettings]:
        available = ranks(self.data, form)
        degree = min(1, max(degrees(self.data)))
        first = OperatorInferenceSettings(
            form=form, rank=available[len(available) // 2], degree=degree, ridge=1e-8, **self.forcing.settings
        )
        if form in OF_SECOND_ORDER:
            # One pooled operator of many modes: right for a wave equation that knows the parameters by its start alone.
            pooled = {"rank": available[-1], "degree": 0, "ridge": 1e-12, "start": "rest"}
            return [first, first.model_copy(update=pooled), *self._in_powers(first)]
        starts = [first, *self._in_powers(first)] if form in LINEAR else [first]
        if self.settings.effort == "quick" or form in KERNEL:
            return starts
        last = first.model_copy(
            update={"rank": available[-1], "degree": min(2, max(degrees(self.data))), "ridge": 1e-10}
        )
        return [*starts, last]

    def _in_powers(self, start: OperatorInferenceSettings) -> list[OperatorInferenceSettings]:
        """A start with all modes, in the powers of the parameters that fit the equations best; none without powers."""
        if not (any(self.data.ratios) and start.degree):
            return []
        full = start.model_copy(update={"rank": ranks(self.data, start.form)[-1], "ridge": 1e-10})
        found = self.evaluator.simplest_powers(full, SHARE_OF_POWERS * self.deadline)
        return [found] if found.powers else []

    def _descend(self, start: OperatorInferenceSettings, until: float, evaluator: Evaluator | None = None) -> None:
        """Moves to the first better neighbour, until none is better."""
        evaluate = evaluator or self._evaluator(start.form)
        current, value = start, evaluate(start)
        turn, idle = 0, 0
        choices = ("ridge", "degree", "rank", "powers", "start")
        while idle < len(choices):
            better = False
            for other in self._neighbours(current, choices[turn]):
                if self.work.seconds > until:
                    return
                if not self._admits(other):
                    continue
                found = evaluate(other)
                if found < value:
                    current, value, better = other, found, True
            idle = 0 if better else idle + 1
            if not better or choices[turn] == "powers":
                turn = (turn + 1) % len(choices)

    def _neighbours(self, current: OperatorInferenceSettings, choice: str) -> list[OperatorInferenceSettings]:
        """Candidates that differ in one hyperparameter; powers of forms that are not linear if these take little."""
        found = neighbours(current, self.data, (choice,))
        if choice != "powers" or current.form in LINEAR:
            return found
        data = self._evaluator(current.form).data
        seconds = sum(estimated_seconds(data, one) for one in found)
        return found if seconds <= SHARE_OF_POWERS * self.deadline else []

    def _admits(self, settings: OperatorInferenceSettings) -> bool:
        """Whether the folds can judge the degree, and the regression is not too large for the budget."""
        too_many = n_unknowns(self.data, settings) > MOST_UNKNOWNS[self.settings.effort]
        if too_many and settings.form not in KERNEL:  # their number is given, and bounded by `MOST_ROWS`
            return False
        if settings.powers and not allows_powers(self.data, settings):
            return False
        key = (settings.degree, settings.parameter_degrees, settings.powers)
        if key not in self._identifiable:
            self._identifiable[key] = settings.degree == 0 or is_identifiable(self.data, settings, self.probes)
        return self._identifiable[key]

    def finalists(self) -> list[Finalist]:
        """The best candidates, evaluated with all times and the residual."""
        found = {**self.coarse.errors, **self.evaluator.errors}
        order = sorted(found, key=lambda settings: score(found[settings]))
        # Of kernel forms, which are costly, the best few alone.
        n_kernels = 1 if self.settings.effort == "quick" else 2
        kernels = [settings for settings in order[: 2 * FINALISTS] if settings.form in KERNEL][:n_kernels]
        others = [settings for settings in order if settings.form not in KERNEL][:FINALISTS]
        floor = score(self.data.errors(self.data.fold_kriging))
        finals = []
        if kernels and self.coarse is not self.evaluator and self.settings.effort != "quick":
            kernels = self._refined(kernels)
        for settings in [*kernels, *others]:
            known = self.evaluator.errors[settings] if settings in self.evaluator.errors else found[settings]
            if score(known) > floor:
                continue
            model, errors = self.evaluator.with_residual(settings)
            finals.append(Finalist(model, errors))
        return finals

    def _refined(self, kernels: list[OperatorInferenceSettings]) -> list[OperatorInferenceSettings]:
        """The best two of kernel forms with all times: thinned ones need more ridge, and allow lower degrees."""
        until = self.work.seconds + 0.5 * budget(self.settings.effort, len(self.data.fold_points))
        for settings in kernels:
            self.evaluator(settings)
        best = min(kernels, key=self.evaluator)
        self._descend(best, until, self.evaluator)
        tried = [settings for settings in self.evaluator.errors if settings.form in KERNEL]
        return sorted(tried, key=self.evaluator)[:2]
