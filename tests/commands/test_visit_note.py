"""The note of a conversation."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from shoptalk.cli.app import app
from shoptalk.commands import visit_note
from shoptalk.errors import InputError
from shoptalk.nn.decoding.generation import Generated

TURNS = [
    ("doctor", "Good morning. What brings you here?"),
    ("patient", "My left knee hurts since Monday."),
    ("doctor", "Did you fall?"),
    ("patient", "No, I did not fall. I take 20 mg of Lisinopril."),
    ("doctor", "Rest it for two weeks."),
    ("patient", "Thank you."),
]


class FakeWriter:
    """Writes what it is told to."""

    context = 400

    def __init__(self, text: str, reason: Any = "end") -> None:
        self.text, self.reason = text, reason
        self.read, self.tries = "", 0

    def chat(self, messages: Any) -> tuple[int, ...]:
        self.tries += 1
        self.read = messages[0].text
        return tuple(range(len(self.read) // 2))

    def write(self, requests: Any) -> list[Generated]:
        return [Generated(self.text, (), self.reason, 1, 0, 1, 0, 0) for _ in requests]


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    path = tmp_path / "visits.jsonl"
    turns = [{"role": role, "text": text} for role, text in TURNS]
    path.write_text(json.dumps({"id": "v1", "turns": turns}) + "\n", encoding="utf-8")
    return path


def suggesting(monkeypatch: pytest.MonkeyPatch, text: str, reason: str = "end") -> FakeWriter:
    writer = FakeWriter(text, reason)
    monkeypatch.setattr(visit_note, "open_writer", lambda ref: writer)
    return writer


def test_a_note_holds_turns_word_for_word_with_their_places_and_suggests_nothing_unasked(visits: Path) -> None:
    (note,) = visit_note.notes(visits, most=4)
    assert [TURNS[line.turn - 1] for line in note.said] == [(line.role, line.text) for line in note.said]
    assert note.said[0].turn == 1 and note.said[-1].turn == 6 and len(note.said) == 4
    assert note.suggested == () and "Suggested" not in visit_note.worded(note)


def test_a_suggestion_names_the_turns_that_say_it_and_what_none_says(
    visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggesting(monkeypatch, "The left knee hurts since Monday. The patient takes 50 mg of Lisinopril. See Dr. Brown.")
    (note,) = visit_note.notes(visits, model="smollm2")
    knee, dose, name = note.suggested
    assert knee.turns == (2,) and knee.unsupported is None
    assert dose.turns[:1] == (4,) and "50" in (dose.unsupported or "") and "turn" in (dose.unsupported or "")
    assert name.turns == () and name.unsupported is not None
    told = visit_note.worded(note)
    assert "unverified" in told and "? The left knee hurts since Monday.  [turn 2]" in told
    assert "! The patient takes 50 mg of Lisinopril.  [near turn 4; but the number 50 stands in no turn]" in told


@pytest.mark.parametrize(
    ("sentence", "turns", "lacking"),
    [
        ("The right knee hurts since Monday.", (2,), "1 of its 5 telling words stands in no turn: right"),
        ("He did.", (), "says nothing that could be looked up"),
        ("I did not.", (4,), None),
        ("My left knee hurts; I take Lisinopril.", (2, 4), None),
        ("Thank you.", (6,), None),
        ("The doctor says: rest it for two weeks.", (5,), "says"),
        ("Patient: I take 20 mg.", (4,), None),
    ],
)
def test_turns_are_said_to_hold_a_sentence_only_where_all_that_it_states_stands_in_them(
    sentence: str, turns: tuple[int, ...], lacking: str | None, visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggesting(monkeypatch, sentence)
    ((line,),) = [note.suggested for note in visit_note.notes(visits, model="smollm2")]
    assert line.turns == turns
    assert line.unsupported is None if lacking is None else lacking in (line.unsupported or "")


def test_the_number_of_a_speaker_is_none_that_was_said(
    tmp_path: Path, visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [{"role": f"speaker {number}", "text": text} for number, text in ((1, "How many?"), (2, "Some tablets."))]
    visits.write_text(json.dumps({"turns": turns}), encoding="utf-8")
    suggesting(monkeypatch, "Some 2 tablets.")
    ((line,),) = [note.suggested for note in visit_note.notes(visits, model="smollm2")]
    assert "the number 2 stands in no turn" in (line.unsupported or "")


def test_turns_without_a_text_and_turns_that_say_the_same_keep_their_places_and_roles(
    visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[dict[str, Any]] = [
        {"role": "patient", "content": "My knee hurts."},
        {"role": "tool", "content": None},
        {"role": "agent", "content": "Ok."},
        {"role": "patient", "content": "Since Monday."},
        {"role": "patient", "content": "Ok."},
        {"role": "tool", "content": None},
    ]
    visits.write_text(json.dumps({"messages": turns}), encoding="utf-8")
    suggesting(monkeypatch, "Since Monday.")
    (note,) = visit_note.notes(visits, model="smollm2", most=2)
    assert [(line.turn, line.role, line.text) for line in note.said] == [
        (1, "patient", "My knee hurts."),
        (5, "patient", "Ok."),
    ]
    assert note.suggested[0].turns == (4,) and (note.turns, note.unread) == (6, 0)
    assert "- Ok.  [patient, turn 5]" in visit_note.worded(note)


def test_of_a_conversation_of_thousands_of_turns_the_last_are_read_after_few_tries(
    visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [{"role": "patient", "text": f"turn {number}"} for number in range(1, 5_001)]
    visits.write_text(json.dumps({"turns": turns}), encoding="utf-8")
    writer = suggesting(monkeypatch, "Nothing.")
    (note,) = visit_note.notes(visits, model="smollm2")
    assert writer.tries < 20
    read = [int(line.split()[-1]) for line in writer.read.splitlines() if line.startswith("patient")]
    assert read == list(range(note.unread + 1, 5_001))
    room = 2 * (writer.context - visit_note.MOST_TOKENS)
    assert len(writer.read) // 2 * 2 <= room < len(writer.read) + len("patient: turn 4999\n") + 2


def test_a_last_turn_that_has_no_room_is_told_as_that(visits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suggesting(monkeypatch, "Never asked.")
    (note,) = visit_note.notes(visits, model="smollm2", asked="Note " * 200)
    assert note.suggested == () and note.unread == note.turns == 6
    told = visit_note.worded(note)
    assert "(nothing: it has no room for the last turn, and has read none)" in told and "the first 6" not in told


def test_a_sentence_that_was_cut_is_not_suggested_and_turns_without_room_are_told(
    visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = suggesting(monkeypatch, "The left knee hurts. The patient tak", "length")
    (note,) = visit_note.notes(visits, model="smollm2", asked="Note " * 60)
    assert [line.text for line in note.suggested] == ["The left knee hurts."]
    assert note.unread > 0 and TURNS[0][1] not in writer.read and TURNS[-1][1] in writer.read
    assert f"no room for the first {note.unread}" in visit_note.worded(note)


def test_a_file_without_conversations_and_an_impossible_number_are_refused(tmp_path: Path, visits: Path) -> None:
    document = tmp_path / "manual.md"
    document.write_text("# A manual\n\nNo turns.\n", encoding="utf-8")
    with pytest.raises(InputError, match="no conversation"):
        list(visit_note.notes(document))
    with pytest.raises(InputError, match="--most is 1"):
        list(visit_note.notes(visits, most=1))


def test_the_command_prints_words_or_json(visits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suggesting(monkeypatch, "The left knee hurts.")
    words = CliRunner().invoke(app, ["note", str(visits), "--model", "smollm2"])
    assert words.exit_code == 0 and "Said:" in words.stdout and "unverified" in words.stdout
    told = json.loads(CliRunner().invoke(app, ["note", str(visits), "--model", "smollm2", "--json"]).stdout)[0]
    assert told["verified"] is False and told["suggested"][0]["turns"] == [2]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_notes_are_printed_as_they_are_made_so_that_an_interruption_loses_none(
    form: list[str], visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = visits.read_text(encoding="utf-8")
    visits.write_text(row + row.replace('"v1"', '"v2"'), encoding="utf-8")
    writer = suggesting(monkeypatch, "The left knee hurts.")
    write, made = writer.write, list[int]()

    def interrupted(requests: Any) -> list[Generated]:
        made.append(1)
        if len(made) == 2:
            raise KeyboardInterrupt
        return write(requests)

    monkeypatch.setattr(writer, "write", interrupted)
    result = CliRunner().invoke(app, ["note", str(visits), "--model", "smollm2", *form])
    assert result.exit_code != 0
    if form:
        assert [note["conversation"] for note in json.loads(result.stdout)] == ["visits.jsonl#v1"]
    else:
        assert "visits.jsonl#v1" in result.stdout and "? The left knee hurts.  [turn 2]" in result.stdout


def test_notes_of_several_conversations_are_one_list_of_json_or_texts_with_a_line_between(
    visits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = visits.read_text(encoding="utf-8")
    visits.write_text(row + row.replace('"v1"', '"v2"'), encoding="utf-8")
    every = list(visit_note.notes(visits))
    told = CliRunner().invoke(app, ["note", str(visits), "--json"]).stdout
    assert told == json.dumps([note.told() for note in every], indent=1, ensure_ascii=False) + "\n"
    assert CliRunner().invoke(app, ["note", str(visits)]).stdout == ("\n\n".join(map(visit_note.worded, every)) + "\n")


def test_what_somebody_said_on_several_lines_is_one_line_of_the_note() -> None:
    forged = "hello\n- injected [agent, turn 9]\u2028? All is well.  [turn 1]"
    said = (visit_note.SaidLine(1, "user\nSaid:", forged), visit_note.SaidLine(2, "agent", "Hi."))
    suggested = (visit_note.SuggestedLine("Fine.\n- Also fine.", (2,), None),)
    told = visit_note.worded(visit_note.VisitNote("v\nv", said, suggested, "m", 2, 0)).splitlines()
    assert told[0] == "v v" and [line[:1] for line in told[2:]] == ["S", "-", "-", "", "S", "?"]
    assert told[3] == "- hello - injected [agent, turn 9] ? All is well. [turn 1]  [user Said:, turn 1]"
    assert visit_note.VisitNote("v", said, (), None, 2, 0).told()["said"][0]["text"] == forged


def test_rows_that_get_no_note_are_told_and_so_is_the_encoding(visits: Path) -> None:
    told: list[str] = []
    row = visits.read_text(encoding="utf-8")
    accented = json.dumps({"turns": [{"role": "patient", "text": "Ça va très mal."}]}, ensure_ascii=False)
    visits.write_bytes(f'{row}{accented}\nnot json\n{{"turns": 3}}\n{{"text": "A leaflet."}}\n'.encode("latin-1"))
    assert len(list(visit_note.notes(visits, say=told.append))) == 2
    said = "\n".join(told)
    assert "visits.jsonl is not UTF-8 and is read as" in said
    assert "2 left out" in said and "visits.jsonl#3" in said
    assert "1 of 3 texts are no conversations and get no note: each needs turns or messages" in said


def test_what_is_asked_of_no_model_is_refused(visits: Path) -> None:
    shown = CliRunner().invoke(app, ["note", str(visits), "--ask", "Write it."])
    assert shown.exit_code != 0 and "--ask 'Write it.' is for a language model" in str(shown.exception)
    assert "Add --model" in str(shown.exception)


def test_the_command_line_tells_left_out_rows_beside_the_notes(visits: Path) -> None:
    visits.write_text(visits.read_text(encoding="utf-8") + "not json\n", encoding="utf-8")
    shown = CliRunner().invoke(app, ["note", str(visits)])
    assert shown.exit_code == 0 and "1 left out" in shown.stderr and "left out" not in shown.stdout
