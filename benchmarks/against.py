"""Is this checkout as fast and as small as another one? `python -m benchmarks.against OTHER_CHECKOUT [--rounds 5]`

Both run in turn, A B A B ..., each measurement in a process of its own that sees one checkout's `src` and nothing of
the other: training of three objectives in float32 and bfloat16, `embed`, and the commands `--help` and `predict`. Texts
are those of the built-in example, so no data pack is needed. A ratio is this checkout's figure over the other's in the
same round; shown are the median, the smallest and the largest. About twelve minutes on two cores; `--quick` proves that
it runs. `--only demo --rounds 1` runs the example's `adapt` with a fixed number of tokens in both (minutes each).
"""

import argparse
import contextlib
import csv
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import MAX_LENGTH
from benchmarks.table import hardware, markdown
from benchmarks.timing import ROOT, Result, Row, environment, in_turn, last_json, peak_mib, ratios, say, spread

EXAMPLE = ROOT / "examples" / "harbour"
OBJECTIVES = ("mlm", "simcse", "neighbours")
PRECISIONS = ("float32", "bfloat16")
MEASURES = ("train", "embed", "help", "predict")
BATCH, WARMUP = 64, 2
SLACK = 0.03
"""How much worse than the other checkout a figure may be."""


@dataclass(frozen=True)
class Side:
    """One of the two checkouts, and a folder for what it makes."""

    tree: Path
    folder: Path
    threads: int | None

    def run(self, words: Sequence[object]) -> tuple[str, Result]:
        """What `python WORDS` prints with this code; wall and CPU seconds and peak memory of its process."""
        place = {"PYTHONPATH": os.pathsep.join([str(self.tree / "src"), str(ROOT)])}
        command, begun = [sys.executable, "-W", "ignore", *map(str, words)], time.perf_counter()
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
            tempfile.TemporaryFile("w+", encoding="utf-8") as complaints,
        ):
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment(self.threads) | place, stdout=printed, stderr=complaints
            )
            _, status, used = os.wait4(process.pid, 0)  # the resources of this child alone
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - begun
            for file in (printed, complaints):
                file.seek(0)
            if process.returncode:
                raise SystemExit(f"{' '.join(command)} failed in {self.tree}:\n{complaints.read()[-4000:]}")
            cost = {
                "seconds": seconds,
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "peak_rss_mib": used.ru_maxrss / 2**10,
            }
            return printed.read(), cost

    def work(self, what: str, **options: object) -> Result:
        """The result of one of this file's own workers, with this checkout's code."""
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        printed, _ = self.run(["-m", "benchmarks.against", "--worker", what, *words, self.tree])
        return last_json(printed)

    def shoptalk(self, *words: object) -> Result:
        """What a command costs."""
        return self.run(["-m", "shoptalk", *words])[1]


# What runs with one checkout's code. Imports are inside: the functions lie where both checkouts have them.


def wait_as_the_command_line_does() -> None:
    """Threads sleep or spin as they do for users of that checkout; before torch is imported."""
    with contextlib.suppress(ModuleNotFoundError):  # up to 24a6c83 nothing was set
        from shoptalk.nn.waiting import let_threads_sleep

        let_threads_sleep(os.environ)


def texts(n: int) -> list[str]:
    """The first n turns of the example's conversations."""
    lines = (EXAMPLE / "conversations.jsonl").read_text(encoding="utf-8").splitlines()
    return [turn["text"] for line in lines for turn in json.loads(line)["turns"]][:n]


def train(objective: str, steps: int) -> Result:
    """Tokens a second of one objective in each precision, after a few steps to warm up."""
    import numpy as np

    from shoptalk.nn.bases import open_base
    from shoptalk.objectives import make_spec
    from shoptalk.text.corpus import Corpus
    from shoptalk.text.tokens import tokenise
    from shoptalk.training.advance import Training
    from shoptalk.training.loop import LoopConfig, train

    lines = texts(BATCH * (steps + WARMUP))
    corpus = Corpus(tuple(lines), conversation=np.arange(len(lines)), turn=np.full(len(lines), -1), digest="-")
    result: Result = {}
    for precision in PRECISIONS:
        product, spec = open_base("minilm", max_length=MAX_LENGTH), make_spec(objective, {"batch": BATCH})
        config: dict[str, Any] = {"steps": steps + WARMUP, "batch": BATCH, "lr": spec.lr, "precision": precision}
        with tempfile.TemporaryDirectory() as folder:
            # Checkouts before decision 0010 call the inputs tokens.
            named = "inputs" if "inputs" in inspect.signature(Training.build).parameters else "tokens"
            training = Training.build(
                spec,
                corpus=corpus,
                **{named: tokenise(product.tokenizer, lines, max_length=product.max_length)},
                product=product,
                targets=spec.prepare(corpus, product),
                config=LoopConfig(**config),
                folder=Path(folder),
                snapshot_seconds=float("inf"),
            )
            tokens, ends = [], []
            for step in train(training.objective, training.data, training.collate, training.config):
                tokens.append(step.tokens)
                ends.append(time.perf_counter())
        result[precision] = sum(tokens[WARMUP:]) / (ends[-1] - ends[WARMUP - 1])
    return result


def embed(n: int) -> Result:
    """Texts a second in float32, tokenising included."""
    from shoptalk.nn.bases import open_base
    from shoptalk.nn.encoder import embed as vectors_of

    lines, product = texts(n), open_base("minilm", max_length=MAX_LENGTH)
    vectors_of(product, lines[:64], precision="float32")
    begun = time.perf_counter()
    vectors_of(product, lines, precision="float32")
    return {"texts_per_second": len(lines) / (time.perf_counter() - begun)}


# What compares them


def measure(this: Side, other: Side, only: Sequence[str], *, rounds: int, steps: int, n_texts: int) -> Iterator[Row]:
    """Every row of the table, as soon as it is measured."""

    def turns(what: str, **options: object) -> tuple[list[Result], list[Result]]:
        say(f"== {what} {' '.join(map(str, options.values()))}")
        sides = {"this": lambda _: this.work(what, **options), "other": lambda _: other.work(what, **options)}
        results = in_turn(sides, rounds)
        return results["this"], results["other"]

    if "train" in only:
        for objective in OBJECTIVES:
            results = turns("train", objective=objective, steps=steps)
            for precision in PRECISIONS:
                yield row(f"{objective}, {precision}", precision, "tokens/s", results, faster=True)
            yield row(f"{objective}: peak memory", "peak_rss_mib", "MiB", results, faster=False)
    if "embed" in only:
        results = turns("embed", texts=n_texts)
        yield row("embed, float32", "texts_per_second", "texts/s", results, faster=True)
        yield row("embed: peak memory", "peak_rss_mib", "MiB", results, faster=False)
    commands = {
        "help": ["--help"],
        "predict": ["predict", "heads", "where is my parcel", "--json"],
        "demo": ["adapt", EXAMPLE / "conversations.jsonl", EXAMPLE / "documents", "--labels", EXAMPLE / "intents.csv",
                 "--config", EXAMPLE / "shoptalk.toml", "--budget", "60ktok", "--out"],
    }  # fmt: skip
    for name in [name for name in commands if name in only]:
        say(f"== shoptalk {name}")
        if name == "predict":
            for side in (this, other):
                side.shoptalk("finetune", "minilm", "--labels", few_labels(side.folder), "--out", "heads")
        words = commands[name]

        def once(side: Side, number: int, words: Sequence[object] = words, name: str = name) -> Result:
            return side.shoptalk(*words, *([f"demo{number}"] if name == "demo" else []))

        by_side = in_turn({"this": lambda i: once(this, i), "other": lambda i: once(other, i)}, rounds)
        results = by_side["this"], by_side["other"]
        yield row(f"shoptalk {name}", "seconds", "s", results, faster=False)
        yield row(f"shoptalk {name}: CPU", "cpu_seconds", "s", results, faster=False)
        yield row(f"shoptalk {name}: peak memory", "peak_rss_mib", "MiB", results, faster=False)


def few_labels(folder: Path, *, classes: int = 3, each: int = 12) -> Path:
    """A small part of the example's labels."""
    with (EXAMPLE / "intents.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["label"] for row in rows))[:classes]
    chosen = [row for name in names for row in [row for row in rows if row["label"] == name][:each]]
    path = folder / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(chosen)
    return path


def row(what: str, key: str, unit: str, results: tuple[list[Result], list[Result]], *, faster: bool) -> Row:
    """This checkout's median, and its ratio to the other; `faster`: more is better."""
    ours, theirs = ([result[key] for result in side] for side in results)
    ratio, ratio_range = ratios(ours, theirs)
    return Row(
        comparison="against",
        what=what,
        value=sorted(ours)[len(ours) // 2],
        unit=unit,
        spread=spread(ours),
        ratio=ratio,
        ratio_range=ratio_range,
        at_least=1 - SLACK if faster else None,
        at_most=None if faster else 1 + SLACK,
        note=f"the other: {sorted(theirs)[len(theirs) // 2]:,.3g}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the folder of another checkout, with `src` in it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(MEASURES), help=f"of {', '.join(MEASURES)}, demo")
    parser.add_argument("--steps", type=int, default=6, help="timed training steps of 64 texts")
    parser.add_argument("--texts", type=int, default=1000, help="how many `embed` embeds")
    parser.add_argument("--threads", type=int, help="of both (the libraries' default)")
    parser.add_argument("--quick", action="store_true", help="one round, two steps: does it run?")
    parser.add_argument("--worker", choices=["train", "embed"], help=argparse.SUPPRESS)
    parser.add_argument("--objective", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        wait_as_the_command_line_does()
        result = train(given.objective, given.steps) if given.worker == "train" else embed(given.texts)
        print(json.dumps(result | {"peak_rss_mib": round(peak_mib())}), flush=True)
        return
    other = given.other.resolve()
    if not (other / "src" / "shoptalk").is_dir():
        raise SystemExit(f"{other} has no src/shoptalk. Give the folder of another checkout of this repository.")
    only = given.only.split(",")
    if unknown := [name for name in only if name not in (*MEASURES, "demo")]:
        raise SystemExit(f"No measure {unknown[0]!r}. There is: {', '.join((*MEASURES, 'demo'))}.")
    rounds, steps, n_texts = (1, 2, 100) if given.quick else (given.rounds, given.steps, given.texts)
    with tempfile.TemporaryDirectory() as folder:
        sides = [Side(tree, Path(folder, name), given.threads) for tree, name in ((ROOT, "this"), (other, "other"))]
        for side in sides:
            side.folder.mkdir()
        rows = list(measure(*sides, only, rounds=rounds, steps=steps, n_texts=n_texts))
    print(f"{hardware()}, {rounds} rounds in turn\n\n{markdown(rows)}")
    if any(row.met is False for row in rows) and not given.quick:
        sys.exit(1)


if __name__ == "__main__":
    main()
