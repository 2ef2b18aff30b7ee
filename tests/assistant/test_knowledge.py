import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from shoptalk.artifact import create, open_artifact
from shoptalk.assistant import shelf
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.bulk import BulkEncoder, in_faster_arithmetic
from shoptalk.assistant.calibrate import AskedQuestion, calibrate, calibrated, read_questions, share_of, try_questions
from shoptalk.assistant.knowledge import FOLDER
from shoptalk.assistant.progress_lines import ProgressLines
from shoptalk.assistant.sections import Passage, passages_of
from shoptalk.assistant.shelf import Shelf
from shoptalk.errors import ArtifactError, InputError, SourceError
from shoptalk.nn.bases import open_base
from shoptalk.nn.lean import open_to_read
from shoptalk.records import Document
from tests.assistant.small_run import documents_of_harbour, row, small_run, visitor

BICYCLE = "How much is it to take a bicycle?"


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> Path:
    """Of the tiny random encoder: what is found hardly matters here."""
    return small_run(tmp_path / "run", documents_of_harbour("tariffs.md", "pets.md"), base=str(tiny_base))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_only_new_text_is_embedded_and_what_was_there_is_the_same(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    before = assistant.knowledge.shelf
    change = assistant.add([write(tmp_path / "new.md", "# Saunas\n\nThe sauna is open until ten.")])
    after = assistant.knowledge.shelf
    assert (change.documents, change.embedded, change.passages) == (1, 1, len(before) + 1)
    assert np.array_equal(after.vectors[: len(before)], before.vectors)
    for number in range(len(before)):
        assert after.passage(number) == before.passage(number)
        assert np.allclose(after.line_vectors(number), before.line_vectors(number), atol=1e-3)
    again = Assistant.open(run).knowledge
    assert again.shelf.content == after.content


def test_a_document_with_the_same_id_takes_the_other_s_place_and_can_be_removed(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    file = write(tmp_path / "new.md", "# Saunas\n\nOpen until ten.")
    assistant.add([file])
    write(file, "# Saunas\n\nOpen until eleven.")
    change = assistant.add([file])
    assert change.replaced == ("new.md",)
    texts = [assistant.knowledge.shelf.passage(n).text for n in range(len(assistant.knowledge.shelf))]
    assert "Open until eleven." in texts and "Open until ten." not in texts
    assert assistant.remove(["new.md"]).removed == ("new.md",)
    assert assistant.remove(["documents"]).removed == ("documents/pets.md", "documents/tariffs.md")
    assert assistant.reply(visitor(BICYCLE)).reason == "missing_knowledge"  # nothing is left, and nothing breaks


def test_rows_that_a_file_has_no_more_are_removed_when_it_is_added_again(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    file = write(tmp_path / "k.csv", "text\nThe sauna is open until ten.\nTowels cost two crowns.\n")
    first = assistant.add([file])
    write(file, "text\nThe sauna is open until ten.\n")
    change = assistant.add([file])
    assert first.documents == 2 and len(change.removed) == 1
    texts = [assistant.knowledge.shelf.passage(n).text for n in range(len(assistant.knowledge.shelf))]
    assert "The sauna is open until ten." in texts and "Towels cost two crowns." not in texts


def test_one_file_of_a_folder_takes_its_own_place(run: Path, tmp_path: Path) -> None:
    """`knowledge add RUN documents/pets.md`: an old price beside the new one would be told to visitors."""
    assistant = Assistant.open(run)
    change = assistant.add([write(tmp_path / "documents" / "pets.md", "# Dogs\n\nA dog costs nine crowns.")])
    assert (change.replaced, change.remarks) == (("documents/pets.md",), ())
    assert [document.id for document in assistant.knowledge.shelf.documents()] == [
        "documents/tariffs.md",
        "documents/pets.md",
    ]
    change = assistant.add([write(tmp_path / "elsewhere" / "pets.md", "# Cats\n\nCats travel free.")])
    assert change.replaced == ()
    assert len(change.remarks) == 1 and "documents/pets.md stays beside it" in change.remarks[0]
    both = [write(tmp_path / side / "documents" / "tariffs.md", f"# Tariffs\n\nOf the {side}.") for side in ("a", "b")]
    assert assistant.add(both).documents == 2  # two at once cannot both be the one that is there
    assert len(list(assistant.knowledge.shelf.documents())) == 5


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is no folder"):
        Assistant.open(tmp_path / "nowhere")


def test_a_folder_that_is_no_run_is_told_from_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not the folder of a finished run.*`shoptalk adapt"):
        Assistant.open(tmp_path)


def test_a_shelf_is_the_same_whether_it_is_embedded_at_once_or_in_pieces(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = Assistant.open(run).knowledge.shelf
    documents = list(at_once.documents())
    heard: list[tuple[int, int]] = []
    monkeypatch.setattr(shelf, "_PIECE", 7)
    (tmp_path / "pieces").mkdir()
    encoder = open_to_read(run / "encoder")
    shelf.write_shelf(tmp_path / "pieces", documents, encoder, dim=encoder.dim, tell=lambda *n: heard.append(n))
    in_pieces = Shelf(tmp_path / "pieces")
    assert np.abs(np.asarray(in_pieces.vectors, np.float32) - np.asarray(at_once.vectors, np.float32)).max() < 0.02
    assert all(np.abs(in_pieces.line_vectors(n) - at_once.line_vectors(n)).max() < 0.02 for n in range(len(in_pieces)))
    texts = len(in_pieces) + len(in_pieces.lines)
    assert heard[0] == (0, texts) and heard[-1] == (texts, texts) and heard == sorted(heard) and len(heard) > 5


def test_many_texts_are_read_as_one_is(run: Path) -> None:
    product = open_to_read(run / "encoder")
    texts = [f"The sauna on pier {number} is open until ten." for number in range(40)]
    quick = in_faster_arithmetic(product)
    for vectors in (quick.embed(texts), BulkEncoder(quick).embed(texts)):
        assert (product.embed(texts) * vectors).sum(axis=1).min() > 0.999


def test_who_waits_for_knowledge_is_told_how_long_it_takes() -> None:
    said: list[str] = []
    clock = iter([0.0, 0.0, 5.0, 20.0, 400.0, 800.0])
    tell = ProgressLines(said.append, now=lambda: next(clock))
    for done in (0, 1_000, 2_000, 40_000, 80_000):
        tell(done, 80_000)
    assert said == [
        "Knowledge: 80,000 passages and sentences are read, once. Later starts find them there.",
        "Knowledge: 2,000 of 80,000 are read, about 13 min left.",
        "Knowledge: 40,000 of 80,000 are read, about 7 min left.",
    ]
    said.clear()
    few = ProgressLines(said.append, now=lambda: 0.0)
    few(0, 999)
    few(999, 999)
    assert not said


def test_forgetting_by_id_leaves_other_documents_of_that_name(run: Path) -> None:
    assistant = Assistant.open(run)
    assistant.put([row("documents", "The pier closes at ten.")])
    assert assistant.remove(["documents"], ids=True).removed == ("documents",)
    assert len(list(assistant.knowledge.shelf.documents())) == 2
    with pytest.raises(InputError, match="no document 'documents'"):
        assistant.remove(["documents"], ids=True)


def test_a_run_without_a_head_says_what_that_takes_away(run: Path) -> None:
    (remark,) = Assistant.open(run).remarks
    assert "no head" in remark and "--labels" in remark


def test_replies_go_on_while_the_knowledge_is_changed(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    stop, failures, replies = threading.Event(), list[BaseException](), list[str]()

    def ask() -> None:
        try:
            while not stop.is_set():
                replies.append(assistant.reply(visitor(BICYCLE)).versions.index)
        except BaseException as error:  # for the test to see
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for n in range(3):
            assistant.add([write(tmp_path / f"{n}.md", f"# Sauna {n}\n\nOpen until {n}.")])
    finally:
        stop.set()
        thread.join(60)
    assert not failures
    assert len(set(replies)) > 1
    assert replies[-1] != replies[0]


def test_another_process_s_change_is_taken_over(run: Path, tmp_path: Path) -> None:
    first, second = Assistant.open(run), Assistant.open(run)
    assert not second.knowledge.refresh()
    first.add([write(tmp_path / "new.md", "# Saunas\n\nOpen.")])
    assert second.knowledge.refresh()
    assert second.knowledge.shelf.content == first.knowledge.shelf.content


def test_a_document_is_read_on_the_days_on_which_it_holds_only(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    assistant.remove(["documents"])
    assistant.add([write(tmp_path / "w.md", "---\nuntil: 2026-12-31\n---\n# Winter\n\nThe boat leaves at nine.")])
    asked = visitor("When does the boat leave?")
    assert assistant.reply(asked, now=datetime(2026, 12, 31, 12, tzinfo=UTC)).sources
    assert not assistant.reply(asked, now=datetime(2027, 1, 1, 12, tzinfo=UTC)).sources


def test_an_official_answer_goes_before_all_other_knowledge(run: Path) -> None:
    assistant = Assistant.open(run)
    pinned = row("pins#1", "Ten crowns this week.", official=True, question=BICYCLE)
    assistant.knowledge.put([pinned], assistant._encoder)
    reply = assistant.reply(visitor(BICYCLE))
    assert (reply.decision, reply.reason) == ("answer", "supported")
    assert reply.text.startswith("Ten crowns this week.")
    assert reply.cited[0].document == "pins#1"


def test_passages_that_say_the_same_are_read_once_unless_their_numbers_differ(run: Path) -> None:
    assistant = Assistant.open(run)
    assistant.remove(["documents"])
    text = "The sauna on the upper deck costs {} crowns for each guest and each hour."
    same = [row(f"a#{n}", text.format(5)) for n in range(3)]
    assistant.knowledge.put([*same, row("b#1", text.format(7))], assistant._encoder)
    documents = [source.document for source in assistant.reply(visitor("sauna price")).sources]
    assert sorted(document[0] for document in documents) == ["a", "b"]


def test_status_lists_documents_with_days_and_pins(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    assistant.add([write(tmp_path / "w.md", "---\nuntil: 2026-12-31\nofficial: yes\nfrom: soon\n---\nOpen.")])
    rows = {row["id"]: row for row in json.loads(json.dumps(assistant.knowledge.status()["sources"]))}
    assert rows["w.md"] == {"id": "w.md", "passages": 1, "until": "2026-12-31", "official": True}


def test_what_cannot_be_added_or_removed_is_said(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    with pytest.raises(InputError, match=r"has no document 'x.md'.*knowledge status"):
        assistant.remove(["x.md"])
    with pytest.raises(SourceError, match="does not exist"):
        assistant.add([tmp_path / "x.md"])
    talk = write(tmp_path / "t.jsonl", json.dumps({"turns": [{"role": "user", "text": "hi"}]}) + "\n")
    with pytest.raises(InputError, match="No document to add: conversation"):
        assistant.add([talk])


def test_a_damaged_shelf_is_named(run: Path) -> None:
    Assistant.open(run)
    (run / FOLDER / "scales.npy").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="knowledge"):
        Assistant.open(run)


def test_a_shelf_with_vectors_for_other_sentences_is_named(run: Path) -> None:
    Assistant.open(run)
    for name in ("lines.npy", "scales.npy"):
        np.save(run / FOLDER / name, np.load(run / FOLDER / name)[:-1])
    with pytest.raises(ArtifactError, match="do not belong together"):
        Shelf(run / FOLDER)


def test_of_two_new_documents_with_one_id_none_is_lost_without_a_word(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    with pytest.raises(InputError, match=r"two documents have the id 'x'.*id of its own"):
        assistant.put([row("x", "The pier closes at ten."), row("x", "The pier closes at nine.")])


def test_knowledge_of_another_encoder_is_embedded_anew(run: Path, tiny_base: Path) -> None:
    first = Assistant.open(run)
    count = len(first.knowledge.shelf)
    (run / "encoder" / "README.md").write_text("another card\n", encoding="utf-8")
    with create(run / "encoder", kind="encoder", config={"other": 1}, parents={}) as folder:
        open_base(str(tiny_base)).save(folder, card="# another\n")
    second = Assistant.open(run)
    assert len(second.knowledge.shelf) == count
    artifact, encoder = open_artifact(run / FOLDER), open_artifact(run / "encoder")
    assert artifact is not None and encoder is not None
    assert artifact.parents["encoder"] == encoder.content


# --- calibration and rules --------------------------------------------------------------------------------------------


def questions(right: int, wrong: int) -> list[AskedQuestion]:
    """`right` questions that any answer from the only document answers, and `wrong` ones that have no answer."""
    asked = [AskedQuestion(text=f"sauna question {n}", document="s.md") for n in range(right)]
    return asked + [AskedQuestion(text=f"sauna riddle {n}") for n in range(wrong)]


@pytest.fixture
def sauna(run: Path, tmp_path: Path) -> Assistant:
    assistant = Assistant.open(run)
    assistant.remove(["documents"])
    assistant.add([write(tmp_path / "s.md", "# Sauna\n\nThe sauna is open until ten.")])
    return assistant


def test_where_all_answers_are_right_a_threshold_is_promised_and_used(sauna: Assistant) -> None:
    result = calibrate(sauna, questions(140, 0), max_wrong=0.10)
    assert result.threshold is not None
    assert result.sentence.startswith("From a confidence of")
    assert Assistant.open(sauna.run).threshold == result.threshold
    assert "<svg" in (sauna.run / "calibration" / "risk.svg").read_text(encoding="utf-8")


def test_a_calibration_of_another_encoder_is_not_used_and_that_is_said(sauna: Assistant, tiny_base: Path) -> None:
    result = calibrate(sauna, questions(140, 0), max_wrong=0.10)
    with create(sauna.run / "encoder", kind="encoder", config={"other": 1}, parents={}) as folder:
        open_base(str(tiny_base)).save(folder, card="# another\n")
    again = Assistant.open(sauna.run)
    assert again.threshold != result.threshold
    assert any("calibration" in remark and "another encoder" in remark for remark in again.remarks)


def test_too_few_questions_promise_nothing_and_it_says_how_many_would(sauna: Assistant) -> None:
    result = calibrated(try_questions(sauna, questions(20, 0)), max_wrong=0.05)
    assert (result.threshold, result.needed) == (None, 59)
    assert "needs 59 tested answers without a wrong one" in result.sentence
    assert "at least 236 questions" in result.sentence


def test_few_questions_with_many_wrong_answers_are_not_said_to_be_too_few(sauna: Assistant) -> None:
    result = calibrated(try_questions(sauna, questions(10, 20)), max_wrong=0.05)
    assert result.threshold is None
    assert "surest answers" in result.sentence and "Give at least" not in result.sentence


def test_wrong_answers_promise_nothing_and_it_says_why(sauna: Assistant) -> None:
    result = calibrated(try_questions(sauna, questions(90, 90)), max_wrong=0.05)
    assert result.threshold is None
    assert "surest answers" in result.sentence and "--max-wrong" in result.sentence


def test_questions_are_read_with_their_other_places_and_wrong_rows_are_named(tmp_path: Path, run: Path) -> None:
    file = write(
        tmp_path / "q.jsonl",
        '{"question": "a", "document": "pets.md", "passage": "Dogs", "also": [{"document": "tariffs.md"}]}\n',
    )
    (question,) = read_questions(file)
    assert (question.passage, question.also[0].document) == ("Dogs", "tariffs.md")
    for text, message in (
        ('{"passage": "a"}\n', "line 1: no question"),
        ('{"question": "a", "also": [3]}\n', "line 1"),
        ("[]\n", "line 1"),
        ("", "holds no question|cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            read_questions(write(tmp_path / "bad.jsonl", text))
    with pytest.raises(InputError, match="no file of rows"):
        read_questions(tmp_path / "none.jsonl")
    assistant = Assistant.open(run)
    with pytest.raises(InputError, match=r"'x.md', which is not in the knowledge"):
        try_questions(assistant, [AskedQuestion(text="a", document="x.md")])
    with pytest.raises(InputError, match=r"names a passage that documents/pets.md does not hold"):
        try_questions(assistant, [AskedQuestion(text="a", document="pets.md", passage="nonsense")])
    with pytest.raises(InputError, match="a passage that no document holds"):
        try_questions(assistant, [AskedQuestion(text="a", passage="nonsense")])
    (trial,) = try_questions(assistant, [AskedQuestion(text="Travelling with animals", passage="Dogs are welcome")])
    assert trial.question.answerable


def test_a_share_is_a_per_cent_or_a_number() -> None:
    assert share_of("5%") == share_of(" 0.05 ") == 0.05
    for text in ("5", "0", "100%", "x", "-1%", "nan"):
        with pytest.raises(InputError, match="is no share"):
            share_of(text)


def test_a_tariff_in_a_csv_is_known_row_by_row_where_it_is_named_itself(run: Path, tmp_path: Path) -> None:
    assistant = Assistant.open(run)
    file = write(tmp_path / "lists" / "kayak-tariff.csv", 'Item;Oster Quay;Note\nCanoe;11;"by|hand"\nPaddle;2;\n;;\n')
    change = assistant.add([file])
    assert (change.documents, [drop.reason for drop in change.dropped]) == (1, ["empty"])
    (passage,) = [
        p
        for p in map(assistant.knowledge.shelf.passage, range(len(assistant.knowledge.shelf)))
        if p.document == "kayak-tariff.csv"
    ]
    assert passage.title == "Kayak tariff"
    assert [line.text for line in passage.lines] == ["Canoe – Oster Quay: 11; Note: by|hand", "Paddle – Oster Quay: 2"]
    write(file, "Item;Oster Quay\nCanoe;12\n")
    assert assistant.add([file]).replaced == ("kayak-tariff.csv",)
    assert assistant.remove(["kayak-tariff.csv"]).removed == ("kayak-tariff.csv",)


def test_a_table_that_lies_in_a_folder_is_left_out_with_advice_that_can_be_followed(run: Path, tmp_path: Path) -> None:
    write(tmp_path / "lists" / "customers.csv", "name,phone\nAda,123\n")
    write(tmp_path / "lists" / "a.md", "# Saunas\n\nThe sauna is open until ten.")
    (drop,) = Assistant.open(run).add([tmp_path / "lists"]).dropped
    assert drop.source == "lists/customers.csv" and drop.detail is not None
    assert "Name the file by itself to have it read as a table" in drop.detail and "--set" not in drop.detail


def test_documents_that_stay_are_not_split_again(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assistant = Assistant.open(run)
    before = [assistant.knowledge.shelf.passage(n) for n in range(len(assistant.knowledge.shelf))]
    split: list[str] = []

    def watched(document: Document) -> list[Passage]:
        split.append(document.id)
        return passages_of(document)

    monkeypatch.setattr(shelf, "passages_of", watched)
    (tmp_path / "kites.md").write_text("# Kites\nKites may be flown on the pier on Sundays.\n")
    change = assistant.add([tmp_path / "kites.md"])
    after = assistant.knowledge.shelf
    assert split == ["kites.md"] and change.embedded == 1
    assert [after.passage(n) for n in range(len(before))] == before
    assistant.remove(["kites.md"])
    assert split == ["kites.md"] and len(assistant.knowledge.shelf) == len(before)
