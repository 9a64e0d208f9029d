"""Checks a solver before a campaign: at the centre of the box twice, at corners, and by a training on the solutions."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.agent.cli.plan import Plan, concerns, timed_solve, trial_point
from mlasdi.agent.cli.remedies import failed_solve, remedy, remedy_of, with_remedies
from mlasdi.agent.config import Config
from mlasdi.agent.execution import SolvesError, common_data
from mlasdi.agent.terminal import WorkFailed, described
from mlasdi.formatting import percent, seconds
from mlasdi.solvers import ContractReport, Problem, Snapshots, verify
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import Finding

MAX_ALL_CORNERS = 8  # parameters; of a box with more, some corners are drawn
# Steps of a network in the trial training: enough to see whether it runs.
TRIAL_STEPS = 20
NARROWER = "a narrower box in problem.parameters, in which solutions exist"
# Findings about a trained model that do not depend on the number of points.
TOLD_OF_TRAINING = ("not-trained", "few-times", "unequal-times", "unequal-runs")
# Largest ratio, either way, of the measured noise level to the one in the configuration without a warning.
MAX_RATIO = 2.0


@dataclass(frozen=True)
class Repeatability:
    """Comparison of two solves at one point with the configuration.

    Attributes:
        problems: breaches of the contract; a difference is no breach if the configuration allows noise.
        fact: the difference of the solves and its meaning for `model.noise`; empty if they are equal or their
            difference is a breach.
        concerns: a warning if the noise level in the configuration differs from the measured one.
    """

    problems: tuple[Problem, ...]
    fact: str = ""
    concerns: tuple[Finding, ...] = ()


def check_repeatability(report: ContractReport, model: ModelSettings) -> Repeatability:
    """Compare the noise of two solves with `model.noise`; noise is allowed if that is given and is not `none`."""
    expected = "noise" in model.model_fields_set and model.noise != "none"
    if not (report.noise and expected):
        return Repeatability(report.problems)
    rest = tuple(problem for problem in report.problems if problem.kind != "not-repeatable")
    fact = f"two solves differ by noise of {percent(report.noise)} of the values' standard deviation; "
    if isinstance(model.noise, str):
        return Repeatability(
            rest, fact + f"model.noise: {model.noise} determines the level from the data, if the noise is white"
        )
    ratio = report.noise / model.noise
    fact += f"model.noise is {percent(model.noise)}"
    if 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        return Repeatability(rest, fact)
    message = f"model.noise is {percent(model.noise)}, but two solves differ by {ratio:.2g} times as much"
    return Repeatability(
        rest, fact, (Finding("noise-level", message, f"model.noise: {report.noise:.2g}, or estimate"),)
    )


@dataclass(frozen=True)
class Check:
    """What is known of a solver and its campaign before it runs.

    Attributes:
        plan: cost of the campaign.
        mu: the point at which the contract was checked.
        corners: what was solved at corners: parameters, seconds, number of times, first and last time.
        train_s: seconds of the trial training; None if there was none.
        problems: breaches of the contract, and what ends a campaign.
        concerns: warnings.
        noise: of two solves at `mu`, as in `ContractReport`.
        repeatability: a fact about these; may be empty.
    """

    plan: Plan
    mu: Mapping[str, float]
    corners: tuple[dict[str, Any], ...]
    train_s: float | None
    problems: tuple[Finding, ...]
    concerns: tuple[Finding, ...]
    noise: float
    repeatability: str

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": not self.problems,
            "problems": [asdict(problem) for problem in self.problems],
            "concerns": [asdict(concern) for concern in self.concerns],
            "checked_at": dict(self.mu),
            "corners": list(self.corners),
            "train_s": self.train_s,
            "repeatability": self.repeatability,
            "noise": self.noise,
            **asdict(self.plan),
        }

    def facts(self) -> dict[str, str]:
        """For people: name -> value."""
        found = {"repeatability": self.repeatability} if self.repeatability else {}
        if self.corners:
            found["corners"] = f"{len(self.corners)} solved, {seconds(sum(one['solve_s'] for one in self.corners))}"
        if self.train_s is not None:
            found["trial training"] = f"{len(self.corners) + 1} points, {seconds(self.train_s)}"
        return found


def check_solver(config: Config, n_corners: int) -> Check:
    """Solve twice at the centre of the box and once at each of some corners, and train the model on the solutions.

    Nothing is stored.

    Args:
        n_corners: number of corners; with 0 there is no training.

    Raises:
        WorkFailed: the solver fails at the centre.
    """
    mu = trial_point(config)
    fom = config.problem.spec.build()
    try:
        report = verify(fom, mu)
    except Exception as error:  # a user's solver may fail in any way
        raise WorkFailed(failed_solve(config.problem.solver, mu, error)) from error
    plan = Plan.of(config, n_time=report.n_time, n_state=report.n_state, solve_s=report.solve_s)
    repeated = check_repeatability(report, config.model)
    problems = with_remedies(repeated.problems, config.problem.solver)
    doubts = [*concerns(config, plan), *repeated.concerns]
    solved, train_s = dict[tuple[float, ...], tuple[Snapshots, float]](), None
    if report.solution is not None and not problems:
        for corner in _corners(config, mu, n_corners):
            found = _solved(config, corner)
            if isinstance(found, Finding):
                doubts.append(found)
            else:
                solved[tuple(corner.values())] = found
        if solved:
            mus = [mu, *(config.problem.space.as_dict(corner) for corner in solved)]
            train_s, unlike, told = _trained(config, mus, [report.solution, *(one for one, _ in solved.values())])
            problems, doubts = [*problems, *unlike], [*doubts, *told]
    corners = tuple(
        {"mu": config.problem.space.as_dict(corner), "solve_s": solve_s, "n_time": len(one.t),
         "times": [float(one.t[0]), float(one.t[-1])]}
        for corner, (one, solve_s) in solved.items()
    )  # fmt: skip
    return Check(plan, mu, corners, train_s, tuple(problems), tuple(doubts), report.noise, repeated.fact)


def _corners(config: Config, centre: Mapping[str, float], n: int) -> Iterator[dict[str, float]]:
    """At most `n` corners of the box, each far from those before; of a data set, the points next to them."""
    space, available = config.problem.space, config.choosable()
    vertices = _far_vertices(space.n_params, n)
    middle = space.to_unit(space.as_array(dict(centre)))
    if available is None:
        inner = np.repeat(middle, len(vertices), axis=0)
        points = space.from_unit(space.last_feasible(inner, vertices) if space.is_restricted else vertices)
    else:
        x = space.to_unit(available)
        points = available[[int(np.argmin(np.linalg.norm(x - vertex, axis=1))) for vertex in vertices]]
    seen = [dict(centre)]
    for point in points:
        corner = space.as_dict(point)
        if corner not in seen:
            seen.append(corner)
            yield corner


def _far_vertices(n_params: int, n: int) -> Float[np.ndarray, "n n_params"]:
    """At most `n` different vertices of the unit cube: one and its opposite, and then the one farthest from all."""
    if n_params <= MAX_ALL_CORNERS:
        vertices = np.array(list(product((0.0, 1.0), repeat=n_params)))
    else:
        drawn = np.random.default_rng(0).integers(0, 2, (2**MAX_ALL_CORNERS, n_params)).astype(float)
        vertices = np.concatenate([np.zeros((1, n_params)), np.ones((1, n_params)), drawn])
    chosen, distance = list[int](), np.full(len(vertices), np.inf)
    while len(chosen) < n and distance.max() > 0:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.abs(vertices - vertices[chosen[-1]]).sum(axis=1))
    return vertices[chosen]


def _solved(config: Config, mu: dict[str, float]) -> tuple[Snapshots, float] | Finding:
    """The solution at a point and its seconds, or why there is none."""
    solver = config.problem.solver
    fom = config.problem.spec.build()
    try:
        solution, solve_s = timed_solve(fom, mu)
        broken = solution.problems(fom.layout)
    except Exception as error:  # a user's solver may fail in any way
        helps = remedy_of(error, solver) or NARROWER
        return Finding("corner-fails", f"the solver fails at {mu}: {described(error)}", helps)
    if broken:
        helps = remedy(broken[0].kind, solver) or NARROWER
        return Finding("corner-fails", f"the solution at {mu}: {'; '.join(broken)}", helps)
    return solution, solve_s


def _trained(
    config: Config, mus: list[dict[str, float]], solutions: list[Snapshots]
) -> tuple[float | None, list[Finding], list[Finding]]:
    """Train on a few solutions: seconds, problems that end a campaign, and warnings."""
    start = time.perf_counter()
    try:
        fom, memory_mb = config.problem.spec.build(), config.cluster.train_memory_mb
        data, facts = common_data(fom, config.problem.space, mus, solutions, memory_mb, config.model.run_length)
        surrogate = fit(data, _abridged(config.model), seed=config.seed, info=facts, memory_mb=memory_mb)
    except SolvesError as error:
        return None, [Finding("unlike-solutions", str(error), "the same grid, fields and times at all points")], []
    except Exception as error:  # what a campaign meets after its initial design
        message = f"the model cannot be trained on {len(mus)} solutions: {described(error)}"
        return None, [Finding("training-fails", message, "model.kind: snapshot-gp, or other settings of the model")], []
    findings = (Finding(**finding) for finding in surrogate.record.findings)
    told = [finding for finding in findings if finding.kind in TOLD_OF_TRAINING]
    return time.perf_counter() - start, [], told


def _abridged(model: ModelSettings) -> ModelSettings:
    """The settings with few steps of networks."""

    def shortened(stage: Any) -> Any:
        return stage.model_copy(update={"steps": min(stage.steps, TRIAL_STEPS)}) if hasattr(stage, "steps") else stage

    stages = tuple(shortened(stage) for stage in model.stages)
    return model.model_copy(update={"first_stage": shortened(model.first_stage), "stages": stages})
