"""The figures of the reproduction of arXiv 2506.09207, a panel for each problem."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from study_reproduction import LARGE, LONGER, POD, PUBLISHED, Case, Run

from mlasdi.agent.figures import OKABE_ITO, new_figure, styled
from mlasdi.agent.figures.style import log_error_axis

STYLES = {POD: (OKABE_ITO[0], "o"), LONGER: (OKABE_ITO[1], "s"), LARGE: (OKABE_ITO[3], "D"), PUBLISHED: ("black", "^")}
FIRST, SECOND = OKABE_ITO[4], OKABE_ITO[0]
UNITS = {"multiscale": "t", "wake": "t [s]", "vlasov": "t"}
N_DRAWN = 3  # latent states in a panel


def panels(figure: Figure, cases: Sequence[Case]) -> Sequence[Axes]:
    """One panel for each problem, side by side."""
    axes = figure.subplots(1, len(cases), squeeze=False)[0]
    for panel, one in zip(axes, cases, strict=True):
        panel.set_title(one.problem.name)
        panel.spines[["top", "right"]].set_visible(False)
    return list(axes)


def median_run(runs: Sequence[Run]) -> Run:
    """The run with the median of the largest errors."""
    return sorted(runs, key=lambda one: one.largest(one.surrogate.n_stages))[len(runs) // 2]


def worst_point(run: Run) -> int:
    """The test point with the largest error of all stages."""
    return int(run.errors[-1].max(axis=1).argmax())


@styled
def errors_in_time(cases: Sequence[Case]) -> Figure:
    """Relative error over time at the worst test point: median over the seeds, and their range."""
    figure = new_figure(2.8)
    axes = panels(figure, cases)
    for panel, one in zip(axes, cases, strict=True):
        t, drawn = one.problem.test.t, []
        curves: list[tuple[str, str, int, str, str]] = [
            ("stage 1", POD, 0, FIRST, "-"),
            ("stages 1 and 2", POD, 1, SECOND, "-"),
            (LONGER, LONGER, 0, OKABE_ITO[1], "--"),
        ]
        for label, method, stage, colour, line in curves:
            errors = 100 * np.stack([run.errors[stage][worst_point(run)] for run in one.runs[method]])
            panel.plot(t, np.median(errors, axis=0), color=colour, ls=line, label=label)
            panel.fill_between(t, errors.min(axis=0), errors.max(axis=0), color=colour, alpha=0.2, lw=0)
            drawn += [errors.min(), errors.max()]
        log_error_axis(panel, drawn)
        panel.set(xlabel=UNITS[one.problem.name], xlim=(t[0], t[-1]))
    axes[0].set_ylabel("relative error [%]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def latent(cases: Sequence[Case]) -> Figure:
    """Encoded and integrated latent states at the worst test point, of the median seed."""
    figure = new_figure(2.8)
    axes = panels(figure, cases)
    for panel, one in zip(axes, cases, strict=True):
        run = median_run(one.runs[POD])
        k, test = worst_point(run), one.problem.test
        integrated = run.knowing.latent_trajectories(test.mu[k : k + 1], test.t).mean[0]
        encoded = run.encoded(k)
        order = np.argsort(-encoded.std(axis=0))[:N_DRAWN]
        for rank, state in enumerate(order):
            panel.plot(test.t, encoded[:, state], color="0.6", lw=2.6, label="encoded" if not rank else None)
            panel.plot(test.t, integrated[:, state], color=OKABE_ITO[rank], label=f"integrated, no. {rank + 1}")
        panel.set(xlabel=UNITS[one.problem.name], xlim=(test.t[0], test.t[-1]))
    axes[0].set_ylabel("latent states")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def spectra(cases: Sequence[Case]) -> Figure:
    """Spectra in time of the solution, and of what the stages leave of it, at the worst test point."""
    figure = new_figure(2.8)
    axes = panels(figure, cases)
    for panel, one in zip(axes, cases, strict=True):
        run = median_run(one.runs[POD])
        k, test = worst_point(run), one.problem.test
        fields = {"solution": (test.u[k], "0.6"), "left by stage 1": (run.residual(k, 1), FIRST)}
        fields["left by stages 1 and 2"] = (run.residual(k, 2), SECOND)
        drawn = []
        for label, (field, colour) in fields.items():
            frequencies, amplitudes = spectrum(test.t, field)
            panel.plot(frequencies, amplitudes, color=colour, label=label)
            drawn += [amplitudes.max(), np.quantile(amplitudes, 0.1)]
        log_error_axis(panel, drawn)
        panel.set(xlabel="periods in the interval", xlim=(0, frequencies[-1]))
    axes[0].set_ylabel("root mean square amplitude")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def spectrum(
    t: Float[np.ndarray, " time"], u: Float[np.ndarray, "time state"]
) -> tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, " frequency"]]:
    """Frequencies in periods per interval, and the root mean square amplitude over the state, under a Hann window."""
    window = np.hanning(len(t))[:, None]
    amplitudes = np.abs(np.fft.rfft(window * (u - u.mean(axis=0)), axis=0)) * 2 / window.sum()
    return np.arange(len(amplitudes), dtype=float), np.sqrt(np.mean(amplitudes**2, axis=1))


@styled
def splits(cases: Sequence[Case]) -> Figure:
    """Parts of the error by stage, mean over the test points, of the median seed."""
    figure = new_figure(2.6)
    axes = panels(figure, cases)
    parts = {
        "autoencoder": OKABE_ITO[0], "latent dynamics": OKABE_ITO[1], "interpolation": OKABE_ITO[2], "total": "0.5",
    }  # fmt: skip
    for panel, one in zip(axes, cases, strict=True):
        split = median_run(one.runs[POD]).split
        values = [split.autoencoder, split.latent_dynamics, split.interpolation, split.total]
        for place, ((label, colour), value) in enumerate(zip(parts.items(), values, strict=True)):
            panel.bar(np.arange(2) + 0.2 * (place - 1.5), 100 * value, 0.18, color=colour, label=label)
        log_error_axis(panel, 100 * np.concatenate(values))
        panel.set_xticks([0, 1], ["stage 1", "stages 1, 2"])
    axes[0].set_ylabel("part of the error [%]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def losses(cases: Sequence[Case]) -> Figure:
    """Loss of each training against steps, of the median seed."""
    figure = new_figure(2.6)
    axes = panels(figure, cases)
    for panel, one in zip(axes, cases, strict=True):
        history = list(median_run(one.runs[POD]).surrogate.record.loss_history.values())
        drawn: list[float] = []
        for label, colour, pairs in zip(("stage 1", "stage 2"), (FIRST, SECOND), history, strict=True):
            steps, values = np.array(pairs).T
            panel.plot(steps, values / values[0], color=colour, label=label)
            drawn += list(values / values[0])
        log_error_axis(panel, drawn)
        panel.set_xlabel("step of Adam")
    axes[0].set_ylabel("loss, first step = 1")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def costs(cases: Sequence[Case]) -> Figure:
    """Largest test error against training seconds; two stages are joined to their own first stage."""
    figure = new_figure(2.8)
    axes = panels(figure, cases)
    for panel, one in zip(axes, cases, strict=True):
        drawn: list[float] = []
        for method, (colour, marker) in STYLES.items():
            for run in one.runs.get(method, ()):
                seconds = np.cumsum(run.seconds)
                errors = [100 * run.largest(k + 1) for k in range(len(seconds))]
                panel.plot(seconds, errors, color=colour, lw=0.8)
                panel.plot(seconds[-1], errors[-1], marker, color=colour, ls="none")
                if len(seconds) > 1:
                    panel.plot(seconds[0], errors[0], marker, mec=colour, mfc="white", ls="none")
                drawn += errors
        log_error_axis(panel, drawn)
        panel.set_xlim(left=0)
        panel.set_xlabel("training [processor s]")
    axes[0].set_ylabel("largest test error [%]")
    named = {method: style for method, style in STYLES.items() if any(method in one.runs for one in cases)}
    handles = [axes[0].plot([], [], marker, color=colour, ls="none")[0] for colour, marker in named.values()]
    names = [f"two stages, {method}" if method in (POD, PUBLISHED) else method for method in named]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names) if len(names) < 4 else 2)
    return figure


@styled
def kappas(cases: Sequence[Case]) -> Figure:
    """Error of second stages against kappa, at training and test points."""
    figure = new_figure(2.8)
    axes = panels(figure, cases)
    for panel, one in zip(axes, cases, strict=True):
        values = np.array(list(one.kappas))
        train, test = 100 * np.array([(found.train, found.test) for found in one.kappas.values()]).T
        panel.plot(values, train, "s-", color=OKABE_ITO[5], label="stages 1 and 2, training points")
        panel.plot(values, test, "o-", color=SECOND, label="stages 1 and 2, test points")
        alone = 100 * one.runs[POD][0].largest(1)
        panel.axhline(alone, color=FIRST, ls="--", label="stage 1, test points")
        panel.set_xscale("log")
        log_error_axis(panel, [*train, *test, alone])
        panel.set_xlabel(r"$\kappa$")
    axes[0].set_ylabel("largest error [%]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


DRAWN: dict[str, Callable[[Sequence[Case]], Figure]] = {
    "errors": errors_in_time, "latent": latent, "spectra": spectra, "split": splits, "losses": losses,
    "costs": costs, "kappa": kappas,
}  # fmt: skip
