"""Reading the messages that `predict` answers."""

import io
import json
import sys
from pathlib import Path

import pytest

from shoptalk.curate.messages import read_messages, read_standard_input
from shoptalk.errors import SourceError


def file_of(folder: Path, data: bytes, name: str = "m.txt") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def test_a_line_is_a_message_and_a_blank_line_between_others_keeps_its_place(tmp_path: Path) -> None:
    found = read_messages(file_of(tmp_path, b"where is it?\r\n\r\n  stop \r\n\r\n"))
    assert found == ["where is it?", "", "stop"]


def test_json_lines_hold_texts_of_several_lines(tmp_path: Path) -> None:
    texts = ["one\nand\ttwo", "", "three"]
    data = "\n\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(texts))
    assert read_messages(file_of(tmp_path, data.encode())) == texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_messages_are_read_in_the_encoding_that_they_are_in(tmp_path: Path, encoding: str) -> None:
    texts = ["Où est ma carte ?", "Ça ne marche pas", "Bitte zurückerstatten"]
    assert read_messages(file_of(tmp_path, "\n".join(texts).encode(encoding))) == texts


def test_standard_input_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüß dich\nciao\n".encode())))
    assert read_standard_input() == ["grüß dich", "ciao"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("m.csv", b"text\nhello\n", "m.csv is a table"),
        ("m.txt", b"\n \n", "There is no message in"),
        ("m.txt", b"", "There is no message in"),
        ("m.txt", b"PK\x03\x04 rest", "binary"),
        ("m.jsonl", b'{"text": "a"}\nhello\n', "Line 2 of .*bad-json"),
        ("m.jsonl", b'{"text": "a"}\n{"body": "b"}\n', "Line 2 of .* has no 'text' that is a string; its keys: body"),
        ("m.txt", b"one\ntwo\0three\nfour\nfive\n", "Line 2 of .*NUL"),
    ],
)
def test_what_cannot_be_answered_line_by_line_is_refused_with_its_line(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        read_messages(file_of(tmp_path, data, name))


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Cannot read messages from .*missing\.txt"):
        read_messages(tmp_path / "missing.txt")
