"""How long networks take to train on a GPU and on the CPU: the published autoencoder, on ever more data."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from markdown_page import cpu_name, table

from mlasdi.decoders import AutoencoderSettings, fit_autoencoder
from mlasdi.decoders.network_space import NetworkSpace
from mlasdi.interpolation import Kernel, Kernels
from mlasdi.stages import NetworkSettings, TrainingSet

N_LATENT, RANK = 5, 30
PUBLISHED, WIDE = (20, 200), (100, 1000)
# Training points, times of each, and hidden layers.
CASES = ((9, 101, PUBLISHED), (25, 301, PUBLISHED), (64, 1001, PUBLISHED), (64, 1001, WIDE))
FEW, MORE = 20, 120  # steps whose difference counts: starts are left out


@dataclass(frozen=True)
class DeviceTiming:
    """Wall-clock seconds of a thousand steps."""

    device: str
    n_points: int
    n_time: int
    hidden: tuple[int, ...]
    seconds: float


def waves(n_points: int, n_time: int) -> TrainingSet:
    """Smooth coordinates of as many modes, each of which oscillates as fast as its number."""
    x, t = np.linspace(0, 1, n_points)[:, None], torch.linspace(0, 1, n_time, dtype=torch.float64)
    modes = torch.arange(1, RANK + 1, dtype=torch.float64)
    phase = t[:, None] * modes + torch.from_numpy(x)[:, :, None]
    kernels = Kernels.single(Kernel(family="matern52", lengthscale=(1.0,)))
    return TrainingSet(x, torch.sin(phase) / modes, t, kernels, np.empty((0, 1)))


def trained_s(data: TrainingSet, hidden: tuple[int, ...], steps: int, device: str) -> float:
    settings = AutoencoderSettings(network=NetworkSettings(hidden=hidden), steps=steps)
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    fit_autoencoder(data, N_LATENT, settings, generator, lambda step, loss: None, NetworkSpace(device))
    return time.perf_counter() - start


def device_timing(device: str, n_points: int, n_time: int, hidden: tuple[int, ...]) -> DeviceTiming:
    data = waves(n_points, n_time)
    trained_s(data, hidden, FEW, device)  # what is only done once
    few, more = (trained_s(data, hidden, steps, device) for steps in (FEW, MORE))
    return DeviceTiming(device, n_points, n_time, hidden, (more - few) * 1000 / (MORE - FEW))


def page(found: Sequence[DeviceTiming], threads: int) -> str:
    """The whole page, Markdown."""
    seconds = {(one.device, one.n_points, one.n_time, one.hidden): one.seconds for one in found}
    rows = []
    for n_points, n_time, hidden in CASES:
        there, here = (seconds[device, n_points, n_time, hidden] for device in ("cuda", "cpu"))
        widths = ", ".join(map(str, hidden))
        rows.append([str(n_points), f"{n_time:,}", widths, f"{there:.1f}", f"{here:.1f}", f"{here / there:.1f}"])
    head = ["points", "times", "hidden layers", "GPU, s", "CPU, s", "ratio"]
    return "\n\n".join(
        [
            "# Networks on a GPU",
            "Written by `python tests/benchmarks/device_study.py` on a machine with a GPU; do not edit.",
            f"- Date: {date.today().isoformat()}\n"
            f"- Machine: {torch.cuda.get_device_name()}; {threads} threads on {cpu_name()}\n"
            f"- Versions: Python {platform.python_version()}, torch {torch.__version__}",
            f"Seconds of a thousand steps of the published autoencoder, from {RANK} modes to {N_LATENT} latent states.",
            table(head, rows),
        ]
    ) + "\n"  # fmt: skip


if __name__ == "__main__":
    measured = [device_timing(device, *case) for device in ("cuda", "cpu") for case in CASES]
    Path(__file__).with_name("DEVICE.md").write_text(page(measured, torch.get_num_threads()))
