"""From scores to decisions: the statistics of the verdict, as pure functions without torch.

    tested = splits(labels, clusters, n_draws=100, seed=0)
    ...                                                  # fit a head on the rest of each, note what is right
    gains = estimate(Scores(entries, correct, tested, clusters), seed=0)
    answer = verdict(gains, guarded={}, smallest_gain=0.5, settle_gain=2.0, n_clusters=gains.n_clusters)

`labelsets` draws who teaches and who tests, `intervals` estimates gains, `adoption` decides on them, `ladder` says what
each step to what is shipped brings, `during` decides while candidates still train, `trials` whether a tuned encoder
ships, `pooled` gives scores of many texts at once their intervals, `translating` says whether a translator may be used,
and `disagreements` what a person's answers prove, by `betting`. `benchmarks/verdict_harness.py` and
`benchmarks/tuning_rule.py` test these procedures on populations whose true gain is known.
"""

from shoptalk.decide.adoption import FEWEST_CLUSTERS, POWER_QUANTILE, Ruling, round_up, verdict
from shoptalk.decide.brought import brought
from shoptalk.decide.disagreements import Consistency, Standing, answers_needed, path, stand
from shoptalk.decide.during import Alarm, behind, continue_training, halve, overfitting, so_far
from shoptalk.decide.intervals import (
    CONFIDENCE,
    INFLATION,
    Band,
    Estimate,
    Points,
    Scores,
    band,
    error_of_no_difference,
    estimate,
    estimate_chosen,
    estimate_on_test,
    least_error,
)
from shoptalk.decide.labelsets import FOLDS, Draws, deal_folds, draws, independent, most_shots, splits
from shoptalk.decide.ladder import Ladder, Rise, ladder_of
from shoptalk.decide.trials import TRIALS, Advantage, TuningTrial, advantage, trials

__all__ = [
    "CONFIDENCE",
    "FEWEST_CLUSTERS",
    "FOLDS",
    "INFLATION",
    "POWER_QUANTILE",
    "TRIALS",
    "Advantage",
    "Alarm",
    "Band",
    "Consistency",
    "Draws",
    "Estimate",
    "Ladder",
    "Points",
    "Rise",
    "Ruling",
    "Scores",
    "Standing",
    "TuningTrial",
    "advantage",
    "answers_needed",
    "band",
    "behind",
    "brought",
    "continue_training",
    "deal_folds",
    "draws",
    "error_of_no_difference",
    "estimate",
    "estimate_chosen",
    "estimate_on_test",
    "halve",
    "independent",
    "ladder_of",
    "least_error",
    "most_shots",
    "overfitting",
    "path",
    "round_up",
    "so_far",
    "splits",
    "stand",
    "trials",
    "verdict",
]
