"""What does twice the data cost before training? `python -m benchmarks.scaling [--texts 10000,100000,1000000]`

For each size: conversations of made-up words are written as JSONL (a tenth of them twice), then curated against 1,000
reserved texts, tokenised with minilm's tokenizer, and 200 batches are collated for `mlm` and 200 for `turns`. Each size
runs in a process of its own, which first does all of it with 1,000 texts, so that imports, tables and buffers are not
counted. Seconds are of CPU time, all threads together, so that a busy machine does not count either. Memory is the
most that was resident meanwhile beyond what was after the first. Linux only. Prints Markdown.
"""

import argparse
import functools
import itertools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BATCHES = 200
RESERVED = 1_000
WARM = 1_000
STAGES = ("curate", "tokenise", "open", "mlm", "turns")


def words(rng: random.Random) -> list[str]:
    return ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(20_000)]


def write_chats(path: Path, texts: int, *, seed: int) -> None:
    """Conversations of 4 to 16 turns of 2 to 22 words; every tenth one is a repeat."""
    rng = random.Random(seed)
    vocabulary = words(random.Random(0))
    line = ""
    with path.open("w", encoding="utf-8") as file:
        number = 0
        while texts > 0:
            number += 1
            if number % 10 or not line:
                n = min(texts, rng.randint(4, 16))
                line = json.dumps(
                    [
                        {
                            "role": ("user", "agent")[i % 2],
                            "text": " ".join(rng.choices(vocabulary, k=rng.randint(2, 22))),
                        }
                        for i in range(n)
                    ]
                )
                texts -= n
            file.write(f'{{"id": "c{number}", "turns": {line}}}\n')


def memory() -> float:
    """Resident memory now, MB."""
    return _status("VmRSS")


def peak() -> float:
    """The most resident memory since `forget_peak`, MB."""
    return _status("VmHWM")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _status(name: str) -> float:
    rows = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(row for row in rows if row.startswith(name + ":")).split()[1]) / 1024


class Clock:
    def __init__(self) -> None:
        self.begin = memory()
        self.seconds: dict[str, float] = {}
        self.megabytes: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        forget_peak()
        begun = time.process_time()
        yield
        self.seconds[name] = time.process_time() - begun
        self.megabytes[name] = peak() - self.begin


def data_side(source: Path, run: Path) -> dict[str, Any]:
    """Sources to batches, each stage timed."""
    from transformers import AutoTokenizer

    from shoptalk.artifact import create, open_artifact
    from shoptalk.config import CurateConfig
    from shoptalk.curate.curation import HELD_OUT, TRAIN, curate, write_corpus
    from shoptalk.curate.sources import stream_sources
    from shoptalk.nn.bases import resolve
    from shoptalk.nn.encoder import MAX_LENGTH
    from shoptalk.objective import Key, Material
    from shoptalk.objectives import make_spec
    from shoptalk.text.batching import make_batch
    from shoptalk.text.corpus import open_corpus
    from shoptalk.text.tokens import tokenise_to
    from shoptalk.training.loop import batch_positions

    tokenizer = AutoTokenizer.from_pretrained(resolve("minilm"), local_files_only=True, trust_remote_code=False)
    product: Any = types.SimpleNamespace(
        tokenizer=tokenizer, batch=functools.partial(make_batch, pad_id=tokenizer.pad_token_id)
    )
    config, rng = CurateConfig(), random.Random(7)
    vocabulary = words(random.Random(0))
    reserved = [" ".join(rng.choices(vocabulary, k=rng.randint(3, 15))) for _ in range(RESERVED)]
    clock = Clock()
    with clock.stage("curate"), create(run / "corpus", kind="corpus", config={}, parents={}) as inside:
        write_corpus(
            inside,
            curate(stream_sources([source], config), reserved=reserved, config=config),
            passage_characters=config.passage_characters,
            held_out=lambda document: False,
        )
    with clock.stage("open"):
        artifact = open_artifact(run / "corpus")
        assert artifact is not None
        corpus = open_corpus(run / "corpus" / TRAIN, digest=artifact.content)
        open_corpus(run / "corpus" / HELD_OUT, digest=artifact.content)
    with clock.stage("tokenise"):
        tokens = tokenise_to(run / "tokens", tokenizer, corpus.texts, max_length=MAX_LENGTH, digest=corpus.digest)
    for name in ("mlm", "turns"):
        with clock.stage(name):
            spec = make_spec(name, {})
            data = spec.examples(corpus)
            collate = spec.collate(Material(corpus, product, tokens, None))
            for step in range(BATCHES):
                key = Key(seed=0, step=step)
                collate([int(data[i]) for i in batch_positions(len(data), spec.batch, key)], key)
    return {"texts": len(corpus), "tokens": int(tokens.starts[-1]), "seconds": clock.seconds, "memory": clock.megabytes}


def one(texts: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.jsonl"), Path(folder, "large.jsonl")
        write_chats(small, WARM, seed=1)
        data_side(small, Path(folder, "warm"))
        # In a process of its own: what generating leaves behind in this one's allocator would look like a saving.
        subprocess.run([sys.executable, "-m", "benchmarks.scaling", "--write", str(large), str(texts)], check=True)
        return data_side(large, Path(folder, "run")) | {"bytes": large.stat().st_size}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| texts | source | " + " | ".join(f"{name} s" for name in STAGES) + " | all s | MB/s | peak MB |"
    yield "|--:" * (len(STAGES) + 5) + "|"
    for row in rows:
        total = sum(row["seconds"].values())
        cells = [f"{row['texts']:,}", f"{row['bytes'] / 1e6:.1f} MB"]
        cells += [f"{row['seconds'][name]:.2f} ({row['memory'][name]:.0f} MB)" for name in STAGES]
        rate = row["bytes"] / 1e6 / (row["seconds"]["curate"] + row["seconds"]["tokenise"])
        cells += [f"{total:.1f}", f"{rate:.1f}", f"{max(row['memory'].values()):.0f}"]
        yield "| " + " | ".join(cells) + " |"
    for before, after in itertools.pairwise(rows):
        doublings = math.log2(after["texts"] / before["texts"])
        times = [sum(row["seconds"].values()) for row in (before, after)]
        peaks = [max(row["memory"].values()) for row in (before, after)]
        yield ""
        yield (
            f"From {before['texts']:,} to {after['texts']:,} texts, each doubling takes "
            f"{(times[1] / times[0]) ** (1 / doublings):.2f} times the time and "
            f"{(peaks[1] / peaks[0]) ** (1 / doublings):.2f} times the memory."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default="10000,100000,1000000")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_chats(Path(arguments.write[0]), int(arguments.write[1]), seed=2)
    elif arguments.one:
        print(json.dumps(one(arguments.one)))
    else:
        rows = []
        for texts in arguments.texts.split(","):
            command = [sys.executable, "-m", "benchmarks.scaling", "--one", texts]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
            rows.append(json.loads(found.stdout.splitlines()[-1]))
            print(f"{texts}: {rows[-1]}", file=sys.stderr)
        print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
