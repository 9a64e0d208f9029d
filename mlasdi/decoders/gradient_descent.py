"""Full-batch Adam: how networks are trained."""

from collections.abc import Callable

import torch
from torch import Tensor

from mlasdi.decoders.settings import DescentSettings

N_REPORTS = 100  # of the loss during a training


def minimise(
    loss: Callable[[], Tensor],
    parameters: list[Tensor],
    settings: DescentSettings,
    report: Callable[[int, float], None],
) -> None:
    """Full-batch Adam, which ends in the parameters with the smallest loss of all steps.

    On burgers1d, 5,000 steps with a cosine schedule from a learning rate of 3e-3 reach a lower loss than 10,000 with
    the published constant 1e-3.

    Args:
        loss: of the parameters, which it reads where they are.
        parameters: changed in place.
        settings: number of steps, first learning rate, and schedule.
        report: called with step and loss, a hundred times or a few more.
    """
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    falls = settings.schedule == "cosine"
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps) if falls else None
    best, best_parameters = float("inf"), [p.detach().clone() for p in parameters]
    every = max(settings.steps // N_REPORTS, 1)
    for step in range(settings.steps):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        current = float(value.detach())
        if step % every == 0 or step == settings.steps - 1:
            report(step + 1, current)
        if current < best:  # before the optimiser step: the parameters that have this loss
            best = current
            torch._foreach_copy_(best_parameters, [p.detach() for p in parameters])
        optimiser.step()
        if schedule:
            schedule.step()
    with torch.no_grad():
        for parameter, value in zip(parameters, best_parameters, strict=True):
            parameter.copy_(value)
