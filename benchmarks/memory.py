"""Does memory stay constant? `python -m benchmarks.memory [--minutes 30]`.

Masked language modelling on texts of every length from a few tokens to the longest that is trained on (one to twelve
chat messages joined), in a process of its own whose resident memory is read every second. What is reported is the
median over the last tenth of the time against the median around minute 3 (of a run under half an hour: around the end
of its first tenth).
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import command_line, data, timing
from benchmarks.ours import command
from benchmarks.timing import ROOT, Options, Result, Row
from shoptalk.nn.precision import choose_precision
from shoptalk.stages.world import best_device

NAME = "memory"
TEXTS, QUICK = 20_000, 2_000
EVERY = 1.0
EARLY = 180.0
JUDGED = 10.0
"""Minutes: a shorter run mostly sees memory grow to what one step takes, and gets no bar."""

Sample = tuple[float, float]
"""Seconds on the clock that processes share, and resident MiB."""


def measure(options: Options) -> Iterator[Row]:
    """One long training, watched."""
    texts = data.mixed_lengths(data.banking77() + data.sgd_turns(), QUICK if options.quick else TEXTS)
    with tempfile.TemporaryDirectory() as folder:
        path = data.write_texts(Path(folder) / "texts.jsonl", texts)
        words = command(
            "train", texts=path, objective="mlm", precision=choose_precision(best_device())[0], minutes=options.minutes
        )
        samples, result = watch(words, threads=options.threads)
    length = result["trained_seconds"]
    begun = result["started"]  # before, the process imports, tokenises and opens the model
    at = max(5 * EVERY, min(EARLY, length / 10))
    early, late = growth([(when - begun, rss) for when, rss in samples], length, at=at)
    yield Row(
        comparison=NAME,
        what=f"resident memory of training after {options.minutes:g} min, against after {at:.0f} s",
        value=late / early,
        unit="×",
        at_most=1.10 if options.minutes >= JUDGED else None,
        note=f"{early:,.0f} MiB, then {late:,.0f} MiB; largest {max(rss for _, rss in samples):,.0f} MiB; "
        f"{result['steps']:,} steps, {result['tokens_per_second']:,.0f} tokens/s",
    )


def growth(samples: Sequence[Sample], length: float, *, at: float) -> tuple[float, float]:
    """Median resident memory around second `at`, and over the last tenth of `length` seconds."""
    around = [rss for when, rss in samples if 0.75 * at <= when <= 1.25 * at]
    last = [rss for when, rss in samples if 0.9 * length <= when <= length]
    if not around or not last:
        raise SystemExit(
            f"{length:.0f} s of training are too short to be sampled every {EVERY:g} s; give more --minutes."
        )
    return statistics.median(around), statistics.median(last)


def watch(words: Sequence[str], *, threads: int | None) -> tuple[list[Sample], Result]:
    """Run a command that ends with a JSON line, reading its resident memory all the while."""
    environment = timing.environment(threads)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=output)
        samples = []
        while process.poll() is None:
            if (rss := resident_mib(process.pid)) is not None:
                samples.append((time.monotonic(), rss))
            time.sleep(EVERY)
        output.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} failed; what it said is above.")
        return samples, timing.last_json(output.read())


def resident_mib(pid: int) -> float | None:
    """Resident memory of a process now; None where it has just ended."""
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    kib = found.stdout.strip()
    return int(kib) / 1024 if kib.isdigit() and int(kib) else None


if __name__ == "__main__":
    command_line.main(measure, __doc__)
