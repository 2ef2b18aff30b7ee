"""Evaluate, decide, and the folders that are handed out: encoders, head, verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from shoptalk import decide
from shoptalk.artifact import Artifact, append_json, create, key_of, open_artifact
from shoptalk.errors import ArtifactError
from shoptalk.evaluate.menu import Labelled, per_class
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Product, embed, save_encoder
from shoptalk.probes.linear import LinearHead, fit, kshot_outcomes
from shoptalk.stages.data import Baseline, Curated
from shoptalk.stages.learn import Entry, outcomes
from shoptalk.stages.planning import PREFERENCE
from shoptalk.stages.world import World

FORGETTING = "general_similarity"
"""The reading that the forgetting guard compares."""


@dataclass(frozen=True)
class Judged:
    """The verdict and what it rests on."""

    choice: str
    entry: Entry | None
    """The best challenger, whatever was decided; None where nothing was trained."""
    facts: dict[str, Any]
    """The keys of `verdict.json` (DESIGN, section 8) but `spent`."""
    per_class: list[dict[str, Any]]


def guarded(world: World, baseline: Baseline, entries: Sequence[Entry]) -> dict[str, str]:
    """The entries outside their guards, and why."""
    before, limit, found = baseline.measured.values()[FORGETTING], world.config.guards.forgetting, {}
    for entry in entries:
        readings = entry.measured.values()
        change = readings[FORGETTING] - before
        if readings.get("collapsed"):
            found[entry.name] = "its vectors have collapsed: texts of different meaning lie in one place"
        elif change < limit:
            found[entry.name] = f"it forgets: general similarity changed by {change:.1f} points (guard {limit:g})"
    return found


def decide_stage(world: World, curated: Curated, baseline: Baseline, entries: Sequence[Entry]) -> Judged:
    """`adopt`, `keep_base` or `inconclusive`, by the rules in `decide.py`."""
    config = world.config
    outside = guarded(world, baseline, entries)
    if baseline.bench.labelled is None:
        return _judge_unlabelled(world, baseline, entries, outside)
    labelled = baseline.bench.labelled
    measured = outcomes(baseline, entries)
    estimate = decide.estimate(measured, seed=config.seed)
    n_clusters = estimate.n_clusters
    rows = _candidate_rows(baseline, entries, outside, estimate)
    correct = {entry.name: measured.correct[1 + i] for i, entry in enumerate(entries)}
    base_correct = measured.correct[0]
    if curated.tests and entries:
        inside = [i for i, entry in enumerate(entries) if entry.name not in outside] or list(range(len(entries)))
        best = entries[max(inside, key=lambda i: estimate.gain[i])]
        on_test = _read_test(world, curated, labelled, best)
        estimate = decide.estimate_on_test(on_test, seed=config.seed)
        n_clusters = estimate.n_clusters
        outside = {name: why for name, why in outside.items() if name == best.name}
    verdict = decide.verdict(
        estimate,
        guarded=outside,
        smallest_gain=config.smallest_gain,
        settle_gain=config.settle_gain,
        n_clusters=n_clusters,
    )
    chosen = next((entry for entry in entries if entry.name == verdict.entry), None)
    facts = {
        "choice": verdict.decision.choice,
        "objective": chosen.candidate if chosen else None,
        "entry": chosen.name if chosen else None,
        "metric": config.metric,
        "base": verdict.base,
        "adapted": verdict.adapted,
        "gain": verdict.gain,
        "interval": list(verdict.interval),
        "confidence": decide.CONFIDENCE,
        "n_examples": estimate.n_examples,
        "n_draws": estimate.n_draws,
        "shots": labelled.shots,
        "labels_needed": verdict.labels_needed,
        "sentence": verdict.decision.sentence,
        "rule": verdict.decision.rule,
        "smallest_gain": config.smallest_gain,
        "on_test": bool(curated.tests and entries),
        "candidates": rows,
    }
    changed = per_class(labelled, base_correct, correct[chosen.name]) if chosen else []
    return Judged(verdict.decision.choice, chosen, facts, changed)


def ceiling(baseline: Baseline, targets: Mapping[str, np.ndarray], product: Product) -> float | None:
    """Accuracy of the neighbours' *targets* of the labelled texts: what the student could reach, at the price of an
    index at hand whenever a text is read. None without labels.
    """
    from shoptalk.index import build, search
    from shoptalk.objectives.distillation.neighbours import smooth

    labelled = baseline.bench.labelled
    if labelled is None:
        return None
    corpus = np.asarray(targets["vectors"])
    vectors = embed(product, labelled.texts)
    _, positions = search(build(corpus), vectors, targets["neighbours"].shape[1])
    correct = kshot_outcomes(smooth(vectors, corpus, positions), labelled.labels, labelled.draws.training)
    return 100 * float(correct[labelled.draws.tested].mean())


def encoder_stage(source: str, target: Path, *, parents: Mapping[str, str], card: str) -> Artifact:
    """Write the encoder `source` (a folder or a base's name) as the artifact `target`, with its model card."""
    settings = {"card": card}
    if open_artifact(target, key=key_of(kind="encoder", config=settings, parents=parents)) is None:
        with create(target, kind="encoder", config=settings, parents=parents) as inside:
            save_encoder(open_base(source), inside, card=card)
    artifact = open_artifact(target)
    assert artifact is not None
    return artifact


def finetune_stage(world: World, curated: Curated, encoder: Artifact) -> None:
    """Fit the intent head on every label, on the encoder that is served; leaves `RUN/head`."""
    parents = {"encoder": encoder.content, "corpus": curated.artifact.content}
    target = world.run / "head"
    if not curated.examples or open_artifact(target, key=key_of(kind="head", config={}, parents=parents)) is not None:
        return
    vectors = embed(open_base(str(world.run / "encoder")), [example.text for example in curated.examples])
    head = fit(vectors, np.array([example.label for example in curated.examples]))
    with create(target, kind="head", config={}, parents=parents) as inside:
        # safetensors writes an array's memory as it lies: a transposed view would come back scrambled.
        arrays = {name: np.ascontiguousarray(getattr(head, name)) for name in ("weights", "intercepts")}
        save_file(arrays, inside / "head.safetensors")
        (inside / "labels.json").write_text(json.dumps([str(label) for label in head.labels]), encoding="utf-8")


def load_head(folder: Path) -> LinearHead:
    """The head that `finetune_stage` wrote.

    Raises:
        ArtifactError: there is none.
    """
    if open_artifact(folder) is None:
        raise ArtifactError(
            f"There is no head in {folder}. `predict` needs a run that was given labels: "
            "shoptalk adapt SOURCE... --labels FILE --out RUN."
        )
    tensors = load_file(folder / "head.safetensors")
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return LinearHead(tensors["weights"], tensors["intercepts"], np.array(labels))


def probabilities(head: LinearHead, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N C"]:
    """Each label's probability for each vector: the softmax of the head's scores, not calibrated."""
    scores = vectors @ head.weights.T + head.intercepts
    scaled = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def _read_test(world: World, curated: Curated, labelled: Labelled, entry: Entry) -> decide.Outcomes:
    """Base and entry on the supplied test, with heads fitted on the same draws from the labels; the read is counted."""
    known = [i for i, example in enumerate(curated.tests) if example.label in labelled.names]
    texts = [curated.tests[i].text for i in known]
    truth = np.array([labelled.names.index(curated.tests[i].label) for i in known])
    chosen = np.unique(labelled.draws.training)
    rows = []
    for product in (open_base(world.config.base), open_base(str(entry.folder / "encoder"))):
        vectors = np.concatenate([embed(product, labelled.texts), embed(product, texts)])
        labels = np.concatenate([labelled.labels, truth])
        rows.append(kshot_outcomes(vectors, labels, labelled.draws.training)[:, len(labelled.labels) :])
    append_json(world.run / "test_reads.jsonl", {"entry": entry.name, "examples": len(known), "label_set": len(chosen)})
    return decide.Outcomes(
        entries=(entry.name,),
        correct=np.stack(rows),
        tested=np.ones((len(labelled.draws.training), len(known)), dtype=bool),
        cluster=np.array([curated.tests[i].cluster for i in known]),
    )


def _judge_unlabelled(world: World, baseline: Baseline, entries: Sequence[Entry], outside: Mapping[str, str]) -> Judged:
    """Without labels: always inconclusive, with what the label-free measures suggest and what they cannot show."""
    inside = [entry for entry in entries if entry.name not in outside]
    before = baseline.measured.values()
    pairs = len(baseline.bench.pairs)
    best = None
    if inside and pairs > 1:
        best = max(inside, key=lambda entry: entry.measured.values()["next-turn MRR"])
        after = best.measured.values()["next-turn MRR"]
        direction = "finds" if after > before["next-turn MRR"] else "does not find"
        finding = (
            f"{best.candidate} {direction} the true reply among {pairs} held-out ones better than the base "
            f"(mean reciprocal rank {after:.3f} against {before['next-turn MRR']:.3f})"
        )
    elif inside:
        best = inside[-1]
        record = (
            ", the objective that helped on the public sets we measured," if best.candidate == PREFERENCE[0] else ""
        )
        finding = f"{best.candidate} was trained{record} and it stayed within its guards"
    else:
        best = entries[-1] if entries else None
        finding = "nothing that was trained stayed within its guards" if entries else "nothing could be trained"
    sentence = (
        "Inconclusive: there are no labelled messages, so nothing here shows whether the assistant gets better. "
        f"{finding[:1].upper()}{finding[1:]}. "
        "Label about 400 messages to measure it, or pass --accept-unproven to serve it as it is."
    )
    facts = {
        "choice": "inconclusive",
        "objective": best.candidate if best else None,
        "entry": best.name if best else None,
        "metric": "next-turn MRR" if pairs > 1 else None,
        "base": None,
        "adapted": None,
        "gain": None,
        "interval": None,
        "confidence": None,
        "n_examples": 0,
        "n_draws": 0,
        "shots": None,
        "labels_needed": 400,
        "sentence": sentence,
        "rule": "no labels, no verdict (DESIGN, section 1)",
        "candidates": _candidate_rows(baseline, entries, outside, None),
    }
    return Judged("inconclusive", best, facts, [])


def _candidate_rows(
    baseline: Baseline, entries: Sequence[Entry], outside: Mapping[str, str], estimate: decide.Estimate | None
) -> list[dict[str, Any]]:
    before = baseline.measured.values()
    winner = entries[-1].candidate if entries else None
    rows = []
    for i, entry in enumerate(entries):
        readings = entry.measured.values()
        row: dict[str, Any] = {
            "entry": entry.name,
            "objective": entry.candidate,
            "step": entry.step,
            "tokens": entry.tokens,
            "base": estimate.base if estimate else None,
            "adapted": float(estimate.adapted[i]) if estimate else None,
            "gain": float(estimate.gain[i]) if estimate else None,
            "interval": [float(estimate.low[i]), float(estimate.high[i])] if estimate else None,
            "forgetting": readings[FORGETTING] - before[FORGETTING],
            "inside_guards": entry.name not in outside,
            "why_not": outside.get(entry.name, ""),
            "eliminated": entry.candidate != winner,
            "readings": readings,
        }
        rows.append(row)
    return rows
