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
    (drop,) = kept(document(HELD_OUT.replace("early ferry", "early Ferry,").lower().rstrip(".") + " now."))
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


PAGE = (
    "The early ferry leaves from the old pier on market days.",
    "A crossing costs twelve euros for each grown passenger.",
    "Dogs of any size travel free on the upper deck.",
    "Whoever misses the last boat waits until eight next morning.",
    "The harbour office keeps lost umbrellas for a whole year.",
)
OTHER = tuple(f"Rivers carry sand number {n} to the sea." for n in range(50))


def replayable(text: str, *judged: str) -> list[Document | Drop]:
    return list(general_text([document(text)], judged=judged, guarded=(), config=CurateConfig()))


def test_held_out_text_is_found_however_its_lines_are_broken_and_whatever_stands_before_it() -> None:
    held_out = ("\n".join(PAGE[:3]), "\n\n".join(PAGE[3:]))
    before = " ".join(OTHER[:40])
    for text in (f"{before} {' '.join(PAGE[:4])}", f"{before}\n{' '.join(PAGE).lower()}"):
        (drop,) = replayable(text, *held_out)
        assert isinstance(drop, Drop) and drop.reason == JUDGED
        assert "sentences stand in held-out text, on which the run is judged" in drop.detail
        assert drop.sample.lower().startswith("the early ferry leaves")


def test_a_document_may_share_three_sentences_with_held_out_text_unless_they_are_a_tenth_of_it() -> None:
    held_out = " ".join(PAGE)
    (kept_whole,) = replayable(" ".join([*OTHER[:40], *PAGE[:3]]), held_out)
    assert isinstance(kept_whole, Document)
    (drop,) = replayable(" ".join([*OTHER[:9], PAGE[2]]), held_out)
    assert isinstance(drop, Drop) and drop.detail.startswith("1 of its 10 sentences")


def test_short_sentences_that_anybody_writes_are_not_taken_for_held_out_text() -> None:
    short = "Thank you very much. See you next week. Have a nice day."
    (kept_whole,) = replayable(f"{short} {OTHER[0]}", f"{short} {PAGE[0]}")
    assert isinstance(kept_whole, Document)
