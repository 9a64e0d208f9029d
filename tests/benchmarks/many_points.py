"""Training time by the number of points, and by that of parameters: `python tests/benchmarks/many_points.py`.

The trajectories are those of a travelling pulse, given in closed form, at Sobol points. MANY_POINTS.md is written.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from markdown_page import table
from results_page import here_and_now
from scoring import processor_seconds

import mlasdi
from mlasdi.surrogate import max_relative_error

PAGE = Path(__file__).with_name("MANY_POINTS.md")
POINTS = (10, 20, 50, 100, 200, 500, 1000)  # with two parameters
PARAMETERS = (1, 2, 4, 8, 12)
N_OF_PARAMETERS = 50  # points, for any number of parameters
N_TEST = 40
X, T = np.linspace(0, 1, 60), np.linspace(0, 1, 41)
MOST = {200: 1.3, 1000: 2.0}  # exponents of the training time up to so many points


def pulse(mu: np.ndarray) -> np.ndarray:
    """A pulse whose speed, height and width depend on the parameters, each less than the one before."""
    share = mu @ (1 / (1 + np.arange(mu.shape[1]))) / np.sum(1 / (1 + np.arange(mu.shape[1])))
    a, w = 0.7 + 0.2 * mu[:, 0], 0.9 + 0.2 * share
    place = 0.3 + 0.3 * a[:, None, None] * T[:, None]
    return a[:, None, None] * np.exp(-(((X - place) / (0.1 * w[:, None, None])) ** 2))


def fitted(n: int, d: int) -> dict[str, object]:
    """Training seconds of the default model, its error at new points, and its estimate."""
    points = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(n + N_TEST).double().numpy()
    mu, test = points[:n], points[n:]
    box = {f"p{k}": (0.0, 1.0) for k in range(d)}
    model, seconds = processor_seconds(lambda: mlasdi.fit(mu, T, pulse(mu), box, coordinates={"x": X}, seed=0))
    error = float(max_relative_error(model.predict(test, std=False).mean, pulse(test)).max())
    return {
        "n": n, "d": d, "seconds": seconds, "error": error, "estimate": model.error_estimate,
        "model": model.record.chosen,
    }  # fmt: skip


def page(by_points: list[dict], by_parameters: list[dict]) -> str:
    """The Markdown page."""

    def rows(found: list[dict], first: str) -> list[list[str]]:
        return [
            [
                f"{one[first]:,}",
                f"{one['seconds']:.1f}",
                f"{100 * one['error']:.2g}",
                "" if one["estimate"] is None else f"{100 * one['estimate']:.2g}",
                one["model"],
            ]
            for one in found
        ]

    head = ["training s", "largest error, %", "estimate, %", "model"]
    exponents = ", ".join(
        f"{exponent(by_points, below, above):.2f} from {below} to {above:,} (at most {MOST[above]:g})"
        for below, above in pairwise((POINTS[0], *MOST))
    )
    return "\n\n".join(
        [
            "# Many points, many parameters",
            "Written by `python tests/benchmarks/many_points.py`. Default settings, effort normal; a travelling pulse "
            f"with {len(X)} values and {len(T)} times, at Sobol points. Errors at {N_TEST} other points.",
            "## Points",
            f"Two parameters. Exponents of the training time: {exponents}.",
            table(["points", *head], rows(by_points, "n")),
            "## Parameters",
            f"{N_OF_PARAMETERS} points. Each parameter matters less than the one before.",
            table(["parameters", *head], rows(by_parameters, "d")),
            f"Measured: {here_and_now()}; one thread.",
        ]
    )


def exponent(found: list[dict], below: int, above: int) -> float:
    """Of the training time between two numbers of points."""
    seconds = {one["n"]: one["seconds"] for one in found}
    return float(np.log(seconds[above] / seconds[below]) / np.log(above / below))


def main() -> None:
    torch.set_num_threads(1)
    fitted(POINTS[0], 2)  # imports, and what is compiled on first use
    by_points = [fitted(n, 2) for n in POINTS]
    by_parameters = [fitted(N_OF_PARAMETERS, d) for d in PARAMETERS]
    PAGE.write_text(page(by_points, by_parameters) + "\n")


if __name__ == "__main__":
    main()
