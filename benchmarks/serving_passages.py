"""A run with 100,000 passages, for serving under load: `python -m benchmarks.serving_passages RUN FOLDER`.

The run's own encoder, head and documents, and the pack's documents behind them (needs SHOPTALK_DATA), rows of DSTC11's
knowledge last. The run's own texts and the next `embedded` ones are embedded; each other vector is one of these with
noise, which times do not depend on. FOLDER is used again where it holds what is asked for.
"""

import argparse
import dataclasses
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks.data import pack
from benchmarks.retrieval_serving import rows_of
from shoptalk.artifact import create, handed_out
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.bulk import BulkEncoder, in_faster_arithmetic
from shoptalk.assistant.progress_lines import ProgressLines
from shoptalk.assistant.sections import passages_of
from shoptalk.assistant.shelf import Embeds, write_shelf
from shoptalk.nn.lean import open_to_read
from shoptalk.records import Document, Metadata

PARTS = ("encoder", "head")


@dataclasses.dataclass
class Sampled:
    """Embeds the first texts, and lends their vectors to all others, with noise."""

    encoder: Embeds
    most: int
    seen: list[Float[np.ndarray, "N D"]] = dataclasses.field(default_factory=list)
    rng: np.random.Generator = dataclasses.field(default_factory=lambda: np.random.default_rng(0))

    def embed(self, items: Sequence[str]) -> Float[np.ndarray, "N D"]:
        """Unit vectors."""
        n_seen = sum(len(part) for part in self.seen)
        if n_seen < self.most:
            self.seen.append(self.encoder.embed(items))
            return self.seen[-1]
        known = np.concatenate(self.seen)
        lent = known[self.rng.integers(len(known), size=len(items))]
        noisy = lent + self.rng.normal(0, 0.02, lent.shape).astype(np.float32)
        unit: Float[np.ndarray, "N D"] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
        return unit


def documents(run: Path, passages: int) -> Iterator[Document]:
    """The run's own first, then the pack's in a random order, up to this number of passages."""
    count = 0
    for document in _every(run):
        here = len(passages_of(document))
        if count + here > passages:
            return
        count += here
        yield document


def _every(run: Path) -> Iterator[Document]:
    yield from Assistant.open(run).knowledge.shelf.documents()
    others = []
    for path in sorted((pack() / "docs").glob("*.jsonl.gz")):
        name = path.name.removesuffix(".jsonl.gz")
        others += [(f"{name}/{row['id']}.md", row["title"], row["text"]) for row in rows_of(f"docs/{name}")]
    random.Random(0).shuffle(others)
    for id, title, text in others:
        yield Document(id=id, source=id, text=text, metadata=Metadata({"title": title}))
    for row in rows_of("dialogues/dstc11_track5/knowledge"):
        yield Document(id=f"dstc11/{row['doc_id']}", source="dstc11", text=row["text"])


def large_run(run: Path, folder: Path, *, passages: int, embedded: int) -> Path:
    """A run of so many passages in `folder`, made unless it is there."""
    asked = {"run": handed_out(run / "encoder").content, "passages": passages, "embedded": embedded}
    note = folder / "made-from.json"
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) == asked:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in PARTS:
        if (run / part).is_dir():
            shutil.copytree(run / part, folder / part)
    product = in_faster_arithmetic(open_to_read(folder / "encoder"))
    lent = Sampled(BulkEncoder(product), embedded)
    began = time.monotonic()
    with create(
        folder / "knowledge", kind="knowledge", config={"layout": 1}, parents={"encoder": str(asked["run"])}
    ) as inside:
        shelved = write_shelf(inside, documents(run, passages), lent, dim=product.dim, tell=ProgressLines(_say))
    _say(
        f"{shelved.documents:,} documents, {shelved.passages:,} passages in {time.monotonic() - began:.0f} s: {folder}"
    )
    note.write_text(json.dumps(asked), encoding="utf-8")
    return folder


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--embedded", type=int, default=8_192)
    options = parser.parse_args()
    large_run(options.run, options.folder, passages=options.passages, embedded=options.embedded)


if __name__ == "__main__":
    main()
