"""Several runs on one page, or in short as Markdown: gains on one axis, what they cost, and which settings differ.

    render_comparison(compared(runs))           # `compared` is in report/runs.py

What may not be ranked is said first.
"""

from typing import Any

from shoptalk.report import wording
from shoptalk.report.charts import Interval, IntervalRow, interval_rows
from shoptalk.report.comparison_json import Comparison
from shoptalk.report.figures import Fact, fig, listed, named, told
from shoptalk.report.frame import Section, contents, document, sectioned
from shoptalk.report.markdown import plain_words
from shoptalk.report.markdown import table as words_table
from shoptalk.report.markup import Child, Html, el, join, note, paragraphs, table
from shoptalk.report.nouns import kept_together, units_together
from shoptalk.report.units import digits_of, level_of, units_of

__all__ = ["comparison_markdown", "render_comparison"]

_CHOICES = {"adopt": "adopt", "keep_base": "keep base", "inconclusive": "inconclusive"}
_INTERVALS = (
    "An interval is the range of gains that a run's examples leave plausible, widened for everything that this run "
    "looked at. Intervals that do not overlap tell two runs apart; those that overlap cannot."
)
_UNITS = "Accuracies are in per cent, and gains in accuracy in points; other tasks are in their own units."


def render_comparison(comparison: Comparison) -> str:
    """The comparison as one HTML page in the report's style. Everything in it is escaped."""
    top = Fact(comparison)
    sections: list[Section] = [
        ("gains", "Gains on one axis", _gains(top)),
        ("runs", "The runs side by side", _runs(top.runs)),
        ("cost", "What they cost", _costs(top.runs)),
        ("settings", "Settings that differ", _settings(top)),
    ]
    title = el("title", f"Shoptalk: {wording.how_many(top['runs'].value)} runs compared")
    above = el("p", "Shoptalk, several runs", class_="soft")
    head = el("h1", fig(wording.how_many, top.runs), " runs compared")
    main = el("main", sectioned(sections), id="evidence", tabindex="-1")
    return document(title, el("header", above, head, _findings(top.findings)), contents(sections), main, script=None)


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown that reads well unrendered too."""
    runs, kinds = comparison.runs, [run.kind for run in comparison.runs]
    rows = [
        [
            run.run,
            run.start,
            run.objective or wording.NONE,
            choice(run.choice),
            wording.signed(run.gain, digits_of(run.measure)),
            wording.interval(run.interval, digits_of(run.measure)),
            level_of(run),
            wording.duration(run.seconds),
            wording.count(run.tokens),
            wording.euros(run.euros),
            wording.count(run.texts),
            run.seed,
        ]
        for run in runs
    ]
    head = [
        "run",
        "base",
        "objective",
        "verdict",
        "gain",
        "interval",
        "adapted",
        "time",
        units_together(kinds),
        "cost",
        kept_together(kinds),
        "seed",
    ]
    differ = [[row.setting, *map(setting, row.values)] for row in comparison.settings]
    blocks = [
        f"# {len(runs)} runs compared",
        "\n".join(f"- {plain_words(wording.sentence(line))}" for line in comparison.findings),
        words_table(head, rows),
        f"{_INTERVALS} {_UNITS}",
        "## Settings that differ" if differ else "",
        words_table(["setting", *(plain_words(run.run) for run in runs)], differ) if differ else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


# --- forms --------------------------------------------------------------------------------------------------------


def choice(value: Any) -> str:
    """keep base: a verdict in a word or two."""
    return _CHOICES.get(str(value), wording.NONE)


def setting(value: Any) -> str:
    """A setting's value on one line; a dash where a run has none."""
    return wording.NONE if value is None else wording.words(value)


def run_name(value: Any) -> str:
    """A run's name, short enough to stand in a picture: its end tells more than its beginning."""
    name = wording.words(value)
    return name if len(name) <= 30 else f"…{name[-29:]}"


# --- sections -----------------------------------------------------------------------------------------------------


def _findings(findings: Fact) -> Html:
    if not findings:
        return paragraphs("These runs have nothing in common that could be compared.")
    return el("ul", *(el("li", told(finding, wording.sentence)) for finding in findings), class_="lead")


def _gains(top: Fact) -> Html:
    """All runs on one axis, those that were measured alike together: only these may be ranked."""
    runs, groups = top.runs, top.groups
    if not groups:
        return paragraphs("None of these runs has a gain: that takes labels and a trained challenger.")
    places = [place for group in groups for place in group.value]
    charts: list[Html] = []
    for metric in dict.fromkeys(runs[place].metric.value for place in places):  # no axis for two units
        alike = [runs[place] for place in places if runs[place].metric.value == metric]
        rows, ident = [_row(run) for run in alike], f"gains{'' if not charts else f'-{len(charts)}'}"
        charts.append(interval_rows(ident, "Gains of all runs", rows, top.smallest_gain, units_of(alike[0])))
    return join(_alike(runs, groups) if len(groups) > 1 else None, *charts, note(_INTERVALS))


def _alike(runs: Fact, groups: Fact) -> Html:
    """Who may be ranked with whom, in the order of the picture."""
    items = [el("li", listed([named(runs[place].run) for place in group.value])) for group in groups]
    return join(paragraphs("Rank only runs that were measured alike, which stand together here:"), el("ul", *items))


def _row(run: Fact) -> IntervalRow:
    name = fig(run_name, run.run, tag="tspan")
    return IntervalRow(name, len(run_name(run.run.value)), Interval(run.gain, run.interval))


def _runs(runs: Fact) -> Html:
    measured_in = [(run, units_of(run)) for run in runs]
    found: list[list[Child]] = [
        [
            named(run.run),
            named(run.start),
            named(run.objective) if run.objective else wording.NONE,
            fig(choice, run.choice),
            fig(units.change, run.gain),
            fig(units.ends, run.interval),
            join(fig(units.level, run.adapted), units.unit if run.adapted.number is not None else None),
        ]
        for run, units in measured_in
    ]
    measured: list[list[Child]] = [
        [
            named(run.run),
            join(fig(units.level, run.base), units.unit if run.base.number is not None else None),
            fig(wording.count, run.n_examples),
            fig(wording.count, run.n_draws),
            fig(setting, run.shots),
            fig(setting, run.seed),
        ]
        for run, units in measured_in
    ]
    return join(
        table(
            f"What was found. {_UNITS}",
            ["Run", "Base", "Objective", "Verdict", "Gain", "Interval", "Adapted"],
            found,
            words={1, 2, 3},
        ),
        table(
            "How it was measured",
            ["Run", "Base", "Examples", "Label sets", "Labels per class", "Seed"],
            measured,
        ),
    )


def _costs(runs: Fact) -> Html:
    body: list[list[Child]] = [
        [
            named(run.run),
            fig(wording.duration, run.seconds),
            fig(wording.count, run.tokens),
            fig(wording.euros, run.euros),
            fig(wording.count, run.documents),
            fig(wording.count, run.texts),
        ]
        for run in runs
    ]
    kinds = [run.kind.value for run in runs]
    return table(
        "What each run took, and how much it had to learn from",
        ["Run", "Time", f"Training {units_together(kinds)}", "Cost", "Documents", kept_together(kinds).capitalize()],
        body,
    )


def _settings(top: Fact) -> Html:
    if not top.settings:
        return paragraphs("None: the runs were asked for the same, with the same versions.")
    head: list[Child] = ["Setting", *(named(run.run) for run in top.runs)]
    body: list[list[Child]] = [
        [named(row.setting), *(fig(setting, value) for value in row.values)] for row in top.settings
    ]
    return table("Each run's value, where they differ", head, body, words=set(range(1, len(head))))
