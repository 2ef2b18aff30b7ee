"""From random weights to a usable encoder: `python -m benchmarks.scratch --work FOLDER [--budget 15m] [--only bow]`

The pack's English dialogues, turns kept as conversations, train `scratch:mini` by `bow`, by `turns`, by `mlm`, and by
`mlm` then `turns`, each with the same budget, by the functions of `shoptalk pretrain`. Then BANKING77 and CLINC150 say
what the encoders are worth (10-shot linear probe on the official test set, mean of 10 draws), and conversations that no
training saw say how well they find the next turn (MRR among up to 1,000 replies). Needs SHOPTALK_DATA. Prints Markdown;
the same command again continues.
"""

import argparse
import gzip
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import pack
from shoptalk.artifact import locked
from shoptalk.commands.compare import outcomes_by_shots
from shoptalk.commands.pretrain import pretrain
from shoptalk.config import Config, load
from shoptalk.nn.bases import open_base
from shoptalk.probes.linear import linear_probe
from shoptalk.probes.retrieval import Pair, choose_pairs, retrieval
from shoptalk.progress import Console
from shoptalk.records import Example
from shoptalk.stages.curate import open_curated
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log

DIALOGUES = (
    "sgd/train", "sgd/dev", "sgd/test", "multiwoz21/val", "multiwoz21/test", "taskmaster4/all", "star/all",
    "woz2/en_train", "woz2/en_valid", "woz2/en_test", "dstc11_track5/val",
    "topical_chat/valid_freq", "topical_chat/valid_rare", "topical_chat/test_freq", "topical_chat/test_rare",
    "xdailydialog/en_dev", "xdailydialog/en_test",
)  # fmt: skip
SETS = ("banking77", "clinc150")
SHOTS, DRAWS = 10, 10
ROADS = (("bow", "bow", ""), ("turns", "turns", ""), ("mlm", "mlm", ""), ("mlm then turns", "turns", "mlm"))
"""What is trained: a name, the objective, and the one whose encoder it begins with; none: random weights."""


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def write_dialogues(target: Path) -> Path:
    """Every dialogue of the pack that is in English, as conversations of two sides."""
    if not target.exists():
        part = target.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            for name in DIALOGUES:
                for row in rows_of(pack() / "dialogues" / f"{name}.jsonl.gz"):
                    # STAR's rows of the role "action" are no turns: the wizard's queries, in a language of their own.
                    turns = [
                        {"role": turn["role"], "text": turn["text"]}
                        for turn in row["turns"]
                        if turn["role"] != "action"
                    ]
                    file.write(json.dumps({"id": f"{name}/{row['id']}", "turns": turns}) + "\n")
        part.rename(target)
    return target


def examples(name: str, split: str) -> list[Example]:
    rows = rows_of(pack() / "intents" / name / f"{split}.jsonl.gz")
    return [
        Example(id=f"{name}-{split}-{number}", text=row["text"], label=row["label"], cluster=number)
        for number, row in enumerate(rows)
    ]


def train(dialogues: Path, out: Path, *, objective: str, config: Config) -> str:
    """What `shoptalk pretrain` does; says what it took."""
    begun, before = time.perf_counter(), time.process_time()
    with Console() as console, locked(out):
        world = World(run=out, config=config, report=console)
        card = f"# {config.base}, trained with {objective}\n"
        pretrain(world, [dialogues], objective=objective, steps=None, card=card)
    rows, cores = read_log(out), (time.process_time() - before) / 60
    print(f"{out.name}: {(time.perf_counter() - begun) / 60:.1f} min, {cores:.1f} core-minutes", file=sys.stderr)
    return f"{len(rows):,} steps, {sum(row['tokens'] for row in rows) / 1e6:.2f} M tokens, {cores:.1f} core-minutes"


def row_of(name: str, folder: Path, pairs: tuple[Pair, ...], spent: str) -> str:
    product = open_base(str(folder))
    cells = []
    for which in SETS:
        correct = outcomes_by_shots(
            product, examples(which, "train"), examples(which, "test"), shots=[SHOTS], draws=DRAWS, seed=0
        )
        reading = linear_probe(correct[0], shots=SHOTS)
        cells.append(f"{reading.value:.1f} ± {reading.detail['std_over_draws']:.1f}")
    cells.append(f"{retrieval(pairs)(product).value:.1f}")
    return f"| {name} | {spent} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where the encoders go")
    parser.add_argument("--base", default="scratch:mini")
    parser.add_argument("--budget", default="15m", help="of each training: 15m (curating included), or 2Mtok")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="a setting, as KEY=VALUE")
    parser.add_argument("--only", action="append", choices=[name for name, _, _ in ROADS], help="repeat for several")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    dialogues = write_dialogues(given.work / "dialogues.jsonl")
    pairs: tuple[Pair, ...] = ()
    for name, objective, before in ROADS:
        if given.only and name not in given.only:
            continue
        out = given.work / name.replace(" ", "-")
        base = str(given.work / before / "encoder") if before else given.base
        config = load(overrides=given.settings, base=base, budget=given.budget)
        spent = train(dialogues, out, objective=objective, config=config)
        if not pairs:
            pairs = choose_pairs(open_curated(World(run=out, config=config, report=Console())).held_out, seed=0)
            print(f"\n{given.base}, {given.budget} each, {torch.get_num_threads()} thread(s); {len(pairs)} pairs\n")
            print("| encoder | trained | BANKING77, 10-shot | CLINC150, 10-shot | next-turn MRR x 100 |")
            print("|---|---|---|---|---|")
            print(row_of("random weights", out / "base", pairs, "–"), flush=True)
        print(row_of(name, out / "encoder", pairs, spent), flush=True)


if __name__ == "__main__":
    main()
