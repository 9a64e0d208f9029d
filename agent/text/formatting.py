"""Numbers, durations, sizes and parameter points as people write them."""

from collections.abc import Mapping


def percent(fraction: float | None) -> str:
    """A fraction as a percentage of three digits."""
    if fraction is None:
        return "unknown"
    return f"{100 * fraction:.3g} %" if abs(fraction) < 9.995 else f"{100 * fraction:.0f} %"


def seconds(duration: float) -> str:
    """A duration in the unit that people would choose."""
    if duration < 100:
        return f"{duration:.2g} s" if duration < 10 else f"{duration:.0f} s"
    minutes = duration / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def size(n_bytes: float) -> str:
    """An amount of data, three digits."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def point(mu: Mapping[str, float]) -> str:
    """A parameter point as it is typed on the command line."""
    return " ".join(f"{name}={value:.6g}" for name, value in mu.items())
