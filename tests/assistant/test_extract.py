"""Which sentences answer: the edges of tables, words that say nothing, and a confidence that is fitted right."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from shoptalk.assistant.confidence import PRIOR, ConfidenceWeights, fit_confidence
from shoptalk.assistant.extract import pick, stitch, worded
from shoptalk.assistant.fulltext import COMMON_STEMS, stems
from shoptalk.assistant.reply import Sentence
from shoptalk.assistant.retrieve import retrieve
from shoptalk.assistant.shelf import Shelf, write_shelf
from shoptalk.records import Document

ROWS = [f"| {6 + n:02}:05 | {7 + n:02}:00 |" for n in range(16)]
TABLE = "\n".join(
    ["# Buses", "", "## From the station", "", "| Leaves | Arrives |", "|---|---|", *ROWS, "", "That is all."]
)


class Alike:
    """All texts are the same to it."""

    def embed(self, items: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(items), 1))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    write_shelf(folder, [Document(id="buses.md", source="buses.md", text=TABLE)], Alike(), dim=2)
    return Shelf(folder)


def best(shelf: Shelf, question: str) -> str:
    vector = np.array([1.0, 0.0])
    hits = retrieve(shelf, [(question, vector, 1.0)], k=20, day=date(2026, 5, 1))
    return pick(shelf, hits, question, vector)[0].line.text


def test_who_asks_for_the_first_or_the_last_gets_that_row_though_the_table_fills_several_passages(shelf: Shelf) -> None:
    assert len(shelf) > 1
    assert best(shelf, "When does the first bus leave?").startswith("06:05")
    assert best(shelf, "Wann fährt der letzte Bus?").startswith("21:05")
    for plain in ("When did the bus leave last night?", "Is there a first aid kit?"):
        with_none = {line.text for n in range(len(shelf)) for line in shelf.passage(n).lines}
        assert best(shelf, plain) in with_none and not best(shelf, plain).startswith("21:05")


def test_words_that_only_ask_count_for_nothing_in_any_of_their_forms() -> None:
    assert set(stems("What does this have to do with it?")) <= COMMON_STEMS


@given(st.integers(0, 10_000), st.integers(20, 150), st.floats(0.0, 6.0))
def test_the_fitted_confidence_is_the_best_there_is_and_never_runs_away(seed: int, count: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 1, (count, 8)) * [1, 1, 1, 0.5, 1, 1, 0, 4]  # one says the same of every question
    right = rng.uniform(size=count) < 1 / (1 + np.exp(-slope * (features[:, 0] - features[:, 2])))
    fitted = fit_confidence(features, right)
    prior = np.array([*ConfidenceWeights().weights, ConfidenceWeights().bias])
    spread = np.append(np.maximum(features.std(axis=0), 1e-3), 1.0)

    def loss(beta: np.ndarray) -> float:
        logits = features @ beta[:-1] + beta[-1]
        return float(
            np.logaddexp(0, logits).sum() - logits[right].sum() + PRIOR / 8 * (spread**2 * (beta - prior) ** 2).sum()
        )

    beta = np.array([*fitted.weights, fitted.bias])
    assert loss(beta) <= minimize(loss, prior, method="BFGS").fun + 1e-3
    assert np.abs(beta - prior).max() < 100


def test_a_confidence_fitted_where_the_default_is_sure_of_all_tells_right_from_wrong_on_other_questions() -> None:
    rng = np.random.default_rng(0)
    features = np.zeros((200, 8))
    features[:, :3], features[:, 3], features[:, 7] = rng.uniform(0.8, 1.0, (200, 3)), 0.45, 4.0
    right = rng.uniform(size=200) < 1 / (1 + np.exp(-30 * (features[:, 0] - 0.92)))
    fitted = fit_confidence(features[:100], right[:100])
    assert max(map(abs, fitted.weights)) < 100  # whole Newton steps end at millions, where all are alike
    sure = np.array([fitted(row) for row in features[100:]])
    above = sure[right[100:]][:, None] > sure[~right[100:]][None]
    assert above.mean() > 0.75  # half of the pairs where it says nothing


@pytest.mark.parametrize("text", ["料金は4クローネです。", "本当に？", "هل هذا مجاني؟", "यह मुफ़्त है।"])
def test_a_sentence_that_ends_in_another_script_is_given_no_second_stop(shelf: Shelf, text: str) -> None:
    hits = retrieve(shelf, [("buses", np.array([1.0, 0.0]), 1.0)], k=1, day=date(2026, 5, 1))
    assert worded([Sentence(text, (1,), 10**6, 10**6)], hits) == text
    assert worded([Sentence("Free", (1,), 10**6, 10**6)], hits) == "Free."


def test_a_sentence_that_several_documents_have_is_said_once(tmp_path: Path) -> None:
    texts = ("# Refunds\n\nYou ask for one under Orders.", "# Money back\n\nYou ask for  one under orders.")
    write_shelf(
        tmp_path, [Document(id=f"{n}.md", source=f"{n}.md", text=text) for n, text in enumerate(texts)], Alike(), dim=2
    )
    vector, question = np.array([1.0, 0.0]), "How do I ask for a refund?"
    hits = retrieve(Shelf(tmp_path), [(question, vector, 1.0)], k=20, day=date(2026, 5, 1))
    (said,) = stitch(pick(Shelf(tmp_path), hits, question, vector), most=3)
    assert said.text.split() == ["You", "ask", "for", "one", "under", "Orders."] or said.text.endswith("orders.")
