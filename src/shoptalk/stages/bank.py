"""Bank: the messages that are held out to ask a person about (`shoptalk ask`); leaves `RUN/bank`."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shoptalk import decide
from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.curate.bank import FEWEST, MOST, apart_from, bank_line, messages_of, one_of_each
from shoptalk.evaluate.rivals import answered
from shoptalk.readback import as_written
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Judged
from shoptalk.stages.world import World, open_embedder

SAMPLED = 1_000
"""Messages on which it is estimated how often base and challenger differ."""
LARGER = (300, 1_000, 3_000, 10_000, MOST)
"""Sizes of a bank that are tried for the forecast, where the run's own is too small."""
BANK, MESSAGES = "bank", "messages.jsonl"
"""The artifact, and its file: a JSON object with its `text` in each line."""


def bank_stage(world: World, curated: Curated) -> tuple[str, ...]:
    """The messages, which are near no text that training, pool, heads or a choice have seen; none where the sources
    are too small to spare any.
    """
    if curated.bank is None:
        world.report.say(bank_line(0))
        return ()
    if not curated.examples:  # replies are asked about, in the conversations as they are
        n = len(np.unique(np.asarray(curated.bank.conversation)))
        world.report.say(f"bank: {n:,} conversations are held out for `shoptalk ask`, which no training sees")
        return ()
    alike = world.config.curate.near_duplicate
    folder, parents, settings = world.run / BANK, {"corpus": curated.artifact.content}, {"near_duplicate": alike}
    if open_artifact(folder, key=key_of(kind="bank", config=settings, parents=parents)) is None:
        every = messages_of(curated.bank)
        apart = apart_from(every, known_texts(curated), alike)
        messages = one_of_each([text for text, new in zip(every, apart, strict=True) if new], alike)
        readings = {"messages": float(len(messages)), "held_out": float(len(every))}
        with create(folder, kind="bank", config=settings, parents=parents, readings=readings) as inside:
            rows = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in messages]
            write_text(inside / MESSAGES, "".join(rows))
        world.report.say(bank_line(len(messages)))
    return read_messages(folder)


def answers_needed(
    world: World, curated: Curated, baseline: Baseline, judged: Judged, messages: Sequence[str]
) -> tuple[int, int] | None:
    """About how many answers would tell base and challenger apart, by how often they differ on the first messages, and
    from how large a bank: the run's, or the smallest larger one that would do. None where none would, or nothing is to
    be asked.
    """
    compared, pool = judged.compared, baseline.bench.pool
    if compared is None or judged.entry is None or compared.base.seen is None or not messages:
        return None
    sample, answers = messages[:SAMPLED], []
    for model, final in (
        (judged.base.model, compared.base),
        (str(judged.entry.folder / "encoder"), compared.adapted),
    ):
        product = open_embedder(world.config, model)
        answers.append(answered(product, curated.examples, pool, sample, kind=final.way, seen=final.seen).codes)
    share = float((answers[0] != answers[1]).mean())
    low, high = judged.facts["interval"]
    gain, error, smallest = judged.facts["gain"], (high - low) / 2 / compared.c, judged.facts["smallest_gain"]
    for bank in (len(messages), *(size for size in LARGER if size > len(messages))):
        n = round(share * bank)
        needed = decide.answers_needed(disagree=n, bank=bank, gain=gain, se=error, smallest_gain=smallest)
        if needed is not None and bank >= FEWEST:
            return decide.round_up(float(needed)), bank
    return None


def known_texts(curated: Curated) -> list[Sequence[str]]:
    """All that training, pool, heads or a choice among entries may have seen."""
    labelled = [[example.text for example in part] for part in (curated.examples, curated.tests)]
    questions = [pair.question for pair in curated.pairs]
    return [curated.train.texts, curated.held_out.texts, *labelled, questions]


def read_messages(folder: Path) -> tuple[str, ...]:
    """What `bank_stage` has left in a folder."""
    with as_written(folder), (folder / MESSAGES).open(encoding="utf-8") as file:
        return tuple(str(json.loads(line)["text"]) for line in file)
