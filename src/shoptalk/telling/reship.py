"""What ships after people were asked: `RUN/encoder` and `RUN/head` follow the verdict of labels and answers.

    reship(world, curated, base="minilm")     # and RUN/verdict.json and RUN/report.html

Each of them is replaced whole. A head is refused on an encoder that it was not fitted on, so that nothing answers
wrongly if this is interrupted between the two; the same call again finishes it.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from shoptalk.artifact import handed_out, write_text
from shoptalk.errors import AbsentError
from shoptalk.evaluate.pools import pool_of
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import MODEL_CARD
from shoptalk.readback import read_json, read_text
from shoptalk.report.verdict_json import Verdict
from shoptalk.stages.curate import Curated
from shoptalk.stages.ship import encoder_stage, finetune_stage
from shoptalk.stages.world import World
from shoptalk.telling.cards import DATASET_CARD
from shoptalk.telling.facts import decided, published_text, verdict_of, write_page
from shoptalk.telling.settled import asked_of, on_cards, serves_challenger

CARDS = "cards.json"
"""In `RUN/decision`: the cards of the challenger and of the base, as the labels alone have them."""


def reship(world: World, curated: Curated, *, base: str) -> Verdict:
    """Ship what the verdict of labels and answers says, and publish it; `base` is the base that is compared with."""
    run, decision = world.run, handed_out(world.run / "decision")
    labels_alone = decided(run)
    asked = asked_of(run, labels_alone)
    accepted = bool(decision.config.get("accept_unproven"))
    serves = serves_challenger(labels_alone.choice, asked, accept_unproven=accepted)
    candidate = run / "candidate" / "encoder"
    if serves:
        source, parents = str(candidate), {"entry": handed_out(candidate).parents["entry"]}
    else:
        source, parents = base, {"base": base_digest(base)}
    cards = on_cards(_cards(run, adapted=serves), asked)
    encoder = encoder_stage(source, run / "encoder", parents=parents, cards=cards)
    heads = labels_alone.heads
    kind = "" if heads is None else heads.adapted if serves else heads.base
    finetune_stage(world, curated, pool_of(curated.train, seed=world.config.seed), encoder, kind=kind)
    write_text(run / "verdict.json", published_text(run))
    write_page(run)
    return verdict_of(run)


def cards_text(cards: Mapping[bool, Mapping[str, str]]) -> str:
    """What `RUN/decision/cards.json` holds; `cards` are those of the challenger (True), where there is one, and of the
    base.
    """
    return json.dumps({"adapted": cards.get(True), "base": cards[False]}, ensure_ascii=False)


def _cards(run: Path, *, adapted: bool) -> dict[str, str]:
    """The cards of one of the two; of a run that has kept none, those that lie beside it, or the least there is."""
    try:
        kept = read_json(run / "decision" / CARDS, dict)
        return {str(name): str(text) for name, text in kept["adapted" if adapted else "base"].items()}
    except AbsentError:
        folder = run / "candidate" / "encoder"
        if not adapted:
            return {MODEL_CARD: "# The base model, unchanged\n"}
        return {name: read_text(folder / name) for name in (MODEL_CARD, DATASET_CARD) if (folder / name).is_file()}
