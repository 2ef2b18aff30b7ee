"""A general compressor beside a young language model: the number by hand, and who is asked."""

import lzma
import random
from dataclasses import replace

import pytest

from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.report.verdict_json import Verdict
from shoptalk.tasks import compressor
from shoptalk.tasks.compressor import compressed
from shoptalk.tasks.language_model import language_model
from shoptalk.text.corpus import Corpus
from tests.report.report_facts import facts
from tests.tasks.test_language_model import corpus_of, ground_of, tariffs

XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 2**23}]


def size(text: str) -> int:
    return len(lzma.compress(text.encode(), format=lzma.FORMAT_RAW, filters=XZ))


def words(seed: int, count: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghijklmnopé", k=6)) for _ in range(count))


def test_the_number_is_how_much_longer_the_compressed_training_text_gets_by_each_judged_text() -> None:
    train, texts = [words(0, 400), words(1, 300)], [words(2, 50), words(0, 40)]
    before = "\n\n".join(train)
    grown = [size(f"{before}\n\n{text}") - size(before) for text in texts]
    n_bytes = len("".join(texts).encode())
    rival = compressed(train, texts)
    assert rival.bits_per_byte == pytest.approx(8 * sum(grown) / n_bytes)
    assert rival == (rival.bits_per_byte, (0, 1), n_bytes, 1.0, len(before.encode()))


def test_no_judged_text_helps_with_another() -> None:
    twice = compressed([words(0, 300)], [words(1, 100)] * 2)
    assert twice.bits_per_byte == pytest.approx(compressed([words(0, 300)], [words(1, 100)]).bits_per_byte)


def test_of_many_texts_some_are_read_at_equal_distances() -> None:
    rival = compressed([words(0, 50)], [words(number, 5 + number % 3) for number in range(100)])
    assert rival.places == tuple(range(0, 100, 5))


def test_what_stands_in_the_training_text_costs_next_to_nothing_again() -> None:
    text = words(0, 300)
    known, new = (compressed(train, [text]).bits_per_byte for train in ([text], []))
    assert known < 0.1 and new > 3


def test_of_much_training_text_the_last_bytes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    train, texts = [words(number, 100) for number in range(5)], [words(4, 60)]
    monkeypatch.setattr(compressor, "MOST", 500)
    found = compressed(train, texts)
    assert found.primed == 500
    last = "\n\n".join(train).encode()[-500:].decode()
    assert found.bits_per_byte == pytest.approx(compressed([last], texts).bits_per_byte)


def test_a_base_that_began_with_random_weights_is_held_against_it_on_the_texts_of_the_verdict() -> None:
    ground = replace(ground_of(tariffs(120)), train=tariffs(80, seed=1), young=True)
    judge = language_model(ground)
    assert judge is not None and judge.compressor == compressed(ground.train.texts, judge.longer)
    assert f"xz takes {judge.compressor.bits_per_byte:.3f} bits a byte of 20 of the same texts" in str(judge.remark)


def test_pretrained_bases_are_not_asked() -> None:
    judge = language_model(ground_of(tariffs(120)))
    assert judge is not None and judge.compressor is None and judge.remark is None


def test_the_compressor_counts_the_bytes_that_a_models_bits_are_divided_by() -> None:
    corpus: Corpus = corpus_of(["hello there"], ["no, é"])
    judge = language_model(replace(ground_of(corpus), young=True))
    assert judge is not None and judge.compressor is not None
    model = tiny_language_model()
    level = judge.measure.level(float(judge.final(model).scores.mean()))
    assert level == pytest.approx(model.score(list(judge.longer)).sum() / judge.compressor.n_bytes)


def test_verdicts_of_earlier_runs_have_no_compressor_and_open_as_before() -> None:
    written = facts()["verdict"]
    assert "compressor" not in written and Verdict.model_validate(written).compressor is None
