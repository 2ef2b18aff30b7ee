"""How often does the label-free rule pick a harmful encoder? `python -m benchmarks.labelfree --work FOLDER`

Eleven labelled sets of the pack, up to 1,500 texts each, and encoders made of `minilm`: trained well and badly, on the
set's own text and on another's, cut short, with noise, and random. The truth about an encoder on a set is its 5-shot
linear probe minus the base's (mean of 10 draws of labels); helpful and harmful mean by more than 0.5 points. The rule
of `evaluate/labelfree.py` sees vectors only, and what judges a set was fitted on the others.

A menu is the base and one to three of the set's trained encoders; the pick is the menu's best by a rule. The last table
gives the coefficients that are written into `evaluate/labelfree.py`, fitted on all sets. Trainings and vectors stay in
the folder, and the same command again continues. Needs SHOPTALK_DATA. Prints Markdown.
"""

import argparse
import copy
import gzip
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.stats import spearmanr

from benchmarks.data import pack
from shoptalk.artifact import locked
from shoptalk.commands.pretrain import pretrain
from shoptalk.config import load
from shoptalk.evaluate.bench import SAMPLE
from shoptalk.evaluate.labelfree import LOST, MARGIN, MOST_MOVED, RULE, Rule, features, suggestion
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Encoder, TextEncoder, embed
from shoptalk.nn.student import with_layers
from shoptalk.probes.linear import probe_outcomes
from shoptalk.probes.rank import rankme
from shoptalk.progress import Console
from shoptalk.stages.world import World

SETS = (
    "banking77", "clinc150", "snips", "atis", "stackoverflow_titles", "injongo", "xsid", "braun2017",
    "sst2", "tweeteval_emotion", "tweeteval_irony",
)  # fmt: skip
MOST, TESTS, SHOTS, DRAWS = 1500, 500, 5, 10
MAX_LENGTH = 64


@dataclass(frozen=True)
class Labels:
    """A set's sample: the first `pool` texts are there to draw few-shot label sets from, the others are tests."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    pool: int
    source: tuple[str, ...]
    """Texts of its training part, for a training without labels."""


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def split_rows(name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and test rows; sets that come in one piece are cut in two at random."""
    kind = "sentiment" if name in ("sst2", "tweeteval_emotion", "tweeteval_irony") else "intents"
    folder = pack() / kind / name
    if name == "braun2017":
        rows = [
            row | {"label": f"{path.name} {row['label']}"}
            for path in sorted(folder.glob("*.gz"))
            for row in rows_of(path)
        ]
    elif name == "stackoverflow_titles":
        rows = list(rows_of(folder / "all.jsonl.gz"))
    else:
        first = "valid" if name == "xsid" else "train"
        found = [list(rows_of(folder / f"{part}.jsonl.gz")) for part in (first, "test")]
        language = {"xsid": "en", "injongo": "eng"}.get(name)
        train, test = ([row for row in part if language is None or row["lang"] == language] for part in found)
        return [row for row in train if "#" not in row["label"]], [row for row in test if "#" not in row["label"]]
    random.Random(0).shuffle(rows)
    half = len(rows) // 2
    return rows[:half], rows[half:]


def read_set(name: str) -> Labels:
    """The sample of a set: seven to twenty texts of each label as a pool, and up to 500 tests with those labels."""
    train, test = split_rows(name)
    rng = random.Random(0)
    by_label: dict[str, list[dict[str, Any]]] = {}
    for row in rng.sample(train, len(train)):
        by_label.setdefault(row["label"], []).append(row)
    by_label = {label: rows for label, rows in by_label.items() if len(rows) >= 2}
    most = min(20, max(7, 700 // len(by_label)))
    pool = [row for label in sorted(by_label) for row in by_label[label][:most]]
    tests = [row for row in rng.sample(test, len(test)) if row["label"] in by_label][: min(TESTS, MOST - len(pool))]
    chosen = [*pool, *tests]
    source = tuple(row["text"] for row in rng.sample(train, min(len(train), MOST)))
    return Labels(name, tuple(row["text"] for row in chosen), tuple(row["label"] for row in chosen), len(pool), source)


# --- the encoders -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """A training by the functions of `shoptalk pretrain`."""

    objective: str
    source: str
    """A set's name, or `sgd`: conversations."""
    steps: int
    settings: tuple[str, ...] = ()


TRAINED = {
    "neighbours, BANKING77": Recipe("neighbours", "banking77", 60, ("objectives.neighbours.batch=64",)),
    "neighbours, CLINC150": Recipe("neighbours", "clinc150", 60, ("objectives.neighbours.batch=64",)),
    "simcse, BANKING77": Recipe("simcse", "banking77", 30, ("objectives.simcse.lr=2e-5",)),
    "mlm, BANKING77": Recipe("mlm", "banking77", 16),
    "turns, SGD": Recipe("turns", "sgd", 12, ("objectives.turns.batch=32", "objectives.turns.lr=1e-4")),
}
OWN = ("stackoverflow_titles", "tweeteval_emotion")
"""Further sets with an encoder of their own text: twenty small steps of `neighbours`."""


def own_recipe(name: str) -> Recipe:
    return Recipe("neighbours", name, 20, ("objectives.neighbours.batch=32", "objectives.neighbours.lr=1e-4"))


def truncated(base: TextEncoder) -> TextEncoder:
    """Its first three layers."""
    short = with_layers(base, 3)
    kept: Any = short.network.backbone.encoder
    there: Any = base.network.backbone.encoder
    for target, source in zip(kept.layer, there.layer, strict=False):  # the student's are spread over all of them
        target.load_state_dict(source.state_dict())
    return short


def noised(base: TextEncoder, *, share: float = 0.5) -> TextEncoder:
    """Every weight matrix with normal noise of a share of its own standard deviation."""
    encoder, generator = copy.deepcopy(base.network), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.ndim == 2:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=share * float(weight.std()))
    return replace(base, network=encoder)


def fresh(base: TextEncoder) -> TextEncoder:
    """Its architecture with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone: Any = type(base.network.backbone)(base.network.backbone.config)
    return replace(base, network=Encoder(backbone, pooling=base.network.pooling).eval())


MADE: dict[str, Callable[[TextEncoder], TextEncoder]] = {"three layers": truncated, "noise": noised, "random": fresh}


def write_source(target: Path, name: str) -> Path:
    """What a training reads: texts without labels, or conversations."""
    if name == "sgd":
        rows = list(rows_of(pack() / "dialogues" / "sgd" / "train.jsonl.gz"))[:400]
        kept = [{"id": row["id"], "turns": [{k: t[k] for k in ("role", "text")} for t in row["turns"]]} for row in rows]
    else:
        kept = [{"text": text} for text in read_set(name).source]
    target.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return target


def trained(work: Path, name: str, recipe: Recipe) -> TextEncoder:
    """The encoder in the folder of made ones, trained where there is none."""
    out = work / name.replace(", ", "-").replace(" ", "-")
    if not (out / "encoder" / "model.safetensors").exists():
        source = write_source(work / f"{recipe.source}.jsonl", recipe.source)
        config = load(overrides=recipe.settings, base="minilm")
        with Console() as console, locked(out):
            world = World(run=out, config=config, report=console)
            pretrain(world, [source], objective=recipe.objective, steps=recipe.steps, card=f"# {name}\n")
    return open_base(str(out / "encoder"), max_length=MAX_LENGTH)


# --- what is measured ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """An encoder on a set: its differences to the base, and the truth."""

    set: str
    encoder: str
    features: Mapping[str, float]
    rankme: float
    """Change of RankMe in effective dimensions."""
    gain: float
    """5-shot accuracy minus the base's, in points."""

    @property
    def trained(self) -> bool:
        """Whether training made it, and not a saw."""
        return self.encoder not in MADE


def measured(work: Path) -> list[Row]:
    """Every encoder on every set; what `rows.jsonl` in the folder has already is not measured again."""
    path, found = work / "rows.jsonl", []
    if path.exists():
        found = [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    base = open_base("minilm", max_length=MAX_LENGTH)
    sets = {name: read_set(name) for name in SETS}
    jobs: list[tuple[str, Callable[[], TextEncoder], Sequence[str]]] = [
        *((name, partial(trained, work, name, recipe), SETS) for name, recipe in TRAINED.items()),
        *((name, partial(make, base), SETS) for name, make in MADE.items()),
        *((f"own, {name}", partial(trained, work, f"own, {name}", own_recipe(name)), [name]) for name in OWN),
    ]
    known = {(row.set, row.encoder) for row in found}
    before: dict[str, np.ndarray] = {}
    for encoder, make, on in jobs:
        wanted = [name for name in on if (name, encoder) not in known]
        if not wanted:
            continue
        product = make()
        for name in wanted:
            if name not in before:
                before[name] = embed(base, sets[name].texts)
            row = row_of(sets[name], encoder, embed(product, sets[name].texts), before[name])
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(row)) + "\n")
            found.append(row)
    return found


def row_of(labels: Labels, encoder: str, vectors: np.ndarray, base: np.ndarray) -> Row:
    """Features of as many texts as a run samples; the truth is the linear probe's."""
    sample = np.random.default_rng(0).permutation(len(labels.texts))[:SAMPLE]
    return Row(
        set=labels.name,
        encoder=encoder,
        features=features(vectors[sample], base[sample]),
        rankme=rankme(vectors[sample]) - rankme(base[sample]),
        gain=accuracy(labels, vectors) - accuracy(labels, base),
    )


def accuracy(labels: Labels, vectors: np.ndarray) -> float:
    truth, pool = np.array(labels.labels), labels.pool
    correct = probe_outcomes(
        vectors[:pool], truth[:pool], vectors[pool:], truth[pool:], shots=SHOTS, draws=DRAWS, seed=0
    )
    return 100 * float(correct.mean())


# --- fitting and judging ------------------------------------------------------------------------------------------

PENALTY, MOST_GAIN = 3.0, -LOST


def fit(rows: Sequence[Row]) -> Rule:
    """Ridge regression of the gain, with no weight against its feature's sense: more of each should be better.

    Gains are cut at three points, and what has moved too far is left out: the rule says `LOST` of it unasked.
    """
    rows = [row for row in rows if row.features["kept"] >= -MOST_MOVED]
    scales = {name: float(np.median([abs(row.features[name]) for row in rows])) for name in RULE.weights}
    shell = Rule({name: (scale, 1.0) for name, scale in scales.items()})
    x = np.array([list(shell.terms(row.features).values()) for row in rows])
    y = np.clip([row.gain for row in rows], -MOST_GAIN, MOST_GAIN)
    ridge = PENALTY**0.5 * np.eye(len(scales))
    weights = nnls(np.vstack([x, ridge]), np.concatenate([y, np.zeros(len(scales))]))[0]
    return Rule({name: (scale, float(w)) for (name, scale), w in zip(scales.items(), weights, strict=True)})


Picker = Callable[[Sequence[Row]], Row | None]
"""Of a menu's challengers, the one it takes; None is the base."""


def held_out_scores(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """Every row's score by a rule that was fitted without its set."""
    rules = {name: fit([row for row in rows if row.set != name]) for name in {row.set for row in rows}}
    return {(row.set, row.encoder): rules[row.set].score(row.features) for row in rows}


def by_scores(scores: Mapping[tuple[str, str], float]) -> Picker:
    def pick(menu: Sequence[Row]) -> Row | None:
        best = max(menu, key=lambda row: scores[row.set, row.encoder])
        return best if scores[best.set, best.encoder] > MARGIN else None

    return pick


def by_rankme(menu: Sequence[Row]) -> Row | None:
    best = max(menu, key=lambda row: row.rankme)
    return best if best.rankme > 0 else None


def menus(rows: Sequence[Row]) -> Iterator[tuple[Row, ...]]:
    """Every choice of one to three of each set's trained encoders."""
    for name in dict.fromkeys(row.set for row in rows):
        mine = [row for row in rows if row.set == name and row.trained]
        for size in (1, 2, 3):
            yield from itertools.combinations(mine, size)


def gained(row: Row | None) -> float:
    return row.gain if row else 0.0


def summary(picks: Sequence[Row | None]) -> str:
    """How many, and in per cent: harmful, helpful, the base; and the mean gain."""
    gains = np.array([gained(row) for row in picks])
    base = np.mean([row is None for row in picks])
    shares = [np.mean(gains < -MARGIN), np.mean(gains > MARGIN), base]
    return " | ".join([str(len(gains)), *(f"{100 * share:.0f}" for share in shares), f"{gains.mean():+.2f}"])


def named(row: Row | None) -> str:
    return f"{row.encoder}, {row.gain:+.1f}" if row else "base"


def tell(rows: Sequence[Row]) -> None:
    scores = held_out_scores(rows)
    rule = by_scores(scores)
    print("| held-out set | encoders | harmful, helpful | the rule picks, gain | RankMe picks, gain | Spearman |")
    print("|---|---|---|---|---|---|")
    tops, ranks = [], []
    for name in dict.fromkeys(row.set for row in rows):
        mine = [row for row in rows if row.set == name]
        tops.append(rule(mine))
        ranks.append(by_rankme(mine))
        found = spearmanr([0.0, *(scores[name, row.encoder] for row in mine)], [0.0, *(row.gain for row in mine)])
        harmful, helpful = (sum(sign * row.gain > MARGIN for row in mine) for sign in (-1, 1))
        cells = [name, f"{len(mine)} + base", f"{harmful}, {helpful}", named(tops[-1]), named(ranks[-1])]
        print(f"| {' | '.join(cells)} | {found.statistic:+.2f} |")
    every = list(menus(rows))
    last = [row for menu in every for row in menu for _ in range(6 // len(menu))]  # any may be the last, alike
    print("\n| menus | rule | picks | harmful % | helpful % | base % | mean gain |\n|---|---|---|---|---|---|---|")
    print(f"| all encoders of a set | label-free rule | {summary(tops)} |")
    print(f"| all encoders of a set | RankMe | {summary(ranks)} |")
    print(f"| 1 to 3 trained ones | label-free rule | {summary([rule(menu) for menu in every])} |")
    print(f"| 1 to 3 trained ones | RankMe | {summary([by_rankme(menu) for menu in every])} |")
    print(f"| 1 to 3 trained ones | the last trained (weighted) | {summary(last)} |")
    best = [max((None, *menu), key=gained) for menu in every]
    print(f"| 1 to 3 trained ones | the truth | {summary(best)} |")
    print("\n| suggestion | encoders | harmful % | helpful % | mean gain |\n|---|---|---|---|---|")
    for words in ("likely helps", "cannot tell", "likely harms"):
        gains = np.array([row.gain for row in rows if suggestion(scores[row.set, row.encoder]) == words])
        if len(gains):
            shares = f"{100 * np.mean(gains < -MARGIN):.0f} | {100 * np.mean(gains > MARGIN):.0f}"
            print(f"| {words} | {len(gains)} | {shares} | {gains.mean():+.2f} |")
    print(f"\nFitted on all sets: {fit(rows)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where encoders and measurements go")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    tell(measured(given.work))


if __name__ == "__main__":
    main()
