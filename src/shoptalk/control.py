"""Controls: adaptations whose right answer is known. A procedure that adopts any of these cannot be trusted.

aa               the challengers are the base itself with a little noise in its weights: no gain to find
wrong-domain     the base is adapted to sentences of another world, which have nothing to do with the task
shuffled-labels  the labels are permuted: nothing can be learned from them

Of a language model there is `wrong-domain` alone: it has no labels, and noise in its weights makes it worse on every
document, so that nothing would be tested. It learns from documents of another world, as much text as the sources leave
to learn from, and is judged on the documents of the sources that a run would hold out. Training on any text may mend
what quantising has cost a base, so the control says what was saved: a run's gain beyond that is its own text's.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoptalk.adaptation import adapt, with_untrained
from shoptalk.artifact import create, key_of, locked, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.curate.clean import printable
from shoptalk.curate.labels import labels_digest, read_labels, refuse_missing
from shoptalk.curate.listing import list_files
from shoptalk.curate.sources import rows_left_out, source_fingerprint
from shoptalk.errors import InputError
from shoptalk.evaluate.bench import measure, save_measured
from shoptalk.evaluate.foreign import ALL, foreign_documents, foreign_sentences, times_repeated
from shoptalk.nn.bases import kind_of
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import Embedder
from shoptalk.nn.scratch_lm import lm_size_of
from shoptalk.question import Question, claim, refuse_other_command
from shoptalk.records import Document
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.curate import Curated, curate_stage
from shoptalk.stages.decide import decide_stage
from shoptalk.stages.entry import Entry, open_entry
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.world import World, best_device, open_embedder
from shoptalk.tasks import check_reads
from shoptalk.training.forecast import peak_memory
from shoptalk.training.reporter import Reporter

CONTROLS = ("aa", "wrong-domain", "shuffled-labels")
NOISE = 0.02
"""Relative size of the noise in an A/A challenger's weights: outcomes flip here and there, accuracy hardly moves."""
CHALLENGERS = 4
JUDGED = "judged-documents.jsonl"
"""The sources' documents that a run would hold out, which a language model's control is judged on."""


def control(
    kind: str,
    sources: Sequence[Path],
    *,
    labels: Path | None,
    out: Path,
    config: Config,
    report: Reporter,
    foreign: Sequence[Path] = (),
    force: bool = False,
) -> dict[str, Any]:
    """Run a control; returns its verdict, whether the procedure `passed` (did not adopt), and what to tell of it.

    Args:
        kind: one of `CONTROLS`.
        sources: files and folders.
        labels: what is judged by; None of a language model.
        out: where the control's run goes.
        config: its settings.
        report: is told how far it is.
        foreign: text of another domain for `wrong-domain`, in place of the sentences that ship.
        force: replace finished work of another command or question.

    Raises:
        InputError: there is no such control, or a file or a setting is wrong.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    if kind not in CONTROLS:
        raise InputError(f"No control {kind!r}. There is: {', '.join(CONTROLS)}.")
    if foreign and kind != "wrong-domain":
        raise InputError(f"--foreign is text for the control wrong-domain, and {kind} reads none. Leave it out.")
    check_reads((config.task,), config.base, kind_of_base := kind_of(config.base))
    if foreign:
        list_files(foreign, out=out)
    if kind_of_base == "lm":
        _refuse_unfit(kind, labels, config)
        list_files(sources, out=out)
        verdict = _of_documents(sources, foreign, out, config, report, force=force)
        return _result(kind, verdict, f"{_saved(verdict)} {verdict['sentence']}")
    if labels is None:
        raise InputError(
            f"The control {kind} of the task {config.task} is judged by labels. Give --labels FILE; without labels "
            "there is the control wrong-domain with --task language_model."
        )
    refuse_missing(labels)
    list_files(sources, out=out)  # what is wrong with them is wrong before anything is written
    if kind == "aa":
        verdict = _aa(sources, labels, out, config, report, force=force)
    elif kind == "wrong-domain":
        text = out / "control" / "foreign.txt"
        if not foreign:
            write_text(text, "\n".join(foreign_sentences(seed=config.seed)) + "\n")
        verdict = _adapted(kind, foreign or [text], labels, out, config, report, force=force)
    else:
        shuffled = out / "control" / "shuffled.csv"
        write_text(shuffled, _shuffled(labels, config, report.say))
        # Texts that differ in case only had one label before; contradicting each other is what this file is for.
        config = config.model_copy(update={"curate": config.curate.model_copy(update={"label_conflicts": "keep"})})
        verdict = _adapted(kind, sources, shuffled, out, config, report, force=force)
    return _result(kind, verdict, verdict["sentence"])


def _result(kind: str, verdict: dict[str, Any], sentence: str) -> dict[str, Any]:
    return {"control": kind, "passed": verdict["choice"] != "adopt", "sentence": sentence, "verdict": verdict}


def _refuse_unfit(kind: str, labels: Path | None, config: Config) -> None:
    """Refuse what cannot be a control of a language model, before anything is read."""
    if config.task != "language_model":
        raise InputError(
            f"There is no control {kind} of the task {config.task}. Of language models there is wrong-domain of the "
            "task language_model: give --task language_model."
        )
    if kind != "wrong-domain":
        why = {
            "shuffled-labels": "The task language_model has no labels that could be shuffled.",
            "aa": "Noise in a language model's weights makes it worse on every document, so that nothing would be "
            "tested.",
        }[kind]
        raise InputError(f"{why} Of a language model there is the control wrong-domain.")
    if labels is not None:
        raise InputError("The task language_model is judged by documents, and no labels are read. Leave --labels out.")
    if lm_size_of(config.base) is not None:
        raise InputError(
            f"The base {config.base!r} has random weights, which any text teaches letters and words: adopting what was "
            "trained on text of another domain would be right. Give a --base that has read something, such as smollm2 "
            "or the folder of a run."
        )


def _of_documents(
    sources: Sequence[Path], foreign: Sequence[Path], out: Path, config: Config, report: Reporter, *, force: bool
) -> dict[str, Any]:
    """A language model adapted to text of another domain, judged on the documents that a run would hold out."""
    of_sources = World(run=out / "control", config=config, report=report)
    with locked(out):
        refuse_other_command(out, "control wrong-domain", force=force)
        # What a run holds out and what it learns from, by the same rules, in a folder of its own that is no source.
        curated = curate_stage(of_sources, sources, None, None, reads="lm")
        column, judged = config.curate.text_column, of_sources.run / JUDGED
        write_text(judged, "".join(_row(document, column) for document in curated.held_out.documents))
        learned = list(foreign) or [_written_foreign(of_sources.run / "foreign.jsonl", curated, config, report)]
    curate = config.curate.model_copy(update={"held_out_files": (JUDGED,)})
    config = config.model_copy(update={"curate": curate})
    return _adapted("wrong-domain", [*learned, judged], None, out, config, report, force=force)


def _written_foreign(path: Path, curated: Curated, config: Config, report: Reporter) -> Path:
    """The sentences that ship, as documents of as many characters as there are to learn from."""
    characters = sum(len(text) for text in curated.train.texts)
    documents = list(foreign_documents(characters, seed=config.seed))
    write_text(path, "".join(json.dumps({config.curate.text_column: text}) + "\n" for text in documents))
    n_characters, times = sum(map(len, documents)), times_repeated(len(documents))
    repeated = "" if times == 1 else f" Each of {ALL:,} sentences stands in them up to {times} times, in another order."
    less = "" if n_characters >= characters else " That is all there is: for more, give --foreign SOURCE."
    report.say(
        f"control: {len(documents):,} documents of another domain, {n_characters:,} characters where the sources have "
        f"{characters:,} to learn from.{repeated}{less}"
    )
    return path


def _row(document: Document, column: str) -> str:
    """A document as a line of JSON Lines. Turns without text keep their places."""
    turns = [turn.model_dump() for turn in document.turns]
    content: dict[str, Any] = {"turns": turns} if turns else {column: document.text}
    return json.dumps({"id": document.id} | content) + "\n"


def _saved(verdict: dict[str, Any]) -> str:
    """Whether text of another domain was adopted, and how many bits it saved: what a run's gain must be more than."""
    if verdict["gain"] is None or verdict["interval"] is None:
        return "Nothing was trained on text of another domain, so this control shows nothing."
    low, high = verdict["interval"]
    adopted = "adopted" if verdict["choice"] == "adopt" else "did not adopt"
    does = (
        f"The procedure {adopted} a model that was trained on text of another domain, which saved "
        f"{verdict['gain']:.3f} bits a byte of {verdict['n_examples']:,} unseen documents of yours "
        f"({low:.3f} to {high:.3f})."
    )
    if low <= 0 <= high:
        return (
            f"{does} That is no saving that could be told from none: of the gain of a run on your own text with the "
            f"same base and budget, training as such has brought {high:.3f} bits a byte at most."
        )
    if high < 0:
        return f"{does} Training as such mends nothing here: what a run on your own text gains, your text has brought."
    return (
        f"{does} Subtract that from the gain of a run on your own text with the same base and budget: what is left is "
        "what your text has brought."
    )


def _adapted(
    kind: str, sources: Sequence[Path], labels: Path | None, out: Path, config: Config, report: Reporter, *, force: bool
) -> dict[str, Any]:
    """An adaptation in a folder that belongs to this control."""
    verb = f"control {kind}"
    return adapt(
        sources, out=out, config=config, report=report, labels=labels, command=verb, verb=verb, force=force
    ).told()


def _aa(
    sources: Sequence[Path], labels: Path, out: Path, config: Config, report: Reporter, *, force: bool
) -> dict[str, Any]:
    """Challengers that are the base with noise, through the stages of a run: the same precision, the same decision."""
    config = with_untrained(config)
    with locked(out):
        files = source_fingerprint(sources, config.curate, out=out)
        inputs = {"labels": labels_digest(labels, config.curate), "base": base_digest(config.base)}
        inputs |= {f"base:{ref}": base_digest(ref) for ref in config.other_bases}
        claim(out, Question.of("control aa", config.of_answers(), sources=files, **inputs), force=force)
        world = World(run=out, config=config, report=report)
        curated = curate_stage(world, sources, labels, None, reads=kind_of(config.base))
        world = base_stage(world, curated)
        baseline = baseline_stage(world, curated)
        entries = [_challenger(world, baseline, number) for number in range(1, CHALLENGERS + 1)]
        return decide_stage(world, baseline, entries).facts


def _challenger(world: World, baseline: Baseline, number: int) -> Entry:
    """A menu entry whose encoder is the base with noise in its weights."""
    settings, parents = {"noise": NOISE, "number": number}, {"baseline": baseline.artifact.content}
    folder, key = world.run / "menu" / f"noise-{number}", key_of(kind="entry", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        world.report.say(f"control: challenger {number} of {CHALLENGERS}")
        product = _noisy(open_embedder(world.config), seed=world.config.seed + number)
        measured = measure(product, baseline.bench, base=baseline.measured)
        progress = {"step": number, "tokens": 0, "seconds": 0.0, "memory_bytes": peak_memory(best_device())}
        with create(folder, kind="entry", config=settings, parents=parents, readings=measured.values()) as inside:
            save_measured(inside, measured)
            product.save(inside / "encoder", card=f"# The base with noise {number}\n\nOf a control.\n")
            write_text(inside / "log.jsonl", "")
            write_text(inside / "progress.json", json.dumps(progress))
    return open_entry(folder, "noise")


def _noisy(product: Embedder, *, seed: int) -> Embedder:
    """A copy of the product with Gaussian noise of relative size `NOISE` in every weight matrix."""
    noisy = product.copy()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in noisy.network.parameters():
            if parameter.ndim > 1:
                parameter.add_(NOISE * parameter.std() * torch.randn(parameter.shape, generator=generator))
    return noisy


def _shuffled(labels: Path, config: Config, say: Callable[[str], None]) -> str:
    examples, drops = read_labels(labels, config.curate, say=say, pictures=config.task == "picture")
    if drops:
        say(rows_left_out(printable(labels.name), drops))
    order = np.random.default_rng(config.seed).permutation(len(examples))
    text = io.StringIO()
    rows = csv.writer(text)
    pictures = any(example.picture is not None for example in examples)
    rows.writerow([config.curate.image_column if pictures else config.curate.text_column, config.curate.label_column])
    for example, i in zip(examples, order, strict=True):
        rows.writerow([example.text if example.picture is None else example.picture.path, examples[i].label])
    return text.getvalue()
