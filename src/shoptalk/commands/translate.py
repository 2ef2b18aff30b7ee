"""`shoptalk finetune MODEL PAIRS --task translate`: an encoder–decoder that writes the target of a source.

    result = finetune_translation(world, "scratch:t5-nano", Path("pairs.tsv"), columns=("en", "de"))
    translate("runs/translator", ["Two dogs run."])

Some pairs are held out, or a file of others is given, and are judged before and after: bits per byte of the targets
given their sources, and chrF of what the model writes. `DIR/model` is the model, `DIR/translation` what was measured.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from shoptalk.artifact import create, file_digest, handed_out, key_of, sound, write_text
from shoptalk.commands.budgeted import trained_within_budget
from shoptalk.config import Config
from shoptalk.curate.clean import printable, sample
from shoptalk.curate.curation import by_reason, write_drops
from shoptalk.curate.dedup import clusters, matches
from shoptalk.curate.parallel_text import COLUMNS, ParallelPair, read_parallel
from shoptalk.curate.sources import rows_left_out
from shoptalk.errors import BaseModelError, SourceError
from shoptalk.evaluate.chrf import chrf, chrf_interval, chrf_statistics
from shoptalk.nn.bases import began_as, hush, open_model
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder_decoder import EncoderDecoder
from shoptalk.nn.machine import prepare
from shoptalk.nn.product import CALLED, Product
from shoptalk.nn.rewriting import rewritten
from shoptalk.nn.scratch_lm import lm_size_of, young_language_model
from shoptalk.objective import Spec
from shoptalk.objectives import make_spec
from shoptalk.probes.bits_per_byte import byte_counts
from shoptalk.question import Question, claim, clear_work, withdraw
from shoptalk.readback import damaged, read_json
from shoptalk.records import Drop
from shoptalk.stages.own_base import YOUNG_LR, YOUNG_PASSES
from shoptalk.stages.world import World, best_device, open_product, usual_precision
from shoptalk.telling.cards import plain_card
from shoptalk.telling.origin import base_of
from shoptalk.text.corpus import Corpus
from shoptalk.text.order import permuted

OBJECTIVE = "translate"
RESULT = "result.json"
FEWEST = 50
"""Pairs that are left to learn from, at least."""
HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 500
_IN_TEST = "its source is one of the test's, or nearly so"
WRITTEN_MOST = 200
"""Of the pairs that are judged, those whose source is translated: writing takes longer than reading."""


def finetune_translation(
    world: World,
    model: str,
    pairs: Path,
    *,
    columns: tuple[str, str] = COLUMNS,
    test: Path | None = None,
    steps: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Train on the pairs; leaves `DIR/model` and `DIR/translation`, and returns what its `result.json` holds.

    The same call again resumes, or returns at once. The budget is training's; judging takes about a minute more.

    Raises:
        SourceError: a file cannot be read, or leaves too few pairs.
        BaseModelError: the model is no encoder–decoder.
        ConfigError: a setting is wrong, or the budget does not pay for one step.
        StorageError: the folder holds finished work of another command or question, and `force` was not given.
    """
    config = world.config
    spec = young_spec(model, config)
    settings = {"seed": config.seed, "columns": list(columns), "objective": spec.model_dump()}
    settings |= {"near_duplicate": config.curate.near_duplicate, "steps": steps, "train": config.train.of_results()}
    settings |= {"budget": None if steps else config.budget}
    read = read_pairs_apart(pairs, test, columns, config, world)
    parents = {"base": base_digest(model), "pairs": file_digest(pairs)}
    parents |= {"test": file_digest(test)} if test is not None else {}
    question = Question.of(
        "finetune translate", settings, base=parents["base"], pairs=parents["pairs"], test=parents.get("test")
    )
    claim(world.run, question, force=force)
    if not _finished(world.run, settings, parents):
        product = opened(model, read.learned, config)
        read = with_room(product, read, pairs, world)
        corpus = corpus_of(read.learned, digest=key_of(kind="pairs", config=settings, parents=parents))
        before = judged(product, read.judged)
        world.report.say(f"finetune: {len(read.learned):,} pairs to learn from, {len(read.judged):,} to judge by")
        inputs = product.inputs(corpus)
        # Of these settings and pairs alone: another question must not go on with what was left of this one.
        work = world.run / "work" / key_of(kind="training", config=settings, parents=parents)[:16]
        objective = trained_within_budget(
            product, corpus, spec, config, name=OBJECTIVE, items="pairs", folder=work,
            report=world.report, inputs=inputs, steps=steps,
        )  # fmt: skip
        trained = objective.product
        assert isinstance(trained, EncoderDecoder)
        world.report.say("finetune: judging on pairs that training has not seen")
        result = _result(before, judged(trained, read.judged), read, columns=columns)
        about = f"Made by `shoptalk finetune --task translate`. {result['sentence']}"
        withdraw(world.run)
        with create(world.run / "model", kind="encoder", config=settings, parents=parents) as inside:
            card = plain_card(base_of(model), "finetuned on parallel text", about, kind=trained.kind)
            trained.save(inside, card=card)
        of_model = parents | {"model": handed_out(world.run / "model").content}
        readings = {"chrf": result["test"]["chrf"], "bits_per_byte": result["test"]["bits_per_byte"]}
        folder = world.run / "translation"
        with create(folder, kind="translation", config=settings, parents=of_model, readings=readings) as inside:
            write_text(inside / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
            write_drops(inside, read.drops)
        clear_work(world.run)
    result = read_json(world.run / "translation" / RESULT, dict)
    if not {"sentence", "test"} <= result.keys():
        raise damaged(world.run / "translation" / RESULT, "it does not say what was learned")
    return result


def translate(
    model: str | Path, texts: Sequence[str], *, beams: int = 1, say: Callable[[str], None] = lambda line: None
) -> list[str]:
    """What an encoder–decoder writes for each text.

    Args:
        model: a folder that `finetune --task translate` left, or any other encoder–decoder.
        texts: what it reads.
        beams: how many beginnings are kept in view; 1 takes the likeliest token each time.
        say: is told of texts of which the model reads the beginning alone.

    Raises:
        BaseModelError: the model is missing, damaged, or no encoder–decoder.
    """
    product = _encoder_decoder(open_model(str(model)), str(model))
    long = [number for number, length in enumerate(product.ids(texts).lengths.tolist(), 1) if length > product.room]
    if long:
        say(
            f"{len(long):,} of {len(texts):,} texts have more than the {product.room:,} tokens that {model} reads, so "
            f"that what is written is of their beginning; the first is number {long[0]:,}: "
            f"“{sample(texts[long[0] - 1])}”. Give them in parts."
        )
    return rewritten(product, texts, beams=beams)


def young_spec(model: str, config: Config) -> Spec:
    """The objective's settings; where they are silent, a model that began with random weights has higher rates."""
    given = config.objectives.get(OBJECTIVE, {})
    plain = make_spec(OBJECTIVE, {})
    young = {"lr": YOUNG_LR * plain.lr, "passes": YOUNG_PASSES * plain.passes} if began_as(model) is not None else {}
    return make_spec(OBJECTIVE, young | given)


def opened(model: str, pairs: Sequence[ParallelPair], config: Config) -> EncoderDecoder:
    """The model to train; one with random weights gets a tokenizer that is trained on both sides of the pairs.

    Raises:
        BaseModelError: it is no encoder–decoder.
    """
    if (size := lm_size_of(model)) is None:
        return _encoder_decoder(open_product(config, model), model)
    prepare(best_device())
    hush()
    texts = [text for pair in pairs for text in (pair.source, pair.target)]
    young = _encoder_decoder(young_language_model(size, texts, seed=config.seed), model)
    young.network.to(best_device())
    return young.in_precision(usual_precision(config))


def _encoder_decoder(product: Product, model: str) -> EncoderDecoder:
    if not isinstance(product, EncoderDecoder):
        raise BaseModelError(
            f"{model!r} is one of the {CALLED[product.kind]}, and writing a text for a text needs an encoder–decoder. "
            "Give scratch:t5-nano, or a model of T5's or BART's kind."
        )
    return product


# --- pairs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairsApart:
    """What is learned from, what is judged, and what was left out."""

    learned: Sequence[ParallelPair]
    judged: Sequence[ParallelPair]
    drops: Sequence[Drop]


def read_pairs_apart(
    pairs: Path, test: Path | None, columns: tuple[str, str], config: Config, world: World
) -> PairsApart:
    """The pairs, those to judge by apart: the test file's, or some that are held out. No source that is judged, nor a
    near duplicate of one, is learned from.

    Raises:
        SourceError: a file cannot be read, or leaves too few pairs.
    """
    given, drops = read_parallel(pairs, columns, config.curate, say=world.report.say)
    if drops:
        world.report.say(rows_left_out(printable(pairs.name), drops))
    if test is not None:
        tests, of_test = read_parallel(test, columns, config.curate, say=world.report.say)
        if of_test:
            world.report.say(rows_left_out(printable(test.name), of_test))
        sources = [pair.source for pair in given]
        alike = matches(sources, [pair.source for pair in tests], config.curate.near_duplicate)
        learned, seen = ([pair for pair, near in zip(given, alike, strict=True) if near == side] for side in (0, 1))
        if seen:
            world.report.say(f"{len(seen):,} pairs have a source of the test, or nearly so, and are not learned from")
        drops = [*drops, *of_test, *(_left_out(pair, "in-test", _IN_TEST) for pair in seen)]
    else:
        held_out = hold_out([pair.source for pair in given], config.curate.near_duplicate, seed=config.seed)
        learned, tests = (
            [pair for pair, out in zip(given, held_out, strict=True) if out == side] for side in (False, True)
        )
    return _enough(PairsApart(learned, tests, drops), pairs)


def with_room(product: EncoderDecoder, read: PairsApart, pairs: Path, world: World) -> PairsApart:
    """The pairs whose targets the model can read whole. Of a longer one it would learn to stop where its context does,
    in the middle of a sentence, and the bits of a part would be divided by the bytes of all of it.

    Raises:
        SourceError: too few are left.
    """
    drops: list[Drop] = []

    def fitting(side: Sequence[ParallelPair]) -> list[ParallelPair]:
        lengths = product.ids([pair.target for pair in side]).lengths.tolist()
        long = f"tokens, and the model reads and writes {product.room:,} at most"
        drops.extend(
            _left_out(pair, "long-target", f"its target has {length:,} {long}")
            for pair, length in zip(side, lengths, strict=True)
            if length > product.room
        )
        return [pair for pair, length in zip(side, lengths, strict=True) if length <= product.room]

    learned, tests = fitting(read.learned), fitting(read.judged)
    if drops:
        world.report.say(rows_left_out("finetune", drops))
    return _enough(PairsApart(learned, tests, [*read.drops, *drops]), pairs)


def _enough(read: PairsApart, pairs: Path) -> PairsApart:
    if len(read.learned) < FEWEST or not read.judged:
        raise SourceError(
            f"{pairs} leaves {len(read.learned):,} pairs to learn from and {len(read.judged):,} to judge by. Give at "
            f"least {FEWEST + 10} that are not near duplicates of each other, with targets that the model's context "
            "holds."
        )
    return read


def _left_out(pair: ParallelPair, reason: str, detail: str) -> Drop:
    file = pair.id.rsplit("#", 1)[0]
    return Drop(id=pair.id, source=file, reason=reason, detail=detail, sample=sample(pair.source))


def hold_out(sources: Sequence[str], near_duplicate: float, *, seed: int) -> Bool[np.ndarray, " N"]:
    """Which pairs are held out: whole clusters of near duplicates, one of twenty pairs, at least 2 and at most 500."""
    numbers = clusters(sources, near_duplicate)
    wanted = min(HELD_OUT_MOST, max(2, round(HELD_OUT_SHARE * len(sources))))
    sizes = np.bincount(numbers)
    order = permuted(len(sizes), range(len(sizes)), seed=seed, epoch=0)
    small = order[sizes[order] <= max(3, wanted // 10)]  # a large cluster would be most of what is judged
    chosen = small[: int(np.searchsorted(np.cumsum(sizes[small]), wanted, side="right"))]
    return np.isin(numbers, chosen)


def corpus_of(pairs: Sequence[ParallelPair], *, digest: str) -> Corpus:
    """The pairs as conversations of two turns."""
    return Corpus(
        items=tuple(text for pair in pairs for text in (pair.source, pair.target)),
        conversation=np.repeat(np.arange(len(pairs)), 2),
        turn=np.tile(np.arange(2), len(pairs)),
        digest=digest,
    )


def _finished(run: Path, settings: dict[str, Any], parents: dict[str, str]) -> bool:
    """Whether the folder holds what these settings and inputs make."""
    model = sound(run / "model", key=key_of(kind="encoder", config=settings, parents=parents))
    if model is None:
        return False
    of_model = parents | {"model": model.content}
    return sound(run / "translation", key=key_of(kind="translation", config=settings, parents=of_model)) is not None


# --- judging ----------------------------------------------------------------------------------------------------------


def judged(product: EncoderDecoder, pairs: Sequence[ParallelPair]) -> dict[str, Any]:
    """Bits per byte of the targets given their sources, and chrF of what is written for the first of the sources."""
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    bits = product.bits_given(sources, targets)
    some = slice(WRITTEN_MOST)
    written = rewritten(product, sources[some])
    statistics = chrf_statistics(written, targets[some])
    return {
        "bits_per_byte": float(bits.sum() / byte_counts(targets).sum()),
        "chrf": chrf(statistics),
        "chrf_interval": list(chrf_interval(statistics)),
        "pairs": len(pairs),
        "written": len(written),
        "examples": [
            {"source": source, "written": text, "target": target}
            for source, text, target in zip(sources[:3], written, targets, strict=False)
        ],
    }


def left_as_they_are(pairs: Sequence[ParallelPair]) -> dict[str, Any]:
    """chrF of the same sources without any translation: what it costs nothing to have."""
    some = pairs[:WRITTEN_MOST]
    statistics = chrf_statistics([pair.source for pair in some], [pair.target for pair in some])
    return {"chrf": chrf(statistics), "chrf_interval": list(chrf_interval(statistics))}


def no_nearer(reached: float, low: float, unchanged: float) -> str:
    """A sentence, where translations are not shown to be nearer to the references than what costs nothing."""
    if low > unchanged:
        return ""
    are = "not shown to be nearer" if reached > unchanged else "no nearer"
    return f" So its translations are {are} to the references than the sources left as they are."


def _result(
    before: dict[str, Any], after: dict[str, Any], read: PairsApart, *, columns: tuple[str, str]
) -> dict[str, Any]:
    low, high = after["chrf_interval"]
    unchanged = left_as_they_are(read.judged)
    before = {name: value for name, value in before.items() if name != "examples"}
    return {
        "task": OBJECTIVE,
        "columns": list(columns),
        "base": before,
        "test": after,
        "unchanged": unchanged,
        "learned": len(read.learned),
        "drops": by_reason(read.drops),
        "drops_file": "translation/drops.jsonl",
        "sentence": (
            f"On {after['pairs']:,} pairs that training has not seen, a target takes {after['bits_per_byte']:.2f} bits "
            f"per byte given its source (before: {before['bits_per_byte']:.2f}); of {after['written']:,} translations "
            f"chrF is {after['chrf']:.1f} (95 % interval {low:.1f} to {high:.1f}; before: {before['chrf']:.1f}; of "
            f"the sources left as they are: {unchanged['chrf']:.1f})."
            f"{no_nearer(after['chrf'], low, unchanged['chrf'])}"
        ),
    }
