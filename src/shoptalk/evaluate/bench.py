"""What is measured of the base and of every menu entry: the same examples, the same draws, the same seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from shoptalk import decide
from shoptalk.errors import DivergedError
from shoptalk.evaluate import labelfree
from shoptalk.nn.product import Embedder, Kind, Product
from shoptalk.objective import Probe
from shoptalk.probes import bits_per_byte, forgetting, knn, rank, retrieval
from shoptalk.probes.alignment_uniformity import alignment, uniformity
from shoptalk.probes.collapse import collapsed
from shoptalk.probes.once import Once
from shoptalk.records import Reading
from shoptalk.tasks import general_cloze
from shoptalk.tasks.general_cloze import GeneralCloze
from shoptalk.tasks.judge import Classes, Final, Ground, Judge, Score, Untrained

SAMPLE = 512
"""Items for the label-free measures: more than the encoder's dimensions, few enough to embed at every look."""


OF_GENERAL_TEXT = {"general_bits", "general_cloze"}
"""The limits of language models, where these have something to forget."""


class Guard(NamedTuple):
    """How far a reading may fall below the base's."""

    reads: str
    """The reading's key."""
    name: str
    """For people: "forgetting"."""
    limit: float
    """The smallest change that is allowed, in the reading's unit; at most 0."""
    failing: str
    """What is said of an entry outside it, with places for the change and the limit, and for both with
    their signs turned (`worse`, `most`)."""
    unit: str = "points"
    """Of changes and the limit."""
    lower_is_better: bool = False
    relative: bool = False
    """Whether changes are in per cent of what the reading was before."""
    point: float = 1.0
    """A point in the unit: what is broken is counted in where the limit is 0 (`beyond`)."""
    least: float | None = None
    """What the reading is held against in the place of what it was before: what one gets without training."""

    def change(self, before: Mapping[str, float], after: Mapping[str, float]) -> float:
        """From one measurement's readings to another's; less than nought is worse."""
        was = before[self.reads] if self.least is None else self.least
        difference = after[self.reads] - was
        better = -difference if self.lower_is_better else difference
        return 100.0 * better / was if self.relative else better


class GeneralGaps(NamedTuple):
    """The cloze on general text, and how far a language model may surely fall below its base there."""

    judge: GeneralCloze
    limit: float
    """The smallest change that is allowed, in points; at most 0. Outside is what the whole interval lies below."""


@dataclass(frozen=True)
class Bench:
    """A run's judges, probes and guards, each by a stable key, and the items that they share."""

    goal: str
    """The key of the task that must gain. There may be nothing to judge it by; the other tasks must not lose all the
    same.
    """
    judges: Mapping[str, Judge]
    probes: Mapping[str, Probe]
    guards: Mapping[str, Guard]
    sample: tuple[Any, ...] = ()
    """Training items for the label-free measures."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Held-out (context, reply) pairs; empty where there are no conversations."""
    held_out: tuple[Any, ...] = ()
    """Held-out items, for what a pretext task's own loss is on unseen ones."""
    pool: tuple[Any, ...] = ()
    """Unlabelled items that heads may learn from; only the verdict's looks need them."""
    kind: Kind = "text"
    """Of the products that it measures."""
    general: GeneralGaps | None = None
    """What base and challenger are asked once, for forgetting; None where there is nothing to forget."""

    @property
    def judge(self) -> Judge | None:
        """Of the task that must gain; None where there is nothing to judge by."""
        return self.judges.get(self.goal)

    @property
    def items(self) -> list[Any]:
        """All that an encoder embeds in a measurement, for its price."""
        judged = [item for judge in self.judges.values() for item in judge.items]
        paired = [item for pair in self.pairs for item in pair]
        return [*(self.sample if rank.KEY in self.probes else ()), *judged, *paired]


def make_bench(
    ground: Ground,
    judges: Mapping[str, Judge],
    *,
    goal: str,
    sample: tuple[Any, ...],
    limits: Mapping[str, float],
) -> Bench:
    """The measurements for products of `ground.kind`.

    Args:
        ground: what the run has.
        judges: of its tasks, by their keys.
        goal: the key of the one that must gain.
        sample: training items for the label-free measures.
        limits: the smallest changes that guards allow: "forgetting" in points of general similarity, "tasks" in points
            of each task that must not lose (`Measure.point`), "general_bits" of language models in per cent of the
            bits per byte of general text and "general_cloze" in points, both where there is something to forget.
    """
    reads_text = ground.kind == "text"
    pairs = retrieval.choose_pairs(ground.held_out, seed=ground.seed) if reads_text else ()
    probes: dict[str, Probe] = {}
    guards: dict[str, Guard] = {}
    if reads_text:
        probes[forgetting.KEY] = forgetting.general_similarity()
        failing = "it forgets: general similarity changed by {change:.1f} points (guard {limit:g})"
        guards["forgetting"] = Guard(forgetting.KEY, "forgetting", limits["forgetting"], failing)
    if ground.kind == "lm":
        probes[bits_per_byte.KEY] = bits_per_byte.general_bits()
    if ground.kind == "lm" and "general_bits" in limits:
        failing = "it forgets: general text takes it {worse:.1f} % more bits than the base (guard {most:g} %)"
        guards["forgetting"] = Guard(
            bits_per_byte.KEY, "forgetting", limits["general_bits"], failing, "%", lower_is_better=True, relative=True
        )
    if ground.kind != "lm" and len(sample) > 1:
        probes[rank.KEY], probes["uniformity"] = rank.rank(sample), uniformity(sample)
    if len(pairs) > 1:
        probes["alignment"], probes[retrieval.KEY] = alignment(pairs), retrieval.retrieval(pairs)
    judge = judges.get(goal)
    if judge is not None and judge.classes is not None and ground.kind != "lm":
        labels = [judge.classes.names[code] for code in judge.classes.labels]
        probes[knn.KEY] = knn.knn_leave_one_out(judge.classes.items, labels, clusters=judge.cluster.tolist())
    for other in (other for key, other in judges.items() if key != goal):
        unit = other.measure.difference
        failing = f"it loses at {other.key}: {{change:+.{other.measure.decimals}f}} {unit} (guard {{limit:g}})"
        lower = other.measure.lower_is_better
        limit = limits["tasks"] * other.measure.point
        guards[other.key] = Guard(other.key, other.key, limit, failing, unit, lower, point=other.measure.point)
    if judge is not None and judge.untrained is not None:
        guards["untrained"] = _above_untrained(judge, judge.untrained)
    held_out = tuple(ground.held_out.items[:SAMPLE])
    asks = ground.kind == "lm" and general_cloze.KEY in limits
    general = GeneralGaps(general_cloze.general_cloze(), limits[general_cloze.KEY]) if asks else None
    return Bench(goal, dict(judges), probes, guards, sample, pairs, held_out, ground.pool, ground.kind, general)


def _above_untrained(judge: Judge, untrained: Untrained) -> Guard:
    """The guard that an entry is no worse than what needs no training."""
    measure, least = judge.measure, reading_of(judge, untrained.scores).value
    failing = (
        f"it does worse than what needs no training, {untrained.name}: {measure.shown(least)} there, "
        f"{{change:+.{measure.decimals}f}} {measure.difference} here"
    )
    name, lower, point = "over what needs no training", measure.lower_is_better, measure.point
    return Guard(judge.key, name, 0.0, failing, measure.difference, lower, point=point, least=least)


def outside(guards: Mapping[str, Guard], before: "Measured", after: "Measured", *, kind: Kind = "text") -> str | None:
    """Why an entry, a product of this kind, is outside its guards; None where it is inside all of them."""
    if after.collapsed:
        what = "different pictures" if kind in ("image", "pair") else "texts of different meaning"
        return f"its vectors have collapsed: {what} lie in one place"
    was, now = before.values(), after.values()
    for guard in guards.values():
        change = guard.change(was, now)
        if not change >= guard.limit:  # a change that is no number is outside
            return guard.failing.format(change=change, limit=guard.limit, worse=-change, most=-guard.limit)
    return None


def beyond(guards: Mapping[str, Guard], before: "Measured", after: "Measured") -> float:
    """How far an entry is outside its guards: nought where it is inside all of them, else by how many times the limit
    of the one that it breaks most; infinite where its vectors have collapsed or a change is no number. Where a limit is
    0 the excess is counted in points (`Guard.point`).
    """
    was, now = before.values(), after.values()
    over = [(guard.limit - guard.change(was, now)) / (abs(guard.limit) or guard.point) for guard in guards.values()]
    return math.inf if after.collapsed or np.isnan(over).any() else max([0.0, *over])


@dataclass(frozen=True)
class Measured:
    """A product's measurements: readings, and each judge's scores of each draw and example."""

    readings: tuple[Reading, ...]
    scores: Mapping[str, Score] = field(repr=False, default_factory=dict)
    """By the judges' keys."""
    vectors: Float[np.ndarray, "S D"] | None = field(repr=False, default=None)
    """The base's of the bench's sample, where there is no judge: what `labelfree` compares a challenger's with."""
    pretext: Reading | None = None
    """The pretext task's own loss on unseen items, where it has one."""

    def values(self) -> dict[str, float]:
        """Every reading's value by its key."""
        every = (*self.readings, *((self.pretext,) if self.pretext else ()))
        return {reading.key: reading.value for reading in every}

    def reading(self, key: str) -> Reading | None:
        """The reading of that key, where it was taken."""
        return next((reading for reading in self.readings if reading.key == key), None)

    @property
    def collapsed(self) -> bool:
        """Whether the collapse alarm goes off."""
        reading = self.reading(rank.KEY)
        return reading is not None and collapsed(reading)


def looks_over(base: Measured, others: Sequence[tuple[str, Measured]], judge: Judge) -> decide.Scores:
    """What looks have seen of a base and of others, each with its name, on the same draws. The points of a dose curve
    may share a name.
    """
    return decide.Scores(
        entries=tuple(name for name, _ in others),
        values=np.stack([base.scores[judge.key], *(measured.scores[judge.key] for _, measured in others)]),
        tested=judge.tested_by_looks,
        cluster=judge.cluster,
        measure=judge.measure,
    )


def shipped_over(base: Final, name: str, other: Final, judge: Judge) -> decide.Scores:
    """The final scores of a base and of another model, on the draws that the base was scored on."""
    return decide.Scores(
        entries=(name,),
        values=np.stack([base.scores, other.scores]),
        tested=judge.tested[: len(base.scores)],
        cluster=judge.cluster,
        measure=judge.measure,
    )


def refuse_other(measured: Measured, bench: Bench) -> None:
    """Refuse a measurement that was read from a folder and is not one of this bench.

    Raises:
        ValueError: a judge's scores are missing, not finite or not of its draws and examples, or what a guard reads is
            missing.
    """
    for key, judge in bench.judges.items():
        if key not in measured.scores:
            raise ValueError(f"it has no scores of {key!r}")
        scores = measured.scores[key]
        if scores.shape != judge.tested_by_looks.shape or scores.dtype.kind not in "bf":
            expected = f"expected {judge.tested_by_looks.shape} of truths or numbers"
            raise ValueError(f"its scores of {key!r} are {scores.shape} of {scores.dtype}, {expected}")
        if not np.isfinite(scores).all():
            raise ValueError(f"its scores of {key!r} are not all finite")
    for guard in bench.guards.values():
        if guard.reads not in measured.values():
            raise ValueError(f"it has no reading of {guard.reads!r}")


def save_measured(folder: Path, measured: Measured) -> None:
    """A measurement as files: `readings.jsonl`, `scores.JUDGE.npy` [R, N] of each judge, and what else there is."""
    rows = [reading.model_dump_json() + "\n" for reading in measured.readings]
    (folder / "readings.jsonl").write_text("".join(rows), encoding="utf-8")
    for key, scores in measured.scores.items():
        np.save(folder / f"scores.{key}.npy", scores)
    if measured.vectors is not None:
        np.save(folder / "vectors.npy", measured.vectors)
    if measured.pretext is not None:
        (folder / "pretext.json").write_text(measured.pretext.model_dump_json(), encoding="utf-8")


def load_measured(folder: Path) -> Measured:
    """What `save_measured` wrote."""
    lines = (folder / "readings.jsonl").read_text(encoding="utf-8").splitlines()
    readings = tuple(Reading.model_validate_json(line) for line in lines)
    scores = {
        path.name.removeprefix("scores.").removesuffix(".npy"): np.load(path, allow_pickle=False)
        for path in sorted(folder.glob("scores.*.npy"))
    }
    vectors, pretext = folder / "vectors.npy", folder / "pretext.json"
    return Measured(
        readings,
        scores,
        np.load(vectors, allow_pickle=False) if vectors.is_file() else None,
        Reading.model_validate_json(pretext.read_text(encoding="utf-8")) if pretext.is_file() else None,
    )


def measure(product: Product, bench: Bench, *, base: Measured | None = None) -> Measured:
    """Measure a frozen product; each group of items is embedded once.

    `base` is the base's measurement, where the product is a challenger: without a judge it is scored against that, if
    it reads texts. Of pictures nobody has tried how often the rule of `labelfree` is right.

    Raises:
        DivergedError: vectors are NaN or infinite.
    """
    embedder = Once(product) if isinstance(product, Embedder) else None
    observed = embedder or product
    readings = [probe(observed) for probe in bench.probes.values()]
    vectors = None
    if embedder is not None and bench.judge is None and bench.kind == "text" and len(bench.sample) > 1:
        if base is None:
            vectors = embedder.embed(bench.sample)
        elif base.vectors is not None and len(base.vectors) >= labelfree.FEWEST:
            readings.append(labelfree.beside(bench.sample, base.vectors)(embedder))
    scores = {}
    for key, judge in bench.judges.items():
        scores[key] = finite(judge.look(observed), judge)
        readings += [reading_of(judge, scores[key]), *shares_of(judge, scores[key])]
    return Measured(tuple(readings), scores, vectors)


def finite(scores: Score, judge: Judge) -> Score:
    """Scores that are numbers wherever an example is tested.

    Raises:
        DivergedError: some are NaN or infinite.
    """
    broken = int((~np.isfinite(scores[judge.tested[: len(scores)]])).sum())
    if broken:
        raise DivergedError(
            f"{broken:,} scores at {judge.key} are NaN or infinite. A candidate whose training diverged wants a lower "
            "learning rate, or to be left out; a base that gives no numbers cannot be judged."
        )
    return scores


def reading_of(judge: Judge, scores: Score) -> Reading:
    """The level of a judge's scores."""
    mean, n = float(scores[judge.tested_by_looks].mean()), int(judge.tested_by_looks.any(axis=0).sum())
    return Reading(key=judge.key, name=judge.looked, value=judge.measure.level(mean), unit=judge.measure.unit, n=n)


def shares_of(judge: Judge, scores: Score) -> list[Reading]:
    """What else is read off a judge's scores (`ReachedShare`), in per cent."""
    readings = []
    for share in judge.shares:
        reached = scores[:, share.of][judge.tested_by_looks[:, share.of]] >= share.least
        value = 100.0 * float(reached.mean())
        readings.append(Reading(key=share.key, name=share.name, value=value, unit="%", n=len(reached)))
    return readings


def per_class(
    classes: Classes,
    tested: Bool[np.ndarray, "R N"],
    base: Bool[np.ndarray, "R N"],
    adapted: Bool[np.ndarray, "R N"],
) -> list[dict[str, Any]]:
    """Accuracy of base and adapted per class, over the draws' tests, in per cent; biggest gains first."""
    rows = []
    for number, name in enumerate(classes.names):
        cells = tested & (classes.labels == number)[None, :]
        if cells.any():
            before, after = 100 * float(base[cells].mean()), 100 * float(adapted[cells].mean())
            n = int((classes.labels == number).sum())
            rows.append({"label": name, "n": n, "base": before, "adapted": after, "gain": after - before})
    return sorted(rows, key=lambda row: -row["gain"])
