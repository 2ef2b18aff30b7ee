"""Labels with fewer than two independent examples."""

import numpy as np
import pytest

from shoptalk import decide
from shoptalk.config import CurateConfig
from shoptalk.curate.rare import without_rare
from shoptalk.errors import InputError, SourceError
from shoptalk.records import Example

DROP = CurateConfig(rare_labels="drop")
REFUSE = CurateConfig(rare_labels="refuse")


def examples(*rows: tuple[str, int]) -> list[Example]:
    """By label and cluster."""
    return [Example(id=f"l.csv#{i}", text=f"text {i}", label=label, cluster=c) for i, (label, c) in enumerate(rows, 2)]


def drawn(rows: list[Example]) -> decide.Draws:
    clusters = np.array([row.cluster for row in rows])
    return decide.draws([row.label for row in rows], clusters, shots=1, n_draws=2, seed=0)


ROWS = examples(("card", 0), ("card", 1), ("fee", 2), ("fee", 3), ("typo", 4), ("twice", 5), ("twice", 5))


def test_rare_labels_are_drops_with_their_reason_where_the_settings_say_so_and_this_is_told() -> None:
    kept, drops, sentences = without_rare(ROWS, "l.csv", DROP, measuring=False)
    assert kept == ROWS[:4]
    assert [(drop.id, drop.source, drop.reason) for drop in drops] == [
        (f"l.csv#{line}", "l.csv", "rare-label") for line in (6, 7, 8)
    ]
    assert drops[0].detail == "'typo' has fewer than 2 independent examples"
    assert sentences == [
        "l.csv: 2 labels have fewer than 2 independent examples ('twice', 'typo'), so 3 rows are left out: one is "
        "needed to learn from and one to test on"
    ]


def test_by_default_they_are_left_out_where_gains_are_measured_and_learned_elsewhere() -> None:
    assert without_rare(ROWS, "l.csv", CurateConfig(), measuring=True) == without_rare(
        ROWS, "l.csv", DROP, measuring=True
    )
    assert without_rare(ROWS, "l.csv", CurateConfig(), measuring=False) == (ROWS, [], [])


def test_where_settings_say_so_they_stay_and_what_needs_two_of_each_refuses_them_with_the_cure() -> None:
    assert without_rare(ROWS, "l.csv", REFUSE, measuring=True) == (ROWS, [], [])
    with pytest.raises(InputError, match=r"'twice', 'typo'.*leave them out with --set curate\.rare_labels=drop"):
        drawn(ROWS)
    kept, _, _ = without_rare(ROWS, "l.csv", DROP, measuring=True)
    assert drawn(kept)


def test_a_file_without_rare_labels_is_left_as_it_is_and_nothing_is_said() -> None:
    assert without_rare(ROWS[:4], "l.csv", DROP, measuring=False) == (ROWS[:4], [], [])
    assert without_rare([], "", DROP, measuring=False) == ([], [], [])


def test_a_file_of_which_too_little_would_be_left_is_refused() -> None:
    with pytest.raises(SourceError, match=r"One label is left, and telling labels apart needs at least two"):
        without_rare(ROWS[2:], "l.csv", DROP, measuring=False)
    with pytest.raises(SourceError, match=r"No label is left"):
        without_rare(ROWS[4:], "l.csv", DROP, measuring=False)
