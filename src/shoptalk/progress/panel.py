"""The live panel of `adapt`: a pure function from the state of a run to something that rich can draw.

panel(state, now, width=80, height=24)
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from shoptalk.progress.state import CandidateState, Stage, State, TrainingState
from shoptalk.quantities import money, span
from shoptalk.records import Look

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-=+*%#"
SAID_MOST = 5
"""The most messages that are shown; all of them are printed when the panel closes."""
NARROW = 60
"""Columns below which intervals are left out."""


def panel(state: State, now: float, *, width: int, height: int, ascii_only: bool = False) -> Panel:
    """The whole panel, for a terminal of `width` columns and `height` lines.

    Args:
        state: the state of the run.
        now: the time, by the clock of `state`.
        width: of the terminal, in columns.
        height: of the terminal, in lines; the panel shows fewer messages rather than exceed it.
        ascii_only: for terminals that cannot show block characters.
    """
    inside = max(16, width - 4)
    blocks = ASCII if ascii_only else BLOCKS
    rows = _stages(state, now, inside)
    rows += _section(_candidate(one, state, inside, blocks) for one in state.candidates)
    rows += _section(_now(state, now, inside, blocks))
    room = max(0, min(SAID_MOST, height - len(rows) - 4))  # the frame, an empty line, and one below the panel
    rows += _section(_cut(Text(line, style="dim")) for line in (state.said[-room:] if room else ()))
    return Panel(Group(*rows), title="shoptalk adapt", subtitle=clock(now - state.begun), title_align="left")


def sparkline(
    values: Sequence[float],
    width: int,
    *,
    low: float | None = None,
    high: float | None = None,
    blocks: str = BLOCKS,
) -> str:
    """The values as bars of eight heights, at most `width` of them: neighbours are averaged where there are more.

    The lowest and the highest bar stand for `low` and `high`, by default the least and the largest value. A value that
    is not finite is a blank.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known or width < 1:
        return ""
    least = min(known) if low is None else low
    most = max(known) if high is None else high
    span = most - least
    bars = []
    for value in _squeezed(values, width):
        share = (value - least) / span if span > 0 else 0.0
        bars.append(blocks[min(7, max(0, round(7 * share)))] if math.isfinite(value) else " ")
    return "".join(bars)


def clock(seconds: float) -> str:
    """2:05, or 1:02:05 from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def gain_text(look: Look, *, interval: bool = True) -> str:
    """+2.1 (+1.2 to +3.0); a dash where nothing could be measured."""
    if look.gain is None:
        return "–"
    if look.interval is None or not interval:
        return f"{look.gain:+.{look.decimals}f}"
    low, high = look.interval
    return f"{look.gain:+.{look.decimals}f} ({low:+.{look.decimals}f} to {high:+.{look.decimals}f})"


def about_text(look: Look) -> str:
    """What a gain is of: " points of accuracy", " better in bits per byte" where the measure names its unit."""
    named, better = look.unit in look.measure.split(), look.gain is None or look.gain >= 0
    return f" {'better' if better else 'worse'} in {look.measure}" if named else f" {look.unit} of {look.measure}"


def _squeezed(values: Sequence[float], width: int) -> list[float]:
    """At most `width` values: means of runs of neighbours, whose lengths differ by one at most."""
    if len(values) <= width:
        return list(values)
    ends = [len(values) * part // width for part in range(width + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]


def _section(rows: Iterable[Text]) -> list[Text]:
    """The rows after an empty line; nothing where there are none."""
    lines = list(rows)
    return [Text(""), *lines] if lines else []


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _stages(state: State, now: float, width: int) -> list[Text]:
    """The stages in order, on as many lines as they need: those that have begun with their seconds, and the current one
    in brackets.
    """
    begun = {stage.name: stage for stage in state.stages}
    names = [*state.planned, *(name for name in begun if name not in state.planned)]
    rows = [Text()]
    for number, name in enumerate(names):
        word = _stage(name, begun.get(name), now)
        if number and rows[-1].cell_len + 3 + word.cell_len > width:
            rows.append(Text())
        rows[-1].append(" > " if rows[-1] else "> " if number else "", style="dim").append_text(word)
    return [_cut(row) for row in rows]


def _stage(name: str, stage: Stage | None, now: float) -> Text:
    if stage is None:
        return Text(name, style="dim")
    if stage.ended is None:
        return Text(f"[{name} {_seconds(now - stage.begun)}]", style="bold cyan")
    return Text(f"{name} {_seconds(stage.ended - stage.begun)}")


def _candidate(one: CandidateState, state: State, width: int, blocks: str) -> Text:
    """A candidate's curve of gains, all candidates on one scale, and its last value."""
    longest = max(len(other.name) for other in state.candidates)
    called = min(longest, max(8, width // 4))
    gains = [gain for other in state.candidates for gain in other.gains]
    most = min(max(6, width // 5), max(len(other.gains) for other in state.candidates))
    bars = sparkline(one.gains, most, low=min(gains), high=max(gains), blocks=blocks)
    text = Text(f"{_short(one.name, called):<{called}}  ")
    if one.looks:
        last = one.looks[-1]
        text.append(f"{bars:<{most}}", style="" if one.eliminated else "green")
        text.append(f"  {gain_text(last, interval=width >= NARROW)}", style="" if one.eliminated else "bold")
        text.append(f" at step {last.step}" if width >= NARROW else "")
    else:
        text.append("not measured yet" if not one.eliminated else "")
    if one.eliminated:
        text.append("  eliminated")
        text.stylize("dim")
    return _cut(text)


def _now(state: State, now: float, width: int, blocks: str) -> list[Text]:
    """What trains, the best so far, the budget and the time left."""
    rows = [] if state.training is None else _training(state.training, width, blocks)
    best = state.best
    if best is not None:
        wide = width >= NARROW
        about = about_text(best) if best.interval is not None else f" ({best.measure})"
        rows.append(
            _cut(
                Text.assemble(
                    "best so far ",
                    (best.entry, "bold"),
                    f": {gain_text(best, interval=False)}{about if wide else ''}",
                )
            )
        )
    if state.outlook is not None:
        rows.append(_cut(Text(_money_and_time(state, now, brief=width < NARROW))))
    return rows


def _training(training: TrainingState, width: int, blocks: str) -> list[Text]:
    counted = f"step {training.step:,} of {training.total:,}"
    figures = f"  loss {training.loss:.3f}  {training.rate:,.0f} {training.units}/s" if training.steps else ""
    if width >= NARROW and training.steps:
        figures += f"  {training.waste:.0%} padding"
    first = Text.assemble((training.name, "bold"), f"  {counted}" + (figures if width >= NARROW else ""))
    bars = sparkline(training.losses.values, width - 6, blocks=blocks)
    rows = [_cut(first)]
    if width < NARROW and figures:
        rows.append(_cut(Text(figures.strip())))
    if bars:
        rows.append(_cut(Text.assemble("loss  ", (bars, "yellow"))))
    return rows


def _money_and_time(state: State, now: float, *, brief: bool) -> str:
    """How much of the budget is spent, and how much time is left by the forecast."""
    outlook = state.outlook
    assert outlook is not None
    spent = state.spent_seconds(now)
    budget = outlook.budget
    if budget.euros is not None and budget.price_per_hour is not None:
        used = f"{money(spent / 3600 * budget.price_per_hour)} of {money(budget.euros)}"
    elif budget.tokens is not None:
        used = f"{_kilo(state.spent_tokens())} of {_kilo(budget.tokens)} tokens"
    else:
        used = f"{_seconds(spent)} of {_seconds(budget.time or 0.0)}"
    left = outlook.seconds - spent
    remaining = f"{_seconds(left)} left" if left >= 1 else "longer than forecast"
    return f"{used}, {remaining}" if brief else f"budget: {used} used; {'about ' if left >= 1 else ''}{remaining}"


def _seconds(seconds: float) -> str:
    return span(float(round(seconds))) if seconds >= 9.95 else f"{seconds:.0f} s"


def _kilo(tokens: int) -> str:
    return f"{tokens / 1e6:.1f} M" if tokens >= 1e6 else f"{tokens / 1e3:.0f} k" if tokens >= 1e3 else str(tokens)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
