"""What the commands print for people: pure functions from a result, as `--json` prints it, to text."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoptalk.quantities import Spending, compared, span
from shoptalk.readback import shipped_in
from shoptalk.records import ACCURACY, Measure
from shoptalk.report.sentences import of_kept_base

Result = Mapping[str, Any]
MEANINGS = {
    "about-the-prompt": "a question about the passage that the model was shown",
    "above-header": "stands above the names of a table's columns",
    "bad-csv": "the row cannot be read as CSV",
    "bad-json": "the line is not JSON",
    "binary": "not text",
    "contradiction": "labelled text with two labels",
    "conversation": "a conversation, where documents are read",
    "copied-example": "a question of the worked examples, repeated",
    "duplicate": "the same text or picture came before",
    "empty": "no text",
    "hidden": "its name begins with a dot",
    "holds-answer": "a question that says what it asks for",
    "in-labelled-cluster": "a labelled or tested message, or nearly",
    "in-test": "a pair whose source is one of the test",
    "in-test-cluster": "a labelled message that is nearly one of the test",
    "line-too-long": "over a million characters in one line",
    "link-outside": "a link that leads out of the folder",
    "linked-folder": "a link to a folder, which is not followed",
    "made-by-shoptalk": "a run or a model, never a source",
    "near-duplicate": "nearly another one of its kind",
    "no-label": "no label",
    "no-pair": "no source or no target",
    "no-question": "what was written is no question",
    "no-text": "no text column or key",
    "not-found": "a question by which its passage is not found",
    "not-utf8": "bytes that are no UTF-8",
    "not-valid": "a passage of a document that does not hold today",
    "other-answer": "a question to which the assistant would quote something else",
    "question-unsupported": "a question with a number or a name that its passage does not have",
    "rare-label": "a label with fewer than two independent examples",
    "too-large": "over the size that the settings allow",
    "too-long": "a passage that the model has no room for",
    "too-many-cells": "more cells than the header has",
    "too-short": "a passage of too few words to ask about",
    "unfinished": "a question that was cut off",
    "unknown-format": "a kind of file that is not read",
    "unreadable": "cannot be opened",
    "wrong-type": "not what the row should hold",
}
"""What the reasons of drops mean, in few words."""
_BREAKING = {"Cc", "Zl", "Zp", "Cs"}
"""Unicode's categories of control characters, line and paragraph separators, and halves of characters."""


def verdict(result: Result, out: Path, *, drops: Mapping[str, int]) -> str:
    """What `adapt` ends with; `drops` are what was left out, by reason."""
    lines = [f"verdict: {result['choice']}", result["sentence"], ""]
    measure = _measure_of(result)
    lines += ladder(result, measure)
    if result["gain"] is not None:
        low, high = (measure.change(end) for end in result["interval"])
        lines.append(
            f"base {measure.shown(result['base'])}, adapted {measure.shown(result['adapted'])}: gain "
            f"{measure.change(result['gain'])} {measure.difference} (95 % interval {low} to {high})"
        )
    if result.get("heads"):
        lines.append(result["heads"]["sentence"])
    lines.append(f"spent {_spent_text(result['spent'])}")
    lines += _losers_text(result["spent"])
    lines.append(left_out(drops, out / "corpus" / "drops.jsonl"))
    shipped = shipped_in(out)
    unproven = result.get("served_unproven", False)
    if (said := of_kept_base(result)) and not unproven:
        trained = f", trained: {out / 'candidate' / shipped}" if result.get("objective") else ""
        lines.append(f"{shipped} to serve: {said} (base: {out / shipped}{trained})")
    else:
        lines.append(f"{shipped} to serve: {out / shipped}{' (the challenger, unproven)' if unproven else ''}")
    lines.append(f"report: {out / 'report.html'}")
    lines += _answers_needed(result, out)
    return "\n".join(lines)


def _answers_needed(result: Result, out: Path) -> list[str]:
    """How a person settles it, where messages were held out to ask about."""
    if "answers_needed" not in result or result.get("asked"):
        return []
    needed, bank, held = result["answers_needed"], result["bank_needed"], result["bank"]
    if needed == 0:
        return ["base and challenger answer alike on the messages held out: there is nothing to choose"]
    if needed is None:
        return ["to settle it by asking: base and challenger are too close for any number of answers that we would ask"]
    about = f"to settle it by asking: about {_many(needed, 'answer')} of yours"
    if bank > held:
        command = f"`shoptalk ask {out} --bank SOURCE`"
        return [f"{about}, out of {bank:,} messages that it has not seen ({held:,} were held out): {command}"]
    return [f"{about}: `shoptalk ask {out}`"]


def ladder(result: Result, measure: Measure) -> list[str]:
    """The measured steps, a line each, with what those that are adopted bring in all; none where there is but one."""
    steps = result.get("ladder", ())
    if len(steps) < 2:
        return []
    whole, adopted = result["in_all"], True
    rows: list[tuple[str, str, str, str]] = []
    for step in steps:
        remark = "" if adopted else "measured, not adopted"
        rows.append(
            (f"{'+ ' if rows else ''}{step['step']}", measure.shown(step["value"]), _rise(step, measure), remark)
        )
        adopted = adopted and step["step"] != whole["step"]
    rows.append(("in all", "", _rise(whole, measure), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"  {name:<{widths[0]}}  {level:>{widths[1]}}  {rise:<{widths[2]}}  {remark}".rstrip()
        for name, level, rise, remark in rows
        if level or rise
    ]


def _rise(step: Result, measure: Measure) -> str:
    if step["gain"] is None:
        return ""
    low, high = (measure.change(end) for end in step["interval"])
    return f"{measure.change(step['gain'])} ({low} to {high})"


def curated(result: Result) -> str:
    """What `curate` kept and dropped, with what each reason means."""
    counts = {kind: result[f"{kind}s"] for kind in ("picture", "text")}
    counted = " and ".join(_many(count, kind) for kind, count in counts.items() if count)
    kept = f"{counted} in {_many(result['documents'], 'document')}"
    corpus = Path(result["corpus"])
    lines = [f"kept: {kept}, in {corpus / 'documents.jsonl'}", left_out(result["drops"], corpus / "drops.jsonl")]
    return "\n".join([*lines, *_meanings(result["drops"])])


def _meanings(drops: Mapping[str, int]) -> list[str]:
    """How much was left out for each reason, and what that means."""
    width = max(map(len, drops), default=0)
    return [f"{count:>9,}  {reason:<{width}}  {MEANINGS.get(reason, '')}".rstrip() for reason, count in drops.items()]


def left_out(drops: Mapping[str, int], path: Path) -> str:
    """How much was left out, for which reasons, and where each of it stands with its reason."""
    if not drops:
        return "left out: nothing"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in drops.items())
    return f"left out: {sum(drops.values()):,} ({reasons}), each with its reason in {path}"


def probe(shots: Mapping[str, Result]) -> str:
    """Accuracies by number of shots."""
    return "\n".join(
        f"{k:>5} shots  {row['accuracy']:5.1f} %  ± {row['std_over_draws']:.1f} over draws" for k, row in shots.items()
    )


def comparison(result: Result) -> str:
    """Two encoders' accuracies by number of shots, and the sentence about them."""
    lines = [f"{k:>5} shots  {_levels(row, ACCURACY)}   {_rise(row, ACCURACY)}" for k, row in result["shots"].items()]
    return "\n".join([*lines, result["sentence"]])


def control(result: Result) -> str:
    """Whether the procedure passed a control."""
    no_part = result["verdict"].get("task") == "language_model"  # any text may mend quantised weights
    adopted = "your text had no part in" if no_part else "cannot have helped"
    word = "passed: not adopted" if result["passed"] else f"FAILED: adopted what {adopted}"
    return f"control {result['control']} {word}\n{result['sentence']}"


def verified(result: Result) -> str:
    """What is damaged in a folder, a line each."""
    size = f"{result['files']:,} files, {result['bytes'] / 1e6:,.1f} MB"
    if not result["damaged"]:
        return f"{result['artifacts']} artifacts are whole: {size} match their hashes"
    lines = [f"{len(result['damaged'])} damaged, {result['sound']} of {result['artifacts']} artifacts whole ({size})"]
    return "\n".join([*lines, *(f"{row['path']}: {row['problem']}" for row in result["damaged"])])


def export(result: Result, place: Path) -> str:
    """Where the model is, and how near it is to what it was made from."""
    size = f"{place}: {result['bytes'] / 1e6:.1f} MB"
    if "least_cosine" in result:
        return f"{size}, lowest cosine to torch {result['least_cosine']:.5f}"
    before = result.get("bits_per_byte_float32")
    against = "" if before is None else f", {before:.4f} before rounding"
    return f"{size}, bits per byte of general text {result['bits_per_byte']:.4f}{against}"


def answer(row: Result) -> str:
    """What a message is, how sure that is, and the message, between tabs; always one line with two tabs."""
    said = "|".join(row["labels"]) or "-"
    shown = said if row["in_scope"] else f"out of scope ({said})"
    return f"{_one_line(shown)}\t{row['probability']:.2f}\t{_one_line(row.get('text', row.get('picture', '')))}"


def finetuned(result: Result, out: Path) -> str:
    """The kind of head that was chosen, what tuning came to, the test, and what was left out."""
    lines = [f"{result['task']}: {result['sentence']}"]
    if result.get("tuning") is not None:  # an earlier version did not say
        lines.append(f"tuning: {result['tuning']['sentence']}")
    lines += [f"test: {name.replace('_', ' ')} {value:.1f} %" for name, value in (result["test"] or {}).items()]
    if "drops" in result:  # an earlier version did not count them
        lines.append(left_out(result["drops"], out / result["drops_file"]))
    return "\n".join([*lines, f"encoder and head: {out / 'encoder'}, {out / 'head'}"])


def grounded(result: Result, out: Path) -> str:
    """How well unsupported words are marked: in all, and kind by kind beside the rule of absent words."""
    lines = [f"{result['task']}: {result['sentence']}", "", f"{'corruption':<12}{'F1':>6}{'rule':>7}{'missed':>9}"]
    lines += [
        f"{kind:<12}{row['f1']:>6.2f}{row['rule_f1']:>7.2f}{100 * row['missed']:>7.0f} %"
        for kind, row in result["kinds"].items()
    ]
    return "\n".join([*lines, "", f"encoder and head: {out / 'encoder'}, {out / 'grounding_head'}"])


def translated(result: Result, out: Path) -> str:
    """How well targets are foretold and written, with a few of what is written."""
    lines = [f"{result['task']}: {result['sentence']}", ""]
    for row in result["test"]["examples"]:
        lines += [f"  {_one_line(row['source'])}", f"    -> {_one_line(row['written'])}", ""]
    return "\n".join([*lines, _in_assistant(result), f"model: {out / 'model'}"])


def _in_assistant(result: Result) -> str:
    """Whether a server would translate threads with it."""
    from shoptalk.decide.translating import why_unused  # its room imports numpy, and help needs none

    test, unchanged = result["test"], result.get("unchanged", {}).get("chrf")
    why = why_unused(low=test["chrf_interval"][0], unchanged=unchanged, written=test["written"])
    return "in the assistant: " + ("it translates threads, as RUN/translation" if why is None else f"not used: {why}")


def questions(result: Result, out: Path) -> str:
    """How many of the written questions survive, why the others do not, and a few of those that do."""
    folder = out / "questions"
    lines = [result["sentence"], ""]
    for row in result["examples"]:
        lines += [f"  {_one_line(row['question'])}", f"    -> {_one_line(row['answer'])}", ""]
    drops: Mapping[str, int] = Counter(result["left_out"]) + Counter(result["dropped"])
    lines += [left_out(drops, folder / "drops.jsonl"), *_meanings(drops)]
    return "\n".join([*lines, f"pairs: {folder / 'pairs.jsonl'}", f"conversations: {folder / 'conversations.jsonl'}"])


def dose(result: Result, run: Path) -> str:
    """The dose curves, point by point, with what may be concluded from each."""
    measure = _measure_of(result)
    lines = [
        f"{result['entry']}, gain in {measure.difference} over the base; of tokens and texts as looks during training "
        "read it, not as the verdict does"
    ]
    for name, curve in result["curves"].items():
        lines += ["", f"{name} ({curve['unit']})"]
        lines += [f"  {row['dose']:>10,}  {_levels(row, measure)}   {_rise(row, measure)}" for row in curve["points"]]
        lines += [f"  check: {_check_text(check, measure)}" for check in curve["checks"]]
        lines += [f"  {part['sentence']}" for part in (curve, *curve.get("accuracy", {}).values())]
    return "\n".join([*lines, "", f"all of it: {run / 'dose.json'}"])


def objectives(rows: Sequence[Result]) -> str:
    """One objective a line, with its settings; those first that train the same."""
    trained = dict.fromkeys(", ".join(row["trains"]) for row in rows)
    return "\n\n".join(
        "\n".join(
            [
                f"{what[:1].upper()}{what[1:]}",
                *(
                    f"  {row['name']:<11} {row['about']}  {_settings(row['settings'])}"
                    for row in rows
                    if ", ".join(row["trains"]) == what
                ),
            ]
        )
        for what in trained
    )


def models(rows: Sequence[Result]) -> str:
    """One base model a line."""
    width = max((len(row["name"]) for row in rows), default=0)
    return "\n".join(f"{row['name']:<{width}} {row['about']}" for row in rows)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _one_line(text: str) -> str:
    """Control characters and line ends as escapes, such as \\t and \\n: they would break a table apart."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _BREAKING
        else character
        for character in text
    )


def _measure_of(result: Result) -> Measure:
    """What a result's values are of; earlier versions knew accuracies alone."""
    return Measure.model_validate(result["measure"]) if result.get("measure") else ACCURACY


def _levels(row: Result, measure: Measure) -> str:
    """The base's value and the adapted one's, as wide in every row."""
    base, adapted = (f"{row[of]:{4 + measure.decimals}.{measure.decimals}f}" for of in ("base", "adapted"))
    return f"{base} -> {adapted} {measure.unit}".rstrip()


def _check_text(check: Result, measure: Measure) -> str:
    least, most = map(measure.change, check["predicted_interval"])
    low, high = map(measure.change, check["interval"])
    return (
        f"the {check['law']} law of the smaller doses says {measure.change(check['predicted'])} ({least} to {most}) "
        f"at {check['dose']:,.0f}, measured {measure.change(check['measured'])} ({low} to {high}): "
        f"{'holds' if check['holds'] else 'does not hold'}"
    )


def _spent_text(spent: Result) -> str:
    fact = Spending.model_validate({name: spent[name] for name in Spending.model_fields})
    return str(fact) if spent["forecast"] is None else compared(fact, Spending.model_validate(spent["forecast"]))


def _losers_text(spent: Result) -> list[str]:
    """What each candidate cost, where there were several; nothing to tell where one was trained alone."""
    if len(spent["candidates"]) < 2:
        return []
    rows = sorted((row for row in spent["candidates"] if not row["went_on"]), key=lambda row: -float(row["seconds"]))
    each = ", ".join(f"{row['objective']} {row['share']:.0%}" for row in rows)
    lost = spent["losers"]
    return [f"of it on candidates that did not go on: {span(lost['seconds'])}, {lost['share']:.0%} ({each})"]


def _settings(settings: Result) -> str:
    """Settings that have settings of their own, such as a chain of augmentations, are named; --json shows those."""
    return ", ".join(f"{name}.*" if isinstance(value, dict) else f"{name}={value}" for name, value in settings.items())
