"""A verdict that people's answers have changed: what the labels said and what was answered, as one.

`RUN/decision` stays what the labels said. `RUN/settled` holds what was answered about the same challenger, base and
texts; where one of these is another by now, it counts no more.
"""

from collections.abc import Mapping
from pathlib import Path

from shoptalk.artifact import handed_out, open_artifact, open_manifest
from shoptalk.nn.encoder import MODEL_CARD
from shoptalk.readback import read_record
from shoptalk.report.verdict_json import PeopleAnswered, Verdict
from shoptalk.tasks import OR_ACCEPT

SETTLED, ASKED = "settled", "asked.json"
UNPROVEN = " The challenger is served all the same, as --accept-unproven asks."
"""At the end of the verdict's sentence, where that is so."""


def about(*, entry: str, corpus: str, base: str) -> dict[str, str]:
    """What answers are about, by content hashes: the parents of `RUN/settled`."""
    return {"entry": entry, "corpus": corpus, "base": base}


def asked_about(run: Path, parents: dict[str, str]) -> PeopleAnswered | None:
    """What was answered about just these; None where nothing was.

    Raises:
        ArtifactError: it is damaged.
    """
    artifact = open_artifact(run / SETTLED)
    if artifact is None or artifact.parents != parents:
        return None
    handed_out(run / SETTLED)
    return read_record(run / SETTLED / ASKED, PeopleAnswered)


def left_guard(verdict: Verdict) -> str:
    """Why the challenger may not be adopted whatever is answered: the guard that it has left; empty where none."""
    row = next((row for row in verdict.candidates if row.entry == verdict.entry), None)
    if row is None:
        return "the verdict has no measurement of its guards"
    return "" if row.inside_guards else row.why_not or "it is outside its guards"


def counted(verdict: Verdict, asked: PeopleAnswered | None) -> PeopleAnswered | None:
    """What was answered, unless it adopts a challenger that by this verdict's guards may not ship: they may have become
    tighter since.
    """
    return None if asked is not None and asked.choice == "adopt" and left_guard(verdict) else asked


def asked_of(run: Path, verdict: Verdict) -> PeopleAnswered | None:
    """What was answered about the challenger of a finished run and counts by what it has decided itself; it raises as
    `asked_about` does.
    """
    parts = [open_manifest(run / name) for name in ("candidate/encoder", "corpus", "baseline")]
    if any(part is None for part in parts):
        return None
    candidate, corpus, baseline = (part for part in parts if part is not None)
    entry, base = candidate.parents.get("entry"), baseline.parents.get("base")
    if entry is None or base is None:
        return None
    return counted(verdict, asked_about(run, about(entry=entry, corpus=corpus.content, base=base)))


def settles(asked: PeopleAnswered | None) -> bool:
    """Whether it decides anything."""
    return asked is not None and asked.choice != "inconclusive"


def serves_challenger(choice: str, asked: PeopleAnswered | None, *, accept_unproven: bool) -> bool:
    """Whether the challenger ships, where the labels said `choice`."""
    if asked is not None and settles(asked):
        return asked.choice == "adopt"
    return choice == "adopt" or accept_unproven


def accepted(verdict: Verdict) -> Verdict:
    """The verdict of a run whose challenger is served even where it is not adopted (--accept-unproven)."""
    if verdict.choice == "adopt" or verdict.entry is None:
        return verdict
    sentence = verdict.sentence.replace(OR_ACCEPT, "") + UNPROVEN
    return verdict.model_copy(update={"served_unproven": True, "sentence": sentence})


def joined(verdict: Verdict, asked: PeopleAnswered | None) -> Verdict:
    """The verdict of both: what was answered decides where it settles anything."""
    if asked is None:
        return verdict
    if not settles(asked):
        sentence = f"{verdict.sentence} A person was asked: {asked.sentence}"
        return verdict.model_copy(update={"asked": asked, "sentence": sentence})
    # What was answered decides what is served, whatever was accepted before.
    sentence = f"{asked.sentence} By the labels alone: {verdict.sentence.removesuffix(UNPROVEN)}"
    served = {"served_unproven": False} if verdict.served_unproven else {}
    return verdict.model_copy(
        update={
            "choice": asked.choice,
            "asked": asked,
            "labels_needed": None,
            "answers_needed": None,
            "bank_needed": None,
            "sentence": sentence,
        }
        | served
    )


def on_cards(cards: Mapping[str, str], asked: PeopleAnswered | None) -> dict[str, str]:
    """The cards of what is served, by file name, with what was answered on the model's."""
    if asked is None:
        return dict(cards)
    return {**cards, MODEL_CARD: f"{cards[MODEL_CARD].rstrip()}\n\n## What people answered\n\n{asked.sentence}\n"}
