"""What a person can be asked: the messages of a bank on which two systems differ, in random order, and what each says.

    asking = prepare(done, old, new, bank=None)     # leaves RUN/asked/base-adapted, made once
    asking.about.disagree, asking.rows[0].text

The artifact is that of these two systems on these messages: its key changes with the encoder, the head, the labels and
the bank, and answers that were given to another are not counted.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shoptalk.artifact import create, handed_out, key_of, open_artifact, write_text
from shoptalk.commands.ask_replies import first_replies, reply_bank, turns_before, unseen
from shoptalk.commands.ask_run import AskedRun, System
from shoptalk.curate.bank import ENOUGH, FEWEST, apart_from, messages_of, one_of_each, read_bank
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import InputError, SourceError
from shoptalk.evaluate.pools import pool_of
from shoptalk.evaluate.rivals import answered, neighbours_by_both
from shoptalk.readback import as_written, read_record
from shoptalk.records import Frozen
from shoptalk.stages.bank import BANK, known_texts, read_messages
from shoptalk.stages.world import open_embedder

ROWS, ABOUT = "disagreements.jsonl", "about.json"
MOST_SHARED = 0.5
"""Of a given source's messages, the share that the run may know already; of more, it is what the run was made from."""
_OPTIONS = 6
_LAYOUT = 1


class NearText(Frozen):
    """A text near a message, and its label where it has one."""

    text: str
    label: str | None


class Disagreement(Frozen):
    """A message on which two systems differ."""

    key: str
    """Its place in the bank."""
    text: str
    """The message, or what two texts were asked for."""
    answers: tuple[str, str]
    """The old one's and the new one's."""
    others: tuple[str, ...] = ()
    """Labels of texts nearby that neither has answered."""
    near: tuple[NearText, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
    """Where replies or texts are asked about, the turns before it, oldest first: role and text."""


class AboutAsking(Frozen):
    """What all disagreements of an asking share."""

    systems: tuple[str, str]
    labels: tuple[str, ...]
    """What may be answered; none where replies or texts are asked about."""
    bank: int
    """Messages that both systems have answered."""
    disagree: int
    left_out: int
    """Messages that the run knew already, and that are no part of the bank."""


@dataclass(frozen=True)
class Asking:
    """The disagreements of two systems, in the order in which they are asked."""

    id: str
    """By which its answers are known."""
    about: AboutAsking
    rows: tuple[Disagreement, ...]


def prepare(done: AskedRun, old: System, new: System, *, bank: Path | None) -> Asking:
    """The disagreements of two systems on the run's bank, or on another source; computed once.

    Raises:
        InputError: there is no bank, or it cannot be used.
    """
    folder = done.run / "asked" / _slug(f"{old.name}-{new.name}")
    config = done.world.config
    parents = {
        "corpus": done.curated.artifact.content,
        "old": old.digest,
        "new": new.digest,
        **_bank_parents(done, bank),
    }
    heads = [[system.name, system.kind, system.names] for system in (old, new)]
    settings = {"systems": heads, "seed": config.seed, "layout": _LAYOUT}
    if open_artifact(folder, key=key_of(kind="asked", config=settings, parents=parents)) is None:
        rows, labels, size, left_out = (_about_labels if done.labelled else _about_replies)(done, old, new, bank)
        about = AboutAsking(
            systems=(old.name, new.name), labels=labels, bank=size, disagree=len(rows), left_out=left_out
        )
        with create(folder, kind="asked", config=settings, parents=parents) as inside:
            write_text(inside / ABOUT, about.model_dump_json(indent=1))
            write_text(inside / ROWS, "".join(row.model_dump_json() + "\n" for row in rows))
    return open_asking(folder)


def open_asking(folder: Path) -> Asking:
    """What `prepare` has left."""
    artifact = open_artifact(folder)
    assert artifact is not None
    about = read_record(folder / ABOUT, AboutAsking)
    with as_written(folder):
        lines = (folder / ROWS).read_text(encoding="utf-8").split("\n")[:-1]  # a text may hold other line separators
        return Asking(artifact.key[:16], about, tuple(Disagreement.model_validate_json(line) for line in lines))


def _bank_parents(done: AskedRun, bank: Path | None) -> dict[str, str]:
    if bank is not None:
        return {
            f"bank:{name}": content
            for name, content in source_fingerprint([bank], done.world.config.curate, out=done.run).items()
        }
    kept = open_artifact(done.run / BANK)
    if not done.labelled:
        return {}  # it is a part of the corpus
    if kept is None or kept.parents.get("corpus") != done.curated.artifact.content:  # of an earlier question
        raise InputError(
            f"{done.run} has held no messages out to ask about: it was made by a version that did not, or its sources "
            "were too small to spare any. Give unlabelled messages that it has not seen, with --bank SOURCE."
        )
    return {"bank": kept.content}


def _messages(done: AskedRun, bank: Path | None) -> tuple[list[str], int]:
    """The messages of a bank, and how many were left out because the run knows them already."""
    if bank is None:
        handed_out(done.run / BANK)
        messages = list(read_messages(done.run / BANK))
        _check_bank(done, len(messages), 0, f"The bank of {done.run}")
        return messages, 0
    alike = done.world.config.curate.near_duplicate
    every = one_of_each(messages_of(read_bank(bank, done.world.config.curate, out=done.run)), alike)
    apart = apart_from(every, known_texts(done.curated), alike)
    messages = [text for text, new in zip(every, apart, strict=True) if new]
    _check_bank(done, len(messages), len(every) - len(messages), str(bank))
    return messages, len(every) - len(messages)


def _check_bank(done: AskedRun, messages: int, shared: int, name: str) -> None:
    """Refuse a bank by which nothing could be settled, and tell what is left out of it, and of a small one.

    Raises:
        SourceError: the run knows most of it (`shared` of the messages), or it has fewer than `FEWEST`.
    """
    every, say = messages + shared, done.world.report.say
    if shared > MOST_SHARED * every:
        raise SourceError(
            f"{shared:,} of the {every:,} messages in {name} stand among the texts or the labels that {done.run} was "
            "made from, or nearly so: its systems have seen them. Give --bank messages that came in since, or that "
            "were kept apart."
        )
    if messages < FEWEST:
        raise SourceError(
            f"{name} has {messages:,} messages that differ and that the run has not seen; at least {FEWEST} are "
            f"needed, and {ENOUGH:,} are better: fewer say nothing of messages to come. Give more with --bank SOURCE."
        )
    if shared:
        say(
            f"ask: {shared:,} of the {every:,} messages in {name} are near duplicates of texts or labels that the run "
            "has seen, and are left out"
        )
    if messages < ENOUGH:
        say(f"ask: {messages:,} messages are a small bank; one of {ENOUGH:,} or more settles smaller gains")


def _about_labels(
    done: AskedRun, old: System, new: System, bank: Path | None
) -> tuple[list[Disagreement], tuple[str, ...], int, int]:
    """The disagreements in random order, the labels, the messages of the bank, and how many were left out of it."""
    messages, left_out = _messages(done, bank)
    done.world.report.say(f"ask: {old.name} and {new.name} answer {len(messages):,} messages that no training saw")
    config, examples = done.world.config, done.curated.examples
    pool = pool_of(done.curated.train, seed=config.seed)
    both = []
    for system in (old, new):
        product = open_embedder(config, system.model)
        both.append(answered(product, examples, pool, messages, kind=system.kind, names=system.names))
    one, other = both
    differ = np.flatnonzero(one.codes != other.codes)
    rows = []
    for i in np.random.default_rng(config.seed).permutation(differ).tolist():
        near = [examples[place] for place in neighbours_by_both(one, other, i)]
        answers = (one.answer(i), other.answer(i))
        others = [label for label in dict.fromkeys(example.label for example in near) if label not in answers]
        rows.append(
            Disagreement(
                key=str(i),
                text=messages[i],
                answers=answers,
                others=tuple(others[: _OPTIONS - 2]),
                near=tuple(NearText(text=example.text, label=example.label) for example in near),
            )
        )
    return rows, one.labels, len(messages), left_out


def _about_replies(
    done: AskedRun, old: System, new: System, bank: Path | None
) -> tuple[list[Disagreement], tuple[str, ...], int, int]:
    """The same of replies, where there are no labels: each system answers with the reply that it ranks first."""
    ranking = reply_bank(done, bank)
    asked = unseen(done, ranking)
    n, seed = int(asked.sum()), done.world.config.seed
    _check_bank(done, n, len(asked) - n, f"The bank of {done.run}" if bank is None else str(bank))
    done.world.report.say(f"ask: {old.name} and {new.name} rank the replies to {n:,} contexts that no training saw")
    first, second = (first_replies(done, system, ranking) for system in (old, new))
    answers, replies = ranking.answers, ranking.replies
    rows = []
    for i in np.random.default_rng(seed).permutation(np.flatnonzero(asked & (first != second))).tolist():
        context = turns_before(replies.corpus, replies, int(ranking.positions[i]))
        spoken = "\n".join(f"{role}: {text}" if role else text for role, text in context)
        rows.append(
            Disagreement(key=str(i), text=spoken, answers=(answers[first[i]], answers[second[i]]), context=context)
        )
    return rows, (), n, len(asked) - n


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:80]
