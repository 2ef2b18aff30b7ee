"""The first screen: what was decided, what was tried, how sure it is, what it cost."""

from shoptalk.report import sentences, wording
from shoptalk.report.charts import Interval, interval_picture
from shoptalk.report.figures import Fact, fig, keyed, listed, named, told
from shoptalk.report.markup import Child, Html, definitions, el, join, paragraphs
from shoptalk.report.nouns import nouns_of
from shoptalk.report.staircase import ladder_picture
from shoptalk.report.units import ACCURACY, Units, units_of

_SIGNS = {"adopt": "✓", "keep_base": "=", "inconclusive": "?"}


def verdict(facts: Fact) -> Html:
    """The verdict, its sentence, and four answers."""
    decision = facts.verdict
    choice, created = decision.choice.value, facts.created
    when = el("time", told(created, wording.moment), datetime=created.value)
    above = el("p", "Shoptalk report of ", told(facts.run) if facts.run else "a run", ", ", when)
    sign = el("span", _SIGNS[choice], class_="sign", aria_hidden="true")
    head = el("h1", sign, _headline(decision), class_=choice)
    lead = el("p", told(decision.sentence, wording.sentence), class_="lead")
    return join(el("div", above, class_="soft"), head, lead, _picture(facts), _answers(facts))


def _headline(decision: Fact) -> str:
    return sentences.headline(decision.choice.value, unproven=decision.served_unproven.value)


def _picture(facts: Fact) -> Html:
    decision = facts.verdict
    staircase = ladder_picture(decision)
    if staircase is not None:
        return staircase
    one = Interval(decision.gain, decision.interval)
    if not decision.candidates:
        return paragraphs("Nothing was trained that could be compared with the base model.")
    if one.known is None:
        measured = " What can be said without one is under “Measures that need no labels”."
        return paragraphs(f"{sentences.NO_JUDGE}{measured if wording.measures(facts.label_free.value) else ''}")
    return interval_picture(one, decision.smallest_gain, units_of(decision))


def _answers(facts: Fact) -> Html:
    decision = facts.verdict
    return definitions(
        [
            ("What was tried", _tried(facts)),
            ("Ship it?", _ship(facts, decision)),
            ("How sure", _sure(decision)),
            *([("What people answered", _answered(decision))] if decision.asked else []),
            ("What it cost", _cost(facts)),
        ],
        class_="answers",
    )


def _answer(short: Child, *more: Child) -> Html:
    return join(el("span", short, class_="short"), el("small", *more))


def _tried(facts: Fact) -> Html:
    decision = facts.verdict
    entries = decision.candidates
    if not entries:
        why = "No candidate came as far as being measured." if facts.skipped else "No candidate was named."
        return _answer("Nothing", why)
    first: dict[str, Fact] = {}
    for entry in entries:
        first.setdefault(entry.objective.value, entry.objective)
    best = decision.objective.value
    others = [named(place) for name, place in first.items() if name != best]
    more: list[Child] = [named(decision.objective), " came furthest"] if decision.objective else []
    more += [", against ", listed(others)] if others else []
    many = " checkpoints measured, named" if len(entries) > 1 else " checkpoint measured, named"
    more += ["; ", fig(wording.how_many, entries), many, " by training steps"]
    left = [keyed(why) for _, why in facts.skipped.items()]
    more += ["; left out beforehand: ", listed(left)] if left else []
    kinds = "kind of training" if len(first) == 1 else "kinds of training"
    return _answer(join(fig(wording.candidates_tried, entries), f" {kinds}"), *more)


def _ship(facts: Fact, decision: Fact) -> Html:
    choice, needed, unproven = decision.choice.value, decision.labels_needed, decision.served_unproven.value
    do, folder = ("Use", "model") if facts.kind.value == "lm" else ("Serve", "encoder")
    if choice == "adopt":
        return _answer("Yes", f"{do} the folder “{folder}”: it holds ", named(decision.entry), ".")
    more: list[Child] = [_stay(decision)]
    if unproven:
        more = [f"As you asked, the folder “{folder}” holds ", named(decision.entry), ", though it was not adopted."]
    if choice == "keep_base":
        return _answer("Served unproven" if unproven else "No", *more)
    units = units_of(decision)
    what = "labels" if units is ACCURACY else units.examples.lower()
    if needed.number is not None and not wording.gained(decision.value):
        more += [" About ", fig(wording.count, needed), f" {what} would measure it."]
    elif needed.number is not None:
        more += [" About ", fig(wording.count, needed), f" {what} in all would settle it"]
        if decision.answers_needed.number:
            more += [", or about ", fig(wording.count, decision.answers_needed), " answers of a person (shoptalk ask)"]
        more.append(", if the gain is as large as said above.")
    return _answer("Served unproven" if unproven else "Not yet", *more)


def _answered(decision: Fact) -> Html:
    """What came of asking a person, beside what the labels alone had decided."""
    asked = decision.asked
    settled = asked.choice.value != "inconclusive"
    before = sentences.VERDICTS[asked.before.value]
    short: list[Child] = ["Settled by " if settled else "Open after ", fig(wording.count, asked.asked), " answers"]
    ends = join(fig(wording.interval, asked.interval), " points on messages to come")
    return _answer(join(*short), ends, f"; the labels alone said: {before}")


def _stay(decision: Fact) -> str:
    """What is served instead of the challenger, and what is known of it."""
    if said := sentences.of_kept_base(decision.value.told()):
        return said[:1].upper() + said[1:]
    under = (
        " The folder “head” has the best head for it."
        if decision.heads and decision.in_all.gain.value is not None
        else ""
    )
    return f"Stay with the base model.{under}"


def _sure(decision: Fact) -> Html:
    one = Interval(decision.gain, decision.interval)
    if one.known is None or not decision.candidates:
        return _answer("Not measured", "A gain needs a trained model and something to judge it by.")
    kind = join(fig(wording.confidence, decision.confidence), " interval") if decision.confidence.number else "Interval"
    units = units_of(decision)
    who = join("; ", fig(wording.count, decision.n_examples), f" {units.examples.lower()}")
    gained = join(fig(units.ends, decision.interval), f" {units.difference}")
    return _answer(gained, kind, " of what training adds: ", _where(one, decision.smallest_gain, units), who)


def _where(one: Interval, smallest: Fact, units: Units) -> Html:
    """Where the interval lies, against no gain and against the smallest gain worth having."""
    _, low, high = one.known or (0.0, 0.0, 0.0)
    worth = smallest.number
    if worth is None:
        return join("all above no gain" if low > 0 else "all below no gain" if high < 0 else "it holds no gain")
    least = join("the ", fig(units.change, smallest), " worth having")
    if low > worth:
        return join("all of it above ", least)
    if high < worth:
        return join("all of it below ", least)
    if low > 0:
        return join("above no gain, but not all above ", least)
    return join("it reaches from a loss to more than ", least)


def _cost(facts: Fact) -> Html:
    spent = facts.verdict.spent
    more: list[Child] = []
    if spent.euros.number is not None:
        more += [fig(wording.euros, spent.euros), ", "]
    more += [fig(wording.short_count, spent.tokens), f" training {nouns_of(facts).units}"]
    losers = facts.cost.losers.share
    if losers.number:
        more += ["; ", fig(wording.whole_hundred, losers), " of the time went to candidates that did not go on"]
    return _answer(fig(wording.duration, spent.seconds), *more)
