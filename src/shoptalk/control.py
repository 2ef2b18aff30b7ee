"""Controls: adaptations whose right answer is known. A procedure that adopts any of these cannot be trusted.

aa               the challengers are the base itself with a little noise in its weights: no gain to find
wrong-domain     the base is adapted to general sentences that have nothing to do with the task
shuffled-labels  the labels are permuted: nothing can be learned from them
"""

import copy
import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from shoptalk import decide
from shoptalk.adaptation import adapt
from shoptalk.artifact import locked, write_text
from shoptalk.config import Config
from shoptalk.curate.labels import read_labels
from shoptalk.errors import InputError
from shoptalk.evaluate.menu import measure
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import Product
from shoptalk.probes.forgetting import general_pairs
from shoptalk.stages.baseline import baseline_stage
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.world import Reporter, World

Kind = Literal["aa", "wrong-domain", "shuffled-labels"]
KINDS: tuple[str, ...] = get_args(Kind)
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
        InputError: there is no such control.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    if kind not in KINDS:
        raise InputError(f"No control {kind!r}. There is: {', '.join(KINDS)}.")
    if kind == "aa":
        verdict = _aa(sources, labels, out, config, report)
    elif kind == "wrong-domain":
        general = [sentence for pair in general_pairs() for sentence in (pair.a, pair.b)]
        text = out / "control" / "general.txt"
        write_text(text, "\n".join(dict.fromkeys(general)) + "\n")
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


def _aa(sources: Sequence[Path], labels: Path, out: Path, config: Config, report: Reporter) -> dict[str, Any]:
    with locked(out):
        world = World(run=out, config=config, report=report)
        curated = curate_stage(world, sources, labels, None)
        world = base_stage(world, curated)
        baseline = baseline_stage(world, curated)
        labelled = baseline.bench.labelled
        assert labelled is not None and baseline.measured.correct is not None
        rows = [baseline.measured.correct]
        for number in range(CHALLENGERS):
            report.say(f"control: challenger {number + 1} of {CHALLENGERS}")
            correct = measure(_noisy(open_base(world.config.base), seed=config.seed + number), baseline.bench).correct
            assert correct is not None
            rows.append(correct)
        names = tuple(f"noise@{number + 1}" for number in range(CHALLENGERS))
        estimate = decide.estimate(
            decide.Outcomes(names, np.stack(rows), labelled.draws.tested, labelled.cluster), seed=config.seed
        )
        verdict = decide.verdict(
            estimate,
            guarded={},
            smallest_gain=config.smallest_gain,
            settle_gain=config.settle_gain,
            n_clusters=estimate.n_clusters,
        )
        return {
            "choice": verdict.decision.choice,
            "base": verdict.base,
            "adapted": verdict.adapted,
            "gain": verdict.gain,
            "interval": verdict.interval,
            "sentence": verdict.decision.sentence,
        }


def _noisy(product: Product, *, seed: int) -> Product:
    """A copy of the product with Gaussian noise of relative size `NOISE` in every weight matrix."""
    noisy = copy.deepcopy(product)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in noisy.encoder.parameters():
            if parameter.ndim > 1:
                parameter.add_(NOISE * parameter.std() * torch.randn(parameter.shape, generator=generator))
    return noisy


def _shuffled(labels: Path, config: Config, say: Callable[[str], None]) -> str:
    examples, _ = read_labels(labels, config.curate, say=say)
    order = np.random.default_rng(config.seed).permutation(len(examples))
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow([config.curate.text_column, config.curate.label_column])
    rows.writerows([example.text, examples[i].label] for example, i in zip(examples, order, strict=True))
    return text.getvalue()
