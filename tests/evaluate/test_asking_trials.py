"""The harness of asking on a small scale: its truths are true, and a few dozen trials of each kind pass."""

import math
from dataclasses import replace

import numpy as np
import pytest

from shoptalk.evaluate.asking_trials import Planted, ask_once, asking_rows, asking_table, run_asking

GAIN = Planted("gain", 10.0, 4.0, bank=600)


@pytest.mark.parametrize("planted", asking_rows(), ids=lambda planted: f"{planted.name} {planted.disagree}")
def test_the_rates_of_every_row_make_its_gain(planted: Planted) -> None:
    right, wrong, neither = planted.rates()
    assert right + wrong + neither == pytest.approx(1) and min(right, wrong, neither) >= 0
    assert planted.disagree * (right - wrong) == pytest.approx(planted.gain)


def test_a_gain_larger_than_the_disagreements_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 % of disagreements cannot make 3 points"):
        Planted("too much", 2.0, 3.0).rates()


def test_random_labels_are_as_many_as_a_simulation_needs() -> None:
    number = round(GAIN.random_labels(0.0))
    rng, cleared = np.random.default_rng(0), 0
    for _ in range(400):
        right, wrong, _ = (0.1 * rate for rate in GAIN.rates())
        x = rng.choice([1, -1, 0], size=number, p=[right, wrong, 1 - right - wrong])
        cleared += x.mean() - 1.96 * x.std() / math.sqrt(number) > 0.005
    assert 0.4 < cleared / 400 < 0.6


def test_a_large_gain_is_adopted_harm_is_kept_and_nothing_is_never_adopted() -> None:
    gains, harms, none = (run_asking(replace(GAIN, gain=gain), trials=30) for gain in (4.0, -4.0, 0.0))
    assert sum(trial.choice == 1 for trial in gains.trials) >= 25
    assert sum(trial.choice == -1 for trial in harms.trials) >= 29
    assert sum(trial.choice == 1 for trial in none.trials) <= 2
    assert max(row.wrong for row in (gains, harms, none)) <= 2
    for row in (gains, harms, none):
        assert sum(trial.future_holds for trial in row.trials) >= 27
        assert sum(trial.bank_holds for trial in row.trials) >= 27


def test_where_the_gain_is_the_smallest_worth_having_any_choice_is_wrong() -> None:
    row = run_asking(replace(GAIN, gain=0.5), trials=10)
    assert row.wrong == sum(trial.choice != 0 for trial in row.trials)


def test_slips_that_are_told_cost_answers_and_not_the_coverage() -> None:
    with_slips = run_asking(replace(GAIN, slips=10.0, smallest_gain=4.0), trials=40)
    assert sum(trial.future_holds for trial in with_slips.trials) >= 37
    assert sum(trial.bank_holds for trial in with_slips.trials) >= 37


def test_a_trial_depends_on_its_seed_alone() -> None:
    assert ask_once(GAIN, 3) == ask_once(GAIN, 3)
    assert run_asking(GAIN, trials=4).trials == run_asking(GAIN, trials=4, workers=2).trials


def test_the_table_has_a_line_for_each_row() -> None:
    rows = [run_asking(planted, trials=2) for planted in (Planted("alike", 0.0, 0.0), GAIN)]
    head, rule, alike, gain = asking_table(rows).splitlines()
    assert head.count("|") == rule.count("|") == alike.count("|") == gain.count("|")
    assert "| 0 / 0 |" in alike and "| +4 |" in gain
