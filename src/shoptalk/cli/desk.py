"""The commands about what the assistant knows, when it answers, and the owner's rules."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoptalk.cli.options import Json, Sources, show

if TYPE_CHECKING:
    from shoptalk.assistant.business_rules import RuleTrial

commands = typer.Typer()
knowledge = typer.Typer(help="What the assistant of a run knows.", no_args_is_help=True)
rules = typer.Typer(help="The owner's rules, which go before all models.", no_args_is_help=True)
commands.add_typer(knowledge, name="knowledge")
commands.add_typer(rules, name="rules")

Run = Annotated[Path, typer.Argument(help="The folder of a run that `shoptalk adapt` left.")]
AssistantToml = Annotated[
    Path | None, typer.Option("--config", help="A TOML file with \\[assistant]; else RUN/assistant.toml.")
]


def _tell(line: str) -> None:
    typer.echo(line, err=True)


@knowledge.command()
def add(run: Run, sources: Sources, as_json: Json = False) -> None:
    """Add documents; one that is there already is replaced. Only new text is embedded."""
    from shoptalk.assistant.assistant import Assistant

    change = Assistant.open(run, tell=_tell).add(sources)
    result = {
        "added": change.documents,
        "replaced": list(change.replaced),
        "removed": list(change.removed),
        "passages": change.passages,
        "embedded": change.embedded,
        "left_out": dict(Counter(drop.reason for drop in change.dropped)),
    }
    for remark in change.remarks:
        typer.echo(remark, err=True)
    for id in change.removed:
        typer.echo(f"removed: {id} (its file was added again and has it no more)", err=True)
    for drop in change.dropped:
        typer.echo(f"left out: {drop.id} ({drop.reason}{f': {drop.detail}' if drop.detail else ''})", err=True)
    show(
        result,
        as_json,
        lambda: (
            f"{change.documents} documents added, {len(change.replaced)} of them in place of earlier ones; "
            f"{change.embedded} passages were new. The knowledge now has {change.passages} passages."
        ),
    )


@knowledge.command()
def remove(
    run: Run,
    names: Annotated[list[str], typer.Argument(help="Ids of documents, or the files or folders that they are from.")],
    as_json: Json = False,
) -> None:
    """Take documents away."""
    from shoptalk.assistant.assistant import Assistant

    change = Assistant.open(run, tell=_tell).remove(names)
    result = {"removed": list(change.removed), "passages": change.passages}
    show(
        result,
        as_json,
        lambda: f"{len(change.removed)} documents removed; {change.passages} passages are left.",
    )


@knowledge.command()
def status(run: Run, as_json: Json = False) -> None:
    """The documents with their passages, the days on which they hold, and official answers."""
    from shoptalk.assistant.assistant import Assistant

    result: dict[str, Any] = Assistant.open(run, tell=_tell).knowledge.status()
    show(result, as_json, lambda: _listed(result))


def _listed(result: dict[str, Any]) -> str:
    lines = [f"{result['documents']} documents, {result['passages']} passages, index {result['index']}"]
    for row in result["sources"]:
        days = ", ".join(f"{name} {row[name]}" for name in ("from", "until") if name in row)
        marks = [f"{row['passages']} passages", days, "official" if row.get("official") else ""]
        lines.append(f"{row['id']}: {', '.join(mark for mark in marks if mark)}")
    return "\n".join(lines)


@commands.command()
def calibrate(
    run: Run,
    questions: Annotated[
        Path, typer.Option(help="JSONL or CSV: question, and where it has an answer document and passage.")
    ],
    max_wrong: Annotated[str, typer.Option(help="Most wrong answers among those given, such as 5%.")] = "5%",
    config: AssistantToml = None,
    as_json: Json = False,
) -> None:
    """Fit how sure an answer must be, and say whether so few wrong ones can be promised."""
    from shoptalk.assistant.assistant import Assistant
    from shoptalk.assistant.assistant_settings import load_settings
    from shoptalk.assistant.calibrate import calibrate as fit
    from shoptalk.assistant.calibrate import read_questions, share_of
    from shoptalk.assistant.calibration_file import FOLDER, PICTURE

    share, asked = share_of(max_wrong), read_questions(questions)
    result = fit(Assistant.open(run, settings=load_settings(run, config), tell=_tell), asked, max_wrong=share)
    rows = [
        f"{point.threshold:10.3f} {point.coverage:9.0%} {point.answered:9} {point.wrong:6} {point.risk:7.1%} "
        f"{point.upper:8.1%}"
        for point in result.points[:: max(1, len(result.points) // 12)]
    ]
    table = "\n".join(["confidence  answered  answers  wrong    risk   at most", *rows])
    show(result.told(), as_json, lambda: f"{table}\n{run / FOLDER / PICTURE}\n{result.sentence}")


@rules.command()
def test(
    run: Run,
    file: Annotated[Path, typer.Argument(help="CSV or JSONL: text, and where wanted expected.")],
    config: AssistantToml = None,
    as_json: Json = False,
) -> None:
    """Which rule applies to each message of a file; status 2 where one differs from what is expected."""
    from shoptalk.assistant.assistant import Assistant
    from shoptalk.assistant.assistant_settings import load_settings
    from shoptalk.assistant.rule_trials import refuse_rules_as_messages, try_rules

    refuse_rules_as_messages(file)
    trials = try_rules(Assistant.open(run, settings=load_settings(run, config), tell=_tell), file)
    wrong = [trial for trial in trials if not trial.right]
    result = {
        "messages": len(trials),
        "wrong": len(wrong),
        "rules": dict(
            Counter("too slow" if trial.too_slow else trial.rule or "none" for trial in trials).most_common()
        ),
        "trials": [
            {
                "line": trial.line,
                "text": trial.text,
                "rule": trial.rule,
                "decision": trial.decision,
                "expected": trial.expected,
                "too_slow": trial.too_slow,
            }
            for trial in trials
        ],
    }
    lines = [
        f"{'too slow' if trial.too_slow else trial.rule or 'no rule'}: {' '.join(trial.text.split())[:80]}"
        for trial in trials
    ]
    lines += [_not_as_expected(trial, file) for trial in wrong]
    show(result, as_json, lambda: "\n".join([*lines, f"{len(trials)} messages, {len(wrong)} not as expected"]))
    if wrong:
        raise typer.Exit(2)


def _not_as_expected(trial: "RuleTrial", file: Path) -> str:
    if trial.too_slow is not None:
        return (
            f"{file}, line {trial.line}: the time for patterns ran out at the rule {trial.too_slow!r}. A visitor who "
            "writes that is handed to a person; mend the pattern, or give `words` in its place."
        )
    return f"expected {trial.expected!r}, got {trial.rule or 'none'!r}: {trial.text[:80]}"
