"""What the command line's files share: options, and how a result is printed."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from shoptalk.cli.terminal_text import print_text
from shoptalk.errors import InputError

Sources = Annotated[
    list[Path],
    typer.Argument(help="Files or folders: .txt .md .csv .jsonl, gzip or not; or pictures, in folders or .zip."),
]
Labels = Annotated[Path | None, typer.Option(help="CSV or JSONL with the columns text,label or image,label.")]
Pairs = Annotated[
    Path | None, typer.Option(help="JSON Lines with question and passage or document, for the task answer.")
]
NeededLabels = Annotated[Path, typer.Option(help="CSV or JSONL with the columns text,label or image,label.")]
TextLabels = Annotated[Path | None, typer.Option(help="CSV or JSONL with the columns text,label.")]
NeededTest = Annotated[Path, typer.Option(help="Test examples: CSV or JSONL with the columns of the labels.")]
Out = Annotated[Path, typer.Option(help="Where the result goes.")]
Base = Annotated[
    str | None, typer.Option(help="minilm, mpnet, scratch:mini, a hub id, or a folder; `shoptalk models`.")
]
Seed = Annotated[int | None, typer.Option(help="Of every random choice.")]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Of the whole run: 90s, 10m; training tokens: 500ktok, 3Mtok; or money: 0.50eur with --price, 2eur@1.20."
    ),
]
Price = Annotated[float | None, typer.Option(help="EUR an hour of this machine; costs are then told in EUR too.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A shoptalk.toml; `shoptalk init` writes one.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A setting, as KEY=VALUE; may be given again.")]
Replayed = Annotated[
    list[Path] | None,
    typer.Option("--replay", help="General text for a language model to read again beside yours; may be given again."),
]
Shots = Annotated[str, typer.Option(help="Labels per class, comma-separated; `full` is all of them.")]
Draws = Annotated[int, typer.Option(min=2, help="Random label sets per number of shots.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the finished work that --out holds.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(result: Any, as_json: bool, told: Callable[[], str]) -> None:
    """A result as JSON, or as the text that is told to people."""
    typer.echo(json.dumps(result, indent=1, ensure_ascii=False) if as_json else told())


def show_each(results: Iterable[Any], as_json: bool, told: Callable[[Any], str]) -> None:
    """Results as they come, as a JSON list or as texts with an empty line between. A list is closed also where somebody
    stops it, or one of them fails: what there is can be read.
    """
    count = 0
    try:
        for result in results:
            count += 1
            if as_json:
                typer.echo(",\n" if count > 1 else "[\n", nl=False)
                typer.echo(json.dumps([result], indent=1, ensure_ascii=False)[2:-2], nl=False)
            else:
                print_text(("\n" if count > 1 else "") + told(result))
    finally:
        if as_json and count:
            typer.echo("\n]")


def tell_left_out(run: Path) -> None:
    """On standard error, what a command has left out of its corpus, by reason."""
    from shoptalk.cli.printed import left_out
    from shoptalk.curate.curation import DROPS, count_drops

    corpus = run / "corpus"
    if (corpus / DROPS).is_file():  # else somebody has deleted it since
        typer.echo(left_out(count_drops(corpus), corpus / DROPS), err=True)


def replaying(sources: list[Path] | None) -> list[str]:
    """The setting that `--replay` stands for."""
    return [f"replay.sources={json.dumps([str(source) for source in sources])}"] if sources else []


def refuse_both(steps: int | None, budget: str | None) -> None:
    """Both say how long to train."""
    if steps is not None and budget is not None:
        raise InputError("Give --steps or --budget, not both: each decides how long to train.")


def _is_file(message: str) -> bool:
    """Whether a message is the path of a file with an ending, which no message has by chance."""
    return os.path.splitext(message)[1] != "" and os.path.isfile(message)  # noqa: PTH113, PTH122 (they never raise)


def messages_given(texts: list[str], file: Path | None) -> list[str]:
    """The texts of the command line, of a file, or of standard input, where it is -."""
    if file is not None and texts:
        raise InputError("Give messages or --file, not both.")
    if file is None and not texts:
        raise InputError("No message was given. Give one or more, --file FILE, or - to read standard input.")
    if file is None and texts != ["-"]:
        if (named := next(filter(_is_file, texts), None)) is not None:
            raise InputError(
                f"{named} is a file, and this model reads messages. Give them themselves, or a file of them as --file."
            )
        return texts
    from shoptalk.curate.messages import read_messages, read_standard_input  # slow to import, and needed here only

    return read_standard_input() if file is None or str(file) == "-" else read_messages(file)
