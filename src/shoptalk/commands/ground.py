"""`shoptalk finetune MODEL SOURCE... --task ground`: a reader that marks what replies say and passages do not.

It trains on corrupted replies to the sources' own passages (`objectives/supervised/ground_tokens.py`). A tenth of the
documents chooses the threshold and a fifth is judged; training sees neither. `DIR/encoder` and `DIR/grounding_head`
are the reader, which an assistant uses where DIR is `RUN/grounding`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from shoptalk.artifact import create, handed_out, key_of, sound, write_text
from shoptalk.commands.budgeted import trained_within_budget
from shoptalk.config import Config
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import SourceError
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import TextEncoder, text_encoder
from shoptalk.nn.heads import grounding_files
from shoptalk.nn.heads.grounding import Grounding, reading_longer
from shoptalk.objective import Key, Material
from shoptalk.objectives import make_spec
from shoptalk.objectives.supervised.ground_tokens import GroundSpec, GroundTokens, MadeReply, ReplyMaker
from shoptalk.probes.marking import MarkScores, best_threshold, score_marks
from shoptalk.question import Question, claim, clear_work, withdraw
from shoptalk.readback import damaged, read_json
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.world import World, open_embedder
from shoptalk.telling.cards import plain_card
from shoptalk.telling.origin import base_of
from shoptalk.text.corpus import Corpus
from shoptalk.text.evidence_rows import FEATURES
from shoptalk.text.order import permuted
from shoptalk.training.reporter import Reporter

OBJECTIVE = "ground"
HEAD = "grounding_head"
DEV_SHARE, TEST_SHARE = 0.1, 0.2
"""Of the documents: those that choose the threshold, and those that are judged."""
JUDGED, JUDGED_OF_KIND = 400, 100
"""ChangedText replies that are judged: of all kinds together, and at most of each kind alone."""
FEWEST_DOCUMENTS = 10
RESULT = "result.json"


def finetune_grounding(
    world: World, model: str, sources: Sequence[Path], *, steps: int | None = None, force: bool = False
) -> dict[str, Any]:
    """Train the reader; leaves `DIR/encoder` and `DIR/grounding_head`, and returns what its `result.json` holds.

    The same call again resumes, or returns at once. The budget is training's; judging takes about a minute more.

    Raises:
        SourceError: the sources have fewer documents than can be held out from.
        ConfigError: a setting is wrong, or the budget does not pay for one step.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    config = world.config
    spec = _spec(config)
    files = source_fingerprint(sources, config.curate, out=world.run)
    settings = {"seed": config.seed, "curate": config.curate.model_dump(), "objective": spec.model_dump()}
    settings |= {"steps": steps, "budget": None if steps else config.budget, "train": config.train.of_results()}
    parents = files | {"base": base_digest(model)}
    claim(world.run, Question.of("finetune ground", settings, sources=files, base=parents["base"]), force=force)
    folder = world.run / HEAD
    if not _finished(world.run, settings, parents):
        corpus = curate_stage(world, sources, None, None, reads="text").train
        parts = apart(corpus, seed=config.seed)
        product = reading_longer(text_encoder(open_embedder(config, model)))
        # Of these settings, sources and features alone: another question, and a version that reads other features,
        # must not go on with what was left of this one.
        trained = settings | {"features": FEATURES}
        work = world.run / "work" / key_of(kind="training", config=trained, parents=parents)[:16]
        grounding = fit(product, parts, spec, config, folder=work, report=world.report, steps=steps)
        world.report.say("finetune: judging on documents that training has not seen")
        result = judged(grounding, parts, spec, seed=config.seed)
        about = f"Made by `shoptalk finetune --task ground`. {result['sentence']}"
        withdraw(world.run)
        with create(world.run / "encoder", kind="encoder", config=settings, parents=parents) as inside:
            grounding.product.save(
                inside, card=plain_card(base_of(model), "finetuned to mark what is unsupported", about)
            )
        of_head = parents | {"encoder": handed_out(world.run / "encoder").content}
        readings = {"f1": result["test"]["f1"], "threshold": grounding.threshold}
        with create(folder, kind="grounding", config=settings, parents=of_head, readings=readings) as inside:
            grounding_files.save(grounding, inside)
            write_text(inside / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
        clear_work(world.run)
    result = read_json(folder / RESULT, dict)
    if not {"sentence", "test", "kinds"} <= result.keys():
        raise damaged(folder / RESULT, "it does not say what was learned")
    return result


def _spec(config: Config) -> GroundSpec:
    spec = make_spec(OBJECTIVE, config.objectives.get(OBJECTIVE, {}))
    assert isinstance(spec, GroundSpec)
    return spec


def _finished(run: Path, settings: dict[str, Any], parents: dict[str, str]) -> bool:
    """Whether the folder holds what these settings and inputs make."""
    encoder = sound(run / "encoder", key=key_of(kind="encoder", config=settings, parents=parents))
    if encoder is None:
        return False
    of_head = parents | {"encoder": encoder.content}
    return sound(run / HEAD, key=key_of(kind="grounding", config=settings, parents=of_head)) is not None


# --- documents apart --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """A corpus by documents: what trains, what chooses the threshold, what is judged."""

    train: Corpus
    dev: Corpus
    test: Corpus


def apart(corpus: Corpus, *, seed: int) -> Parts:
    """Whole documents at random: a tenth to choose by, a fifth to judge by, the others to train on.

    Raises:
        SourceError: there are too few.
    """
    numbers = np.unique(corpus.conversation)
    if len(numbers) < FEWEST_DOCUMENTS:
        raise SourceError(
            f"The sources hold {len(numbers)} documents, and some are held out to judge the reader by: give at least "
            f"{FEWEST_DOCUMENTS}."
        )
    order = numbers[permuted(len(numbers), range(len(numbers)), seed=seed, epoch=0)]
    cuts = max(2, round(DEV_SHARE * len(order))), max(4, round((DEV_SHARE + TEST_SHARE) * len(order)))
    dev, test, train = np.split(order, cuts)

    def part(name: str, of: np.ndarray) -> Corpus:
        return corpus.part(np.flatnonzero(np.isin(corpus.conversation, of)), digest=f"{corpus.digest}:{name}:{seed}")

    return Parts(part("train", train), part("dev", dev), part("test", test))


# --- training ---------------------------------------------------------------------------------------------------------


def fit(
    product: TextEncoder,
    parts: Parts,
    spec: GroundSpec,
    config: Config,
    *,
    folder: Path,
    report: Reporter,
    steps: int | None = None,
) -> Grounding:
    """The product, which is changed, trained with a head on the training documents; the threshold is chosen on others.

    Args:
        product: what is trained.
        parts: the documents.
        spec: the objective's settings.
        config: of training, and the budget.
        folder: where the plan, the log and snapshots are kept.
        report: where progress is reported.
        steps: how many; else the budget decides, once, in `plan.json`.
    """
    objective = trained_within_budget(
        product, parts.train, spec, config, name=OBJECTIVE, items="replies", folder=folder, report=report, steps=steps
    )
    assert isinstance(objective, GroundTokens)
    grounding = Grounding(objective.product, objective.head, threshold=0.5)
    replies = make_replies(grounding.product, parts.dev, spec, most=JUDGED, seed=config.seed + 1)
    chances = grounding.probabilities([reply.row for reply in replies])
    return replace(grounding, threshold=best_threshold(chances, [reply.wrong for reply in replies]))


# --- judging ----------------------------------------------------------------------------------------------------------


def make_replies(product: TextEncoder, corpus: Corpus, spec: GroundSpec, *, most: int, seed: int) -> list[MadeReply]:
    """Up to `most` corrupted replies to a corpus's passages, and two thirds as many without a mistake.

    A passage has at most ten replies, and fewer are made where the kinds cannot be applied more often.
    """
    examples = np.asarray(spec.examples(corpus))
    if not len(examples):
        return []
    corrupted, clean = (
        ReplyMaker(Material(corpus, product, None, None), spec.model_copy(update={"clean": share}))
        for share in (0.0, 1.0)
    )
    broken: list[MadeReply] = []
    right: list[MadeReply] = []
    for step in range(10):
        for example in examples[permuted(len(examples), range(len(examples)), seed=seed, epoch=step)].tolist():
            if len(broken) >= most:
                break
            reply = corrupted(example, Key(seed, step))
            if reply.wrong.any():
                broken.append(reply)
                if 3 * len(right) < 2 * len(broken):
                    right.append(clean(example, Key(seed, 10 + step)))
    return [*broken, *(reply for reply in right if len(reply.wrong))]


def judged(grounding: Grounding, parts: Parts, spec: GroundSpec, *, seed: int) -> dict[str, Any]:
    """The scores on documents that training has not seen: of all kinds together, and of each kind alone; beside each
    the rule that marks a token which stands in no passage.
    """
    replies = make_replies(grounding.product, parts.test, spec, most=JUDGED, seed=seed + 2)
    test, rule = marked(grounding, replies)
    kinds: dict[str, Any] = {}
    for kind in spec.kinds:
        alone = spec.model_copy(update={"kinds": (kind,)})
        if of_kind := make_replies(grounding.product, parts.test, alone, most=JUDGED_OF_KIND, seed=seed + 3):
            scores, by_rule = marked(grounding, of_kind)
            kinds[kind] = {"f1": scores.f1, "rule_f1": by_rule.f1, "missed": scores.missed, "replies": scores.replies}
    return {
        "task": OBJECTIVE,
        "threshold": grounding.threshold,
        "test": test.model_dump(),
        "rule": rule.model_dump(),
        "kinds": kinds,
        "documents": {
            name: len(np.unique(part.conversation))
            for name, part in (("train", parts.train), ("dev", parts.dev), ("test", parts.test))
        },
        "sentence": (
            f"On {test.replies:,} replies to documents that were held out, words that passages do not support are "
            f"marked with F1 {test.f1:.2f} (marking what stands in no passage: {rule.f1:.2f}); of replies without a "
            f"mistake {100 * test.marked_clean:.0f} % have a mark."
        ),
    }


def marked(grounding: Grounding, replies: Sequence[MadeReply]) -> tuple[MarkScores, MarkScores]:
    """The scores of the reader, and of the rule that marks a token which stands in no passage."""
    wrong = [reply.wrong for reply in replies]
    chances = grounding.probabilities([reply.row for reply in replies])
    absent: list[Float32[np.ndarray, " _"]] = [1 - reply.row.shared[:, 0] for reply in replies]
    return score_marks(chances, wrong, threshold=grounding.threshold), score_marks(absent, wrong, threshold=0.5)
