"""The cloze on general text: which gaps there are, their scores by a model of known probabilities, and the guard."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.config import Guards
from shoptalk.evaluate.bench import make_bench, measure
from shoptalk.evaluate.other_tasks import forgotten, general_change, load_others, other_finals, read_beside, save_others
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.probes.forgetting import general_pairs
from shoptalk.report.verdict_json import GeneralChange
from shoptalk.tasks.cloze import OPTIONS
from shoptalk.tasks.general_cloze import KEY, LEAST, general_cloze, general_gaps
from shoptalk.tasks.judge import Final
from tests.evaluate.test_bench import LIMITS, Lengths, ground

MODEL = tiny_language_model()
JUDGE = general_cloze()
GOAL = Lengths("goal", np.ones((1, 9)))
READ = make_bench(ground("lm"), {"goal": GOAL}, goal="goal", sample=(), limits=LIMITS | {KEY: -2.0})


def change(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Of probabilities of each text, before and after."""
    finals = ({KEY: Final(scores[None])} for scores in (before, after))
    made = general_change(READ, *finals, base="tiny", entry="clm@9", seed=0)
    assert made is not None
    return made


def test_general_text_gives_a_hundred_gaps_with_five_options_of_a_kind_that_stand_in_no_sentence_of_the_pair() -> None:
    pairs = [f"{pair.a} {pair.b}" for pair in general_pairs()]
    assert (len(JUDGE.gaps), sum(map(len, JUDGE.gaps))) == (69, 102)
    for gaps in JUDGE.gaps:
        (text,) = [pair for pair in pairs if all(f"{gap.before}{gap.options[0]}" in pair for gap in gaps)]
        for gap in gaps:
            answer, *others = (option.strip() for option in gap.options)
            assert len(gap.before) >= LEAST - 1 and len({answer, *others}) == OPTIONS
            assert not any(other in text for other in others) and answer not in gap.before
            assert len({option[0].isupper() for option in (answer, *others)}) == 1


def test_a_texts_score_is_the_mean_probability_of_what_stands_in_its_gaps_and_every_gap_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a model that holds the first of each gap's options as probable as it was made to, and the others alike."""
    shares = np.random.default_rng(0).uniform(0.01, 0.99, sum(map(len, JUDGE.gaps))).tolist()
    asked: list[str] = []

    def knowing(_: object, befores: list[str], endings: list[tuple[str, ...]]) -> list[np.ndarray]:
        asked[:] = [f"{before}{options[0]}" for before, options in zip(befores, endings, strict=True)]
        return [7.0 - np.log2([share, *[(1 - share) / (OPTIONS - 1)] * (OPTIONS - 1)]) for share in shares]

    monkeypatch.setattr(type(MODEL), "bits_after", knowing)
    (scores,) = JUDGE.final(MODEL).scores
    rest = iter(shares)
    np.testing.assert_allclose(scores, [np.mean([next(rest) for _ in gaps]) for gaps in JUDGE.gaps])
    assert len(set(asked)) > 95 and len(asked) == 102
    assert JUDGE.measure.level(float(scores.mean())) == pytest.approx(100 * scores.mean())


def test_the_models_own_bits_make_the_score() -> None:
    final = JUDGE.final(MODEL).scores[0]
    gap = next(gaps[0] for gaps in JUDGE.gaps if len(gaps) == 1)
    (bits,) = MODEL.bits_after([gap.before], [gap.options])
    assert final[JUDGE.gaps.index((gap,))] == pytest.approx(2 ** -bits[0] / (2**-bits).sum(), rel=1e-4)
    assert ((final > 0) & (final < 1)).all()


@given(st.permutations(range(40)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_texts_changes_no_answer_and_no_alternative_is_ever_in_the_pair(order: list[int]) -> None:
    texts = [(pair.a, pair.b) for pair in general_pairs()]
    asked = {gap.before + gap.options[0]: gap for gaps in general_gaps(texts) for gap in gaps}
    mixed = [texts[i] for i in order] + texts[len(order) :]
    again = {gap.before + gap.options[0]: gap for gaps in general_gaps(mixed) for gap in gaps}
    assert again.keys() == asked.keys()
    for place, gap in again.items():
        (pair,) = {" ".join(text) for text in texts if any(sentence.startswith(place) for sentence in text)}
        answer, *others = (option.strip() for option in gap.options)
        assert len({answer, *others}) == len(gap.options) == OPTIONS
        assert not any(other in pair for other in others)


@pytest.mark.parametrize("words", ["Leeds Wales Paris Derby Essex Dover", "nine five four sixty forty fifty"])
def test_what_has_no_name_or_number_gives_no_gap_nor_does_what_has_too_few_alternatives(words: str) -> None:
    def told(some: list[str]) -> list[tuple[str]]:
        return [(f"The old train comes from {word}.",) for word in some]

    every = words.split()
    (*gaps,) = general_gaps(told(every))
    assert [gap.options[0].strip() for (gap,) in gaps] == every
    assert all({option.strip() for option in gap.options} <= set(every) for (gap,) in gaps)
    assert general_gaps(told(every[: OPTIONS - 1])) == []
    assert general_gaps([*told(every), ("Nothing of the kind stands in here.",)]) == gaps
    assert general_gaps(told([word[::-1].lower() for word in every])) == []


@given(st.integers(0, 99), st.floats(-0.3, 0.3), st.floats(0.0, 0.3))
@settings(max_examples=30, deadline=None)
def test_a_model_is_outside_only_where_the_whole_interval_lies_below_the_guard(
    seed: int, shift: float, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.3, 0.7, 69)
    row = change(before, before + shift + noise * rng.normal(size=69))
    assert row["inside"] == (row["interval"][1] >= -2.0) == (not forgotten(row, entry="clm@9"))
    assert row["interval"][0] <= row["gain"] <= row["interval"][1]


def test_what_is_lost_is_told_with_its_interval_and_noise_on_few_texts_is_no_veto() -> None:
    before = np.random.default_rng(0).uniform(0.3, 0.7, 69)
    noise = np.random.default_rng(1).normal(size=69)
    lost = GeneralChange.model_validate(change(before, before - 0.1 + 0.05 * noise))
    assert not lost.inside and (lost.n_examples, lost.n_gaps, lost.limit) == (69, 102, -2.0)
    low, high = lost.interval
    assert low < lost.gain < high < -2.0 and lost.adapted - lost.base == pytest.approx(lost.gain)
    assert lost.sentence == (
        "Of what was known before, the trained model (clm@9) holds the right name or number of 5 in the gaps of "
        f"everyday sentences {lost.adapted:.1f} % probable, on average over texts, against {lost.base:.1f} % "
        f"({lost.gain:+.1f} points over tiny as it is, {low:+.1f} to {high:+.1f}), outside the guard of 2 "
        "points."
    )
    why = forgotten(lost.told(), entry="clm@9")["clm@9"]
    assert "general text" in why  # by which the advice knows that replay may help
    assert f"{-lost.gain:.1f} points less probable than the base, {-high:.1f} to {-low:.1f} (guard 2)" in why
    noisy = change(before, before - 0.03 + 0.2 * (noise - noise.mean()))
    assert (
        noisy["gain"] == pytest.approx(-3.0)
        and noisy["inside"]
        and "inside the guard of 2 points." in noisy["sentence"]
    )


def test_general_text_is_read_beside_the_task_never_by_a_look_and_is_kept(tmp_path: Any) -> None:
    assert read_beside(READ) == [JUDGE] and KEY not in measure(MODEL, READ).values()
    finals = other_finals(READ, MODEL)
    save_others(tmp_path, finals)
    np.testing.assert_array_equal(load_others(tmp_path, READ)[KEY].scores, finals[KEY].scores)


def test_of_random_weights_and_of_encoders_general_text_is_not_asked() -> None:
    for kind, limits in (("lm", LIMITS), ("text", LIMITS | Guards().model_dump())):
        bench = make_bench(ground(kind), {"goal": GOAL}, goal="goal", sample=(), limits=limits)
        assert bench.general is None and read_beside(bench) == []
        assert general_change(bench, {}, {}, base="tiny", entry="clm@9", seed=0) is None
    assert forgotten(None, entry="clm@9") == {}
