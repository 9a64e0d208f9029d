"""Kills, damaged files, wrong settings, tampered models and surroundings: what is lost, what is accepted silently.

    python tests/benchmarks/torture.py [--seed 0] [--minutes 20] [--kills 100] [--only configuration models ...]

Writes RELIABILITY.md beside this file. A part that is out of time ends early; the table says how many cases it tried.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from safetensors.torch import load_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "agent"))

import mlasdi.agent.campaign.campaign  # noqa: E402
from mlasdi.agent.campaign import CampaignError, run_campaign  # noqa: E402
from mlasdi.agent.config import ConfigError, load_config  # noqa: E402
from mlasdi.agent.records import LedgerError  # noqa: E402
from mlasdi.agent.tracking_store import connect, store_uri  # noqa: E402
from mlasdi.surrogate import Surrogate, SurrogateError, files  # noqa: E402

quick_campaign = __import__("quick_campaign")
test_faults = __import__("test_faults")
surroundings_of = __import__("surroundings")

# Text, YAML's special numbers, wrong types, negative and huge numbers; one of them suits no key.
WRONG = (
    *("nonsense", "", "null x", ".inf", "-.inf", ".nan", "-1", "-1e300", "1e300", "0x", "[]", "[1, [2]]", "{}"),
    *("{a: b}", "[.nan]", "{x: .inf}", "true x", "2001-01-01", "99999999999999999999999999", "../../../etc"),
)
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "emptied": lambda content, rng: b"",
    "cut": lambda content, rng: content[: rng.randrange(len(content))],
    "zeros": lambda content, rng: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    "noise": lambda content, rng: rng.randbytes(len(content)),
}
TITLES = {
    "configuration": "wrong values of configuration keys",
    "models": "tampered models with correct check sums",
    "damage": "damaged files of a campaign",
    "kills": "kills (SIGKILL)",
    "surroundings": "surroundings of the command",  # last: it has the time that is left
}


@dataclass
class Outcome:
    """What became of the cases of one part."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, result: str, case: str, *, is_wrong: bool = False) -> None:
        self.counts[result] += 1
        if is_wrong:
            self.wrong.append(f"{case}: {result}")


def dotted(settings: BaseModel, prefix: str = "") -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        yield from dotted(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [prefix + name]


def configuration(folder: Path, rng: random.Random, end: float) -> Outcome:
    """Every key with wrong values: refused with the name of the key, or read as what was given."""
    found = Outcome()
    path = folder / "quick.yaml"
    config = quick_campaign.quick_config(folder)
    cases = [(key, value) for key in dotted(config) for value in WRONG]
    rng.shuffle(cases)
    for key, value in cases:
        if time.monotonic() > end:
            break
        try:
            load_config(path, [f"{key}={value}"])
        except ConfigError as error:
            named = any(part in str(error) for part in key.split("."))
            found.add("refused" if named else "refused without the key", f"{key}={value}", is_wrong=not named)
        except BaseException as error:
            found.add(f"{type(error).__name__}", f"{key}={value}", is_wrong=True)
        else:
            found.add("allowed", f"{key}={value}")
    return found


def _tampered(
    tensors: dict[str, torch.Tensor], description: dict[str, Any]
) -> list[tuple[str, dict[str, torch.Tensor], dict[str, Any]]]:
    """Changed copies of tensors and description, each with what was changed."""
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "not finite": lambda x: torch.cat([x.flatten()[:-1], torch.tensor([float("nan")], dtype=x.dtype)]).view(
            x.shape
        ),
        "shorter": lambda x: x[:-1],
        "with an axis more": lambda x: x[None],
        "doubled": lambda x: torch.cat([x, x]),
        "of one value": lambda x: x.flatten()[:1].clone(),
    }
    cases: list[tuple[str, dict[str, torch.Tensor], dict[str, Any]]] = []
    for name, x in tensors.items():
        for how, change in changes.items():
            if x.numel() and (x.is_floating_point() or how != "not finite"):
                cases.append((f"{name} {how}", {**tensors, name: change(x)}, description))
        cases.append((f"without {name}", {k: v for k, v in tensors.items() if k != name}, description))
    for key in description:
        for value in (None, [], {}, "x", -1):
            if value != description[key]:
                cases.append((f"{key} = {value!r}", tensors, {**description, key: value}))
        cases.append((f"without {key}", tensors, {k: v for k, v in description.items() if k != key}))
    return cases


def _predicts_as(loaded: Surrogate, original: Surrogate) -> bool:
    """Whether two surrogates give the same mean and standard deviation at the centre of the box."""
    mu = original.space.as_dict(original.space.centre())
    try:
        one, other = loaded.predict(mu), original.predict(mu)
        return bool(np.array_equal(one.mean, other.mean) and np.array_equal(one.std, other.std))
    except Exception:
        return False


def models(folder: Path, rng: random.Random, end: float) -> Outcome:
    """Saved models with changed tensors and descriptions, and correct check sums: refused, or not."""
    found = Outcome()
    config = quick_campaign.quick_config(folder)
    run_campaign(config)
    saved = sorted((config.folder / "models").glob("round-*"))[-1]
    tensors, description = load_file(saved / files.TENSORS), json.loads((saved / files.DESCRIPTION).read_text())
    for name in ("sha256", "description_sha256", "format"):
        description.pop(name)
    cases, surrogate = _tampered(tensors, description), Surrogate.load(saved)
    rng.shuffle(cases)
    for case, arrays, text in cases:
        if time.monotonic() > end:
            break
        target = folder / "tampered"
        shutil.rmtree(target, ignore_errors=True)
        files.write(target, {k: v.contiguous().numpy() for k, v in arrays.items()}, text)
        try:
            loaded = Surrogate.load(target)
        except SurrogateError as error:
            found.add("refused", case, is_wrong=str(target) not in str(error))
        except BaseException as error:
            found.add(type(error).__name__, case, is_wrong=True)
        else:
            same = _predicts_as(loaded, surrogate)
            found.add(f"loaded, predicts {'the same' if same else 'otherwise'}", case, is_wrong=not same)
    return found


def damage(folder: Path, rng: random.Random, end: float) -> Outcome:
    """Every kind of file of a campaign damaged, then run on with a larger budget: it goes on, or says what to do."""
    found = Outcome()
    (folder / "original").mkdir()
    sections = {
        "budget": {"solver_runs": 8},
        "validation": {"grid": 2, "n_time": 6},
        "cluster": {"mode": "synchronous"},
    }
    config = quick_campaign.quick_config(folder / "original", **sections)
    run_campaign(config)
    kinds = sorted({path.suffix or path.name: path for path in config.folder.rglob("*") if path.is_file()}.items())
    cases = [(kind, path.relative_to(folder / "original"), how) for kind, path in kinds for how in DAMAGES]
    rng.shuffle(cases)
    for kind, path, how in cases:
        if time.monotonic() > end:
            break
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / "original", copy)
        content = (copy / path).read_bytes()
        (copy / path).write_bytes(DAMAGES[how](content, rng) if content else b"x")
        config = quick_campaign.quick_config(copy, **{**sections, "budget": {"solver_runs": 9}})
        try:
            report = run_campaign(config)
        except (CampaignError, LedgerError):
            found.add("said what to do", f"{kind} {how}")
        except BaseException as error:
            found.add(type(error).__name__, f"{kind} {how}", is_wrong=True)
        else:
            lost = report["solver_runs"] != 9 or len(report["points"]) != 9
            found.add("lost solves" if lost else "went on", f"{kind} {how}", is_wrong=lost)
    return found


def kills(folder: Path, rng: random.Random, end: float, n_kills: int) -> Outcome:
    """Campaigns killed twenty times each, by SIGKILL at random moments; the end must be that of an undisturbed one."""
    found = Outcome()
    expected, seconds = test_faults.undisturbed(folder / "undisturbed", test_faults.SYNCHRONOUS)
    for k in range(0, n_kills, 20):
        if time.monotonic() > end:
            break
        cluster, n = (test_faults.SYNCHRONOUS, test_faults.ASYNCHRONOUS)[k // 20 % 2], min(20, n_kills - k)
        case = f"campaign {k // 20}, {cluster['mode']}"
        try:
            config, repeated = test_faults.killed(folder / str(k), cluster, n, 2 * seconds / n, rng.randrange(2**31))
            test_faults.assert_sound(config, n, repeated)
            if cluster is test_faults.SYNCHRONOUS:
                test_faults.assert_equal(config, expected)
        except AssertionError as error:
            found.add("not as if undisturbed", f"{case}: {str(error)[:200]}", is_wrong=True)
        else:
            found.counts["kills without a loss"] += n
    return found


def surroundings(folder: Path, rng: random.Random, end: float) -> Outcome:
    """The command in all surroundings: it works, or says in one line why not, as is expected of each."""
    found = Outcome()
    connect(store_uri(None, folder / "empty"))
    for k, (name, one) in enumerate(surroundings_of.SURROUNDINGS.items()):
        if time.monotonic() > end:
            break
        result = surroundings_of.tried(one, folder / str(k), folder / "empty" / "mlflow.db")
        found.add(result, name, is_wrong=result != one.expected)
    return found


def page(outcomes: dict[str, Outcome], seconds: dict[str, float], seed: int) -> str:
    lines = [
        "# Reliability",
        "",
        f"Written by `make torture` (seed {seed}). `allowed` values are among those that their key may have.",
        "",
        "| part | cases | outcomes | wrong | seconds |",
        "|---|---|---|---|---|",
    ]
    for part, found in outcomes.items():
        results = ", ".join(f"{n} {result}" for result, n in found.counts.most_common())
        lines.append(
            f"| {TITLES[part]} | {found.counts.total()} | {results} | {len(found.wrong)} | {seconds[part]:.0f} |"
        )
    wrong = [f"- {part}: `{case}`" for part, found in outcomes.items() for case in found.wrong[:20]]
    return "\n".join(
        [*lines, "", *(["Wrong, the first 20 of each part:", "", *wrong] if wrong else ["Nothing is wrong."])]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=list(TITLES))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    mlasdi.agent.campaign.campaign.Publisher = quick_campaign.Unpublished
    rng, outcomes, seconds = random.Random(given.seed), {}, {}
    for k, part in enumerate(given.only):
        start = time.monotonic()
        share = (60 * given.minutes - sum(seconds.values())) / (len(given.only) - k)
        extra = (given.kills,) if part == "kills" else ()
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            outcomes[part] = globals()[part](Path(folder), rng, start + share, *extra)
        seconds[part] = time.monotonic() - start
        print(part, dict(outcomes[part].counts), *outcomes[part].wrong[:5], sep="\n  ", flush=True)
    (HERE / "RELIABILITY.md").write_text(page(outcomes, seconds, given.seed) + "\n")
    return int(any(found.wrong for found in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
