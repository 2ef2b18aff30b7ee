"""The forms of the report's numbers and names, shared by the page and the Markdown.

A form takes values of the facts and gives text. `facts.fig` puts its name beside it, so that a test can repeat it.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from shoptalk.quantities import money
from shoptalk.report.facts_json import ClassGain, DropRow, LabelFreeRow, LossCurve, StageTime
from shoptalk.report.markup import clean
from shoptalk.report.sentences import MEASURES, headline
from shoptalk.report.verdict_json import CandidateRow, Verdict

NONE = "–"


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
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 or size == 0 else 3 if size >= 0.1 else 4
    return f"{round(known, digits) + 0.0:,.{digits}f}".replace("-", "−")


def plain_value(value: Any) -> str:
    """About three digits that matter."""
    return plain(value)


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


def spending(units: str) -> tuple[tuple[str, str, Callable[[Any], str]], ...]:
    """What a run spends: in words, its key, and the form of its number. `units` is what training is counted in."""
    return (
        ("Time", "seconds", duration),
        (f"Training {units}", "tokens", count),
        ("Peak memory", "memory_bytes", memory),
        ("Cost", "euros", euros),
    )


def interval(ends: Any, digits: int = 1) -> str:
    """+1.4 to +3.2."""
    pair = pair_of(ends)
    return NONE if pair is None else f"{signed(pair[0], digits)} to {signed(pair[1], digits)}"


def interval_3(ends: Any) -> str:
    """+0.021 to +0.034: of a measure whose differences are small."""
    return interval(ends, 3)


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


# --- forms of one value or several --------------------------------------------------------------------------------


def words(value: Any) -> str:
    """A text as it is; a version, a core count, or whatever a hardware description holds, on one line."""
    return clean(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def sentence(value: Any) -> str:
    """A sentence of the run, with a real minus, and each number kept on one line with its per cent sign."""
    return re.sub(r"(?<=\d) %", "\u00a0%", re.sub(r"(?<![\w.)])-(?=\d)", "−", clean(value)))


def page_title(choice: Any, unproven: Any, run: Any) -> str:
    """Adopt the adapted model: runs/acme."""
    return f"{headline(choice, unproven=bool(unproven))}: {run or 'a run'}"


def picture_name(value: Any) -> str:
    """A name short enough to stand in a picture."""
    return cut(words(value), 14)


def step_name(value: Any) -> str:
    """A step of the ladder, short enough to stand beside its bar."""
    return cut(words(value), 24)


def cut(text: str, most: int = 22) -> str:
    """At most `most` letters, the last an ellipsis where some were cut off."""
    return text if len(text) <= most else text[: most - 1] + "…"


def hundred(value: Any) -> str:
    """8.0 %, from a share between 0 and 1."""
    known = number(value)
    return NONE if known is None else percent(100 * known)


def whole_hundred(value: Any) -> str:
    """85 %, from a share between 0 and 1."""
    known = number(value)
    return NONE if known is None else f"{100 * known:.0f} %"


def key_share(value: Any) -> str:
    """5 %, from a share that is a key: "0.05"."""
    return f"{100 * float(value):g} %"


def change(value: Any) -> str:
    """1.3 %: how much of itself something changed, from a share, to two digits that matter."""
    known = number(value)
    return NONE if known is None else f"{100 * known:#.2g}".removesuffix(".") + " %"


def cosine(value: Any) -> str:
    """0.93."""
    known = number(value)
    return NONE if known is None else f"{known:.2f}".replace("-", "−")


def places_2(value: Any) -> str:
    """−0.21: a difference in points to two decimals."""
    return signed(value, 2)


def signed_3(value: Any) -> str:
    """+0.021: a difference to three decimals."""
    return signed(value, 3)


def places_1(value: Any) -> str:
    """31.4: a level to one decimal."""
    known = number(value)
    return NONE if known is None else f"{known:,.1f}".replace("-", "−")


def places_3(value: Any) -> str:
    """1.269: a level to three decimals."""
    known = number(value)
    return NONE if known is None else f"{known:,.3f}".replace("-", "−")


def short_count(value: Any) -> str:
    """812k: a count for second lines."""
    known = number(value)
    return NONE if known is None else short(known)


def how_many(value: Any) -> str:
    """The length of a list."""
    return f"{len(value):,}" if value else "0"


def confidence(value: Any) -> str:
    """95 %, from a share; without a decimal that says nothing."""
    known = number(value)
    return NONE if known is None else f"{100 * known:g} %"


def short_hash(value: Any) -> str:
    """The first eight digits of a hash."""
    return clean(value)[:8] if isinstance(value, str) and value else NONE


def shots(value: Any) -> str:
    """5 labels per class, or all labels."""
    if value is None:
        return NONE
    return "all labels" if value == "full" else f"{value} label{'' if value == 1 else 's'} per class"


def of_all(share: Any, whole: Any) -> str:
    """60 %: a part in hundredths of the whole."""
    some, every = number(share), number(whole)
    return NONE if some is None or not every else f"{100 * some / every:.0f} %"


def difference(value: Any, base: Any) -> str:
    """+11.5: how much a value differs from another, in as many decimals as the value has."""
    known, first = number(value), number(base)
    if known is None or first is None:
        return NONE
    said = plain(known - first, like=known)
    return said if known <= first else f"+{said}"


def apart(value: Any, base: Any) -> str:
    """+5.3: how many points a value lies from another."""
    known, first = number(value), number(base)
    return NONE if known is None or first is None else signed(known - first)


def gaining(per_class: Sequence[ClassGain]) -> str:
    """How many classes gained."""
    return str(sum(row.gain > 0 for row in per_class))


def losing(per_class: Sequence[ClassGain]) -> str:
    """How many classes lost."""
    return str(sum(row.gain < 0 for row in per_class))


def candidates_tried(candidates: Sequence[CandidateRow]) -> str:
    """How many candidates came as far as the menu."""
    return str(len({row.objective for row in candidates}))


def summed_seconds(stages: Sequence[StageTime]) -> str:
    """The time of all stages."""
    return duration(sum(stage.seconds for stage in stages))


def share_of_stages(seconds: float, stages: Sequence[StageTime]) -> str:
    """A stage's share of the time of all."""
    return hundred(seconds / (sum(stage.seconds for stage in stages) or 1.0))


def summed_counts(drops: Sequence[DropRow]) -> str:
    """How much was left out: files, documents, turns and rows."""
    return count(sum(row.count for row in drops))


def node_name(value: Any) -> str:
    """The name of an artifact in the trace, short enough for its box: "source:a.jsonl" is a.jsonl."""
    return cut(words(value).partition(":")[2] or words(value), 14)


def source_name(value: Any) -> str:
    """The last part of a source's path, short enough for a picture."""
    return cut(words(value).rstrip("/").rpartition("/")[2], 20)


def hash_start(value: Any) -> str:
    """The first half of a hash, for a narrow screen."""
    return clean(value)[: len(clean(value)) // 2]


def hash_end(value: Any) -> str:
    """The second half of a hash."""
    return clean(value)[len(clean(value)) // 2 :]


def not_finite(losses: Sequence[LossCurve]) -> str:
    """How many logged losses are not finite numbers."""
    return count(sum(number(loss) is None for curve in losses for _, loss in curve.points))


# --- what the facts hold ------------------------------------------------------------------------------------------


def gained(verdict: Verdict) -> bool:
    """Whether a gain was measured: something was trained, and there were labels."""
    return bool(verdict.candidates) and number(verdict.gain) is not None


def biggest(per_class: Sequence[ClassGain], most: int) -> tuple[list[ClassGain], list[ClassGain]]:
    """Up to `most` classes that gained most (largest first), and as many that lost most."""
    known = sorted((row for row in per_class if number(row.gain) is not None), key=lambda row: -row.gain)
    gains = [row for row in known if row.gain > 0][:most]
    losses = [row for row in reversed(known) if row.gain < 0][:most]
    return gains, losses


def measures(label_free: Sequence[LabelFreeRow]) -> list[str]:
    """The names of all label-free measures, in order of appearance."""
    return list(dict.fromkeys(name for row in label_free for name in row.values))


def explained(names: Sequence[str]) -> list[str]:
    """A sentence for each measure that has one, each sentence once."""
    found = [MEASURES[key] for name in names for key in MEASURES if name.lower().endswith(key)]
    return list(dict.fromkeys(found))


def became(entry: CandidateRow, verdict: Verdict) -> str:
    """What became of a menu entry, in a word or two; empty where that is nothing special."""
    if entry.entry == verdict.entry:
        unproven = ", served unproven" if verdict.served_unproven else ""
        return "adopted" if verdict.choice == "adopt" else f"best challenger{unproven}"
    return "eliminated" if entry.eliminated else ""


def outcome(entry: CandidateRow, verdict: Verdict) -> str:
    """What became of a menu entry, in words."""
    said, why = became(entry, verdict), clean(entry.why_not).strip()
    return ": ".join(filter(None, (said, why))) or NONE


def inside(guarded: bool) -> str:
    """Whether an entry stayed within a guard, in a word and a sign."""
    return "✓ inside" if guarded else "✗ outside"
