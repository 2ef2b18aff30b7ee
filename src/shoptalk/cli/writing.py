"""The commands that have a language model write."""

from pathlib import Path
from typing import Annotated

import typer

from shoptalk.cli import printed
from shoptalk.cli.options import ConfigFile, Force, Json, Out, Seed, Set, Sources, show, show_each
from shoptalk.cli.terminal_text import print_text
from shoptalk.config import load
from shoptalk.errors import InputError
from shoptalk.progress import Console

commands = typer.Typer()


@commands.command()
def generate(
    model: Annotated[str, typer.Argument(help="A language model: smollm2, a run, a folder, a hub id.")],
    prompt: Annotated[
        str | None, typer.Argument(help="What it answers or goes on from; - or none reads standard input.")
    ] = None,
    passages: Annotated[
        Path | None,
        typer.Option(help="Texts to put before the prompt: one a line, or JSON Lines with a text."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Go on from the prompt, although the model has a chat template.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(help="Most tokens that are written.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time; more draws.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest tokens with this share together.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="End the text before this; may be given again.")] = None,
    precision: Annotated[str, typer.Option(help="Of the weights: float32, bfloat16, or auto (timed).")] = "auto",
    as_json: Json = False,
) -> None:
    """A language model answers a prompt, word by word as they come; or, with --raw, goes on from it."""
    from shoptalk.commands.generate import generate as run
    from shoptalk.commands.generate import summary

    written = run(
        model,
        prompt,
        passages=passages,
        raw=raw,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=stop or (),
        precision=precision,
    )
    if not as_json:
        for piece in written:
            print_text(piece, end="")
        typer.echo()
    result = written.result()
    if as_json:
        show(result, as_json, str)
    typer.echo(f"shoptalk: {summary(result)}", err=True)


@commands.command()
def note(
    conversations: Annotated[Path, typer.Argument(help="A file or folder of conversations, as adapt reads them.")],
    model: Annotated[
        str | None, typer.Option(help="A language model that suggests a note, unverified; without it none does.")
    ] = None,
    ask: Annotated[str | None, typer.Option(help="What the model is asked to do with the conversation.")] = None,
    most: Annotated[int, typer.Option(help="Turns that are noted.")] = 5,
    as_json: Json = False,
) -> None:
    """The note of each conversation: the turns that say most, and what a model suggests, checked against them."""
    from shoptalk.commands.visit_note import ASKED, notes, worded

    if ask is not None and model is None:
        raise InputError(
            f"--ask {ask!r} is for a language model, and none was given. Add --model, such as --model smollm2, or "
            "leave --ask out."
        )
    every = notes(
        conversations, model=model, asked=ask or ASKED, most=most,
        say=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    if as_json:
        show_each((each.told() for each in every), as_json, str)
    else:
        show_each(every, as_json, worded)


@commands.command()
def questions(
    sources: Sources,
    out: Out,
    model: Annotated[str, typer.Option(help="The language model that writes: smollm2, a run, a folder, a hub id.")],
    encoder: Annotated[str, typer.Option(help="Its vectors find the passages: a run, a base, a folder.")] = "minilm",
    rank: Annotated[int, typer.Option(help="A question must find its passage among the first so many.")] = 1,
    each: Annotated[int, typer.Option(help="Sentences of a passage that questions are written to, at most.")] = 1,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time; more draws.")] = 0.0,
    most: Annotated[int | None, typer.Option(help="Passages that are asked about, at random; all without.")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A language model writes questions to your documents; kept are those that lead back to their passage."""
    from shoptalk.artifact import locked
    from shoptalk.commands.question_result import QuestionSettings
    from shoptalk.commands.questions import write_questions
    from shoptalk.stages.world import World

    chosen = load(config, overrides=settings or [], seed=seed)
    how = QuestionSettings(encoder=encoder, rank=rank, each=each, temperature=temperature, most=most)
    with Console() as console, locked(out):
        world = World(run=out, config=chosen, report=console)
        result = write_questions(world, model, sources, how, force=force)
    show(result.told(), as_json, lambda: printed.questions(result.told(), out))
