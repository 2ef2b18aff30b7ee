"""`shoptalk generate`: prompts from everywhere, text as it comes, and what cannot be written is said."""

import io
import json
from pathlib import Path

import pytest

from shoptalk.nn.bases import open_model
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.text_stream import TextStream
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.tiny import tiny_product
from shoptalk.nn.tiny_lm import tiny_language_model
from tests.command_line import call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    tiny_language_model(max_length=256).save(folder / "model", card="# A model\n")
    return folder


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_text_goes_to_standard_output_and_all_else_elsewhere(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["generate", model, "where is my bag?", "--max-tokens", 12, "--temperature", 1, "--seed", 3]
    status, out, err = call(capsys, monkeypatch, *words)
    assert status == 0 and "12 tokens in" in err and "--max-tokens ended it" in err
    status, told, _ = call(capsys, monkeypatch, *words, "--json")
    result = json.loads(told)
    assert status == 0 and result["text"] == out.removesuffix("\n")
    assert (result["reason"], result["tokens"], result["model"]) == ("length", 12, str(model))
    assert call(capsys, monkeypatch, *words)[1] == out


def test_a_prompt_is_a_turn_by_the_chat_template_and_a_documents_beginning_with_raw(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(str(model))
    assert isinstance(opened, LanguageModel)
    requests: list[GenerationRequest] = []
    begin = Writer.begin
    monkeypatch.setattr(Writer, "begin", lambda writer, request: requests.append(request) or begin(writer, request))
    words = ["generate", model, "hi", "--max-tokens", 1, "--json"]
    chat, raw = (json.loads(call(capsys, monkeypatch, *words, *more)[1]) for more in ([], ["--raw"]))
    written = opened.tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert chat["prompt_tokens"] == len(opened.tokenizer(written, add_special_tokens=False)["input_ids"])
    assert raw["prompt_tokens"] == 1 + len("hi")
    assert [request.continues for request in requests] == [False, True]


def test_standard_input_and_passages_are_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passages = tmp_path / "passages.jsonl"
    passages.write_text('{"text": "A bag costs 4."}\n{"text": "Grüße"}\n', encoding="utf-8")
    typed(monkeypatch, b"wie viel?\n")
    status, out, _ = call(
        capsys, monkeypatch, "generate", model, "--raw", "--passages", passages, "--max-tokens", 1, "--json"
    )
    assert status == 0
    assert json.loads(out)["prompt_tokens"] == 1 + len("A bag costs 4.\n\nGrüße\n\nwie viel?\n".encode())


def test_a_stop_string_ends_the_text(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["generate", model, "hello", "--max-tokens", 20, "--temperature", 1, "--json"]
    whole = json.loads(call(capsys, monkeypatch, *words)[1])["text"]
    stop = next(letter for letter in whole if letter != "\ufffd")
    result = json.loads(call(capsys, monkeypatch, *words, "--stop", stop)[1])
    assert (result["reason"], result["text"]) == ("stop", whole[: whole.index(stop)])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_are_of_the_type_that_was_asked_for_and_told(
    precision: str, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["generate", model, "hi", "--max-tokens", 2, "--precision", precision]
    status, _, err = call(capsys, monkeypatch, *words)
    assert status == 0 and f"in {precision};" in err
    assert json.loads(call(capsys, monkeypatch, *words, "--json")[1])["precision"] == precision


def test_a_terminal_is_shown_no_control_characters_and_a_pipe_gets_the_text_as_it_is(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(stream: TextStream, token: int) -> None:
        stream.text += "\x1b]52;c;aGk=\x07\n"

    monkeypatch.setattr(TextStream, "add", add)
    words = ["generate", model, "hi", "--max-tokens", 1]
    assert call(capsys, monkeypatch, *words)[1] == "\x1b]52;c;aGk=\x07\n\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert call(capsys, monkeypatch, *words)[1] == "\\x1b]52;c;aGk=\\x07\n\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL", " \n"], "The prompt is empty"),
        (["MODEL", "caf\udce9"], "The prompt is no UTF-8: its character 4"),
        (["MODEL", "x" * 300], "The prompt has .* tokens, and prompt and text together may have 256"),
        (["MODEL", "hi", "--temperature", "-1"], "The temperature is -1"),
        (["MODEL", "hi", "--max-tokens", "0"], "--max-tokens is 0; give 1 or more"),
        (["MODEL", "hi", "--top-p", "0"], "--top-p is 0; give a number above 0"),
        (["MODEL", "hi", "--passages", "EMPTY"], "There is no passage in .*empty.txt"),
        (["MODEL", "hi", "--passages", "FOLDER"], "Cannot read passages from .*it is a folder; give a file"),
        (["MODEL", "hi", "--precision", "int4"], "--precision is 'int4'; give float32, bfloat16, or auto"),
        (["MODEL", "hi", "--passages", "no.txt"], "no.txt"),
        (["ENCODER", "hi"], "is one of the text encoders, which write nothing"),
        (["scratch:t5-nano", "hi"], "which write a text for a text and continue none"),
        (["scratch:gpt-nano", "hi"], "exists only inside a run"),
        (["nothing-here", "hi"], "No model 'nothing-here'"),
        (["smollm3", "hi"], r"minilm or mpnet for vectors, smollm2 for a model that writes.*mean 'smollm2'"),
        (["FILE", "hi"], r"passages.txt' is a file. Give a model's folder, with config.json"),
    ],
)
def test_what_cannot_be_written_is_said(
    words: list[str],
    message: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "ENCODER" in words:
        tiny_product().save(tmp_path / "encoder", card="")
    (tmp_path / "passages.txt").write_text("A bag costs 4.\n")
    (tmp_path / "empty.txt").touch()
    places = {"EMPTY": str(tmp_path / "empty.txt"), "FOLDER": str(tmp_path)}
    places |= {"MODEL": str(model), "ENCODER": str(tmp_path / "encoder"), "FILE": str(tmp_path / "passages.txt")}
    status, out, err = call(capsys, monkeypatch, "generate", *(places.get(word, word) for word in words))
    assert (status, out) == (2, "")
    with pytest.raises(AssertionError, match=rf"(?s){message}"):
        raise AssertionError(err)


def test_bytes_that_are_no_utf8_on_standard_input_are_said(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, b"caf\xe9")
    status, _, err = call(capsys, monkeypatch, "generate", model)
    assert status == 2 and "Standard input is no UTF-8: byte 4 is 0xe9" in err
