"""How much is enough: the dose curves of a finished run's winner, from what the run has kept.

    found = dose(Path("runs/acme"), budget=None, report=console)       # leaves runs/acme/dose.json
    print(found.curves.texts.sentence)

| curve  | dose                | what it takes                                                           |
|--------|---------------------|-------------------------------------------------------------------------|
| tokens | of self-supervision | nothing: the winner's entries on the run's menu                         |
| texts  | unlabelled ones     | the winner's steps again on an eighth, a quarter and half of the corpus |
| labels | per class           | embedding the labelled texts with base and winner, heads on nested sets |

Every point is the gain over the base, at the run's own number of shots for the first two. What is made on the way are
artifacts in `RUN/dose`; the same command goes on where it was interrupted.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int
from pydantic import ValidationError

from shoptalk import decide
from shoptalk import dose as doses
from shoptalk.artifact import Artifact, create, handed_out, key_of, locked, open_artifact, write_text
from shoptalk.config import Budget, Config
from shoptalk.errors import AbsentError, ArtifactError, SourceError
from shoptalk.evaluate import shot_gains
from shoptalk.nn.encoder import embed
from shoptalk.objectives.recipe import Recipe
from shoptalk.probes.linear import kshot_outcomes
from shoptalk.quantities import span
from shoptalk.readback import as_written, read_json, read_text
from shoptalk.report.dose_json import (
    Accuracies,
    CurvesByDose,
    DoseCurve,
    DoseCurves,
    DosePoint,
    LabelsCurve,
    LawCheck,
    Saturation,
    TextsCurve,
    TwiceTheDose,
)
from shoptalk.report.nouns import nouns_for
from shoptalk.report.reading import read_verdict
from shoptalk.report.verdict_json import Verdict
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.candidate import prepare_targets
from shoptalk.stages.curate import open_curated
from shoptalk.stages.entry import Entry, open_entry, scores, train_to
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.plan import Prepared, plan_stage
from shoptalk.stages.world import World, open_embedder, open_product
from shoptalk.telling.facts import of_decision, write_page
from shoptalk.text.corpus import Corpus
from shoptalk.training.reporter import Reporter, Silent

FRACTIONS = (0.25, 0.5, 0.125)
"""Of the run's corpus, in the order in which a budget buys them: the first tells most about the shape, and with the
second a law can be checked."""
SHOTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
FEWEST_TEXTS = 32
"""A fraction of fewer texts is left out."""


@dataclass(frozen=True)
class _Finished:
    """A finished run, opened again."""

    world: World
    baseline: Baseline
    prepared: Prepared
    entries: tuple[Entry, ...]
    """The winner's, in the order of training."""
    best: Entry
    """The one that the verdict describes."""
    decision: Artifact


def dose(run: Path, *, budget: Budget | None, report: Reporter) -> DoseCurves:
    """Measure the dose curves of a finished run's winner; leaves `run/dose.json` and returns what it holds.

    `budget` limits the new trainings; without one all fractions of the corpus are trained on.

    Raises:
        SourceError: this is not a finished run, it had no labels, or nothing was trained in it.
        ArtifactError: what the run has left does not belong together any more.
    """
    verdict = _verdict(run)
    with locked(run):
        done = _open(run, verdict, report)
        curves = CurvesByDose(tokens=_tokens_curve(done), texts=_texts_curve(done, budget), labels=_labels_curve(done))
        measured = DoseCurves(
            objective=done.best.candidate,
            entry=done.best.name,
            shots=done.world.config.shots,
            seed=done.world.config.seed,
            of=of_decision(done.decision) or "",
            curves=curves,
        )
        write_text(run / "dose.json", json.dumps(measured.told(), indent=1, ensure_ascii=False))
        write_page(run)
        for part in (run / "dose").glob("texts-*/work"):
            shutil.rmtree(part, ignore_errors=True)
    return measured


# --- the run ------------------------------------------------------------------------------------------------------


def _verdict(run: Path) -> Verdict:
    """The verdict of a run that can be dosed."""
    decision = run / "decision"
    if open_artifact(decision) is None:
        raise SourceError(
            f"{run} is not a finished run: it has no decision. `shoptalk adapt SOURCE... --labels FILE --out {run}` "
            "makes one."
        )
    handed_out(decision)
    path = decision / "verdict.json"
    verdict = read_verdict(read_json(path, dict), where=path)
    if verdict.objective is None:
        raise SourceError(
            f"Nothing was trained in {run}, so there is no dose of it. Run `shoptalk adapt` with --candidates other "
            "than none, or with a larger --budget."
        )
    if verdict.gain is None:
        raise SourceError(
            f"{run} had nothing to judge by, and a dose curve is made of gains, which only labels can measure. Label "
            f"about 400 messages and run `shoptalk adapt ... --labels FILE --out {run}` first."
        )
    if not verdict.labelled:
        raise SourceError(
            f"The verdict of {run} is about {verdict.metric}, and dose curves are measured of tasks with labels alone, "
            "such as intent. Run `shoptalk adapt` with such a `task` in its settings into another folder, then this."
        )
    return verdict


def _open(run: Path, verdict: Verdict, report: Reporter) -> _Finished:
    """The run's stages again, all of which are done."""
    artifact = open_artifact(run / "decision")
    assert artifact is not None
    try:
        config = Config.model_validate({k: v for k, v in artifact.config.items() if k != "accept_unproven"})
    except ValidationError as error:
        raise ArtifactError(
            f"{run} was made by a version of Shoptalk with other settings ({error.errors()[0]['msg']}). Run the same "
            "`shoptalk adapt` again, then this."
        ) from error
    world = World(run=run, config=config, report=Silent())
    curated = open_curated(world)
    world = base_stage(world, curated)
    plan_file = run / "plan.json"
    planned = _plan_text(plan_file)
    baseline = baseline_stage(world, curated)
    prepared, _ = plan_stage(world, curated, baseline, spent=0.0)
    kept = _plan_text(plan_file)
    names = [row.entry for row in verdict.candidates if row.objective == verdict.objective and row.merge is None]
    entries = _entries(run, prepared, verdict.objective or "") if prepared is not None else {}
    merges = {row.entry for row in verdict.candidates if row.merge is not None}
    # A merge was made of the last entry, and is no amount of training by itself.
    best = entries.get(names[-1] if names and verdict.entry in merges else verdict.entry or "")
    if prepared is None or planned != kept or best is None or not {best.name, *names} <= set(entries):
        if planned is not None:
            write_text(plan_file, planned)
        raise ArtifactError(
            f"What {run} was planned with has changed since (another version, another base, or files were deleted), so "
            "no training of it can be repeated. Run the same `shoptalk adapt` again, then this."
        )
    mine = tuple(entries[name] for name in names)
    return _Finished(
        world=replace(world, report=report),
        baseline=baseline,
        prepared=prepared,
        entries=mine,
        best=best,
        decision=artifact,
    )


def _plan_text(path: Path) -> str | None:
    """What the plan's file holds; None where there is none."""
    try:
        return read_text(path)
    except AbsentError:
        return None


def _entries(run: Path, prepared: Prepared, candidate: str) -> dict[str, Entry]:
    """The candidate's finished entries of this plan, by name; the menu may also hold those of earlier plans."""
    found = {}
    for folder in sorted((run / "menu").glob("*")):
        artifact = open_artifact(folder)
        if (
            artifact is None
            or artifact.parents.get("plan") != prepared.key
            or artifact.config.get("candidate") != candidate
        ):
            continue
        entry = open_entry(folder, candidate)
        found[entry.name] = entry
    return found


# --- tokens -------------------------------------------------------------------------------------------------------


def _tokens_curve(done: _Finished) -> DoseCurve:
    """Gain against real training tokens, from the menu. Only the last checkpoint's learning rate has come down."""
    return _curve([entry.tokens for entry in done.entries], _gains(done, done.entries), "tokens of self-supervision")


def _gains(done: _Finished, entries: Sequence[Entry]) -> decide.Band:
    judge = done.baseline.bench.judge
    assert judge is not None  # a run without one is refused before
    points = decide.Points.of(scores(done.baseline, judge, entries))
    return decide.band(points, seed=done.world.config.seed)


# --- texts --------------------------------------------------------------------------------------------------------


def _texts_curve(done: _Finished, budget: Budget | None) -> TextsCurve:
    """Gain against unlabelled texts, the training's steps held fixed: fewer texts are each seen more often."""
    whole, many = done.prepared.corpus, nouns_for(done.baseline.kind).many
    candidate = done.prepared.candidates[done.best.candidate]
    parts = {}
    for fraction in FRACTIONS:
        part = whole.sample(int(fraction * len(whole)), seed=done.world.config.seed)
        if FEWEST_TEXTS <= len(part) < len(whole) and candidate.learns_from(part):
            parts[fraction] = part
    seconds, tokens = _cost(done)
    chosen = list(parts)[: _affordable(len(parts), budget, seconds, tokens)]
    if chosen:
        sizes = ", ".join(f"{len(parts[fraction]):,}" for fraction in sorted(chosen))
        done.world.report.say(
            f"dose: {done.best.step} steps of {done.best.candidate} on {sizes} of {len(whole):,} {many}, "
            f"about {span(len(chosen) * seconds)}"
        )
    entries = {len(parts[fraction]): _train_on(done, parts[fraction], fraction) for fraction in chosen}
    entries[len(whole)] = done.best
    curve = _curve(sorted(entries), _gains(done, [entries[n] for n in sorted(entries)]), f"unlabelled {many}")
    left_out = tuple(f"{fraction:.1%}" for fraction in parts if fraction not in chosen)
    return TextsCurve(**dict(curve), left_out=left_out, steps=done.best.step)


def _cost(done: _Finished) -> tuple[float, float]:
    """Seconds and tokens of one training on a part of the corpus: as the plan has them, so a resumed call agrees."""
    plan = done.prepared.plan
    one = plan.candidates[done.best.candidate]
    preparing = plan.preparing_seconds.get(done.best.candidate, 0.0) * sum(FRACTIONS) / len(FRACTIONS)
    seconds = done.best.step * one.seconds_per_step + done.baseline.seconds + preparing
    return seconds, done.best.step * one.tokens_per_step


def _affordable(wanted: int, budget: Budget | None, seconds: float, tokens: float) -> int:
    """How many trainings the budget pays for."""
    if budget is None:
        return wanted
    paid = budget.time / seconds if budget.time is not None else (budget.tokens or 0) / tokens
    return min(wanted, int(paid))


def _train_on(done: _Finished, part: Corpus, fraction: float) -> Entry:
    """The best entry's training again, on a part of the corpus; leaves `RUN/dose/texts-FRACTION/menu/...`."""
    name, whole = done.best.candidate, done.prepared
    world = replace(done.world, run=done.world.run / "dose" / f"texts-{fraction:g}")
    product = open_product(world.config)
    inputs = product.inputs(part, world.run / "tokens")
    candidate = whole.candidates[name]
    targets = prepare_targets(
        world, Recipe.parse(name).phases[0].name, candidate.spec, part, product, world.config.base
    )
    prepared = replace(
        whole,
        corpus=part,
        inputs=inputs,
        candidates={name: replace(candidate, targets=targets)},
        key=key_of(kind="dose", config={"plan": whole.key}, parents={"corpus": part.digest}),
    )
    made = done.best.artifact.config
    return train_to(world, prepared, done.baseline, name, made["step"], earlier=[], decay_from=made["decay_from"])


# --- labels -------------------------------------------------------------------------------------------------------


def _labels_curve(done: _Finished) -> LabelsCurve:
    """Base and adapted encoder against labels per class: the gain, and what the adapted one itself gains from more."""
    shots, points = _label_points(done)
    seed = done.world.config.seed
    curve = _curve(shots, decide.band(points, seed=seed), "labels per class")
    nothing = np.zeros_like(points.base)
    accuracies = {}
    for arm, correct in (("base", points.base), ("adapted", points.adapted)):
        band = decide.band(replace(points, base=nothing, adapted=correct), seed=seed)
        accuracies[arm] = _curve(shots, band, "labels per class", of=f"{arm} accuracy")
    return LabelsCurve(**dict(curve), accuracy=Accuracies(**accuracies))


def _label_points(done: _Finished) -> tuple[list[int], decide.Points]:
    """Outcomes of both encoders at each number of labels, on nested draws; kept in `RUN/dose/labels`."""
    judge = done.baseline.bench.judge
    assert judge is not None and judge.classes is not None
    config = done.world.config
    labels, names, cluster = judge.classes.labels, judge.classes.names, judge.cluster
    most = min(SHOTS[-1], decide.most_shots(labels, cluster))
    largest = decide.draws(labels, cluster, shots=most, n_draws=shot_gains.DRAWS, seed=config.seed).training
    shots = [k for k in SHOTS if k <= most]
    settings = {"shots": shots, "draws": shot_gains.DRAWS, "seed": config.seed}
    parents = {"baseline": done.baseline.artifact.content, "entry": done.best.artifact.content}
    folder, key = done.world.run / "dose" / "labels", key_of(kind="dose-labels", config=settings, parents=parents)
    sets = [_first_of_each_class(largest, len(names), k) for k in shots]
    if open_artifact(folder, key=key) is None:
        done.world.report.say(f"dose: heads on {', '.join(map(str, shots))} labels per class, base and adapted")
        arms = []
        for model in (None, str(done.best.folder / "encoder")):
            vectors = embed(open_embedder(config, model), judge.classes.items)
            arms.append(np.stack([kshot_outcomes(vectors, labels, chosen) for chosen in sets]))
        with create(folder, kind="dose-labels", config=settings, parents=parents) as inside:
            np.save(inside / "correct.npy", np.stack(arms))
    with as_written(folder):
        base, adapted = np.load(folder / "correct.npy", allow_pickle=False)
    tested = np.stack([_untouched(chosen, cluster) for chosen in sets])
    return shots, decide.Points(tuple(f"{k}-shot" for k in shots), base, adapted, tested, cluster)


def _first_of_each_class(training: Int[np.ndarray, "R K"], n_classes: int, k: int) -> Int[np.ndarray, "R k"]:
    """The k-shot sets that lie in larger ones: `decide.draws` gives the classes one after the other."""
    return training.reshape(len(training), n_classes, -1)[:, :, :k].reshape(len(training), -1)


def _untouched(training: Int[np.ndarray, "R K"], cluster: Int[np.ndarray, " N"]) -> Bool[np.ndarray, "R N"]:
    """The tests of each label set: the examples of clusters that it took none of."""
    return np.stack([~np.isin(cluster, cluster[chosen]) for chosen in training])


# --- what is told -------------------------------------------------------------------------------------------------


def _curve(amounts: Sequence[float | int], band: decide.Band, what: str, *, of: str = "gain") -> DoseCurve:
    """A curve as it is told; an infinite dose is None."""
    judged = doses.judge(amounts, band)
    points = tuple(
        DosePoint(
            dose=amount,
            base=float(band.base[i]),
            adapted=float(band.adapted[i]),
            gain=float(band.gain[i]),
            interval=(float(band.low[i]), float(band.high[i])),
        )
        for i, amount in enumerate(amounts)
    )
    return DoseCurve(
        unit=what,
        points=points,
        law=judged.law,
        asymptote=judged.asymptote,
        checks=tuple(LawCheck(**asdict(check), holds=check.holds) for check in judged.checks),
        saturation=tuple(
            Saturation(
                share=reach.share,
                dose=_finite(reach.dose),
                interval=(_finite(reach.interval[0]), _finite(reach.interval[1])),
            )
            for reach in judged.reaches
        ),
        twice=TwiceTheDose(**asdict(judged.twice)) if judged.twice is not None else None,
        why_not=judged.why_not,
        sentence=doses.sentence(judged, band, what=what, of=of),
    )


def _finite(number: float) -> float | None:
    return None if math.isinf(number) else number
