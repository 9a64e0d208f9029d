"""The synchronous schedule: choose, solve, train, assess, publish, and repeat; equal settings give equal campaigns."""

import numpy as np

from mlasdi.agent.campaign.delivery import Delivery
from mlasdi.agent.campaign.rounds import Rounds
from mlasdi.agent.choosing import initial_design
from mlasdi.agent.config import StopReason


class Synchronous:
    """Rounds of a campaign whose steps run one after the other."""

    def __init__(self, rounds: Rounds, delivery: Delivery) -> None:
        self.rounds, self.delivery = rounds, delivery
        self.config, self.ledger, self.solves = rounds.config, rounds.ledger, rounds.solves

    def run(self) -> tuple[int, StopReason]:
        """Work until there is a reason to stop; returns the last round that has a model, and the reason.

        Raises:
            SolvesError: too few solves succeed for a model, or a solution is missing.
        """
        round = max(self.ledger.last_round("propose"), 0)
        while True:
            self.rounds.monitor.round_started(round, self.rounds.runs())
            if not self._propose(round):
                return round - 1, StopReason.NO_NEW_POINT
            self._solve(round)
            self.rounds.train(round)
            self.rounds.assess(round, validate=True)
            with self.rounds.timed("publish"):
                self.delivery.publish_pending()
            reason = self.rounds.stop_reason(round)
            if reason is not None:
                return round, reason
            round += 1

    def _propose(self, round: int) -> bool:
        """Choose the points of the round; returns False if there is no new point."""
        if self.ledger.step_payload(round, "propose") is None:
            with self.rounds.timed("acquire"):
                # Points without the step: the agent was killed between both, or its user has added runs to round 0.
                if round == 0 or not self.ledger.points("train", round=round):
                    self.solves.record(round, "train", *self._choose(round))
                n_points = len(self.ledger.points("train", round=round))
                self.ledger.complete_step(round, "propose", {"n_points": n_points})
        return self.ledger.step_payload(round, "propose") != {"n_points": 0}

    def _choose(self, round: int) -> tuple[np.ndarray, list[float | None]]:
        """Points of a round and their scores: the initial design, then those with the best acquisition function."""
        sampling = self.config.sampling
        if round == 0:
            design = initial_design(self.rounds.space, sampling, self.config.seed, self.solves.available)
            return design, [None] * len(design)
        wanted = sampling.batch if sampling.rounds == "fixed" else self.rounds.greedy_size()
        return self.rounds.choose(round - 1, self.rounds.budget.of_round(wanted, self.rounds.runs()))

    def _solve(self, round: int) -> None:
        if self.ledger.step_payload(round, "solve") is None:
            with self.rounds.timed("solve"):
                self.solves.run("train", self.ledger.points("train", round=round))
                while self._needs_more() and self.solves.add_replacement_point(round, self.config.seed):
                    self.solves.run("train", self.ledger.points("train", round=round))
            self.ledger.complete_step(round, "solve", {})

    def _needs_more(self) -> bool:
        """Whether there are too few solutions for a surrogate, and the budget still allows more."""
        return self.ledger.count("train", "solved") < 2 and self.rounds.stop_reason(None) is None
