"""General text to replay: nothing of it is what the run is judged on."""

from shoptalk.config import CurateConfig
from shoptalk.curate.general_text import JUDGED, general_text
from shoptalk.records import Document, Drop, Turn

HELD_OUT = "The early ferry goes from the old pier to Palermo Dock on market days and costs twelve euros a head."
GUARDED = ("The dog sleeps in the shade.", "A man is playing a guitar on the stage.")


def kept(*documents: Document | Drop, config: CurateConfig | None = None) -> list[Document | Drop]:
    found = general_text(documents, judged=[HELD_OUT], guarded=GUARDED, config=config or CurateConfig())
    return list(found)


def document(text: str, *turns: str) -> Document:
    return Document(id="d", source="s", text=text, turns=tuple(Turn(role="", text=turn) for turn in turns))


def test_what_the_run_is_not_judged_on_may_be_replayed() -> None:
    one = document("Rivers carry sand to the sea. Over years the sand becomes land.")
    assert kept(one) == [one]


def test_near_duplicates_of_held_out_text_are_left_out_with_that_reason() -> None:
    (drop,) = kept(document(HELD_OUT.replace("early ferry", "early Ferry,").lower()))
    assert isinstance(drop, Drop) and drop.reason == JUDGED
    assert drop.detail == "a near duplicate of held-out text or of what the guard reads, on which the run is judged"


def test_a_passage_of_held_out_text_goes_and_the_rest_of_its_document_stays() -> None:
    rest = "Rivers carry sand to the sea. " * 12
    remains, drop = kept(document(f"{rest.strip()}\n\n{HELD_OUT}"), config=CurateConfig(passage_characters=120))
    assert isinstance(remains, Document) and HELD_OUT not in remains.text and "Rivers" in remains.text
    assert isinstance(drop, Drop) and drop.reason == JUDGED


def test_a_document_that_quotes_a_sentence_of_the_guard_is_left_out_wherever_in_it_that_stands() -> None:
    before = "Rivers carry sand to the sea. " * 12
    for quoting in (document(f"{before}The DOG sleeps in the shade! Then it rains."), document("", "Hi.", GUARDED[1])):
        (drop,) = kept(quoting)
        assert isinstance(drop, Drop) and drop.reason == JUDGED and "a sentence that the guard" in drop.detail
        assert drop.sample in ("The DOG sleeps in the shade!", GUARDED[1])


def test_repeats_and_what_was_left_out_before_keep_their_own_reasons() -> None:
    one = document("Rivers carry sand to the sea.")
    unread = Drop(id="x", source="s", reason="bad-json", detail="line 3")
    assert [item.reason if isinstance(item, Drop) else "kept" for item in kept(unread, one, one)] == [
        "bad-json", "kept", "duplicate",
    ]  # fmt: skip
