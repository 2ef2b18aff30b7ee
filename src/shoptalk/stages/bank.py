"""Bank: the messages that are held out to ask a person about (`shoptalk ask`); leaves `RUN/bank`."""

import json
from collections.abc import Sequence
from pathlib import Path

from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.curate.bank import ENOUGH, FEWEST, FEWEST_TEXTS, apart_from, messages_of, one_of_each
from shoptalk.readback import as_written
from shoptalk.stages.curate import Curated
from shoptalk.stages.world import World

BANK, MESSAGES = "bank", "messages.jsonl"
"""The artifact, and its file: a JSON object with its `text` in each line."""


def bank_stage(world: World, curated: Curated) -> tuple[str, ...]:
    """The messages, which are near no text that training, pool, heads or a choice have seen; none where the sources
    are too small to spare any.
    """
    if curated.bank is None:
        world.report.say(told(0))
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
        world.report.say(told(len(messages)))
    return read_messages(folder)


def known_texts(curated: Curated) -> list[Sequence[str]]:
    """All that training, pool, heads or a choice among entries may have seen."""
    labelled = [[example.text for example in part] for part in (curated.examples, curated.tests)]
    return [curated.train.texts, curated.held_out.texts, *labelled]


def read_messages(folder: Path) -> tuple[str, ...]:
    """What `bank_stage` has left in a folder."""
    with as_written(folder), (folder / MESSAGES).open(encoding="utf-8") as file:
        return tuple(str(json.loads(line)["text"]) for line in file)


def told(messages: int) -> str:
    """A line about a bank of so many messages, and when a larger one would help."""
    if not messages:
        return f"bank: nothing is held out for `shoptalk ask`: that takes {FEWEST_TEXTS:,} texts of visitors or more"
    line = f"bank: {messages:,} messages are held out for `shoptalk ask`, which no training sees"
    if messages < FEWEST:
        return f"{line}; fewer than {FEWEST} settle nothing: `ask --bank SOURCE` takes others"
    return line if messages >= ENOUGH else f"{line}; with {ENOUGH:,} or more it could settle smaller gains"
