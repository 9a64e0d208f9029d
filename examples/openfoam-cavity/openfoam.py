import re

import numpy as np


def values(path):
    """The values in the cells of a field that OpenFOAM wrote as text."""
    text = path.read_text().partition("internalField")[2]
    count, body = re.search(r"nonuniform\s+List<\w+>\s+(\d+)\s*\((.*?)\)\s*;", text, re.DOTALL).groups()
    numbers = np.array(body.replace("(", " ").replace(")", " ").split(), dtype=float)
    return numbers.reshape(int(count), -1)


def fields(case):
    """Velocity and pressure of all times but the first, at which nothing moves, and the centres of the cells."""
    found = [one for one in case.iterdir() if re.fullmatch(r"\d+\.?\d*", one.name) and float(one.name) > 0]
    times = sorted(found, key=lambda one: float(one.name))
    U, p = (np.stack([values(one / name) for one in times]) for name in ("U", "p"))
    centres = values(times[-1] / "C")[:, :2]
    return {"t": [float(one.name) for one in times], "U": U[..., :2], "p": p[..., 0], "points": centres}
