"""Where the text came from, and what was left out of it."""

from shoptalk.report import wording
from shoptalk.report.charts import meter
from shoptalk.report.figures import Fact, fig, named, told
from shoptalk.report.markup import Child, Html, disclosure, el, join, note, paragraphs, table
from shoptalk.report.nouns import Nouns, nouns_of

_MOST_SOURCES = 8


def data(facts: Fact) -> Html:
    """The sources and the drops, both with samples."""
    kept, nouns = facts.kept, nouns_of(facts)
    said = join(
        fig(wording.count, kept.texts),
        f" {nouns.kept} from ",
        fig(wording.count, kept.documents),
        " documents were kept.",
    )
    remarks = el("ul", *(el("li", told(remark)) for remark in facts.remarks)) if facts.remarks else None
    return join(paragraphs(said), remarks, _sources(facts.sources, nouns), _drops(facts.drops))


def _sources(rows: Fact, nouns: Nouns) -> Html | None:
    if not rows:
        return None
    lines = [_source(row) for row in rows]
    samples = [
        el("li", named(row.source), *(el("blockquote", told(sample), dir="auto") for sample in row.samples))
        for row in rows
        if row.samples
    ]
    rest = lines[_MOST_SOURCES:]
    more = _sources_table("The other sources", rest, nouns)
    return join(
        _sources_table("What was learned from, the largest first", lines[:_MOST_SOURCES], nouns),
        disclosure(join("The other sources, of ", fig(wording.how_many, rows), " in all"), more) if rest else None,
        disclosure("Samples of each source", el("ul", *samples), on_paper=False) if samples else None,
    )


def _sources_table(caption: str, lines: list[list[Child]], nouns: Nouns) -> Html:
    items = nouns.kept.capitalize()
    head: list[Child] = ["Source", el("span", class_="desk"), "Share", "Documents", items, "Left out"]
    return table(caption, head, lines, words={1})


def _source(row: Fact) -> list[Child]:
    return [
        named(row.source),
        el("span", meter(row.share.number or 0.0), class_="desk"),
        fig(wording.hundred, row.share),
        fig(wording.count, row.documents),
        fig(wording.count, row.texts),
        fig(wording.count, row.dropped),
    ]


def _drops(rows: Fact) -> Html:
    if not rows:
        return paragraphs("Nothing was left out.")
    lines: list[list[Child]] = [[told(row.reason), fig(wording.count, row.count)] for row in rows]
    samples = [
        disclosure(join("Samples: ", told(row.reason)), el("ul", *(_sample(sample) for sample in row.samples)))
        for row in rows
        if row.samples
    ]
    return join(
        table("Left out, by reason", ["Reason", "How many"], lines),
        note(
            "Files, documents, passages, turns and rows count here, those of labels and tests too. What is left out is "
            "kept with its reason in the corpus's folder; nothing is lost silently."
        ),
        *samples,
    )


def _sample(sample: Fact) -> Html:
    detail = join(": ", told(sample.detail)) if sample.detail else None
    quoted = el("blockquote", told(sample.sample), dir="auto") if sample.sample else None
    return el("li", told(sample.id), detail, quoted)
