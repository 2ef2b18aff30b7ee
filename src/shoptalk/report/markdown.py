"""The report in short, as Markdown that reads well unrendered too."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shoptalk.report.markup import clean
from shoptalk.report.sentences import (
    FORECAST,
    GUARD,
    INTERVAL,
    INTERVAL_ON_TEST,
    NO_LABELS,
    ROWS,
    SAME_HEAD,
    VERDICTS,
)
from shoptalk.report.wording import (
    NONE,
    SPENDING,
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
    part,
    percent,
    plain,
    ratio,
    rows,
    short_hash,
    shots,
    signed,
    whole_hundred,
)

__all__ = ["render_markdown"]

_TEXTS = 3
_SOURCES = 10


def render_markdown(facts: Mapping[str, Any]) -> str:
    """The report's facts in short, as Markdown that reads well unrendered too. Raises nothing on missing parts."""
    verdict = part(facts, "verdict")
    blocks = [
        f"# {VERDICTS.get(str(verdict.get('choice')), 'No verdict')}",
        f"Run {plain_words(facts.get('run') or NONE)}, {plain_words(moment(facts.get('created') or 'date unknown'))}",
        plain_words(verdict.get("sentence") or "This run has not come to a verdict yet."),
        plain_words(part(verdict, "heads").get("sentence") or ""),
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


def _md_entries(facts: Mapping[str, Any]) -> str:
    verdict, title = part(facts, "verdict"), "## Everything that was tried"
    entries = rows(verdict, "candidates")
    if not entries:
        return f"{title}\n\nNothing was trained, so there is nothing to compare."
    if not gained(facts):
        return f"{title}\n\n{NO_LABELS}\n\n" + table(
            ["entry", "forgetting", "outcome"],
            [(row["entry"], signed(row.get("forgetting")), outcome(row, verdict)) for row in entries],
            words_last=True,
        )
    body = [
        (
            row["entry"],
            signed(row.get("gain")),
            interval(row.get("interval")),
            signed(row.get("forgetting")),
            outcome(row, verdict),
        )
        for row in entries
    ]
    said = INTERVAL_ON_TEST if verdict.get("on_test") else INTERVAL
    if verdict.get("heads"):
        said += f" {SAME_HEAD}"
    return f"{title}\n\n{said}\n\n" + table(
        ["entry", "gain", "interval", "forgetting", "outcome"], body, words_last=True
    )


def _md_gains(facts: Mapping[str, Any]) -> str:
    body = [
        (
            row["task"] if row.get("shots") is None else f"{row['task']}, {shots(row['shots'])}",
            row.get("measure"),
            plain(row.get("base")),
            plain(row.get("adapted")),
            signed(row.get("gain")),
            interval(row.get("interval")),
        )
        for row in rows(facts, "gains")
    ]
    if not body:
        return ""
    said = plain_words(facts.get("gains_note") or ROWS)
    head = ["task", "measure", "base", "adapted", "gain", "interval"]
    return f"## Gains per task and number of labels\n\n{said}\n\n{table(head, body)}"


def _md_changed(facts: Mapping[str, Any]) -> str:
    changed = part(facts, "changed")
    body = [
        (
            side,
            cut(" ".join(clean(row["text"]).split()), 80),
            row["label"],
            f"{row['base']} ({whole_hundred(row.get('base_share'))})",
            f"{row['adapted']} ({whole_hundred(row.get('adapted_share'))})",
        )
        for side in ("gained", "lost")
        for row in rows(changed, side)[:_TEXTS]
    ]
    if not body:
        return ""
    said = (
        f"{count(changed.get('n_gained'))} labelled texts are answered rightly more often than by the base, "
        f"{count(changed.get('n_lost'))} less often. In brackets: the share of draws that were right."
    )
    head = ["", "text", "label", "base says", "adapted says"]
    return f"## Texts that changed sides\n\n{said}\n\n{table(head, body, words_last=True)}"


def _md_dose(facts: Mapping[str, Any]) -> str:
    curves = part(part(facts, "dose"), "curves").values()
    said = [f"- {plain_words(curve['sentence'])}" for curve in curves if curve and curve.get("sentence")]
    return "## How much is enough\n\n" + "\n".join(said) if said else ""


def _md_model(facts: Mapping[str, Any]) -> str:
    layers = rows(facts, "layers")
    moved = part(part(facts, "moved"), "quantiles").get("0.5")
    said = [f"{plain_words(layer['name'])} {change(layer.get('change'))}" for layer in layers]
    found = [f"Change of the weights: {', '.join(said)}." if said else ""]
    found.append(f"Median cosine between a text's vector before and after: {cosine(moved)}." if moved else "")
    return "\n\n".join(filter(None, ["## What changed in the model", *found])) if any(found) else ""


def _md_classes(facts: Mapping[str, Any]) -> str:
    gains, losses = biggest(rows(facts, "per_class"), 5)
    if not gains and not losses:
        return ""
    body = [
        (row["label"], count(row.get("n")), percent(row.get("base")), percent(row.get("adapted")), signed(row["gain"]))
        for row in [*gains, *reversed(losses)]
    ]
    return "## Classes that changed most\n\n" + table(["class", "messages", "base", "adapted", "gain"], body)


def _md_label_free(facts: Mapping[str, Any]) -> str:
    label_free = rows(facts, "label_free")
    names = measures(label_free)
    if not names:
        return ""
    body = [(row["entry"], *(plain(part(row, "values").get(name)) for name in names)) for row in label_free]
    said = " ".join(explained(names))
    return "\n\n".join(
        ["## Measures without labels", *([said] if said else []), table(["entry", *map(plain_words, names)], body)]
    )


def _md_guards(facts: Mapping[str, Any]) -> str:
    body = [
        (f"{row['name']}, {row['entry']}", signed(row.get("value")), signed(row.get("limit")), inside(row))
        for row in rows(facts, "guards")
    ]
    return (
        f"## Guards\n\n{GUARD}\n\n" + table(["guard", "value", "limit", "inside"], body, words_last=True)
        if body
        else ""
    )


def _md_cost(facts: Mapping[str, Any]) -> str:
    cost, spent = part(facts, "cost"), part(part(facts, "verdict"), "spent")
    if not cost:
        return ""
    forecast = _forecast_rows(spent)
    stages = [(row["stage"], duration(row.get("seconds"))) for row in rows(cost, "stages")]
    said = f"{duration(cost.get('seconds'))} and {count(cost.get('tokens'))} training tokens."
    if number(spent.get("euros")) is not None and not forecast:
        said += f" {euros(spent['euros'])}."
    blocks = [
        f"## Cost\n\n{said}",
        f"{FORECAST}\n\n" + table(["what", "forecast", "fact", "ratio"], forecast) if forecast else "",
        table(["candidate", "time", "share", "tokens", "outcome"], _shares(cost), words_last=True)
        if rows(cost, "candidates")
        else "",
        table(["stage", "time"], stages) if stages else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _shares(cost: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """What each candidate took, and all that lost together."""
    every = [(row["objective"], row, "went on" if row.get("went_on") else "lost") for row in rows(cost, "candidates")]
    every.append(("all that lost", part(cost, "losers"), ""))
    return [
        (name, duration(row.get("seconds")), hundred(row.get("share")), count(row.get("tokens")), became)
        for name, row, became in every
    ]


def _forecast_rows(spent: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """What was forecast, what it was, and their ratio, for everything that has a forecast."""
    said, share = part(spent, "forecast"), part(spent, "ratio")
    return [
        (word, told(said.get(name)), told(spent.get(name)), ratio(share.get(name)))
        for word, name, told in SPENDING
        if number(said.get(name)) is not None
    ]


def _md_data(facts: Mapping[str, Any]) -> str:
    kept, dropped = part(facts, "kept"), [(row["reason"], count(row.get("count"))) for row in rows(facts, "drops")]
    sources = [
        (row["source"], hundred(row.get("share")), count(row.get("documents")), count(row.get("texts")))
        for row in rows(facts, "sources")[:_SOURCES]
    ]
    blocks = [
        f"Kept: {count(kept.get('texts'))} texts from {count(kept.get('documents'))} documents." if kept else "",
        table(["source", "share", "documents", "texts"], sources) if sources else "",
        table(["left out because", "how many"], dropped) if dropped else "",
    ]
    return "\n\n".join(filter(None, ["## Data", *blocks])) if any(blocks) else ""


def _md_trace(facts: Mapping[str, Any]) -> str:
    body = [
        (node["id"], f"{short_hash(node.get('hash'))}", node.get("says") or "")
        for node in rows(part(facts, "trace"), "nodes")
    ]
    if not body:
        return ""
    return "## Artifacts\n\n" + table(["artifact", "hash begins", "what it is"], body, words_last=True)


def _md_again(facts: Mapping[str, Any]) -> str:
    command = clean(part(facts, "reproduce").get("command") or "").strip()
    if not command:
        return ""
    return f"## Again\n\n{_fenced(command)}"


def _md_next(facts: Mapping[str, Any]) -> str:
    steps = [
        f"{place}. {plain_words(step['say'])}"
        + (f"\n\n{_fenced(clean(step['command']).strip())}\n" if step.get("command") else "")
        for place, step in enumerate(rows(facts, "next"), start=1)
    ]
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
