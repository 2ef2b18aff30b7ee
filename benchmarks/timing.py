"""Runs in turn, medians, spreads, ratios, and the shape of a result.

Whatever is compared is run A B A B ... in one go on one machine, each run in a process of its own. A ratio is that of
two runs of the same round; what is reported is the median over the rounds, with the smallest and the largest.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parent.parent
Result = dict[str, Any]
"""What one run reports: real_tokens, seconds, tokens_per_second, losses, peak_rss_mib, and what is its own."""


@dataclass(frozen=True)
class Row:
    """One line of the table. A bar (`at_least`, `at_most`) is for the ratio where there is one, else for the value."""

    comparison: str
    what: str
    value: float
    unit: str
    spread: float | None = None
    """(largest - smallest) / median over the repeats; None for a single run."""
    ratio: float | None = None
    ratio_range: tuple[float, float] | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return (self.at_least is None or judged >= self.at_least) and (self.at_most is None or judged <= self.at_most)


@dataclass(frozen=True)
class Options:
    """What every comparison takes."""

    repeats: int
    steps: int
    quick: bool
    threads: int | None
    minutes: float

    @property
    def warmup(self) -> int:
        """Steps that are not timed: a quarter, which with length grouping is one whole descent from long to short."""
        return max(1, self.steps // 4)


def spread(values: Sequence[float]) -> float | None:
    """(largest - smallest) / median; None for a single value."""
    return (max(values) - min(values)) / statistics.median(values) if len(values) > 1 else None


def ratios(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Median, and smallest and largest, of ours / peer round by round."""
    found = [a / b for a, b in zip(ours, peer, strict=True)]
    return statistics.median(found), (min(found), max(found))


def in_turn(runs: Mapping[str, Callable[[int], Result]], repeats: int) -> dict[str, list[Result]]:
    """A B A B ...: every run once a round, `repeats` rounds; each is told the number of its round."""
    results: dict[str, list[Result]] = {name: [] for name in runs}
    for number in range(repeats):
        for name, run in runs.items():
            begun = time.perf_counter()
            results[name].append(run(number))
            speed = results[name][-1].get("tokens_per_second")
            told = "" if speed is None else f": {speed:,.0f} tokens/s"
            say(f"round {number + 1} of {repeats}, {name}{told} ({time.perf_counter() - begun:.0f} s)")
    return results


def speed_row(
    comparison: str,
    what: str,
    results: Sequence[Result],
    *,
    peer: Sequence[Result] | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """Real tokens a second: median and spread, and the ratio to a peer's runs of the same rounds."""
    speeds = [result["tokens_per_second"] for result in results]
    ratio, ratio_range = ratios(speeds, [result["tokens_per_second"] for result in peer]) if peer else (None, None)
    facts = [f"peak {max(result['peak_rss_mib'] for result in results):,} MiB"]
    if all("cells" in result for result in results):
        waste = statistics.median(1 - result["real_tokens"] / result["cells"] for result in results)
        facts.append(f"{waste:.0%} padding")
    return Row(
        comparison=comparison,
        what=what,
        value=statistics.median(speeds),
        unit="tokens/s",
        spread=spread(speeds),
        ratio=ratio,
        ratio_range=ratio_range,
        at_least=at_least,
        note="; ".join([*facts, *([note] if note else [])]),
    )


def loss_row(comparison: str, ours: Sequence[Result], peer: Sequence[Result], *, threshold: float = 3.0) -> Row:
    """The difference of the mean losses over the last third of the steps, which should be chance.

    The bar is `threshold` standard errors of the difference, taken from the scatter of single steps' losses.
    """
    tails = [[loss for result in results for loss in _last_third(result["losses"])] for results in (ours, peer)]
    a, b = (statistics.fmean(tail) for tail in tails)
    error = sum(statistics.variance(tail) / len(tail) for tail in tails) ** 0.5 if min(map(len, tails)) > 1 else 0.0
    steps = len(ours[0]["losses"])
    return Row(
        comparison=comparison,
        what=f"difference of losses, steps {steps - len(_last_third(ours[0]['losses'])) + 1} to {steps}",
        value=abs(a - b),
        unit="nats",
        at_most=threshold * error if error else None,
        note=f"ours {a:.4f}, peer {b:.4f}; bar: {threshold:g} standard errors",
    )


def _last_third(losses: Sequence[float]) -> list[float]:
    return list(losses[-max(1, len(losses) // 3) :])


def last_json(text: str) -> Result:
    """The result that a run printed as its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("the run printed nothing")
    found: Result = json.loads(lines[-1])
    return found


def run_json(
    command: Sequence[object], *, threads: int | None, settings: Mapping[str, str] = MappingProxyType({})
) -> Result:
    """Run a command that ends with a JSON line. Peers and we get the same environment and number of threads, and these
    settings in it.
    """
    words, around = [str(word) for word in command], environment(threads) | settings
    done = subprocess.run(words, cwd=ROOT, env=around, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-4000:]}")
    return last_json(done.stdout)


def environment(threads: int | None) -> dict[str, str]:
    """The environment of a run."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return inherited | {"HF_HUB_OFFLINE": "1"} | limits


def options_to_words(options: Mapping[str, object]) -> list[str]:
    """{"batch": 64, "bf16": True, "vectors": None} to --batch 64 --bf16."""
    words = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words.extend([flag, str(value)])
    return words


def peak_mib() -> float:
    """The most resident memory that this process ever had; as in peers/common.py, which cannot import this."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def say(text: str) -> None:
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)
