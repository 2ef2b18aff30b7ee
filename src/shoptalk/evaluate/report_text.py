"""The report's numbers and words, shared by the page and the Markdown; and the Markdown, which is the page in short."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shoptalk.config import money
from shoptalk.evaluate.report_markup import clean

NONE = "–"
VERDICTS = {
    "adopt": "Adopt the adapted model",
    "keep_base": "Keep the base model",
    "inconclusive": "Inconclusive: keep the base model for now",
}
INTERVAL = (
    "The interval is the range of gains that these labels leave plausible; it is widened for every candidate and "
    "checkpoint that was looked at, so choosing the best of them is already paid for."
)
INTERVAL_ON_TEST = (
    "The interval is the range of gains that the supplied test set leaves plausible; the entry was chosen on the "
    "labels, so the test set was read for it alone."
)
GUARD = "A guard is a limit on what may get worse in exchange for a gain; an entry outside one is never adopted."
FORGETTING = (
    "Forgetting is the change in how well the encoder still ranks everyday sentence pairs by meaning, in points; "
    "below zero means that something was lost."
)
CEILING = (
    "The ceiling is what the training targets of neighbours reach when they are read directly, with the index at hand: "
    "training towards them is not expected to go further."
)
ENTRY = "An entry is one candidate at one checkpoint; the menu of entries was fixed before training."
FORECAST = (
    "The forecast was made before training, from a few timed steps. It assumes that training goes on to its last "
    "planned step and that each candidate is as likely to win as the next; a run that stops early takes less. Memory "
    "is the peak."
)
WASTE = "Waste is the share of the computation that went into padding."
NO_LABELS = "There were no labelled messages to measure a gain on."
# Looked up by the end of a measure's name, whatever its case: "next-turn MRR" finds "mrr".
MEASURES = {
    "rankme": "RankMe counts the dimensions that the encoder really uses; a steep fall is a sign of collapse.",
    "alignment": "Alignment is the distance between texts that belong together; lower is better.",
    "uniformity": "Uniformity tells how evenly all texts spread over the space; lower is better.",
    "mrr": "MRR (mean reciprocal rank) is 1 where the right answer always comes first, ½ where it comes second; higher "
    "is better.",
    "label-free score": "The label-free score guesses the gain in points from whose neighbours stay who they are. "
    "It is no measurement: benchmarks/README.md says how often it was right on public sets.",
    "masked_bits": "Masked bits are the bits needed to guess a hidden word; lower is better.",
    "next_turn_retrieval": "Next-turn retrieval is how high a message ranks the reply it really got (MRR, mean "
    "reciprocal rank, in points); higher is better.",
    "collapse": "Collapse is RankMe, the dimensions really used, in per cent of all there are; below 5 is an alarm.",
}


# --- numbers ------------------------------------------------------------------------------------------------------


def number(value: Any) -> float | None:
    """The value as a float, or None where it is absent, not a number or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def signed(value: Any, digits: int = 1) -> str:
    """+2.3, −0.4 or 0.0: a difference in points."""
    known = number(value)
    if known is None:
        return NONE
    rounded = round(known, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def percent(value: Any) -> str:
    """78.1 %, from a value in per cent."""
    known = number(value)
    return NONE if known is None else f"{known:.1f} %"


def plain(value: Any, *, like: Any = None) -> str:
    """About three digits that matter: 210, 21.0, 2.10; with `like`, as many decimals as that number gets."""
    known, model = number(value), number(value if like is None else like)
    if known is None or model is None:
        return NONE
    size = abs(model)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 4
    return f"{known:,.{digits}f}".replace("-", "−")


def count(value: Any) -> str:
    """812,345."""
    known = number(value)
    return NONE if known is None else f"{round(known):,}"


def short(value: int | float) -> str:
    """0, 250k, 1.5M: for axes and second lines."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{float(f'{value / unit:.3g}'):g}{name}"
    return f"{value:g}"


def duration(value: Any) -> str:
    """1.2 s, 8 min 40 s or 2 h 5 min, from seconds."""
    seconds = number(value)
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def memory(value: Any) -> str:
    """830 MB or 1.9 GB, from bytes."""
    size = number(value)
    return NONE if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def euros(value: Any) -> str:
    """0.12 EUR."""
    known = number(value)
    return NONE if known is None else money(known)


def ratio(value: Any) -> str:
    """1.03: fact divided by forecast."""
    known = number(value)
    return NONE if known is None else f"{known:.2f}"


def forecast_rows(spent: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """What was forecast, what it was, and their ratio, for everything that has a forecast."""
    said, share = part(spent, "forecast"), part(spent, "ratio")
    kinds = (
        ("Time", "seconds", duration),
        ("Training tokens", "tokens", count),
        ("Peak memory", "memory_bytes", memory),
        ("Cost", "euros", euros),
    )
    return [
        (word, told(said.get(name)), told(spent.get(name)), ratio(share.get(name)))
        for word, name, told in kinds
        if number(said.get(name)) is not None
    ]


def interval(ends: Any) -> str:
    """+1.4 to +3.2."""
    pair = pair_of(ends)
    return NONE if pair is None else f"{signed(pair[0])} to {signed(pair[1])}"


def pair_of(ends: Any) -> tuple[float, float] | None:
    """Both ends of an interval where both are known."""
    if not isinstance(ends, Sequence) or len(ends) != 2:
        return None
    low, high = number(ends[0]), number(ends[1])
    return None if low is None or high is None else (low, high)


def moment(text: Any) -> str:
    """22 November 2026, 10:00 UTC; a text that is no date stays as it is."""
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        return clean(text)
    return f"{when.day} {when:%B %Y, %H:%M} {when.tzname() or ''}".rstrip()


# --- what the facts hold ------------------------------------------------------------------------------------------


def part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the facts; empty where it is absent or null."""
    return facts.get(name) or {}


def rows(facts: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A list of the facts; empty where it is absent or null."""
    return facts.get(name) or ()


def gained(facts: Mapping[str, Any]) -> bool:
    """Whether a gain was measured: something was trained, and there were labels."""
    verdict = part(facts, "verdict")
    return bool(rows(verdict, "candidates")) and number(verdict.get("gain")) is not None


def biggest(per_class: Sequence[Mapping[str, Any]], most: int) -> tuple[list[Any], list[Any]]:
    """Up to `most` classes that gained most (largest first), and as many that lost most."""
    known = [row for row in per_class if number(row.get("gain")) is not None]
    known.sort(key=lambda row: -row["gain"])
    gains = [row for row in known if row["gain"] > 0][:most]
    losses = [row for row in reversed(known) if row["gain"] < 0][:most]
    return gains, losses


def measures(label_free: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all label-free measures, in order of appearance."""
    return list(dict.fromkeys(name for row in label_free for name in part(row, "values")))


def explained(names: Sequence[str]) -> list[str]:
    """A sentence for each measure that has one, each sentence once."""
    found = [MEASURES[key] for name in names for key in MEASURES if name.lower().endswith(key)]
    return list(dict.fromkeys(found))


def outcome(entry: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """What became of a menu entry, in words."""
    said = "eliminated" if entry.get("eliminated") else ""
    why = clean(entry.get("why_not") or "").strip()
    if is_described(entry, verdict):
        said = "adopted" if verdict.get("choice") == "adopt" else "best challenger"
    return ": ".join(filter(None, (said, why))) or NONE


def is_described(entry: Mapping[str, Any], verdict: Mapping[str, Any]) -> bool:
    """Whether the verdict's gain is this entry's. The verdict names the objective only, so its numbers are compared."""
    if verdict.get("entry") is not None:
        return bool(entry.get("entry") == verdict["entry"])
    same = entry.get("objective") == verdict.get("objective") and entry.get("gain") == verdict.get("gain")
    return same and number(entry.get("gain")) is not None


def value_text(value: Any) -> str:
    """A version, a core count, or whatever a hardware description holds, on one line."""
    return clean(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# --- Markdown -----------------------------------------------------------------------------------------------------


def render_markdown(facts: Mapping[str, Any]) -> str:
    """The report's facts in short, as Markdown that reads well unrendered too. Raises nothing on missing parts."""
    verdict = part(facts, "verdict")
    blocks = [
        f"# {VERDICTS.get(str(verdict.get('choice')), 'No verdict')}",
        f"Run {_md(facts.get('run') or NONE)}, {_md(moment(facts.get('created') or 'date unknown'))}",
        _md(verdict.get("sentence") or "This run has not come to a verdict yet."),
        _md(part(verdict, "heads").get("sentence") or ""),
        *(
            block(facts)
            for block in (_md_entries, _md_classes, _md_label_free, _md_guards, _md_cost, _md_drops, _md_again)
        ),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _md(text: Any) -> str:
    """User's text on one line that Markdown takes literally."""
    flat = " ".join(clean(text).split())
    flat = re.sub(r"([\\`*\[\]<>|#~&])", r"\\\1", flat)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", flat)


def _md_table(head: Sequence[str], body: Sequence[Sequence[Any]], *, words_last: bool = False) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    if words_last:
        rule[-1] = "---"
    lines = [head, rule, *([_md(cell) for cell in row] for row in body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _md_entries(facts: Mapping[str, Any]) -> str:
    verdict, title = part(facts, "verdict"), "## Everything that was tried"
    entries = rows(verdict, "candidates")
    if not entries:
        return f"{title}\n\nNothing was trained, so there is nothing to compare."
    if not gained(facts):
        return f"{title}\n\n{NO_LABELS}\n\n" + _md_table(
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
    return f"{title}\n\n{INTERVAL_ON_TEST if verdict.get('on_test') else INTERVAL}\n\n" + _md_table(
        ["entry", "gain", "interval", "forgetting", "outcome"], body, words_last=True
    )


def _md_classes(facts: Mapping[str, Any]) -> str:
    gains, losses = biggest(rows(facts, "per_class"), 5)
    if not gains and not losses:
        return ""
    body = [
        (row["label"], count(row.get("n")), percent(row.get("base")), percent(row.get("adapted")), signed(row["gain"]))
        for row in [*gains, *reversed(losses)]
    ]
    return "## Classes that changed most\n\n" + _md_table(["class", "messages", "base", "adapted", "gain"], body)


def _md_label_free(facts: Mapping[str, Any]) -> str:
    label_free = rows(facts, "label_free")
    names = measures(label_free)
    if not names:
        return ""
    body = [(row["entry"], *(plain(part(row, "values").get(name)) for name in names)) for row in label_free]
    said = " ".join(explained(names))
    return "\n\n".join(
        ["## Measures without labels", *([said] if said else []), _md_table(["entry", *map(_md, names)], body)]
    )


def _md_guards(facts: Mapping[str, Any]) -> str:
    body = [
        (f"{row['name']}, {row['entry']}", signed(row.get("value")), signed(row.get("limit")), inside(row))
        for row in rows(facts, "guards")
    ]
    return (
        f"## Guards\n\n{GUARD}\n\n" + _md_table(["guard", "value", "limit", "inside"], body, words_last=True)
        if body
        else ""
    )


def inside(guard: Mapping[str, Any]) -> str:
    """Whether an entry stayed within a guard, in a word and a sign."""
    return "✓ inside" if guard.get("inside") else "✗ outside"


def _md_cost(facts: Mapping[str, Any]) -> str:
    cost, spent = part(facts, "cost"), part(part(facts, "verdict"), "spent")
    if not cost:
        return ""
    forecast = forecast_rows(spent)
    stages = [(row["stage"], duration(row.get("seconds"))) for row in rows(cost, "stages")]
    said = f"{duration(cost.get('seconds'))} and {count(cost.get('tokens'))} training tokens."
    if number(spent.get("euros")) is not None and not forecast:
        said += f" {euros(spent['euros'])}."
    blocks = [
        f"## Cost\n\n{said}",
        f"{FORECAST}\n\n" + _md_table(["what", "forecast", "fact", "ratio"], forecast) if forecast else "",
        _md_table(["stage", "time"], stages) if stages else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _md_drops(facts: Mapping[str, Any]) -> str:
    kept, body = part(facts, "kept"), [(row["reason"], count(row.get("count"))) for row in rows(facts, "drops")]
    if not kept and not body:
        return ""
    said = f"Kept: {count(kept.get('texts'))} texts from {count(kept.get('documents'))} documents." if kept else ""
    return "\n\n".join(
        filter(None, ("## Data", said, _md_table(["left out because", "how many"], body) if body else ""))
    )


def _md_again(facts: Mapping[str, Any]) -> str:
    command = clean(part(facts, "reproduce").get("command") or "").strip()
    if not command:
        return ""
    longest = max((len(ticks) for ticks in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"## Again\n\n{fence}sh\n{command}\n{fence}"
