"""The texts of the comparisons, read from the data pack that $SHOPTALK_DATA names; nothing of it is kept here."""

import gzip
import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MAX_LENGTH = 128


def pack() -> Path:
    """The data pack's folder.

    Raises:
        SystemExit: SHOPTALK_DATA is not set, or is not the pack's folder.
    """
    folder = os.environ.get("SHOPTALK_DATA")
    if not folder:
        raise SystemExit(
            "SHOPTALK_DATA is not set. Set it to the folder of the data pack (with intents/banking77 and "
            "dialogues/sgd in it), for example: export SHOPTALK_DATA=../shared/data"
        )
    path = Path(folder)
    for needed in ("intents/banking77/train.jsonl.gz", "dialogues/sgd/train.jsonl.gz"):
        if not (path / needed).is_file():
            raise SystemExit(f"SHOPTALK_DATA is {folder!r}, where there is no {needed}. Set it to the data pack.")
    return path


def rows(path: str) -> list[dict[str, Any]]:
    """The rows of a file of the pack, by its path in there."""
    return list(_rows(pack() / path))


def banking77() -> list[str]:
    """The 10,003 training messages."""
    return [row["text"] for row in _rows(pack() / "intents" / "banking77" / "train.jsonl.gz")]


def sgd_turns(most: int | None = None) -> list[str]:
    """The turns of the Schema-Guided Dialogue training set, in order; the first `most`."""
    rows = _rows(pack() / "dialogues" / "sgd" / "train.jsonl.gz")
    return [turn["text"] for row in rows for turn in row["turns"] if turn["text"].strip()][:most]


def sample(texts: Sequence[str], n: int, *, seed: int = 0) -> list[str]:
    """n different places of the list at random, in random order.

    Raises:
        SystemExit: there are fewer.
    """
    if n > len(texts):
        raise SystemExit(f"{n} texts are asked for and there are {len(texts)}: give fewer --steps.")
    return random.Random(seed).sample(list(texts), n)


def mixed_lengths(texts: Sequence[str], n: int, *, most: int = 12, seed: int = 0) -> list[str]:
    """n texts of one to `most` random texts each: every length up to the longest that is trained on."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(texts, k=rng.randint(1, most))) for _ in range(n)]


def write_texts(path: Path, texts: Sequence[str]) -> Path:
    """One JSON string a line, for a run in another process."""
    path.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    return path


def read_texts(path: Path) -> list[str]:
    """What `write_texts` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
