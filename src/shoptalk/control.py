"""Controls: adaptations whose right answer is known. A procedure that adopts any of these cannot be trusted.

aa               the challengers are the base itself with a little noise in its weights: no gain to find
wrong-domain     the base is adapted to sentences of another world, which have nothing to do with the task
shuffled-labels  the labels are permuted: nothing can be learned from them
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shoptalk.adaptation import adapt
from shoptalk.artifact import create, key_of, locked, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.curate.clean import printable
from shoptalk.curate.labels import labels_digest, read_labels, refuse_missing
from shoptalk.curate.listing import list_files
from shoptalk.curate.sources import rows_left_out, source_fingerprint
from shoptalk.errors import InputError
from shoptalk.evaluate.bench import measure, save_measured
from shoptalk.evaluate.foreign import foreign_sentences
from shoptalk.nn.bases import kind_of
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import CALLED, Embedder
from shoptalk.question import Question, claim
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.decide import decide_stage
from shoptalk.stages.entry import Entry, open_entry
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.world import World, best_device, open_embedder
from shoptalk.training.forecast import peak_memory
from shoptalk.training.reporter import Reporter

CONTROLS = ("aa", "wrong-domain", "shuffled-labels")
NOISE = 0.02
"""Relative size of the noise in an A/A challenger's weights: outcomes flip here and there, accuracy hardly moves."""
CHALLENGERS = 4


def control(
    kind: str,
    sources: Sequence[Path],
    *,
    labels: Path,
    out: Path,
    config: Config,
    report: Reporter,
    force: bool = False,
) -> dict[str, Any]:
    """Run a control; returns its verdict, and whether the procedure `passed` (did not adopt).

    Raises:
        InputError: there is no such control, or a file or a setting is wrong.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    if kind not in CONTROLS:
        raise InputError(f"No control {kind!r}. There is: {', '.join(CONTROLS)}.")
    if (kind_of_base := kind_of(config.base)) == "lm":
        raise InputError(
            f"Controls are judged by labels, and the base {config.base!r} is one of the {CALLED[kind_of_base]}, which "
            "are not. Give an encoder, such as --base minilm."
        )
    refuse_missing(labels)
    list_files(sources, out=out)  # what is wrong with them is wrong before anything is written
    if kind == "aa":
        verdict = _aa(sources, labels, out, config, report, force=force)
    elif kind == "wrong-domain":
        text = out / "control" / "foreign.txt"
        write_text(text, "\n".join(foreign_sentences(seed=config.seed)) + "\n")
        verdict = _adapted(kind, [text], labels, out, config, report, force=force)
    else:
        shuffled = out / "control" / "shuffled.csv"
        write_text(shuffled, _shuffled(labels, config, report.say))
        # Texts that differ in case only had one label before; contradicting each other is what this file is for.
        config = config.model_copy(update={"curate": config.curate.model_copy(update={"label_conflicts": "keep"})})
        verdict = _adapted(kind, sources, shuffled, out, config, report, force=force)
    return {"control": kind, "passed": verdict["choice"] != "adopt", "verdict": verdict}


def _adapted(
    kind: str, sources: Sequence[Path], labels: Path, out: Path, config: Config, report: Reporter, *, force: bool
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
