import numpy as np
import pytest

from shoptalk.probes.marking import best_threshold, score_marks

CHANCES = [np.array([0.9, 0.2, 0.6]), np.array([0.1, 0.7]), np.array([0.3])]
WRONG = [np.array([True, False, False]), np.array([False, False]), np.array([True])]


def test_scores_count_tokens_alike_and_replies_apart():
    scores = score_marks(CHANCES, WRONG, threshold=0.5)
    assert (scores.precision, scores.recall) == (pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert scores.f1 == pytest.approx(2 / 5)
    assert (scores.marked_clean, scores.missed, scores.replies, scores.tokens) == (1.0, 0.5, 3, 6)


def test_where_nothing_is_wrong_and_nothing_marked_all_is_right():
    scores = score_marks([np.array([0.1])], [np.array([False])], threshold=0.5)
    assert (scores.precision, scores.recall, scores.f1, scores.marked_clean) == (1.0, 1.0, 1.0, 0.0)


def test_the_best_threshold_has_the_highest_f1():
    best = best_threshold(CHANCES, WRONG)
    reached = score_marks(CHANCES, WRONG, threshold=best).f1
    assert reached == max(score_marks(CHANCES, WRONG, threshold=step / 20).f1 for step in range(2, 20))
