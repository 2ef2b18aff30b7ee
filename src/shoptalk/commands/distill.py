"""Distil: a student with fewer layers and a smaller vocabulary than its teacher, and a comparison of the two.

`DIR/encoder` is the student; `DIR/distill.json` compares size, speed and accuracy with the teacher's. A part of the
texts is held out, so that the two are compared on texts that the student was not trained on.
"""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from shoptalk.artifact import Artifact, create, key_of, open_artifact, write_text
from shoptalk.commands.pretrain import Texts, train_on
from shoptalk.config import Config
from shoptalk.curate.labels import labels_digest
from shoptalk.curate.sources import source_fingerprint
from shoptalk.decide import FOLDS, deal_folds
from shoptalk.errors import ArtifactError, ConfigError
from shoptalk.nn.bases import kind_of, resolve
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import TextEncoder, embed, text_encoder
from shoptalk.nn.heads.logistic import fit
from shoptalk.nn.product import CALLED
from shoptalk.nn.student import layer_count, with_layers, with_vocabulary
from shoptalk.objectives import make_spec
from shoptalk.question import Question, claim
from shoptalk.readback import read_json
from shoptalk.records import Example
from shoptalk.stages.curate import curate_stage, open_curated
from shoptalk.stages.world import World, open_embedder
from shoptalk.telling.cards import plain_card
from shoptalk.telling.origin import base_of
from shoptalk.text.corpus import Corpus
from shoptalk.text.order import permuted
from shoptalk.text.tokens import tokenise_to
from shoptalk.text.vocabulary import piece_counts, prune
from shoptalk.training import launch

OBJECTIVE = "distil"
HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 1000
"""The share of the texts that are held out, to compare student and teacher on, and their largest number."""
ROUNDS = 5
"""How often each encoder's speed is measured, in turn."""


def distill(
    world: World,
    model: str,
    sources: Sequence[Path],
    *,
    layers: int | None = None,
    vocabulary: int | None = None,
    labels: Path | None = None,
    steps: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Train a student of `model` on the sources; returns what `DIR/distill.json` holds.

    Several processes may call this together, as with `pretrain`. The same call resumes, or returns at once.

    Args:
        world: the folder and the settings; `config.base` is ignored.
        model: the teacher.
        sources: text that the student learns from.
        layers: of the student; by default half as many as the teacher has.
        vocabulary: pieces that the student keeps. By default all of them: fewer cost a little accuracy on texts with
            words that the sources lack (benchmarks/README.md), and save disk space but no time.
        labels: for a linear probe of both encoders; their texts are kept from training.
        steps: how many; else the budget decides.

    Raises:
        BaseModelError: the model cannot be opened.
        ConfigError: more layers than there are, or a vocabulary that cannot be pruned so far.
        SourceError: the sources have nothing to learn from, or the labels cannot be used.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    begun = time.perf_counter()
    if (kind := kind_of(model)) != "text":
        raise ConfigError(
            f"{model!r} is one of the {CALLED[kind]}, and `distill` makes students of text encoders. Give one of "
            "those; a smaller encoder of pictures is trained from its own start, such as --base scratch:resnet-mini."
        )
    world = replace(world, config=world.config.model_copy(update={"base": model}))
    settings = {
        "layers": layers,
        "vocabulary": vocabulary,
        "steps": steps,
        "budget": None if steps else world.config.budget,
        "seed": world.config.seed,
        "objectives": world.config.objectives,
        "curate": world.config.curate.model_dump(),
        "train": world.config.train.of_results(),
    }
    inputs = {
        "base": base_digest(model),
        "labels": labels_digest(labels, world.config.curate) if labels and labels.exists() else None,
    }
    files = source_fingerprint(sources, world.config.curate, out=world.run)
    question = Question.of("distill", settings, sources=files, **inputs)
    launch.agree(lambda: claim(world.run, question, force=force))
    curated = launch.shared(
        world.run / "corpus",
        make=lambda: curate_stage(world, sources, labels, None, reads="text"),
        read=lambda: open_curated(world),
    )
    corpus, held_out = split(curated.train, seed=world.config.seed)
    teacher = text_encoder(open_embedder(world.config))
    student_layers = layers or max(1, layer_count(teacher) // 2)
    with_layers(teacher, student_layers)  # what is wrong with the number of layers is wrong before training
    pruned = launch.agree(lambda: _pruned_base(world, teacher, corpus, vocabulary))
    config = _config_of_student(world.config, pruned, student_layers)
    encoder = train_on(
        replace(world, config=config),
        Texts(corpus),
        make_spec(OBJECTIVE, config.objectives[OBJECTIVE]),
        objective=OBJECTIVE,
        steps=steps,
        card=plain_card(
            base_of(model),
            f"distilled to {student_layers} layers",
            "Made by `shoptalk distill`; `distill.json` beside this folder compares it with its teacher.",
        ),
        begun=begun,
    )
    result: dict[str, Any] = launch.agree(lambda: _compared(world, teacher, encoder, held_out, curated.examples))
    return result


def split(corpus: Corpus, *, seed: int) -> tuple[Corpus, Corpus]:
    """The texts to train on, and a random tenth that is held out, at most `HELD_OUT_MOST`. Texts are not copied."""
    n = len(corpus)
    most = min(max(1, int(HELD_OUT_SHARE * n)), HELD_OUT_MOST, n)
    chosen = np.sort(permuted(n, range(most), seed=seed, epoch=0))
    rest = np.delete(np.arange(n), chosen)
    trained_on = corpus.part(rest, digest=f"{corpus.digest}:without {len(chosen)}:{seed}")
    return trained_on, corpus.part(chosen, digest=f"{corpus.digest}:of {len(chosen)}:{seed}")


def _pruned_base(world: World, teacher: TextEncoder, corpus: Corpus, vocabulary: int | None) -> str | None:
    """The folder of the teacher with a pruned vocabulary, `DIR/pruned`; None where the vocabulary stays whole."""
    pieces = len(teacher.tokenizer)
    if vocabulary is None or vocabulary >= pieces:
        return None
    settings, parents = {"most": vocabulary}, {"corpus": corpus.digest, "base": base_digest(world.config.base)}
    folder = world.run / "pruned"
    if open_artifact(folder, key=key_of(kind="base", config=settings, parents=parents)) is None:
        tokens = tokenise_to(
            world.run / "pieces",
            teacher.tokenizer,
            corpus.texts,
            max_length=teacher.max_length,
            digest=corpus.digest,
        )
        tokenizer, rows = prune(teacher.tokenizer, piece_counts(tokens, pieces), most=vocabulary)
        world.report.say(f"distill: a vocabulary of {len(rows):,} of {pieces:,} pieces")
        with create(folder, kind="base", config=settings, parents=parents) as inside:
            with_vocabulary(teacher, tokenizer, rows).save(inside, card="# A teacher with fewer pieces\n")
    return str(folder)


def _config_of_student(config: Config, pruned: str | None, layers: int) -> Config:
    """The student's settings, by which it learns from the teacher with its full vocabulary."""
    student_settings: dict[str, Any] = {**config.objectives.get(OBJECTIVE, {}), "layers": layers}
    if pruned is None:
        return config.model_copy(update={"objectives": config.objectives | {OBJECTIVE: student_settings}})
    objectives = config.objectives | {OBJECTIVE: {"teacher": config.base} | student_settings}
    return config.model_copy(update={"base": pruned, "objectives": objectives})


# Side by side


@dataclass(frozen=True)
class _Side:
    """One of the two encoders, and where it is on disk."""

    product: TextEncoder
    folder: Path


def _compared(
    world: World, teacher: TextEncoder, encoder: Artifact, held_out: Corpus, examples: Sequence[Example]
) -> dict[str, Any]:
    """The contents of `DIR/distill.json`, measured unless that file is already about this student."""
    path, folder = world.run / "distill.json", world.run / "encoder"
    key = key_of(kind="distilled", config={"held_out": held_out.digest}, parents={"encoder": encoder.content})
    if (earlier := _read(path)).get("key") == key:
        return earlier
    world.report.say("distill: measuring teacher and student")
    student = text_encoder(open_embedder(world.config, str(folder)))
    sides = {"teacher": _Side(teacher, resolve(world.config.base)), "student": _Side(student, folder)}
    texts = list(held_out.texts)
    facts = {name: _size(side) for name, side in sides.items()}
    for name, rate in _speeds(sides, texts).items():
        facts[name]["texts_per_second"] = round(rate, 1)
    cosines = (embed(teacher, texts) * embed(student, texts)).sum(1)
    if examples:
        for name, side in sides.items():
            facts[name]["probe"] = round(_probe(side.product, examples, seed=world.config.seed), 2)
    result = {
        "key": key,
        "model": world.config.base,
        **facts,
        "speed_ratio": _ratio(facts, "texts_per_second"),
        "cosine": {"mean": round(float(cosines.mean()), 4), "texts": len(texts)},
        "probe_kept": _ratio(facts, "probe"),
        "probe_texts": len(examples),
    }
    write_text(path, json.dumps(result, indent=1))
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, dict)
    except ArtifactError:  # there is none yet, or it is damaged
        return {}


def _size(side: _Side) -> dict[str, Any]:
    return {
        "parameters": sum(parameter.numel() for parameter in side.product.network.parameters()),
        "megabytes": round((side.folder / "model.safetensors").stat().st_size / 1e6, 1),
        "layers": layer_count(side.product),
        "vocabulary": len(side.product.tokenizer),
    }


def _speeds(sides: Mapping[str, _Side], texts: Sequence[str]) -> dict[str, float]:
    """Texts per second of each encoder: the median of `ROUNDS`, in turn, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS + 1):
        for name, side in sides.items():
            begun = time.perf_counter()
            embed(side.product, texts)
            seconds[name].append(time.perf_counter() - begun)
    return {name: len(texts) / statistics.median(rounds[1:]) for name, rounds in seconds.items()}


def _ratio(facts: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """Student over teacher."""
    before, after = facts["teacher"].get(name), facts["student"].get(name)
    return round(after / before, 4) if before and after is not None else None


def _probe(product: TextEncoder, examples: Sequence[Example], *, seed: int) -> float:
    """Cross-validated accuracy in per cent of logistic regression on the frozen vectors."""
    vectors, labels = embed(product, [example.text for example in examples]), [example.label for example in examples]
    return cross_validated(vectors, np.array(labels), np.array([example.cluster for example in examples]), seed=seed)


def cross_validated(
    vectors: Float[np.ndarray, "N D"], labels: Shaped[np.ndarray, " N"], cluster: Int[np.ndarray, " N"], *, seed: int
) -> float:
    """Per cent of the examples that are labelled correctly by a head fitted on the other folds."""
    fold = deal_folds(np.unique(labels, return_inverse=True)[1], cluster, seed=seed)
    correct = np.zeros(len(labels), dtype=bool)
    for number in range(FOLDS):
        inside = fold != number
        if inside.all() or len(np.unique(labels[inside])) < 2:
            continue  # fewer examples than folds, or nothing to tell apart: they count as errors
        correct[~inside] = fit(vectors[inside], labels[inside]).predict(vectors[~inside]) == labels[~inside]
    return float(100 * correct.mean())


def table(result: Mapping[str, Any]) -> str:
    """What `distill` prints: teacher and student side by side."""
    rows = {
        "parameters": ("parameters", "{:,}"),
        "megabytes on disk": ("megabytes", "{:.1f}"),
        "layers": ("layers", "{}"),
        "vocabulary": ("vocabulary", "{:,}"),
        "texts/s": ("texts_per_second", "{:,.0f}"),
        f"linear probe, {FOLDS} folds": ("probe", "{:.1f} %"),
    }
    teacher, student = result["teacher"], result["student"]
    lines = [f"{'':<24}{'teacher':>14}{'student':>14}{'ratio':>9}"]
    for name, (key, form) in rows.items():
        if key in teacher:
            before, after = teacher[key], student[key]
            lines.append(f"{name:<24}{form.format(before):>14}{form.format(after):>14}{after / before:>9.2f}")
    cosine = result["cosine"]
    lines.append(f"mean cosine to the teacher on {cosine['texts']:,} held-out texts: {cosine['mean']:.4f}")
    return "\n".join(lines)


def parse_vocabulary(text: str) -> int | None:
    """The value of `--vocabulary`: a number of pieces, or None for `full`.

    Raises:
        ConfigError: it is neither a number of pieces nor `full`.
    """
    if text == "full":
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ConfigError(f"--vocabulary {text!r}: expected a number of pieces, such as 8000, or full.")
