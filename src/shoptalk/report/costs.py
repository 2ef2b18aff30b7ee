"""What the run took: time, tokens, memory, money; what of it was spent on losers; forecast against fact."""

from shoptalk.report import sentences, wording
from shoptalk.report.charts import meter
from shoptalk.report.figures import Fact, fig, named, told
from shoptalk.report.markup import Child, Html, definitions, el, join, note, paragraphs, table
from shoptalk.report.nouns import TEXTS, nouns_of


def costs(facts: Fact) -> Html:
    """The account of the run."""
    cost, spent, units = facts.cost, facts.verdict.spent, nouns_of(facts).units
    known: list[tuple[Child, Child]] = [
        (term, value) for term, value in _known(cost, spent, units) if "data-reading" in value.text
    ]
    stages = _stages(cost.stages)
    return join(
        definitions(known),
        note(sentences.WASTE) if units == TEXTS.units else None,
        _forecast(spent, units),
        _shares(cost, units),
        stages if stages is not None else paragraphs("The stages of this run were not timed."),
    )


def _known(cost: Fact, spent: Fact, units: str) -> list[tuple[str, Html]]:
    known = [
        ("Time", fig(wording.duration, spent.seconds)),
        ("Cost", fig(wording.euros, spent.euros)),
        ("Peak memory", fig(wording.memory, spent.memory_bytes)),
        (f"Training {units}", fig(wording.count, spent.tokens)),
        (f"{units.capitalize()} a second", fig(wording.count, cost.tokens_per_second)),
    ]
    # Pictures are never padded.
    return [*known, ("Waste", fig(wording.hundred, cost.waste))] if units == TEXTS.units else known


def _forecast(spent: Fact, units: str) -> Html | None:
    said, ratio = spent.forecast, spent.ratio
    lines: list[list[Child]] = [
        [word, fig(told_as, said[name]), fig(told_as, spent[name]), fig(wording.ratio, ratio[name])]
        for word, name, told_as in wording.spending(units)
        if said[name].number is not None
    ]
    if not lines:
        return None
    return join(table("Forecast and fact", ["What", "Forecast", "Fact", "Ratio"], lines), note(sentences.FORECAST))


def _shares(cost: Fact, units: str) -> Html | None:
    """What each candidate took, and all losers together."""
    rows, losers = cost.candidates, cost.losers
    if not rows:
        return None
    lines = [_share(named(row.objective), row, "went on" if row.went_on.value else "lost") for row in rows]
    if losers:
        lines.append(_share(el("strong", "All that lost"), losers, ""))
    head: list[Child] = [
        "Candidate",
        el("span", class_="desk"),
        "Time",
        "Share",
        units.capitalize(),
        "What became of it",
    ]
    said = (
        "A candidate's time is that of preparing its targets and of training and measuring it. The rest of the run's "
        "time is nobody's: curating, the baseline, the verdict."
    )
    return join(table("What the candidates took", head, lines, words={1, 5}), note(said))


def _share(called: Html, row: Fact, became: str) -> list[Child]:
    return [
        called,
        el("span", meter(row.share.number or 0.0), class_="desk"),
        fig(wording.duration, row.seconds),
        fig(wording.hundred, row.share),
        fig(wording.short_count, row.tokens),
        became,
    ]


def _stages(stages: Fact) -> Html | None:
    total = sum(stage.seconds.number or 0.0 for stage in stages)
    if not total:
        return None
    lines: list[list[Child]] = []
    for stage in stages:
        lines.append(_time(el("strong", told(stage.stage)), stage, stages, total))
        lines += [_time(join("\u2013 ", told(part.part)), part, stages, total) for part in stage.parts]
    caption = join("By stage, ", fig(wording.summed_seconds, stages), " in all")
    head: list[Child] = ["Stage, and what in it was measured apart", el("span", class_="desk"), "Time", "Share"]
    return table(caption, head, lines, words={1})


def _time(called: Html, row: Fact, stages: Fact, total: float) -> list[Child]:
    """A stage or a part of one, with its share of the whole run."""
    return [
        called,
        el("span", meter((row.seconds.number or 0.0) / total), class_="desk"),
        fig(wording.duration, row.seconds),
        fig(wording.share_of_stages, row.seconds, stages),
    ]
