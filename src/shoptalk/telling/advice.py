"""What to try next, by rules from the verdict: sentences, each with its command where there is one."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from shoptalk.config import Config
from shoptalk.decide import FEWEST_CLUSTERS
from shoptalk.objectives.recipe import Recipe
from shoptalk.records import ACCURACY
from shoptalk.report.facts_json import NextStep
from shoptalk.report.nouns import TEXTS, Nouns
from shoptalk.report.sentences import keeps_random_weights, standing
from shoptalk.report.verdict_json import CandidateRow, Verdict
from shoptalk.stages.curriculum import turn_of
from shoptalk.stages.plan import Prepared
from shoptalk.tasks import needs_of

RISING = 0.2
"""Points (`Measure.point`) by which a last checkpoint must beat the one before for more training to be worth a try."""
FEWEST_TEXTS = 1_000
"""With fewer texts than this, more text is the first thing to look for where nothing helped."""


_UNTRAINED = ("needs no training", "learns nothing")
"""In why an entry is outside its guards, of what it fell behind: features, or a compressor."""


class PhaseRates(NamedTuple):
    """The learning rates of a candidate's phases, one or two."""

    each: Sequence[float]
    turn: int = 0
    """The step after which the second phase begins; 0 where there is one."""


def rates_of(prepared: Prepared, config: Config) -> dict[str, PhaseRates]:
    """Those of each candidate that was planned."""
    return {
        name: PhaseRates(
            [spec.lr for spec in (one.spec, one.then) if spec is not None],
            turn_of(name, prepared.plan.candidates[name].steps, config),
        )
        for name, one in prepared.candidates.items()
    }


def advise(
    verdict: Verdict,
    *,
    skipped: Mapping[str, str],
    texts: int,
    run: Path,
    command: str,
    labels: Path | None,
    rates: Mapping[str, PhaseRates],
    pretexts: Sequence[str],
    nouns: Nouns = TEXTS,
    allowed: float | None = None,
) -> list[NextStep]:
    """At most a handful of next steps, the most useful first.

    `command` is what began the run; where it is not known, advice that would repeat it in another form has no command.
    `rates` are the candidates' learning rates. `pretexts` are objectives that can train a product of the base's kind,
    those that are tried first in front, and `nouns` what such a product reads. `allowed` are the seconds of a time
    budget.
    """
    if (
        verdict.spent.seconds and allowed is not None
    ):  # of which a run may take far less: to allow that again is no advice
        longer = verdict.spent.model_copy(update={"seconds": max(allowed, verdict.spent.seconds)})
        verdict = verdict.model_copy(update={"spent": longer})
    again = shlex.split(command)
    if again and "--force" not in again:
        again.append("--force")  # the same folder with another question: what did not change is not made again
    if verdict.metric is None or verdict.gain is None:
        if verdict.objective is None:
            return _nothing_trained(skipped, again, pretexts, nouns)
        return _without_labels(verdict, again, run, nouns)
    if verdict.objective is None:
        return _nothing_trained(skipped, again, pretexts, nouns)
    advice = {
        "adopt": lambda: _adopted(verdict, again, nouns),
        "keep_base": lambda: _kept(verdict, skipped, texts, run, again, rates, pretexts, nouns),
        "inconclusive": lambda: _open(verdict, skipped, run, again, pretexts),
    }[verdict.choice]()
    return [*advice, *_enough(verdict, run, nouns), *_with_labels(verdict, run, labels, nouns)]


def _without_labels(verdict: Verdict, again: Sequence[str], run: Path, nouns: Nouns) -> list[NextStep]:
    needs = needs_of(verdict.task or "intent")
    group = "intent" if nouns == TEXTS else "class"
    what = f"{needs.bring}, every {group} at least twice," if needs.labels else needs.bring
    unproven = _advice(
        f"The challenger is in {run.name}/candidate/encoder, unproven: look at what it finds near what before you "
        "serve it.",
        _with(again, "--accept-unproven"),
    )
    if verdict.served_unproven:
        unproven = _advice("The challenger is served, unproven: look at what it finds near what.", None)
    return [
        _advice(
            f"{what} and run the same again: only that measures whether the assistant gets better.",
            _with(again, "--labels", "labels.csv") if needs.labels else None,
        ),
        unproven,
    ]


def _nothing_trained(
    skipped: Mapping[str, str], again: Sequence[str], pretexts: Sequence[str], nouns: Nouns
) -> list[NextStep]:
    if not skipped:
        names = ",".join([*pretexts[:2], "none"])
        return [_advice("Name candidates to train.", _with(again, "--candidates", names) if pretexts else None)]
    why = "; ".join(f"{name} ({reason})" for name, reason in skipped.items())
    sources = "conversations or documents" if nouns == TEXTS else nouns.kept
    return [_advice(f"Nothing could be trained: {why}. Add {sources} to the sources.", None)]


def _adopted(verdict: Verdict, again: Sequence[str], nouns: Nouns) -> list[NextStep]:
    advice = _more_training(verdict, again)
    if not verdict.on_test and verdict.labelled:
        advice.append(
            _advice(
                f"Confirm the gain on {nouns.asked} that nothing was selected on: label some more and give them as a "
                "test.",
                _with(again, "--test", "test.csv"),
            )
        )
    return advice


def _kept(
    verdict: Verdict,
    skipped: Mapping[str, str],
    texts: int,
    run: Path,
    again: Sequence[str],
    rates: Mapping[str, PhaseRates],
    pretexts: Sequence[str],
    nouns: Nouns,
) -> list[NextStep]:
    advice = _guarded(verdict, again, rates)
    if texts < FEWEST_TEXTS:
        more = (verdict.measure or ACCURACY).unlabelled
        few = f"{texts:,} {nouns.kept} are few to learn a domain from"
        advice.append(_advice(f"Add unlabelled {more} of the same kind: {few}.", None))
    return [*advice, *_close_pilots(verdict, again), *_others(verdict, skipped, run, again, pretexts)]


def _open(
    verdict: Verdict, skipped: Mapping[str, str], run: Path, again: Sequence[str], pretexts: Sequence[str]
) -> list[NextStep]:
    advice = _by_asking(verdict, run)
    if verdict.labels_needed is not None:
        advice.append(
            _advice(
                f"{_more_examples(verdict)}, about {verdict.labels_needed:,} in all instead of "
                f"{verdict.n_examples:,}, and run the same again: that would settle it.",
                shlex.join(again) or None,
            )
        )
    elif verdict.measure is not None and not verdict.measure.grows and verdict.n_examples < FEWEST_CLUSTERS:
        what = f"{_more_examples(verdict)} and run the same again: {verdict.n_examples:,} are held out, and nothing is "
        advice.append(_advice(f"{what}adopted under {FEWEST_CLUSTERS}.", shlex.join(again) or None))
    more = _more_training(verdict, again) or _close_pilots(verdict, again)
    return [*advice, *more, *_others(verdict, skipped, run, again, pretexts)]


def _by_asking(verdict: Verdict, run: Path) -> list[NextStep]:
    """Asking a person, where the messages that were held out would do."""
    needed, bank = verdict.answers_needed, verdict.bank_needed
    if not needed or bank is None or bank > (verdict.bank or 0):
        return []
    what = f"Answer about {needed:,} messages on which base and challenger differ: that would settle it."
    return [_advice(what, shlex.join(["shoptalk", "ask", str(run)]))]


def _more_examples(verdict: Verdict) -> str:
    """What there must be more of."""
    if verdict.measure is None or verdict.measure.examples == ACCURACY.examples:
        return "Label more messages"
    return f"Bring more {verdict.measure.examples}"


def _enough(verdict: Verdict, run: Path, nouns: Nouns) -> list[NextStep]:
    """Dose curves, where there is a gain to draw."""
    if verdict.gain is None or verdict.gain <= 0:
        return []
    against = f"training, unlabelled {nouns.many} and labels" if verdict.labelled else f"training and {nouns.many}"
    what = f"Measure how much is enough: the gain against {against}."
    return [_advice(what, shlex.join(["shoptalk", "dose", str(run)]))]


def _with_labels(verdict: Verdict, run: Path, labels: Path | None, nouns: Nouns) -> list[NextStep]:
    if labels is None or nouns != TEXTS:  # a classifier of pictures is not tuned with its encoder
        return []
    if keeps_random_weights(verdict.choice, verdict.base_model, verdict.gain) and not verdict.served_unproven:
        return []  # what is handed out has learned nothing
    out = run.with_name(f"{run.name}-classifier")
    return [
        _advice(
            f"Tune a classifier on all labels with the encoder that is {standing(verdict.told())}.",
            shlex.join(["shoptalk", "finetune", str(run / "encoder"), "--labels", str(labels), "--out", str(out)]),
        )
    ]


def _more_training(verdict: Verdict, again: Sequence[str]) -> list[NextStep]:
    """A larger budget, where the winner was still getting better at its last checkpoint."""
    mine = [(row.entry, gain) for row, gain in _measured(verdict) if row.objective == verdict.objective]
    if len(mine) < 2 or verdict.entry != mine[-1][0]:
        return []
    rise, measure = mine[-1][1] - mine[-2][1], verdict.measure or ACCURACY
    if rise <= RISING * measure.point:
        return []
    better = f"{rise:.{measure.decimals}f} {measure.difference}"
    return [
        _advice(
            f"Train longer: the last checkpoint was still {better} better than the one before it.",
            _with(again, "--budget", _doubled(verdict)) if _doubled(verdict) else None,
        )
    ]


def _close_pilots(verdict: Verdict, again: Sequence[str]) -> list[NextStep]:
    """A larger budget, where the pilot that won was ahead by less than the smallest gain worth having."""
    first = {row.objective: (row, gain) for row, gain in reversed(_measured(verdict))}
    winner = first.pop(verdict.objective or "", None)
    others = [gain for row, gain in first.values() if row.eliminated]
    if winner is None or not others or verdict.smallest_gain is None:
        return []
    name, steps, ahead = winner[0].objective, winner[0].step, winner[1] - max(others)
    if ahead >= verdict.smallest_gain:
        return []
    measure = verdict.measure or ACCURACY
    lead = f"{ahead:.{measure.decimals}f} {measure.difference}"
    return [
        _advice(
            f"Give the pilots more: after {steps} steps {name} was {lead} ahead of the next candidate, "
            "which is less than the smallest gain worth having.",
            _with(again, "--budget", _doubled(verdict)) if _doubled(verdict) else None,
        )
    ]


def _measured(verdict: Verdict) -> list[tuple[CandidateRow, float]]:
    """The entries that have a gain, with it."""
    return [(row, row.gain) for row in verdict.candidates if row.gain is not None]


def _doubled(verdict: Verdict) -> str:
    """Twice the time that was taken, or allowed where that is more, in whole minutes."""
    seconds = verdict.spent.seconds
    return f"{max(1, math.ceil(2 * seconds / 60))}m" if seconds else ""


def _guarded(verdict: Verdict, again: Sequence[str], rates: Mapping[str, PhaseRates]) -> list[NextStep]:
    """A third of the learning rate, where the best challenger was outside its guards; more time, where it fell behind
    what needs no training; and of a language model that forgets general text, to read such text again.
    """
    mine = next((row for row in verdict.candidates if row.entry == verdict.entry), None)
    if mine is None or mine.inside_guards:
        return []
    name = mine.objective
    if any(rival in mine.why_not for rival in _UNTRAINED):
        longer = _with(again, "--budget", _doubled(verdict)) if _doubled(verdict) else None
        return [
            _advice(f"Train {name} longer, or on more: {mine.entry} was outside its guards ({mine.why_not}).", longer)
        ]
    lower = _lower_rate(mine, rates[name]) if name in rates else None
    advice = [
        _advice(
            f"Train {name} more gently: {mine.entry} was outside its guards ({mine.why_not}).",
            _with(again, "--set", lower) if lower else None,
        )
    ]
    if verdict.task == "language_model" and "general text" in mine.why_not and not Recipe.parse(name).replay_percent:
        replay = "Or let it read general text again beside yours, of the kind that the base has read: --replay SOURCE."
        advice.append(_advice(replay, None))
    return advice


def _lower_rate(entry: CandidateRow, rates: PhaseRates) -> str:
    """A third of the learning rate, as a setting: of a curriculum that of the phase in which the entry was trained, for
    it has no settings under its whole name.
    """
    phases = Recipe.parse(entry.objective).phases
    place = len(phases) - 1 if entry.step > rates.turn else 0
    return f"objectives.{phases[place].name}.lr={rates.each[place] / 3:.1g}"


def _others(
    verdict: Verdict, skipped: Mapping[str, str], run: Path, again: Sequence[str], pretexts: Sequence[str]
) -> list[NextStep]:
    tried = {row.objective for row in verdict.candidates}
    small = [name for name, why in skipped.items() if "budget" in why]
    advice = []
    if small:
        advice.append(
            _advice(
                f"Compare {_listed(small)} too, for which the budget was too small.",
                _with(again, "--budget", _doubled(verdict)) if _doubled(verdict) else None,
            )
        )
    fresh = [name for name in pretexts if name not in {*tried, *skipped}][:2]
    if fresh:
        command = _with([word for word in again if word != "--force"], "--candidates", ",".join([*fresh, "none"]))
        beside = str(run.with_name("-".join([run.name, *fresh])))  # the run itself stays, to compare with
        advice.append(
            _advice(
                f"Try {_listed(fresh)} too, which {'was' if len(fresh) == 1 else 'were'} not among the candidates.",
                _with(shlex.split(command), "--out", beside) if command else None,
            )
        )
    return advice


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _with(again: Sequence[str], option: str, value: str | None = None) -> str | None:
    """The run's own command with an option set to a value, whatever it was set to before; `--set` adds one."""
    if not again:
        return None
    kept, skip = [], False
    for word in again:
        if skip:
            skip = False
        elif option != "--set" and word == option:
            skip = value is not None
        elif option == "--set" or not word.startswith(f"{option}="):
            kept.append(word)
    return shlex.join([*kept, option, *([value] if value is not None else [])])


def _advice(say: str, command: str | None) -> NextStep:
    return NextStep(say=say, command=command)
