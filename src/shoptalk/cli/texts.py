"""The commands about texts that a model has generated."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shoptalk.cli.options import Json, show
from shoptalk.progress import Console

commands = typer.Typer()


@commands.command()
def evaluate(
    texts: Annotated[
        Path, typer.Argument(help="JSON Lines or CSV with candidate and reference, and perhaps source or turns.")
    ],
    against: Annotated[Path | None, typer.Option(help="The same rows by another system.")] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Compare with lead-3, and of conversations with the longest turn.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """BLEU, chrF, ROUGE and the support of numbers and names, each with an interval; of two systems the differences."""
    from shoptalk.commands.evaluate import evaluate_texts

    with Console() as console:
        measures = evaluate_texts(texts, against=against, baselines=baselines, seed=seed, say=console.say).told()
    show(measures, as_json, lambda: printed_measures(measures))


def printed_measures(measures: dict[str, Any]) -> str:
    """A row for each score: the level, and beside it the gain over each other system."""
    columns = [(measures["name"], measures["levels"], ".1f")]
    columns += [(f"over {other['name']}", other["gains"], "+.1f") for other in measures["compared"]]
    names = {score["key"]: score["name"] for score in measures["levels"]}
    cells = [["", *(head for head, _, _ in columns)]]
    for key, name in names.items():
        row = [name]
        for _, scores, form in columns:
            score = next((score for score in scores if score["key"] == key), None)
            row.append("" if score is None else _cell(score, form))
        cells.append(row)
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns) + 1)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([measures["sentence"], "", *lines, *_counts(measures)])


def _cell(score: dict[str, Any], form: str) -> str:
    low, high = score["interval"]
    return f"{score['value']:{form}} ({low:{form}} to {high:{form}})"


def _counts(measures: dict[str, Any]) -> list[str]:
    counts = []
    if measures["beyond_rouge"]:
        given = any(score["key"].startswith("rouge") for score in measures["levels"])
        counts.append(
            f"ROUGE knows the letters a to z alone, and {measures['beyond_rouge']:.0f} % of the references' words have "
            f"others: {'it splits them or leaves them out' if given else 'it is not given'}"
        )
    if measures["stated"] is not None:
        counts.append(
            f"{measures['supported']:,} of the {measures['stated']:,} numbers and names that it states stand in the "
            "sources"
        )
    for name, empty in [
        (measures["name"], measures["empty"]),
        *((o["name"], o["empty"]) for o in measures["compared"]),
    ]:
        if empty:
            counts.append(f"{name} says nothing in {empty:,} of {measures['texts']:,} rows, which count as they are")
    return ["", *counts] if counts else []
