"""The first two sentences of a verdict: what the user's text brought in all, and whether training was part of it."""

from collections.abc import Sequence

from shoptalk.config.settings import UNTRAINED
from shoptalk.decide.adoption import Ruling
from shoptalk.decide.ladder import ADAPTED, ANOTHER_BASE, NAMES, UNLABELLED, Ladder, Rise
from shoptalk.records import Measure


def brought(
    ladder: Ladder,
    ruling: Ruling,
    *,
    candidate: str | None,
    guarded: bool = False,
    on_test: bool = False,
    base: str | None = None,
) -> str:
    """Two sentences, for someone who reads no further.

    `candidate` is what the best challenger was trained with, None where nothing was trained; `guarded` is whether it
    left its guards. The second sentence has the interval that the ruling rests on, which may be that of a test.
    `base` is the name of the best base; where that needs no training, is kept, and is surely better, using it comes
    first.
    """
    rises = ladder.rises[: ladder.shipped]
    counted = [step for step, rise in zip(ladder.steps[1:], rises, strict=False) if rise.gain != 0]
    training = _by_training(ladder, ruling, counted, candidate=candidate, guarded=guarded, on_test=on_test)
    in_all = _in_all(ladder, counted)
    untrained = base is not None and base.partition("@")[0] in UNTRAINED
    if untrained and ladder.proven and ANOTHER_BASE in counted and ADAPTED not in counted:
        plain = in_all.removeprefix("On another base")
        in_all = f"Use {base}, which needs no training{'. ' if plain == in_all else ': on it'}{plain}"
    return f"{in_all} {training}"


def _in_all(ladder: Ladder, counted: Sequence[str]) -> str:
    """What the steps that are counted, and changed anything, brought together."""
    measure, rise, level = ladder.measure, ladder.in_all, ladder.level
    if rise is None or not counted:
        standing = f"{measure.name} {measure.shown(level[0])}"
        brings = "brings" if _singular(measure) else "bring"
        return (
            f"The base model stays as it is ({standing}): nothing that your {measure.unlabelled} {brings} is adopted."
        )
    finding = measure.finding.format(adapted=measure.shown(level[ladder.shipped]), base=measure.shown(level[0]))
    before, after = _parts(counted, measure, led=_led_by_base(ladder))
    better = "less is better: a gain of " if measure.lower_is_better else ""
    gain = (
        f"{better}{measure.change(rise.gain)} {measure.difference}, 95 % interval {_ends(rise.low, rise.high, measure)}"
    )
    return f"{before} {measure.who} {finding} {after} ({gain}){_certainty(rise)}."


def _singular(measure: Measure) -> bool:
    """Whether what is learned from is spoken of as one: text, and not pictures."""
    return measure.unlabelled == "text"


def _led_by_base(ladder: Ladder) -> bool:
    """Whether another base brought more than all else that is counted together."""
    gains = [(step, rise.gain) for step, rise in zip(ladder.steps[1:], ladder.rises[: ladder.shipped], strict=False)]
    by_base = sum(gain for step, gain in gains if step == ANOTHER_BASE)
    return by_base > sum(gain for step, gain in gains if step != ANOTHER_BASE)


def _parts(counted: Sequence[str], measure: Measure, *, led: bool) -> tuple[str, str]:
    """With what, and without what; first what brought more (`led`: another base). An encoder is trained on unlabelled
    text, and takes the place of other bases.
    """
    unlabelled = f"unlabelled {measure.unlabelled}"
    text = {NAMES: "labels' names", UNLABELLED: unlabelled, ADAPTED: unlabelled}
    kinds = dict.fromkeys(text[step] for step in counted if step in text)
    with_another = ANOTHER_BASE in counted and ADAPTED not in counted
    if not kinds:
        return "On another base", "on the first"
    if with_another and led:
        return f"On another base, and with your {' and '.join(kinds)},", "on the first, without any of it"
    if with_another:
        return f"With your {' and '.join(kinds)}, and on another base,", "without any of it"
    alone = list(kinds) == [unlabelled]
    return f"With your {' and '.join(kinds)}", "without it" if alone and _singular(measure) else "without them"


def _certainty(rise: Rise) -> str:
    if rise.high < 0:
        return ", a loss"
    return "" if rise.low > 0 else ", which may be chance"


def _by_training(
    ladder: Ladder, ruling: Ruling, counted: Sequence[str], *, candidate: str | None, guarded: bool, on_test: bool
) -> str:
    """Whether training was part of what is shipped, with its own gain."""
    if candidate is None or ruling.gain is None or ruling.interval is None:
        return f"No {ladder.measure.trained} was trained."
    measure = ladder.measure
    training = f"{'On the test, t' if on_test else 'T'}raining the {measure.trained} with {candidate}"
    low, high = ruling.interval
    gain = f"{measure.change(ruling.gain)} {measure.difference} ({_ends(low, high, measure)})"
    # Of what is better when it is less, a change with a plus sign would read as a loss.
    changed, change = (
        ("brought a gain of", "bring a gain of")
        if measure.lower_is_better
        else ("changed the result by", "change the result by")
    )
    if measure.lower_is_better and high < 0:
        changed = change = "cost"
        loss, least, most = (measure.change(-value).removeprefix("+") for value in (ruling.gain, high, low))
        gain = f"{loss} {measure.difference} ({least} to {most})"
    if ruling.decision.choice == "adopt":
        if counted == [ADAPTED] and not on_test:
            return f"All of that is training the {measure.trained} with {candidate}."
        return f"{training} was part of that: {gain}."
    if guarded:
        no_part = "would" if not counted else "was no part of that: it would"
        return f"{training} {no_part} {change} {gain}, and be outside its guards."
    if not counted:
        return f"{training} {changed} {gain}."
    if ANOTHER_BASE in counted:  # which is what it is held against, and may be far ahead of the base that was trained
        against = "On the test, against" if on_test else "Against"
        yet = " yet" if ruling.decision.choice == "inconclusive" and low > 0 else ""
        return f"{against} that base, what was trained with {candidate} {changed} {gain}, and is no part of that{yet}."
    part = "no part of that"
    if ruling.decision.choice == "inconclusive":
        part = "no part of that yet" if low > 0 else "no proven part of that"
    return f"{training} was {part}: it {changed} {gain}."


def _ends(low: float, high: float, measure: Measure) -> str:
    return f"{measure.change(low)} to {measure.change(high)}"
