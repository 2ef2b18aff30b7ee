"""Labels' names: read as words, believed only where labelled texts bear them out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import names
from shoptalk.nn.heads.kinds import INVERSE_PENALTY, KINDS, fit_kind, views_of
from shoptalk.nn.heads.logistic import fit_soft, one_hot
from shoptalk.nn.heads.pool import Pool
from tests.tiny import tiny_product


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("card_arrival", "card arrival"),
        ("cardArrival", "card arrival"),
        ("Card-Arrival", "card arrival"),
        ("CARD_ARRIVAL", "card arrival"),
        ("GetWeather", "get weather"),
        ("parseHTMLPage", "parse html page"),
        ("billing.invoice/late", "billing invoice late"),
        ("Rückgabe", "rückgabe"),
        ("bestellungÄndern", "bestellung ändern"),
        ("intent17", "intent 17"),
        ("оплата_картой", "оплата картой"),
        ("退款", "退款"),
        ("  why?  ", "why"),
        ("17", "17"),
        ("--", ""),
    ],
)
def test_labels_are_read_as_people_write_them(label: str, words: str) -> None:
    assert names.spoken(label) == words


@given(st.text())
def test_what_is_read_has_single_spaces_and_reads_the_same_again(label: str) -> None:
    words = names.spoken(label)
    assert words == " ".join(words.split(" ")).strip() and "  " not in words and "_" not in words
    assert names.spoken(words) == words


def test_names_are_embedded_in_the_order_given() -> None:
    product = tiny_product()
    found = names.embedded(product, ["lateDelivery", "card_lost"])
    assert found is not None
    np.testing.assert_allclose(found, embed(product, ["late delivery", "card lost"]), atol=1e-6)


@pytest.mark.parametrize("labels", [["0", "1"], ["card", "2"], ["card", "--"], ["cardLost", "card_lost"]])
def test_names_without_letters_or_that_read_alike_are_no_names(labels: list[str]) -> None:
    assert names.embedded(tiny_product(), labels) is None


# --- believed or not


def texts_near(codes: np.ndarray, classes: int) -> np.ndarray:
    """Texts whose nearest name, of `np.eye(classes)`, is the one that `codes` says."""
    return np.eye(classes, dtype=np.float32)[codes]


@pytest.mark.parametrize(
    ("classes", "hits", "of", "believed"),
    [
        (2, 2, 2, True),
        (2, 1, 2, False),
        (2, 6, 10, False),
        (2, 7, 10, True),
        (4, 2, 4, True),
        (4, 1, 4, False),
        (77, 12, 77, False),
        (77, 13, 77, True),
        (77, 77, 77, True),
        (77, 0, 77, False),
    ],
)
def test_names_are_believed_where_a_likelihood_ratio_favours_them(
    classes: int, hits: int, of: int, believed: bool
) -> None:
    """Against binomial likelihoods, written from the header: each label as often, each name given as often."""
    codes = np.arange(of) % classes
    given_ = np.where(np.arange(of) < hits, codes, (codes + 1) % classes)
    seen = texts_near(given_, classes)
    chance = sum((given_ == c).sum() * (codes == c).sum() for c in range(classes)) / of**2
    found = int((given_ == codes).sum())
    ratio = binom.pmf(found, of, (1 + chance) / 2) / binom.pmf(found, of, chance)
    assert found == hits and (ratio > 1) == believed
    assert names.speak(np.eye(classes, dtype=np.float32), seen, codes) == believed


def test_a_name_that_all_texts_are_near_is_not_believed_for_its_label_being_common() -> None:
    codes = np.r_[np.zeros(90, dtype=int), np.ones(10, dtype=int)]
    assert not names.speak(np.eye(2, dtype=np.float32), texts_near(np.zeros(100, dtype=int), 2), codes)


def test_names_that_mean_nothing_are_seldom_believed() -> None:
    rng = np.random.default_rng(0)
    believed = [
        names.speak(rng.normal(size=(20, 32)), rng.normal(size=(100, 32)), np.arange(100) % 20) for _ in range(200)
    ]
    assert np.mean(believed) < 0.02


# --- as examples


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


CENTRES = unit(np.random.default_rng(0).normal(size=(5, 16)))
CODES = np.arange(5).repeat(2)


@pytest.mark.parametrize("kind", ["linear", "smoothed"])
def test_a_name_counts_as_so_many_examples_of_its_label(kind: str) -> None:
    seen, named = unit(CENTRES[CODES] + 0.1), unit(CENTRES + 0.05)
    found = fit_kind(KINDS[kind], seen, CODES, np.arange(5), None, named)
    twice = int(names.EXAMPLES)
    rows, codes = np.concatenate([seen, *[named] * twice]), np.concatenate([CODES, *[np.arange(5)] * twice])
    expected = fit_soft(rows, one_hot(codes, 5), np.arange(5), penalty=1 / (INVERSE_PENALTY * len(rows)))
    np.testing.assert_allclose(found.weights, expected.weights, atol=2e-3)


def test_names_that_contradict_the_texts_change_nothing() -> None:
    seen = unit(CENTRES[CODES] + 0.1)
    plain = fit_kind(KINDS["linear"], seen, CODES, np.arange(5), None)
    misled = fit_kind(KINDS["linear"], seen, CODES, np.arange(5), None, np.roll(CENTRES, 1, axis=0))
    np.testing.assert_array_equal(plain.weights, misled.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_one_poor_example_a_label_is_made_up_for_by_names(kind: str) -> None:
    rng = np.random.default_rng(1)
    near = lambda codes, noise: unit(CENTRES[codes] + noise * rng.normal(size=(len(codes), 16)))  # noqa: E731
    pool = Pool.of(near(np.arange(200) % 5, 0.25))
    codes = np.arange(5)
    few, tests = views_of(near(codes, 0.5), pool), views_of(near(np.arange(300) % 5, 0.25), pool)
    named = views_of(near(codes, 0.1), pool)
    smoothed = KINDS[kind].smoothed
    right = [
        float((fit_kind(KINDS[kind], few[smoothed], codes, codes, pool, said).predict(tests[smoothed])
               == np.arange(300) % 5).mean())
        for said in (None, named[smoothed])
    ]  # fmt: skip
    assert right[1] > right[0] and right[1] > 0.9
