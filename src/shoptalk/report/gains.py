"""The gain per task and number of labels, and everything that was tried."""

from shoptalk.report import sentences, wording
from shoptalk.report.charts import (
    Axis,
    Interval,
    IntervalRow,
    interval_picture,
    interval_rows,
    make_axis,
    small_interval,
    span_of,
)
from shoptalk.report.figures import Fact, fig, keyed, named, told
from shoptalk.report.markup import (
    Child,
    Html,
    definitions,
    disclosure,
    el,
    join,
    note,
    paragraphs,
    table,
)
from shoptalk.report.nouns import nouns_of
from shoptalk.report.units import ACCURACY, Units, judged_by, units_of


def gains(facts: Fact) -> Html | None:
    """The verdict's gain in full, and those of every task and number of labels on one axis; None where no gain was
    measured, which the first screen says.
    """
    decision = facts.verdict
    if not wording.gained(decision.value):
        return None
    rows = _rows(facts.gains, decision.smallest_gain, facts.gains_note)
    return join(_verdicts(decision), _bases(decision), rows)


def _verdicts(decision: Fact) -> Html:
    metric, sure, units = told(decision.metric), decision.confidence, units_of(decision)
    pairs: list[tuple[Child, Child]] = [
        ("Gain by training", join(fig(units.change, decision.gain), f" {units.difference}")),
        (join(fig(wording.confidence, sure), " interval"), fig(units.ends, decision.interval)),
        (join("Base, ", metric), join(fig(units.level, decision.base), units.unit)),
        (join("Adapted, ", metric), join(fig(units.level, decision.adapted), units.unit)),
        (units.examples, fig(wording.count, decision.n_examples)),
    ]
    if decision.labels_needed.number is not None:
        pairs.append(
            (
                f"{'Labels' if units is ACCURACY else units.examples} to settle it",
                join("about ", fig(wording.count, decision.labels_needed)),
            )
        )
    draws: Child = None
    if decision.n_draws.number and decision.shots.number:
        draws = join(
            " Averages over ",
            fig(wording.count, decision.n_draws),
            " random sets of ",
            fig(wording.count, decision.shots),
            " labels per class.",
        )
    elif decision.n_draws.number and decision.n_draws.number > 1:
        splits = " random splits of the labels: heads learn from four fifths and answer the rest."
        draws = join(" Averages over ", fig(wording.count, decision.n_draws), splits)
    heads = decision.heads.sentence
    # Where the ladder stands on the first screen, this stands here.
    one = Interval(decision.gain, decision.interval)
    drawn = interval_picture(one, decision.smallest_gain, units) if len(decision.ladder) > 1 and one.known else None
    interval = sentences.INTERVAL.format(examples=judged_by(decision.value.measure))
    return join(
        definitions(pairs),
        drawn,
        *(note(said) for said in wording.explained([decision.value.metric or ""])),
        note(sentences.INTERVAL_ON_TEST if decision.on_test.value else interval, draws),
        note(told(heads, wording.sentence)) if heads else None,
    )


def _bases(decision: Fact) -> Html | None:
    """What each of several bases brings as it is, beside what using it takes."""
    units, one = units_of(decision), decision.measure.one.value or "message"
    lines: list[list[Child]] = [
        [
            el("strong", named(base.base)) if base.best.value else named(base.base),
            told(base.head),
            join(fig(units.level, base["value"]), units.unit),
            fig(units.change, base.gain),
            fig(units.ends, base.interval),
            join(fig(wording.places_1, base.ms_per_message), " ms") if base.ms_per_message.value else None,
            join(fig(wording.count, base.megabytes), " MB") if base.megabytes.value else None,
        ]
        for base in decision.bases
    ]
    if not lines:
        return None
    head: list[Child] = ["Base", "Head", join(told(decision.metric)), "Gain", "Interval", f"A {one}", "Weights"]
    return join(
        table("The bases as they are, and their price", head, lines, words={1}), note(sentences.BASES.format(one=one))
    )


def _rows(rows: Fact, smallest: Fact, said: Fact) -> Html | None:
    known = [row for row in rows if Interval(row.gain, row.interval).known is not None]
    if not known:
        return None
    chart = interval_rows(
        "gains",
        "Gains per task and number of labels",
        [
            IntervalRow(_row_name(row, "tspan"), len(_plain_name(row)), Interval(row.gain, row.interval))
            for row in known
        ],
        smallest,
    )
    head: list[Child] = ["Task", "Measure", "Base", "Adapted", "Gain", "Interval", "Tested"]
    cells: list[list[Child]] = [
        [
            _row_name(row),
            told(row.measure),
            fig(wording.percent if row.unit.value == "%" else wording.plain_value, row.base),
            fig(wording.percent if row.unit.value == "%" else wording.plain_value, row.adapted),
            fig(wording.signed, row.gain),
            fig(wording.interval, row.interval),
            fig(wording.count, row.n),
        ]
        for row in known
    ]
    return join(
        chart,
        note(told(said, wording.sentence) if said else sentences.ROWS),
        disclosure("The numbers of this picture", table("Gains in points", head, cells, words={1})),
    )


def _row_name(row: Fact, tag: str = "span") -> Html:
    shots = row.shots
    task = fig(wording.words, row.task, tag=tag)
    return task if shots.value is None else join(task, ", ", fig(wording.shots, shots, tag=tag))


def _plain_name(row: Fact) -> str:
    shots = row.shots.value
    return wording.words(row.task.value) + ("" if shots is None else f", {wording.shots(shots)}")


# --- everything that was tried ------------------------------------------------------------------------------------


def entries(facts: Fact) -> Html | None:
    """The menu: each entry with its gain, its forgetting, and what became of it; and what was left out of it."""
    decision = facts.verdict
    menu = decision.candidates
    if not menu:
        return join(paragraphs("Nothing was trained, so there is nothing to compare."), _skipped(facts))
    labelled = wording.gained(decision.value)
    scale = _common_scale(menu)
    drawn = [el("span", "Picture", class_="desk")] if scale is not None else []
    measured: list[Child] = ["Gain, interval", *drawn, el("span", "Adapted", class_="desk")] if labelled else []
    head: list[Child] = ["Entry", *measured, "Forgetting, guards", "Outcome"]
    units, counted = units_of(decision), nouns_of(facts).units
    cells = [_entry(entry, decision, labelled, scale, units, counted) for entry in menu]
    words = {len(head) - 1} | ({2} if drawn else set())
    caption = join("The menu: ", fig(wording.how_many, menu), f" entries, differences in {units.difference}")
    return join(
        paragraphs(sentences.ENTRY),
        note(sentences.SAME_HEAD) if decision.heads else None,
        note(sentences.SHORT_LOOKS) if facts.kind.value == "lm" else None,
        table(caption, head, cells, words=words),
        _skipped(facts),
    )


def _common_scale(menu: Fact) -> Axis | None:
    """One axis for the small pictures of all rows, where there is an interval to draw."""
    known = [one for one in (Interval(entry.gain, entry.interval) for entry in menu) if one.known is not None]
    return make_axis(*span_of(known), 6, 104, widen=False) if known else None


def _entry(entry: Fact, decision: Fact, labelled: bool, scale: Axis | None, units: Units, counted: str) -> list[Child]:
    seen: list[Child] = [fig(wording.count, entry.step), " steps, "]
    seen += [fig(wording.short_count, entry.tokens), f" {counted}"] if entry.tokens.number else []
    called = named(entry.entry)
    if entry.entry.value == decision.entry.value:
        called = el("strong", called)
    cells: list[Child] = [join(called, el("small", *seen))]
    if labelled:
        one = Interval(entry.gain, entry.interval)
        cells.append(join(fig(units.change, one.gain), " ", el("small", fig(units.ends, one.ends))))
        if scale is not None:
            cells.append(el("span", small_interval(one, scale), class_="desk"))
        cells.append(el("span", fig(units.level, entry.adapted), units.unit, class_="desk"))
    guards = wording.inside(entry.inside_guards.value)
    return [*cells, join(fig(wording.signed, entry.forgetting), " ", el("small", guards)), _outcome(entry, decision)]


def _outcome(entry: Fact, decision: Fact) -> Html:
    became = wording.became(entry.value, decision.value)
    why = told(entry.why_not, wording.sentence) if entry.why_not.value.strip() else None
    return join(became, ": " if became and why else None, why) if became or why else join(wording.NONE)


def _skipped(facts: Fact) -> Html | None:
    """Candidates that were left out before training, with the reason."""
    left = facts.skipped.items()
    if not left:
        return None
    lines = (el("li", keyed(why), ": ", told(why, wording.sentence)) for _, why in left)
    return join(paragraphs("Left out before training:"), el("ul", *lines))
