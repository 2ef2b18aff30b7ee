import functools
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.curate.dedup import clusters, matches, normalise

WORDS = (
    "parcel",
    "card",
    "ferry",
    "ticket",
    "refund",
    "lost",
    "where",
    "when",
    "broken",
    "price",
    "dog",
    "quay",
    "today",
)


@functools.cache
def grams(text: str) -> set[str]:
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def jaccard(a: str, b: str) -> float:
    """The definition, with Python sets, of two normalised texts."""
    return len(grams(a) & grams(b)) / len(grams(a) | grams(b))


def components(texts: list[str], threshold: float) -> list[int]:
    """Near-duplicate clusters by comparing all pairs, numbered by first text."""
    normal = [normalise(text) for text in texts]
    number = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if jaccard(normal[i], normal[j]) >= threshold:
                old, new = number[i], number[j]
                number = [new if n == old else n for n in number]
    order = list(dict.fromkeys(number))
    return [order.index(n) for n in number]


def variants(n: int, seed: int) -> list[str]:
    """Sentences, many of them one or two edits from an earlier one."""
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(n):
        if texts and rng.random() < 0.6:
            text = list(rng.choice(texts))
            for _ in range(rng.randint(1, 3)):
                text[rng.randrange(len(text))] = rng.choice("abcdefgh ")
            texts.append("".join(text))
        else:
            texts.append(" ".join(rng.choices(WORDS, k=rng.randint(4, 14))))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_clusters_are_those_of_comparing_all_pairs(threshold: float) -> None:
    texts = variants(150, seed=1)
    expected = components(texts, threshold)
    assert 1 < len(set(expected)) < len(texts)
    assert clusters(texts, threshold).tolist() == expected


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_matches_are_those_of_comparing_all_pairs(threshold: float) -> None:
    texts = variants(200, seed=2)
    texts, reference = texts[60:], texts[:60]
    expected = [any(jaccard(normalise(t), normalise(r)) >= threshold for r in reference) for t in texts]
    assert 0 < sum(expected) < len(texts)
    assert matches(texts, reference, threshold).tolist() == expected


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_clusters_of_any_texts_are_those_of_comparing_all_pairs(texts: list[str]) -> None:
    assert clusters(texts, 0.8).tolist() == components(texts, 0.8)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8), st.integers(0, 7))
def test_a_text_matches_a_reference_that_contains_it(reference: list[str], which: int) -> None:
    text = reference[which % len(reference)]
    assert matches([text.upper().lower(), text], reference, 1.0)[1]


def test_case_width_punctuation_and_whitespace_do_not_tell_texts_apart() -> None:
    assert normalise("  Don’t\tWORRY --\nＢＥ happy! ") == normalise("dont worry be happy") == "dont worry be happy"
    assert clusters(["Hi!", "hi", "ho"], 1.0).tolist() == [0, 0, 1]


def test_symbols_and_lone_punctuation_do_tell_texts_apart() -> None:
    assert len({normalise(text) for text in ("C++", "C", "10 $", "10 €", "👍", "👎", ":)", ":(", "?")}) == 9


def test_one_text_chains_two_that_are_apart() -> None:
    base = "where is the parcel that i sent to you on monday morning"
    middle, end = base.replace("monday", "sunday"), base.replace("monday", "sunday").replace("sent", "gave")
    ends, step = jaccard(base, end), min(jaccard(base, middle), jaccard(middle, end))
    threshold = (ends + step) / 2
    assert ends < threshold < step
    assert clusters([base, end], threshold).tolist() == [0, 1]
    assert clusters([base, end, middle], threshold).tolist() == [0, 0, 0]


def test_templated_texts_do_not_take_quadratic_time_and_still_chain() -> None:
    texts = [
        f"hello your parcel number {i:05d} has been handed to the courier and arrives tomorrow" for i in range(1500)
    ]
    assert len(set(clusters(texts, 0.8).tolist())) == 1
    assert matches(texts[500:], texts[:500], 0.8).all()


def test_no_texts_are_no_clusters_and_no_matches() -> None:
    assert clusters([], 0.8).tolist() == []
    assert matches([], ["a"], 0.8).tolist() == []
    assert matches(["a", ""], [], 0.8).tolist() == [False, False]


def test_clusters_do_not_depend_on_the_process() -> None:
    script = (
        "from shoptalk.curate.dedup import clusters, _grams;"
        "t = ['the ferry is late today %d' % (i % 7) for i in range(50)];"
        "print(clusters(t, 0.7).tolist(), _grams(t).digests().sum())"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second


def test_hardly_a_pair_is_missed_at_the_threshold() -> None:
    # Texts of 90 grams that differ in their last 9 characters: (90 - 9) / (90 + 9) = 0.82.
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    first = ["".join(rng.choice(letters, 94)) for _ in range(1500)]
    second = [text[:-9] + "".join(rng.choice(list("0123456789"), 9)) for text in first]
    assert {round(jaccard(a, b), 2) for a, b in zip(first, second, strict=True)} == {0.82}
    found = clusters([*first, *second], 0.8)
    assert (found[:1500] != found[1500:]).sum() <= 1
    assert (~matches(second, first, 0.8)).sum() <= 1
    assert (~matches(first, second, 0.8)).sum() <= 1
