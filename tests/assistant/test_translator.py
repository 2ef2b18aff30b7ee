"""The run's translator: opened where its figure allows it, refused where it is damaged; lines and numbers stay."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shoptalk.artifact import create, handed_out
from shoptalk.assistant import thread_translator
from shoptalk.assistant.opened_translator import opened_translator
from shoptalk.assistant.thread_translator import ThreadTranslator
from shoptalk.assistant.translated_text import put_together, sentences_by_line
from shoptalk.decide.translating import FEWEST, FLOOR, why_unused
from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder_decoder import EncoderDecoder
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from tests.tiny import tiny_product

GOOD = {
    "columns": ["de", "en"],
    "test": {"chrf": 56.1, "chrf_interval": [54.2, 57.9], "written": 200},
    "unchanged": {"chrf": 16.3, "chrf_interval": [16.0, 16.7]},
}


def saved(run: Path, result: Any = GOOD, *, parent: str | None = None, product: Any = None) -> Path:
    folder = run / "translation"
    with create(folder / "model", kind="encoder", config={}, parents={}) as inside:
        (product or tiny_encoder_decoder()).save(inside, card="# a test's\n")
    parents = {"model": parent or handed_out(folder / "model").content}
    with create(folder / "translation", kind="translation", config={}, parents=parents) as inside:
        (inside / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return run


def test_a_translator_is_used_above_the_floor_and_above_the_source_left_as_it_is() -> None:
    assert why_unused(low=FLOOR + 0.1, unchanged=16.3, written=FEWEST) is None
    assert "50 is the least" in str(why_unused(low=FLOOR, unchanged=16.3, written=200))
    assert "only 49 translations" in str(why_unused(low=90.0, unchanged=16.3, written=FEWEST - 1))
    tone = why_unused(low=85.0, unchanged=85.0, written=200)
    assert tone == "its chrF may be as low as 85.0, and the sources left as they are have 85.0"
    assert why_unused(low=85.0, unchanged=84.9, written=200) is None
    assert "earlier version" in str(why_unused(low=85.0, unchanged=None, written=200))


def test_a_run_with_a_good_translator_writes_and_says_how_good_it_is(tmp_path: Path) -> None:
    translator, remark = opened_translator(saved(tmp_path))
    assert isinstance(translator, ThreadTranslator) and translator.languages == ("de", "en")
    assert remark is not None and remark.startswith("Threads can be translated at the desk, de to en: chrF 56.1 on 200")
    assert "54.2 to 57.9; the sources left as they are have 16.3" in remark and "unverified" in remark
    written = translator.translated(["Wo ist es?", "12:40", ""])
    assert [text.whole for text in written] == [True, True, True] and written[1].text == "12:40"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"test": {"chrf": 26.0, "chrf_interval": [25.4, 26.7], "written": 200}},
            "as low as 25.4, and 50 is the least",
        ),
        ({"unchanged": {"chrf": 60.0}}, "as low as 54.2, and the sources left as they are have 60.0"),
        ({"test": {**GOOD["test"], "written": 6}}, "only 6 translations were judged"),  # type: ignore[dict-item]
        ({"unchanged": None}, "did not score the sources left as they are"),
    ],
)
def test_one_whose_figure_does_not_allow_it_stays_closed_and_the_reason_is_said(
    change: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = saved(tmp_path, GOOD | change)
    monkeypatch.setattr("shoptalk.nn.bases.open_model", lambda _: pytest.fail("it was opened"))
    translator, remark = opened_translator(run)
    assert translator is None and remark is not None and why in remark
    assert remark.startswith("Threads are not translated: ") and f"--out {run / 'translation'}" in remark


def test_a_run_without_a_translator_has_nothing_to_say(tmp_path: Path) -> None:
    assert opened_translator(tmp_path) == (None, None)


def test_a_translator_that_is_half_made_or_has_another_models_figure_is_not_used_and_the_server_starts(
    tmp_path: Path,
) -> None:
    saved(tmp_path / "a", parent="0" * 64)
    for name, part in (("b", "model"), ("c", "translation")):
        (saved(tmp_path / name) / "translation" / part).rename(tmp_path / f"elsewhere-{name}")
    for name in "abc":
        translator, remark = opened_translator(tmp_path / name)
        assert translator is None and "Threads are not translated: " in str(remark)
        assert "no translator beside its own figure" in str(remark) and "finetune MODEL PAIRS" in str(remark)


def test_a_figure_that_was_made_better_by_hand_is_refused(tmp_path: Path) -> None:
    poor = GOOD | {"test": {"chrf": 26.0, "chrf_interval": [25.4, 26.7], "written": 200}}
    path = saved(tmp_path, poor) / "translation" / "translation" / "result.json"
    path.write_text(path.read_text().replace("25.4", "95.4"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"changed 'result\.json'"):
        opened_translator(tmp_path)


@pytest.mark.parametrize("result", [[], {}, GOOD | {"test": {"chrf": float("nan")}}, GOOD | {"columns": "de"}])
def test_a_figure_that_cannot_be_read_is_refused(result: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"result\.json"):
        opened_translator(saved(tmp_path, result))


def test_weights_that_changed_and_models_of_another_kind_are_refused(tmp_path: Path) -> None:
    weights = saved(tmp_path / "a") / "translation" / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"changed 'model\.safetensors'"):
        opened_translator(tmp_path / "a")
    with pytest.raises(ArtifactError, match="a model that is no encoder–decoder"):
        opened_translator(saved(tmp_path / "b", product=tiny_product()))


def test_lines_signs_of_lists_and_what_has_no_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []

    def in_capitals(product: EncoderDecoder, texts: Sequence[str]) -> list[str]:
        read.append(list(texts))
        return [f"{text.upper()}\n" for text in texts]

    monkeypatch.setattr(thread_translator, "rewritten", in_capitals)
    translator = ThreadTranslator(tiny_encoder_decoder(), languages=("de", "en"))
    said = "Guten Tag! Wo ist es?\n\n1. z. B. am Kai.\n- 12:40\nWo ist es?"
    (written,) = translator.translated([said])
    assert written.text == "GUTEN TAG! WO IST ES?\n\n1. Z. B. AM KAI.\n- 12:40\nWO IST ES?" and written.whole
    assert read == [["Guten Tag!", "Wo ist es?", "z. B. am Kai."]]
    assert put_together(sentences_by_line(said), {}) == said
    assert put_together(sentences_by_line("Ich will nicht. Wo?"), {"Ich will nicht.": " ", "Wo?": "Where?"}) == (
        "Ich will nicht. Where?"
    )


def test_a_sentence_that_is_longer_than_the_model_reads_is_said_to_lack_its_end() -> None:
    product = tiny_encoder_decoder()
    written = ThreadTranslator(product, languages=("de", "en")).translated(
        ["kurz.", f"kurz. {'a' * product.max_length}"]
    )
    assert [text.whole for text in written] == [True, False]


def test_a_translator_that_is_stopped_ends_after_the_sentences_that_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    translator, read = ThreadTranslator(tiny_encoder_decoder(), languages=("de", "en")), list[str]()

    def writes(product: EncoderDecoder, sentences: Sequence[str]) -> list[str]:
        read.extend(sentences)
        translator.stop()
        return [sentence.upper() for sentence in sentences]

    monkeypatch.setattr(thread_translator, "rewritten", writes)
    with pytest.raises(RuntimeError, match="the server ends"):
        translator.translated([f"Es ist {letter * 4}." for letter in "abcdefghijklmnopqrst"])
    assert len(read) == 8
