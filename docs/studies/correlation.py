"""When does the staged approach fail? Correlation of latent states with the residual against what stage 2 gains."""

from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr
from study_correlation_figures import accuracies, gains
from study_correlations import FULL, MEASURES, Cell, Line, Size, best_line, cells
from study_page import Page, main, percent, table

from mlasdi.validation.stage_findings import MIN_CORRELATION

PUBLISHED = 0.3
PAYS = 0.1  # gain from which a stage pays


def measure(full: bool) -> Page:
    """The study in its smaller or its full settings."""
    return study(FULL if full else Size(), full)


def study(size: Size, full: bool = False) -> Page:
    return page(list(cells(size)), size, full)


def page(found: Sequence[Cell], size: Size, full: bool) -> Page:
    pays = [cell.gain > PAYS for cell in found]
    lines = {name: best_line([cell.correlations[name] for cell in found], pays, PUBLISHED) for name in MEASURES}
    text = f"""
A second stage decodes the residual of the first one from the latent states: it can only learn what these tell. The
published expectation (arXiv 2506.09207) is that it fails where their correlation with the residual is under
{PUBLISHED}. Is that the right line, and which correlation?

{len(found)} first stages (autoencoders with latent dynamics) on {_listed(_problems(found))}, with
{_listed(list(map(str, size.latent_dims)))} latent states, {_listed(list(map(str, size.steps)))} steps of training, and
{_listed([f"{100 * level:g}" for level in size.noise])} % of noise on the training data, each followed by a sine
decoder (kappa = 1, {size.second_steps} steps) of what it leaves. The *gain* is the share of the error at test points,
against solutions without noise, that the second stage takes away; it *pays* above {percent(PAYS)}.
{_settings(size, full)}

- *Pearson*: the largest correlation of each residual coordinate with one latent state; root mean square over the
  coordinates by their variance.
- *multiple linear*: root of the share of the residual that a linear function of z explains.
- *distance correlation*: zero only for independent samples; bias-corrected.
- *correlation ratio*: root of the share of the residual that *any* function of z explains, from nearest neighbours
  in z.

![Gains against correlations](images/correlation-gains.png)

*Gains under -100 % are drawn there. Dotted: the published line; grey: the best lines.*

{_table(found, lines)}

*Rank correlation: Spearman's, with the gain at test points and with the decrease of the training residual. Order: the
probability that a stage that pays has the larger value (area under the curve), with the range from 5 to 95 % of
resampled cases. Told right: mean of the shares of
paying and of other stages that a line tells.*

![How well lines tell](images/correlation-lines.png)

{_about(found, lines)}

## What noise does

{_noise_table(found)}

{_about_noise(found)}

## What follows

{_guideline(found, lines)}
"""
    figures = {"gains": gains(found, lines, PUBLISHED, PAYS), "lines": accuracies(found, PAYS, PUBLISHED)}
    return Page("When does the staged approach fail?", text, figures)


def _settings(size: Size, full: bool) -> str:
    other = Size() if full else FULL
    name, how = ("smaller", "without") if full else ("full", "with")
    count = (3 + other.with_vlasov) * len(other.noise) * len(other.latent_dims) * len(other.steps)
    return (
        f"These are the {'full' if full else 'smaller'} settings; the {name} ones ({how} `--full`) have {count} cases."
    )


def _problems(found: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.problem for cell in found))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _rank(found: Sequence[Cell], measure: str, gain: str) -> float:
    values = [cell.correlations[measure] for cell in found]
    return float(spearmanr(values, [getattr(cell, gain) for cell in found]).statistic)


def _table(found: Sequence[Cell], lines: Mapping[str, Line | None]) -> str:
    rows = []
    for name, label in MEASURES.items():
        line = lines[name]
        ranks = [f"{_rank(found, name, gain):.2f}" for gain in ("gain", "fit_gain")]
        told = (
            [
                _area(line),
                percent(line.at_published),
                percent(line.accuracy),
                f"{line.low:.2f} to {line.high:.2f}",
            ]
            if line
            else ["-"] * 4
        )
        rows.append([label, *ranks, *told])
    head = [
        "measure", "rank with the gain", "rank with the fit", "order", f"told right at {PUBLISHED}",
        "told right at best", "best lines",
    ]  # fmt: skip
    return table(head, rows)


def _area(line: Line) -> str:
    low, high = line.area_range
    return f"{line.area:.2f} ({low:.2f} to {high:.2f})"


def _about(found: Sequence[Cell], lines: Mapping[str, Line | None]) -> str:
    known = {name: line for name, line in lines.items() if line}
    n_pays = sum(cell.gain > PAYS for cell in found)
    n_harms = sum(cell.gain < 0 for cell in found)
    text = f"The second stage pays in {n_pays} of {len(found)} cases, and raises the test error in {n_harms}. "
    if not known:
        return text
    best = max(known, key=lambda name: known[name].area)
    worst = min(known, key=lambda name: known[name].area)
    under = [cell for cell in found if cell.correlations["pearson"] < PUBLISHED]
    under_pays = sum(cell.gain > PAYS for cell in under)
    return text + (
        f"{MEASURES[best].capitalize()} orders the cases best ({known[best].area:.2f}), {MEASURES[worst]} worst "
        f"({known[worst].area:.2f}). Of the {len(under)} cases with a Pearson correlation under {PUBLISHED}, the "
        f"second stage pays in {under_pays}."
    )


def _noise_table(found: Sequence[Cell]) -> str:
    rows = []
    for level in sorted({cell.noise for cell in found}):
        some = [cell for cell in found if cell.noise == level]
        means = [f"{sum(cell.correlations[name] for cell in some) / len(some):.2f}" for name in MEASURES]
        gain = percent(sorted(cell.gain for cell in some)[len(some) // 2])
        rows.append([f"{100 * level:g} %", *means, gain, f"{sum(cell.gain > PAYS for cell in some)} of {len(some)}"])
    return table(["noise", *(f"mean {label}" for label in MEASURES.values()), "median gain", "pays"], rows)


def _about_noise(found: Sequence[Cell]) -> str:
    clean = [cell for cell in found if cell.noise == 0]
    noisy = [cell for cell in found if cell.noise == max(cell.noise for cell in found)]
    ratios = [sum(cell.correlations["ratio"] for cell in some) / len(some) for some in (clean, noisy)]
    fails = [cell for cell in clean if cell.gain <= PAYS]
    high = [cell for cell in fails if cell.correlations["ratio"] > 0.9]
    return (
        f"Without noise the correlation ratio is {ratios[0]:.2f} on average, with the largest noise {ratios[1]:.2f}. "
        "It does not show whether a decoder learns the structure that there is, or whether that carries over to other "
        f"parameters: of the {len(clean)} cases without noise {len(fails)} do not pay, {len(high)} of them with a "
        "ratio over 0.9."
    )


def _warned(found: Sequence[Cell], measure: str, line: float) -> tuple[int, int, float]:
    """Cases under the line, those among them that pay, and the largest gain among the latter."""
    under = [cell.gain for cell in found if cell.correlations[measure] < line]
    return len(under), sum(gain > PAYS for gain in under), max(under, default=0.0)


def _guideline(found: Sequence[Cell], lines: Mapping[str, Line | None]) -> str:
    sentences = []
    for name in ("pearson", "distance", "ratio"):
        n, wrong, most = _warned(found, name, PUBLISHED)
        line = lines[name]
        best = f"; the best lines are {line.low:.2f} to {line.high:.2f}" if line else ""
        sentences.append(
            f"- {MEASURES[name].capitalize()}: {n} cases are under {PUBLISHED}, {wrong} of which pay "
            f"nevertheless (the largest gain there is {percent(most)}){best}."
        )
    n, wrong, _ = _warned(found, "distance", MIN_CORRELATION)
    fails = sum(cell.gain <= PAYS for cell in found if cell.correlations["distance"] >= MIN_CORRELATION)
    sentences.append(
        f"- The diagnostic of `mlasdi` warns under {MIN_CORRELATION}, after an autoencoder by the distance "
        f"correlation: here in {n} cases, {wrong} of them wrongly. {fails} of the {len(found) - n} others do not pay "
        "either: the line is a reason to stop, and none to go on. Whether to keep a stage is for left-out points to "
        "say."
    )
    return "\n".join(sentences)


if __name__ == "__main__":
    main("correlation", measure)
