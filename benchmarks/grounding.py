"""What the grounding head marks: `python -m benchmarks.grounding [--sets harbour,dstc11] [--minutes 4] [--quick]`

Two sets of documents: Harbour (`examples/harbour/documents`) and the knowledge of DSTC11 track 5 (needs SHOPTALK_DATA).
Of each a tenth of the documents chooses the threshold and a fifth is judged; MiniLM learns from corrupted replies to
the others for --minutes. Three trainings each: one with every kind of corruption, and one without each pair of
`HELD_OUT`, which is then judged on exactly these: mistakes of a kind that it has never seen. F1 is of tokens, over
corrupted replies and two thirds as many without a mistake; beside it the rule that marks a token which stands in no
passage. Of the kinds that were left out also what share of such replies the assistant's whole gate stops, its rules and
the head together. One seed, the last step. On a busy machine give --steps, as many as an idle one takes in that time;
only the time of one reply then needs another run. Progress goes to standard error, the table to standard output.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import data, table
from benchmarks.timing import ROOT, Row
from shoptalk.assistant.ground import sentences_of, unsupported
from shoptalk.commands.ground import Parts, apart, fit, make_replies, marked
from shoptalk.config import Config, load
from shoptalk.nn.encoder import text_encoder
from shoptalk.nn.heads.grounding import Claim, Grounding, reading_longer
from shoptalk.objectives.supervised.ground_tokens import GroundSpec
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.world import World, open_embedder
from shoptalk.text.corruptions import KINDS
from shoptalk.training.reporter import Silent

HELD_OUT = (("unit", "negation"), ("number", "name"))
REPLIES = 400
LEAST, LEAST_UNSEEN, MOST_MS = 0.85, 0.70, 20.0


def documents(name: str, folder: Path) -> Path:
    """The set's documents as a source; of DSTC11 one for each place, which all that is known and said of it makes."""
    if name == "harbour":
        return ROOT / "examples" / "harbour" / "documents"
    path, entities = folder / "knowledge.jsonl", dict[str, list[str]]()
    with gzip.open(data.pack() / "dialogues" / "dstc11_track5" / "knowledge.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            entities.setdefault(f"{row['domain']} {row['entity_id']}", []).append(row["text"])
    lines = [json.dumps({"id": name, "text": "\n\n".join(texts)}) for name, texts in entities.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def measure(name: str, config: Config, *, steps: int | None) -> Iterator[Row]:
    """All trainings on one set."""
    with tempfile.TemporaryDirectory() as temporary:
        world = World(run=Path(temporary, "run"), config=config, report=Silent())
        corpus = curate_stage(world, [documents(name, Path(temporary))], None, None, reads="text").train
        parts = apart(corpus, seed=config.seed)
        sizes = ", ".join(f"{len(np.unique(part.conversation)):,}" for part in (parts.train, parts.dev, parts.test))
        for held_out in ((), *HELD_OUT):
            spec = GroundSpec(kinds=tuple(kind for kind in KINDS if kind not in held_out))
            product = reading_longer(text_encoder(open_embedder(config, "minilm")))
            begun = time.perf_counter()
            folder = Path(temporary, "-".join(held_out) or "all")
            grounding = fit(product, parts, spec, config, folder=folder, report=Silent(), steps=steps)
            minutes = (time.perf_counter() - begun) / 60
            if not held_out:
                yield judged(name, grounding, parts, spec, "every kind, on unseen documents", LEAST, sizes, minutes)
                for kind in KINDS:
                    alone = spec.model_copy(update={"kinds": (kind,)})
                    yield judged(name, grounding, parts, alone, f"every kind learned, {kind} alone", None, "", minutes)
                yield timed(name, grounding, parts, spec)
            else:
                unseen = GroundSpec(kinds=held_out)
                what = f"{' and '.join(held_out)}, never trained on"
                yield judged(name, grounding, parts, unseen, what, LEAST_UNSEEN, sizes, minutes)
                for kind in held_out:
                    alone = GroundSpec(kinds=(kind,))
                    yield judged(name, grounding, parts, alone, f"{kind} alone, never trained on", None, "", minutes)
                    yield stopped(name, grounding, parts, alone, f"{kind}, which the head never trained on")


def judged(
    name: str, grounding: Grounding, parts: Parts, spec: GroundSpec, what: str, least: float | None, sizes: str,
    minutes: float,
) -> Row:  # fmt: skip
    """One row."""
    scores, rule = marked(grounding, make_replies(grounding.product, parts.test, spec, most=REPLIES, seed=2))
    of = f"{sizes} documents train, choose the threshold, are judged; {minutes:.1f} min; " if sizes else ""
    note = f"{of}rule {rule.f1:.2f}; of {scores.replies:,} replies; marked without a mistake {scores.marked_clean:.0%}"
    return Row("grounding", f"{name}: token F1, {what}", scores.f1, "", at_least=least, note=note)


def stopped(name: str, grounding: Grounding, parts: Parts, spec: GroundSpec, what: str) -> Row:
    """Of corrupted replies those that the assistant's whole gate stops: a sentence goes by its rules or by the head."""
    replies = make_replies(grounding.product, parts.test, spec, most=REPLIES, seed=3)
    chances = grounding.probabilities([reply.row for reply in replies])
    broken = np.array([bool(reply.wrong.any()) for reply in replies])
    head = np.array([bool(grounding.marked(row).any()) for row in chances])
    rules = np.array([any(unsupported(part, reply.passage) for part in sentences_of(reply.text)) for reply in replies])
    caught, lost = ([100 * float(by[of].mean()) for by in (rules, head, rules | head)] for of in (broken, ~broken))
    note = (
        f"rules alone {caught[0]:.0f} %, head alone {caught[1]:.0f} %; of replies without a mistake lost: rules "
        f"{lost[0]:.0f} %, head {lost[1]:.0f} %, both {lost[2]:.0f} %; {broken.sum():,} and {(~broken).sum():,} replies"
    )
    return Row("grounding", f"{name}: mistakes stopped by the gate, {what}", caught[2], "%", note=note)


def timed(name: str, grounding: Grounding, parts: Parts, spec: GroundSpec) -> Row:
    """Milliseconds of one reply to its passages, as the gate asks."""
    grounding.product.network.hold_weights()  # as the assistant opens it
    texts = parts.test.texts
    claims = [Claim(tuple(texts[i : i + 3]), texts[i][:200]) for i in range(min(40, len(texts) - 3))]
    taken = []
    for claim in claims:
        begun = time.perf_counter()
        grounding.marks([claim])
        taken.append(1000 * (time.perf_counter() - begun))
    return Row("grounding", f"{name}: one reply", float(np.median(taken[3:])), "ms", at_most=MOST_MS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="harbour,dstc11")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--steps", type=int, help="of each training, instead of minutes")
    parser.add_argument("--quick", action="store_true", help="few steps: does it run?")
    given = parser.parse_args()
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.grounding {' '.join(sys.argv[1:])}`\n")
    config = load(budget=f"{given.minutes:g}m")
    names = given.sets.split(",")
    steps = 4 if given.quick else given.steps
    table.printed(measured for name in names for measured in measure(name, config, steps=steps))


if __name__ == "__main__":
    main()
