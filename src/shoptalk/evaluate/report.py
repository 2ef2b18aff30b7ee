"""The report of a run: one page that opens anywhere, needs no network and runs no script.

    (run / "report.html").write_text(render(facts), encoding="utf-8")
    print(render_markdown(facts))

`facts` is plain JSON, the shape of which `tests/evaluate/report_facts.py` shows in full. Parts that are absent, null or
empty are left out, with a sentence why. Words and numbers are in `report_text`, pictures in `report_charts`.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from shoptalk.evaluate import report_text as text
from shoptalk.evaluate.report_charts import (
    Axis,
    bar,
    gain_chart,
    interval_picture,
    loss_panel,
    make_axis,
    read_curves,
    small_interval,
)
from shoptalk.evaluate.report_markup import Child, Html, disclosure, el, join, name, paragraphs, table, user
from shoptalk.evaluate.report_text import (
    count,
    duration,
    gained,
    number,
    part,
    percent,
    plain,
    render_markdown,
    rows,
    signed,
)

__all__ = ["render", "render_markdown"]

# No request of any kind, and no script: the page holds text from the user's own data.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_MOST_CHANGED = 8


def render(facts: Mapping[str, Any]) -> str:
    """The report as one HTML page. Everything in `facts` is escaped. Raises nothing on missing parts."""
    sections = [
        ("cost", "What it cost", _cost(facts)),
        ("curves", "Gain as training went on", _curves(facts)),
        ("entries", "Everything that was tried", _entries(facts)),
        ("classes", "What changed per class", _classes(facts)),
        ("label-free", "Measures that need no labels", _label_free(facts)),
        ("guards", "Guards", _guards(facts)),
        ("losses", "Training losses", _losses(facts)),
        ("stages", "Cost by stage", _stages(facts)),
        ("drops", "What was left out", _drops(facts)),
        ("again", "How to reproduce this", _again(facts)),
    ]
    choice = str(part(facts, "verdict").get("choice"))
    title = f"{text.VERDICTS.get(choice, 'No verdict')}: {facts.get('run') or 'a run'}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        Html(f"<style>{_style()}</style>"),
    )
    links = el("ul", *(el("li", el("a", title, href=f"#{ident}")) for ident, title, _ in sections))
    body = el(
        "body",
        el("header", _verdict(facts), el("nav", links, aria_label="Sections of this report")),
        el("main", *(_section(ident, title, content) for ident, title, content in sections)),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en").text + "\n"


def _style() -> str:
    return files("shoptalk.evaluate").joinpath("report.css").read_text(encoding="utf-8")


def _section(ident: str, title: str, content: Html) -> Html:
    return el("section", el("h2", title, id=f"{ident}-title"), content, id=ident, aria_labelledby=f"{ident}-title")


def _note(words: Child) -> Html:
    return el("p", words, class_="note")


def _facts(pairs: Sequence[tuple[str, Child]]) -> Html:
    return el("dl", *(el("div", el("dt", term), el("dd", value)) for term, value in pairs))


# --- verdict and cost ---------------------------------------------------------------------------------------------


def _verdict(facts: Mapping[str, Any]) -> Html:
    verdict = part(facts, "verdict")
    choice = str(verdict.get("choice"))
    created = facts.get("created")
    when = el("time", text.moment(created), datetime=str(created)) if created else None
    above = el(
        "p", "Shoptalk report of ", user(facts.get("run") or "a run"), ", " if when else None, when, class_="soft"
    )
    word = el("h1", text.VERDICTS.get(choice, "No verdict"), class_=choice if choice in text.VERDICTS else None)
    said = str(verdict.get("sentence") or "This run has not come to a verdict yet.")
    sentence = el("p", user(re.sub(r"(?<=\d) %", "\u00a0%", said)), class_="lead")
    return join(above, word, sentence, _gain(facts) if verdict else None)


def _gain(facts: Mapping[str, Any]) -> Html:
    verdict = part(facts, "verdict")
    ends, gain = text.pair_of(verdict.get("interval")), number(verdict.get("gain"))
    if not rows(verdict, "candidates"):
        return paragraphs("Nothing was trained that could be compared with the base model.")
    if gain is None or ends is None:
        return paragraphs(f"{text.NO_LABELS} What can be said without them is under “Measures that need no labels”.")
    confidence = number(verdict.get("confidence"))
    metric = str(verdict.get("metric") or "score").capitalize()
    pairs: list[tuple[str, Child]] = [
        ("Gain", f"{signed(gain)} points"),
        (f"{'Interval' if confidence is None else f'{100 * confidence:g} % interval'}", text.interval(ends)),
        (f"{metric}, base", percent(verdict.get("base"))),
        (f"{metric}, adapted", percent(verdict.get("adapted"))),
        ("Labelled messages", count(verdict.get("n_examples"))),
    ]
    if number(verdict.get("labels_needed")) is not None:
        pairs.append(("Labels to settle it", f"about {count(verdict['labels_needed'])}"))
    draws = ""
    if number(verdict.get("n_draws")) and number(verdict.get("shots")):
        draws = f" Averages over {count(verdict['n_draws'])} random sets of {count(verdict['shots'])} labels per class."
    return join(
        interval_picture(gain, ends, number(verdict.get("smallest_gain"))),
        _facts(pairs),
        _note((text.INTERVAL_ON_TEST if verdict.get("on_test") else text.INTERVAL) + draws),
        _note(str(part(verdict, "heads")["sentence"])) if part(verdict, "heads").get("sentence") else None,
    )


def _cost(facts: Mapping[str, Any]) -> Html:
    cost, spent = part(facts, "cost"), part(part(facts, "verdict"), "spent")
    known: list[tuple[str, str]] = [
        ("Time", duration(spent.get("seconds", cost.get("seconds")))),
        ("Cost", text.euros(spent.get("euros"))),
        ("Peak memory", text.memory(spent.get("memory_bytes"))),
        ("Training tokens", count(spent.get("tokens", cost.get("tokens")))),
        ("Tokens a second", count(cost.get("tokens_per_second"))),
    ]
    waste = number(cost.get("waste"))
    if waste is not None:
        known.append(("Waste", percent(100 * waste)))
    known = [(term, value) for term, value in known if value != text.NONE]
    if not known:
        return paragraphs("This run kept no account of its time and tokens.")
    made: list[list[Child]] = [list(row) for row in text.forecast_rows(spent)]
    return join(
        _facts(known),
        _note(text.WASTE) if waste is not None else None,
        table("Forecast and fact", ["What", "Forecast", "Fact", "Ratio"], made) if made else None,
        _note(text.FORECAST) if made else None,
    )


# --- gains --------------------------------------------------------------------------------------------------------


def _curves(facts: Mapping[str, Any]) -> Html:
    verdict = part(facts, "verdict")
    curves = read_curves(rows(facts, "curves"))
    if not curves:
        return paragraphs(_no_gain(facts))
    reached, base = number(part(facts, "ceiling").get("accuracy")), number(verdict.get("base"))
    ceiling = None if reached is None or base is None else reached - base
    caption = ["Each line is a candidate, its band the interval at each checkpoint. All start at the base model, at 0."]
    if any(curve.eliminated for curve in curves):
        caption.append("Dashed lines were eliminated: their training was ended before its time.")
    smallest = number(verdict.get("smallest_gain"))
    if smallest:
        caption.append(f"The smallest gain worth having is {signed(smallest)}.")
    if ceiling is not None:
        caption.append(text.CEILING + f" It lies {signed(ceiling)} points from the base model.")
    chart = gain_chart(curves, ceiling=ceiling, smallest=smallest)
    return join(chart, _note(" ".join(caption)))


def _no_gain(facts: Mapping[str, Any]) -> str:
    if not rows(part(facts, "verdict"), "candidates"):
        return "Nothing was trained, so there is no curve of gains."
    if not gained(facts):
        return f"{text.NO_LABELS} So there is no curve of gains."
    return "No gain was measured while training went on; the table below has the final ones."


def _entries(facts: Mapping[str, Any]) -> Html:
    verdict = part(facts, "verdict")
    entries = rows(verdict, "candidates")
    if not entries:
        return paragraphs("Nothing was trained, so there is nothing to compare.")
    labelled = gained(facts)
    about = paragraphs(text.ENTRY, f"{text.GUARD} {text.FORGETTING}")
    scale = _common_scale(entries)
    picture = [el("span", "Picture", class_="desk")] if scale is not None else []
    gains: list[Child] = ["Gain, interval", *picture, el("span", "Adapted", class_="desk")] if labelled else []
    head: list[Child] = ["Entry", *gains, "Forgetting, guards", "Outcome"]
    made = [_entry(entry, verdict, labelled, scale) for entry in entries]
    words = {len(head) - 1} | ({2} if picture else set())
    return join(about, table(f"The menu: {len(entries)} entries, differences in points", head, made, words=words))


def _common_scale(entries: Sequence[Mapping[str, Any]]) -> Axis | None:
    """One axis for the small pictures of all rows, where there is an interval to draw."""
    ends = [end for entry in entries for end in text.pair_of(entry.get("interval")) or ()]
    return make_axis(min([0.0, *ends]), max([0.0, *ends]), 6, 104, widen=False) if ends else None


def _entry(entry: Mapping[str, Any], verdict: Mapping[str, Any], labelled: bool, scale: Axis | None) -> list[Child]:
    tokens, step = number(entry.get("tokens")), number(entry.get("step"))
    seen = [f"{count(step)} steps" if step is not None else "", f"{text.short(tokens)} tokens" if tokens else ""]
    called = name(entry.get("entry"))
    if text.is_described(entry, verdict):
        called = el("strong", called)
    cells: list[Child] = [join(called, el("small", ", ".join(filter(None, seen))))]
    if labelled:
        ends, gain = text.pair_of(entry.get("interval")), number(entry.get("gain"))
        cells.append(join(signed(gain), " ", el("small", text.interval(ends))))
        if scale is not None:
            cells.append(el("span", small_interval(gain, ends, scale), class_="desk"))
        cells.append(el("span", percent(entry.get("adapted")), class_="desk"))
    guards = None if entry.get("inside_guards") is None else text.inside({"inside": entry["inside_guards"]})
    forgot = join(signed(entry.get("forgetting")), " ", el("small", guards))
    return [*cells, forgot, user(text.outcome(entry, verdict))]


def _classes(facts: Mapping[str, Any]) -> Html:
    per_class = rows(facts, "per_class")
    gains, losses = text.biggest(per_class, _MOST_CHANGED)
    if not per_class:
        return paragraphs("No class was measured, since that takes labelled messages and a trained challenger.")
    if not gains and not losses:
        return paragraphs("No class changed.")
    shown = [*gains, *reversed(losses)]
    largest = max(abs(row["gain"]) for row in shown)
    some: list[list[Child]] = [
        [name(row["label"]), count(row.get("n")), bar(row["gain"], largest), signed(row["gain"])] for row in shown
    ]
    every = sorted(per_class, key=lambda row: str(row["label"]))
    full: list[list[Child]] = [
        [
            user(row["label"]),
            count(row.get("n")),
            percent(row.get("base")),
            percent(row.get("adapted")),
            signed(row.get("gain")),
        ]
        for row in every
    ]
    caption = f"The {len(gains)} largest gains and {len(losses)} largest losses, in points"
    return join(
        paragraphs(
            "Single classes have few messages and no interval of their own: look for a pattern, not at one row."
        ),
        table(caption, ["Class", "Messages", el("span", "loss | gain", class_="middle"), "Points"], some, words={2}),
        disclosure(
            f"All {len(every)} classes",
            table("Accuracy per class", ["Class", "Messages", "Base", "Adapted", "Gain"], full),
        ),
    )


# --- other evidence -----------------------------------------------------------------------------------------------


def _label_free(facts: Mapping[str, Any]) -> Html:
    label_free = rows(facts, "label_free")
    names = text.measures(label_free)
    if not names:
        return paragraphs("No such measure was taken in this run.")
    first = label_free[0]
    made: list[list[Child]] = [
        [name(row.get("entry")), *(_change(row, first, measure) for measure in names)] for row in label_free
    ]
    lines = el("ul", *(el("li", line) for line in text.explained(names))) if text.explained(names) else None
    warning = "They describe the encoder; none of them shows that an assistant answers better."
    heads = [el("span", user(measure), class_="measure") for measure in names]
    small = join("Small numbers are the change against ", user(first.get("entry")), ".")
    return join(paragraphs(warning), lines, _note(small), table("Measures", ["Entry", *heads], made))


def _change(row: Mapping[str, Any], first: Mapping[str, Any], measure: str) -> Html:
    value, base = number(part(row, "values").get(measure)), number(part(first, "values").get(measure))
    if row is first or value is None or base is None:
        return join(plain(value))
    change = plain(value - base, like=value)
    return join(plain(value), el("small", change if value <= base else f"+{change}"))


def _guards(facts: Mapping[str, Any]) -> Html:
    guards = rows(facts, "guards")
    if not guards:
        return paragraphs("No guard was read, since no entry came far enough to be held against one.")
    made: list[list[Child]] = [
        [
            join(name(row["entry"]), el("small", user(row["name"]))),
            signed(row.get("value"), 2),
            signed(row.get("limit"), 2),
            text.inside(row),
        ]
        for row in guards
    ]
    return table("What must not fall below its limit, in points", ["Entry and guard", "Value", "Limit", "Result"], made)


def _losses(facts: Mapping[str, Any]) -> Html:
    panels, broken = [], 0
    order = {str(curve.get("objective")): index for index, curve in enumerate(rows(facts, "curves"))}
    for index, curve in enumerate(rows(facts, "losses")):
        objective = str(curve.get("objective"))
        points = [(float(step), float(loss)) for step, loss in curve.get("points") or () if number(loss) is not None]
        broken += len(curve.get("points") or ()) - len(points)
        if points:
            panels.append(
                el("div", el("h3", user(objective)), loss_panel(objective, points, index, order.get(objective, index)))
            )
    if not panels:
        return paragraphs("No training step was logged.")
    said = "Loss against training steps. The losses of different objectives cannot be compared: each has its own scale."
    failed = _note(f"Left out: {broken} logged losses that are not finite numbers.") if broken else None
    return join(el("div", *panels, class_="panels"), _note(said), failed)


def _stages(facts: Mapping[str, Any]) -> Html:
    stages = rows(part(facts, "cost"), "stages")
    total = sum(number(row.get("seconds")) or 0.0 for row in stages)
    if not total:
        return paragraphs("The stages of this run were not timed.")
    made: list[list[Child]] = [
        [user(row["stage"]), duration(row.get("seconds")), percent(100 * (number(row.get("seconds")) or 0.0) / total)]
        for row in stages
    ]
    return table(f"{duration(total)} in all", ["Stage", "Time", "Share"], made)


def _drops(facts: Mapping[str, Any]) -> Html:
    drops, kept = rows(facts, "drops"), part(facts, "kept")
    said = (
        f"{count(kept.get('texts'))} texts from {count(kept.get('documents'))} documents were kept." if kept else None
    )
    if not drops:
        return paragraphs(said, "Nothing was left out.")
    made: list[list[Child]] = [[user(row["reason"]), count(row.get("count"))] for row in drops]
    samples = [
        disclosure(join("Samples: ", user(row["reason"])), el("ul", *(_sample(sample) for sample in row["samples"])))
        for row in drops
        if row.get("samples")
    ]
    return join(paragraphs(said), table("Left out, by reason", ["Reason", "How many"], made), *samples)


def _sample(sample: Mapping[str, Any]) -> Html:
    detail = join(": ", user(sample["detail"])) if sample.get("detail") else None
    quoted = el("blockquote", sample["sample"], dir="auto") if sample.get("sample") else None
    return el("li", user(sample.get("id")), detail, quoted)


def _again(facts: Mapping[str, Any]) -> Html:
    again = part(facts, "reproduce")
    if not again:
        return paragraphs("The command of this run was not recorded.")
    command = el("pre", el("code", again["command"])) if again.get("command") else None
    seed = [("Seed", user(again["seed"]))] if again.get("seed") is not None else []
    hardware = [(str(item), user(text.value_text(value))) for item, value in part(again, "hardware").items()]
    versions: list[list[Child]] = [
        [name(package), user(version)] for package, version in part(again, "versions").items()
    ]
    return join(
        command,
        _facts([*seed, *hardware]) if seed or hardware else None,
        table("Versions", ["Package", "Version"], versions) if versions else None,
    )
