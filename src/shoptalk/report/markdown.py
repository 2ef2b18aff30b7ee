"""The report in short, as Markdown that reads well unrendered too."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shoptalk.report.facts_json import CostFacts, RunFacts
from shoptalk.report.markup import clean
from shoptalk.report.nouns import nouns_for
from shoptalk.report.reading import as_facts
from shoptalk.report.sentences import (
    AT_ONCE,
    FORECAST,
    GUARD,
    INTERVAL,
    INTERVAL_ON_TEST,
    NO_JUDGE,
    REPLACES,
    ROWS,
    SAME_HEAD,
    VERDICTS,
    headline,
)
from shoptalk.report.units import digits_of, judged_by, shown
from shoptalk.report.verdict_json import Share, Spent, Verdict
from shoptalk.report.wording import (
    NONE,
    biggest,
    change,
    cosine,
    count,
    cut,
    duration,
    euros,
    explained,
    gained,
    hundred,
    inside,
    interval,
    measures,
    moment,
    number,
    outcome,
    percent,
    plain,
    ratio,
    short_hash,
    shots,
    signed,
    spending,
    whole_hundred,
)

__all__ = ["render_markdown"]

_TEXTS = 3
_CLASSES = 5
_SOURCES = 10


def render_markdown(facts: RunFacts | Mapping[str, Any]) -> str:
    """The report's facts in short, as Markdown that reads well unrendered too; it raises as `page.render` does."""
    facts = as_facts(facts)
    verdict = facts.verdict
    blocks = [
        f"# {headline(verdict.choice, unproven=verdict.served_unproven)}",
        f"Run {plain_words(facts.run or NONE)}, {plain_words(moment(facts.created))}",
        plain_words(verdict.sentence),
        _md_asked(verdict),
        _md_ladder(verdict),
        plain_words(verdict.heads.sentence) if verdict.heads else "",
        *(block(facts) for block in _BLOCKS),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain_words(text: Any) -> str:
    """User's text on one line that Markdown takes literally."""
    flat = " ".join(clean(text).split())
    flat = re.sub(r"([\\`*\[\]<>|#~&])", r"\\\1", flat)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", flat)


def table(head: Sequence[str], body: Sequence[Sequence[Any]], *, words_last: bool = False) -> str:
    """A table of numbers whose first column, and with `words_last` also the last, holds words. Cells are escaped."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    if words_last:
        rule[-1] = "---"
    lines = [head, rule, *([plain_words(cell) for cell in row] for row in body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _md_asked(verdict: Verdict) -> str:
    """What came of asking a person, or how many answers would settle it."""
    asked = verdict.asked
    if asked is None:
        if not verdict.answers_needed:
            return ""
        return f"About {verdict.answers_needed:,} answers of a person would settle it (`shoptalk ask`)."
    what = "Open after" if asked.choice == "inconclusive" else "Settled by"
    ends = f"{interval(asked.interval)} points on messages to come"
    return f"{what} {asked.asked:,} answers: {ends}; the labels alone said: {VERDICTS[asked.before]}."


def _md_ladder(verdict: Verdict) -> str:
    """The steps that were measured, and what those that are adopted bring in all."""
    if len(verdict.ladder) < 2:
        return ""
    digits, adopted = digits_of(verdict.measure), True
    body = []
    for step in verdict.ladder:
        level = shown(step.value, verdict.measure)
        gains = ("", "") if step.gain is None else (signed(step.gain, digits), interval(step.interval, digits))
        body.append((step.step, level, *gains, "" if adopted else "measured, not adopted"))
        adopted = adopted and (verdict.in_all is None or step.step != verdict.in_all.step)
    whole = verdict.in_all
    if whole is not None and whole.gain is not None:
        body.append(("in all", "", signed(whole.gain, digits), interval(whole.interval, digits), ""))
    unit = verdict.measure.difference if verdict.measure else "points"
    head = ["step", *map(plain_words, (verdict.metric or "", f"gain in {unit}")), "interval", ""]
    return f"{table(head, body, words_last=True)}\n\n{AT_ONCE}"


def _md_entries(facts: RunFacts) -> str:
    verdict, title = facts.verdict, "## Everything that was tried"
    if not verdict.candidates:
        return f"{title}\n\nNothing was trained, so there is nothing to compare."
    if not gained(verdict):
        return f"{title}\n\n{NO_JUDGE}\n\n" + table(
            ["entry", "forgetting", "outcome"],
            [(row.entry, signed(row.forgetting), outcome(row, verdict)) for row in verdict.candidates],
            words_last=True,
        )
    digits = digits_of(verdict.measure)
    body = [
        (
            row.entry,
            signed(row.gain, digits),
            interval(row.interval, digits),
            signed(row.forgetting),
            outcome(row, verdict),
        )
        for row in verdict.candidates
    ]
    sentence = (
        INTERVAL_ON_TEST if verdict.on_test else INTERVAL.format(examples=plain_words(judged_by(verdict.measure)))
    )
    if verdict.heads:
        sentence += f" {SAME_HEAD}"
    return f"{title}\n\n{sentence}\n\n" + table(
        ["entry", "gain", "interval", "forgetting", "outcome"], body, words_last=True
    )


def _md_gains(facts: RunFacts) -> str:
    body = [
        (
            row.task if row.shots is None else f"{row.task}, {shots(row.shots)}",
            row.measure,
            *((percent if row.unit == "%" else plain)(level) for level in (row.base, row.adapted)),
            signed(row.gain),
            interval(row.interval),
        )
        for row in facts.gains
    ]
    if not body:
        return ""
    sentence = plain_words(facts.gains_note or ROWS)
    head = ["task", "measure", "base", "adapted", "gain", "interval"]
    return f"## Gains per task and number of labels\n\n{sentence}\n\n{table(head, body)}"


def _md_traffic(facts: RunFacts) -> str:
    shares = facts.traffic
    if shares is None:
        return ""
    sentence = plain_words(shares.sentence)
    if not shares.differs:
        return f"## Labels and traffic\n\n{sentence}"
    body = [
        (
            row.label,
            hundred(row.labels),
            hundred(row.traffic),
            f"{hundred(row.interval[0])} to {hundred(row.interval[1])}",
        )
        for row in shares.classes[:_CLASSES]
    ]
    return f"## Labels and traffic\n\n{sentence}\n\n" + table(["class", "of labels", "of traffic", "interval"], body)


def _md_changed(facts: RunFacts) -> str:
    changed, nouns = facts.changed, nouns_for(facts.kind)
    if changed is None or not (changed.gained or changed.lost):
        return ""
    body = [
        (
            side,
            cut(" ".join(clean(row.text).split()), 80),
            row.label,
            f"{row.base} ({whole_hundred(row.base_share)})",
            f"{row.adapted} ({whole_hundred(row.adapted_share)})",
        )
        for side, rows in (("gained", changed.gained), ("lost", changed.lost))
        for row in rows[:_TEXTS]
    ]
    sentence = (
        f"{count(changed.n_gained)} labelled {nouns.many} are answered rightly more often than by the base, "
        f"{count(changed.n_lost)} less often. In brackets: the share of draws that were right."
    )
    head = ["", nouns.one, "label", "base says", "adapted says"]
    return f"## {nouns.many.capitalize()} that changed sides\n\n{sentence}\n\n{table(head, body, words_last=True)}"


def _md_dose(facts: RunFacts) -> str:
    if facts.dose is None:
        return ""
    curves = facts.dose.curves
    measured = [curves.tokens, curves.texts, *([curves.labels] if curves.labels else [])]
    return "## How much is enough\n\n" + "\n".join(f"- {plain_words(curve.sentence)}" for curve in measured)


def _md_model(facts: RunFacts) -> str:
    median = facts.moved.quantiles.get("0.5") if facts.moved else None
    sentence = [f"{plain_words(layer.name)} {change(layer.change)}" for layer in facts.layers]
    parts = [f"Change of the weights: {', '.join(sentence)}." if sentence else ""]
    parts.append(
        f"Median cosine between a {nouns_for(facts.kind).one}'s vector before and after: {cosine(median)}."
        if median
        else ""
    )
    return "\n\n".join(filter(None, ["## What changed in the model", *parts])) if any(parts) else ""


def _md_classes(facts: RunFacts) -> str:
    gains, losses = biggest(facts.per_class, 5)
    if not gains and not losses:
        return ""
    body = [
        (row.label, count(row.n), percent(row.base), percent(row.adapted), signed(row.gain))
        for row in [*gains, *reversed(losses)]
    ]
    return "## Classes that changed most\n\n" + table(
        ["class", nouns_for(facts.kind).asked, "base", "adapted", "gain"], body
    )


def _md_label_free(facts: RunFacts) -> str:
    names = measures(facts.label_free)
    if not names:
        return ""
    body = [(row.entry, *(plain(row.values.get(name)) for name in names)) for row in facts.label_free]
    sentence = " ".join(explained(names))
    return "\n\n".join(
        [
            "## Measures without labels",
            *([sentence] if sentence else []),
            table(["entry", *map(plain_words, names)], body),
        ]
    )


def _md_guards(facts: RunFacts) -> str:
    body = [
        (
            f"{row.name}, {row.entry}{'' if row.unit == 'points' else f', in {row.unit}'}",
            *(signed(number, 2 if row.unit == "points" else 3) for number in (row.change, row.limit)),
            inside(row.inside),
        )
        for row in facts.guards
    ]
    return (
        f"## Guards\n\n{GUARD}\n\n" + table(["guard", "value", "limit", "inside"], body, words_last=True)
        if body
        else ""
    )


def _md_cost(facts: RunFacts) -> str:
    cost, spent, units = facts.cost, facts.verdict.spent, nouns_for(facts.kind).units
    forecast = _forecast_rows(spent, units)
    stages = [
        (name, duration(seconds))
        for row in cost.stages
        for name, seconds in [(row.stage, row.seconds), *((f"\u2013 {part.part}", part.seconds) for part in row.parts)]
    ]
    sentence = f"{duration(cost.seconds)} and {count(cost.tokens)} training {units}."
    if spent.euros is not None and not forecast:
        sentence += f" {euros(spent.euros)}."
    blocks = [
        f"## Cost\n\n{sentence}",
        f"{FORECAST}\n\n" + table(["what", "forecast", "fact", "ratio"], forecast) if forecast else "",
        table(["candidate", "time", "share", units, "outcome"], _shares(cost), words_last=True)
        if cost.candidates
        else "",
        table(["stage", "time"], stages) if stages else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _shares(cost: CostFacts) -> list[tuple[str, str, str, str, str]]:
    """What each candidate took, and all that lost together."""
    every: list[tuple[str, Share, str]] = [
        (row.objective, row, "went on" if row.went_on else "lost") for row in cost.candidates
    ]
    every.append(("all that lost", cost.losers, ""))
    return [(name, duration(row.seconds), hundred(row.share), count(row.tokens), became) for name, row, became in every]


def _forecast_rows(spent: Spent, units: str) -> list[tuple[str, str, str, str]]:
    """What was forecast, what it was, and their ratio, for everything that has a forecast."""
    if spent.forecast is None:
        return []
    forecast, ratios = spent.forecast.model_dump(), spent.ratio or {}
    fact = spent.model_dump()
    return [
        (word, told(forecast[name]), told(fact[name]), ratio(ratios.get(name)))
        for word, name, told in spending(units)
        if number(forecast[name]) is not None
    ]


def _md_data(facts: RunFacts) -> str:
    kept, dropped = facts.kept, [(row.reason, count(row.count)) for row in facts.drops]
    nouns = nouns_for(facts.kind)
    sources = [
        (row.source, hundred(row.share), count(row.documents), count(row.texts)) for row in facts.sources[:_SOURCES]
    ]
    blocks = [
        f"Kept: {count(kept.texts)} {nouns.kept} from {count(kept.documents)} documents.",
        table(["source", "share", "documents", nouns.kept], sources) if sources else "",
        table(["left out because", "how many files, documents, turns or rows"], dropped) if dropped else "",
    ]
    return "\n\n".join(filter(None, ["## Data", *blocks]))


def _md_trace(facts: RunFacts) -> str:
    body = [(node.id, short_hash(node.hash), node.says) for node in facts.trace.nodes]
    if not body:
        return ""
    return "## Artifacts\n\n" + table(["artifact", "hash begins", "what it is"], body, words_last=True)


def _md_again(facts: RunFacts) -> str:
    command = clean(facts.reproduce.command).strip()
    return f"## Again\n\n{_fenced(command)}" if command else ""


def _md_next(facts: RunFacts) -> str:
    steps = [
        f"{place}. {plain_words(step.say)}" + (f"\n\n{_fenced(clean(step.command).strip())}\n" if step.command else "")
        for place, step in enumerate(facts.next, start=1)
    ]
    if any(step.command and "--force" in step.command.split() for step in facts.next):
        steps.append(f"\n{REPLACES}")
    return "## What to try next\n\n" + "\n".join(steps).rstrip() if steps else ""


def _fenced(command: str) -> str:
    """A command as a code block that nothing in it can end."""
    longest = max((len(ticks) for ticks in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{command}\n{fence}"


_BLOCKS = (
    _md_gains,
    _md_entries,
    _md_classes,
    _md_traffic,
    _md_changed,
    _md_dose,
    _md_guards,
    _md_cost,
    _md_label_free,
    _md_data,
    _md_model,
    _md_trace,
    _md_again,
    _md_next,
)
