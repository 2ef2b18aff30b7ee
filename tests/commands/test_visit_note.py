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
from shoptalk.nn.tiny import tiny_product

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
        self.read = ""

    def chat(self, messages: Any) -> tuple[int, ...]:
        self.read = messages[0].text
        return tuple(range(len(self.read) // 2))

    def write(self, requests: Any) -> list[Generated]:
        return [Generated(self.text, (), self.reason, 1, 0, 1, 0, 0) for _ in requests]


@pytest.fixture
def visits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "visits.jsonl"
    turns = [{"role": role, "text": text} for role, text in TURNS]
    path.write_text(json.dumps({"id": "v1", "turns": turns}) + "\n", encoding="utf-8")
    monkeypatch.setattr(visit_note, "open_text", lambda ref: tiny_product())
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
    assert "unverified" in told and "? The left knee hurts" in told and "! The patient takes 50 mg" in told


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
