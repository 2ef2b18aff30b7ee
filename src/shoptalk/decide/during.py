"""Decisions while candidates train: who survives a rung, whether to go on, and the over-fitting guard."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shoptalk.decide.intervals import (
    Points,
    Scores,
    band,
    by_cluster,
    estimate,
    least_error,
    paired_covariance,
    paired_error,
)
from shoptalk.decide.saturation import SURE, WOBBLE, to_come
from shoptalk.records import Decision


@dataclass(frozen=True)
class Alarm:
    """Whether a candidate over-fits its pretext task: `decision.choice` is "stop" (it does) or "continue".

    `change` is the latest checkpoint's measure minus that of `better`, the best earlier one.
    """

    decision: Decision
    better: str
    change: float
    interval: tuple[float, float]

    @property
    def fires(self) -> bool:
        """Whether the candidate over-fits."""
        return self.decision.choice == "stop"


def halve(gains: Mapping[str, float], keep: int) -> tuple[str, ...]:
    """The `keep` candidates with the largest gains, best first: one rung of successive halving.

    Jamieson & Talwalkar 2016 (Non-stochastic best arm identification); Li et al. 2018 (Hyperband). On a tie the
    candidate that was named first survives.
    """
    if keep < 1:
        raise ValueError(f"keep = {keep}: at least one candidate must survive a rung.")
    return tuple(sorted(gains, key=lambda name: -gains[name])[:keep])


def behind(pilots: Scores, *, n_boot: int = 2000, seed: int) -> dict[str, str]:
    """The candidates that cannot be the best, each with the reason in a sentence; the leader is never among them.

    `pilots` holds one entry of each candidate, at the same share of its pilot. A candidate is out where another's lead
    over it, on the same examples, has an interval above 0. The intervals hold for every pair at once, so the best
    candidate is kept in at least 95 % of all runs, as in the races of Maron & Moore 1994 (Hoeffding races); what two
    candidates have in common cancels in their difference, which two intervals over the base would count twice. What is
    out stays on the menu, and counts in the verdict's maximum.
    """
    names, trained = pilots.entries, pilots.values[1:]
    pairs = list(itertools.combinations(range(len(names)), 2))
    if not pairs:
        return {}
    one, other = (list(side) for side in zip(*pairs, strict=True))
    leads = band(
        Points(
            names=tuple(f"{names[i]} over {names[j]}" for i, j in pairs),
            base=trained[other],
            adapted=trained[one],
            tested=np.broadcast_to(pilots.tested, (len(pairs), *pilots.tested.shape)),
            cluster=pilots.cluster,
            measure=pilots.measure,
        ),
        n_boot=n_boot,
        seed=seed,
    )
    least = np.full((len(names), len(names)), -np.inf)  # by how much one is ahead of another, at the least
    least[one, other], least[other, one] = leads.low, -leads.high
    return {
        name: f"{names[ahead]} is ahead of {name} by at least {pilots.measure.change(float(least[ahead, e]))} "
        f"{pilots.measure.difference}"
        for e, name in enumerate(names)
        if least[ahead := int(least[:, e].argmax()), e] > 0
    }


def continue_training(
    checkpoints: Scores, *, progress: Sequence[float], end: float, worth: float, base: str = "the base model"
) -> Decision:
    """What to do after the latest checkpoint of a candidate: `continue`, `decay` or `stop`.

    `checkpoints` holds one candidate's checkpoints in the order of training, all measured on the same draws and
    tests, so that differences are paired. `progress` is how far each had been trained, and `end` how far the plan goes,
    as sums of learning rates. The run decays (its schedule's last phase begins) where the chance that more training
    brings more than `worth`, a difference of the measure, is below 5 % (`saturation.to_come`), and stops when the
    latest is worse than the base by more than 1.64 paired standard errors: then what decays would be harm. `base` is
    what people are told that they are held against.
    """
    if not checkpoints.entries or len(progress) != len(checkpoints.entries):
        raise ValueError(f"There are {len(checkpoints.entries)} checkpoints to decide on, and {len(progress)} places.")
    sums, counts = by_cluster(checkpoints)
    measure = checkpoints.measure
    gains = measure.scale * (sums[1:] - sums[0]).sum(axis=(1, 2)) / counts.sum()
    covariance = paired_covariance(sums[1:] - sums[0], counts, measure)
    last, error = float(gains[-1]), math.sqrt(covariance[-1, -1])
    name, unit = checkpoints.entries[-1], measure.difference
    if last < -1.64 * error:
        choice, why = "stop", f"{name} is {measure.change(-last).lstrip('+')} {unit} worse than {base}"
    elif len(gains) == 1:
        choice, why = "continue", f"{name} is the first checkpoint ({measure.change(last)} {unit} over {base})"
    else:
        more = to_come(np.array(progress), gains, covariance, end=end, worth=worth, wobble=WOBBLE * measure.point)
        choice = "decay" if more.chance < 1 - SURE else "continue"
        why = (
            f"{name} has {measure.change(last)} {unit} over {base}, and all further steps are expected to "
            f"bring {measure.change(more.mean)} more (more than {worth:g}: {more.chance:.0%} likely)"
        )
    return Decision(
        choice=choice,
        options=("continue", "decay", "stop"),
        rule=f"decay where more training is less than {1 - SURE:.0%} likely to bring {worth:g} {unit}; stop at harm",
        readings=("base", *checkpoints.entries),
        sentence=f"{choice.capitalize()}: {why}.",
    )


def so_far(checkpoints: Scores) -> tuple[float, tuple[float, float]]:
    """The latest checkpoint's gain over the base, and its own 95 % interval by the paired error.

    For showing while a run goes on: unlike `estimate`'s, the interval pays for no choice and for no other look.
    """
    sums, counts = by_cluster(checkpoints)
    differences, measure = sums[-1] - sums[0], checkpoints.measure
    gain = measure.scale * float(differences.sum()) / float(counts.sum())
    error = max(paired_error(differences, counts, measure), float(least_error(differences[None], measure)[0]))
    return gain, (gain - 1.96 * error, gain + 1.96 * error)


def overfitting(
    checkpoints: Scores,
    pretext: Sequence[Sequence[float]],
    *,
    held_out: Sequence[float] | None = None,
    n_boot: int = 2000,
    seed: int,
) -> Alarm:
    """Whether a candidate over-fits its pretext task: that loss still falls, and the probe falls with it.

    `checkpoints` holds one candidate's checkpoints in the order of training; `pretext[e]` the training losses of the
    steps between checkpoint e - 1 and checkpoint e; `held_out[e]` the pretext loss on unseen text at checkpoint e,
    where the objective has one. It fires when both hold of the latest checkpoint against the best earlier one:

    - the mean pretext loss is lower by more than 1.64 standard errors. Where it rises too, training diverges, which
      is another trouble with another cure;
    - the paired interval of `estimate`, with the latest checkpoint in the base's place and simultaneous over the
      earlier ones, lies below 0: noise, and choosing the best of several, do not fire it.

    What the loss does on held-out text does not decide; it tells the two ways of over-fitting apart.

    Raises:
        ValueError: there is nothing earlier to compare with, or a checkpoint has no losses.
    """
    names = checkpoints.entries
    if len(names) < 2 or len(pretext) != len(names) or not all(len(losses) for losses in pretext):
        raise ValueError(f"{len(names)} checkpoints with {len(pretext)} parts of the log: nothing to compare.")
    values = np.concatenate([checkpoints.values[-1:], checkpoints.values[1:-1]])
    gains = estimate(replace(checkpoints, entries=names[:-1], values=values), n_boot=n_boot, seed=seed)
    best = int(gains.gain.argmax())
    change, interval = -float(gains.gain[best]), (-float(gains.high[best]), -float(gains.low[best]))
    fires = interval[1] < 0 and _falls(pretext[best], pretext[-1])
    difference, low, high = (checkpoints.measure.change(number) for number in (change, *interval))
    difference_told = (
        f"{names[-1]} differs from {names[best]} by {difference} {checkpoints.measure.difference} "
        f"(95 % interval {low} to {high})"
    )
    if fires:
        loss = f"while its pretext loss fell from {np.mean(pretext[best]):.3g} to {np.mean(pretext[-1]):.3g}"
        sentence = f"Over-fitting: {difference_told} {loss}{_unseen(held_out, best)}."
    else:
        sentence = f"No over-fitting is shown: {difference_told}."
    decision = Decision(
        choice="stop" if fires else "continue",
        options=("continue", "stop"),
        rule="stop where the pretext loss still falls and the paired interval of the probe lies below an earlier one",
        readings=(names[-1], *names[:-1]),
        sentence=sentence,
    )
    return Alarm(decision, names[best], change, interval)


def _falls(earlier: Sequence[float], later: Sequence[float]) -> bool:
    """Whether the mean loss fell by more than 1.64 standard errors; single steps cannot show it."""
    if min(len(earlier), len(later)) < 2:
        return False
    error = math.sqrt(sum(float(np.var(part, ddof=1)) / len(part) for part in (earlier, later)))
    return float(np.mean(later) - np.mean(earlier)) < -1.64 * error


def _unseen(held_out: Sequence[float] | None, best: int) -> str:
    """What held-out text says about the way in which it over-fits."""
    if held_out is None:
        return ""
    if held_out[-1] > held_out[best]:
        return "; on held-out text that loss rises, so it learns its texts by heart"
    return "; on held-out text that loss falls as well, so what it learns is not what the labels ask for"
