"""The commands that teach a model a task, from labels, documents or pairs, and use one that writes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoptalk.cli import printed
from shoptalk.cli.options import (
    Budget,
    ConfigFile,
    Force,
    Json,
    Out,
    Price,
    Seed,
    Set,
    TextLabels,
    messages_given,
    show,
)
from shoptalk.config import Config, load
from shoptalk.errors import InputError
from shoptalk.progress import Console

if TYPE_CHECKING:
    from shoptalk.commands.finetune import Request

commands = typer.Typer()


@commands.command()
def finetune(
    model: Annotated[
        str,
        typer.Argument(
            help="An encoder: minilm, a hub id, a folder, a run; for --task translate an encoder–decoder: "
            "scratch:t5-nano, a hub id, a folder, a run."
        ),
    ],
    out: Out,
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Documents, for --task ground; a file of pairs, for translate.")
    ] = None,
    labels: TextLabels = None,
    task: Annotated[
        str,
        typer.Option(
            help="What the labels are, in a word: intent, sentiment, ... Without labels: ground, a reader that marks "
            "what replies say and the sources do not; translate, an encoder–decoder that writes the target of a source."
        ),
    ] = "intent",
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Text of the same domain that heads may learn from; may be given again.")
    ] = None,
    multi_label: Annotated[bool, typer.Option(help="A text has any number of labels: a list, or a|b.")] = False,
    out_of_scope: Annotated[str | None, typer.Option(help="The label of texts that no answer fits.")] = None,
    scope_loss: Annotated[float, typer.Option(help="Points of accuracy in scope that abstaining may cost.")] = 0.5,
    method: Annotated[
        str, typer.Option(help="frozen: heads on the encoder as it is. classify, setfit: tune the encoder too.")
    ] = "frozen",
    accept_unproven: Annotated[bool, typer.Option(help="Ship the tuned encoder even if not proven better.")] = False,
    test: Annotated[Path | None, typer.Option(help="Test examples to judge the result on.")] = None,
    columns: Annotated[
        str, typer.Option(help="Of pairs, for --task translate: the columns of the source and of the target.")
    ] = "source,target",
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """From a few labels to a classifier: the kind of head that does best, calibrated, and when to abstain.

    With --task ground, from documents alone to a reader that marks what is unsupported; put it into RUN/grounding.
    With --task translate, from a table of pairs to a model that writes the target of a source (`shoptalk translate`).
    """
    from shoptalk.commands.finetune import Request
    from shoptalk.commands.ground import OBJECTIVE as GROUND
    from shoptalk.commands.translate import OBJECTIVE as TRANSLATE

    chosen = load(config, overrides=settings or [], budget=budget, price_per_hour=price, seed=seed)
    if task in (GROUND, TRANSLATE):
        _refuse_of_labels(
            task, multi_label=multi_label, out_of_scope=out_of_scope, scope_loss=scope_loss != 0.5,
            method=method != "frozen", accept_unproven=accept_unproven,
        )  # fmt: skip
    if task == GROUND:
        if labels is not None or test is not None or unlabelled:
            raise InputError(_OF_DOCUMENTS)
        _ground(model, sources or [], out, chosen, force=force, as_json=as_json)
        return
    if task == TRANSLATE:
        if labels is not None or unlabelled:
            raise InputError(_OF_PAIRS)
        _pairs(model, sources or [], columns, test, out, chosen, force=force, as_json=as_json)
        return
    if sources or labels is None:
        raise InputError(
            f"--task {task} learns from labels: give --labels FILE, and unlabelled text as --unlabelled SOURCE. Only "
            "--task ground and --task translate take sources alone."
        )
    request = Request(
        model=model,
        labels=labels,
        test=test,
        task=task,
        unlabelled=tuple(unlabelled or ()),
        multi_label=multi_label,
        out_of_scope=out_of_scope,
        scope_loss=scope_loss,
        method=method,
        accept_unproven=accept_unproven,
    )
    _classifier(request, out, chosen, force=force, as_json=as_json)


_OF_DOCUMENTS = (
    "--task ground learns from documents alone: give one or more SOURCE after the model, and leave --labels, --test "
    "and --unlabelled out."
)
_OF_PAIRS = (
    "--task translate learns from pairs: give one .tsv, .csv or .jsonl file after the model, and leave --labels and "
    "--unlabelled out."
)


def _refuse_of_labels(task: str, **given: object) -> None:
    """Options that say how labels are learned from say nothing to a task without any."""
    names = ", ".join(f"--{name.replace('_', '-')}" for name, value in given.items() if value)
    if names:
        raise InputError(
            f"{names} is for tasks that learn from labels, and --task {task} has none: leave it out, or give --labels "
            "FILE and another --task."
        )


def _classifier(request: "Request", out: Path, config: Config, *, force: bool, as_json: bool) -> None:
    from shoptalk.artifact import locked
    from shoptalk.commands.finetune import finetune as run
    from shoptalk.stages.world import World

    with Console() as console, locked(out):
        result = run(World(run=out, config=config, report=console), request, force=force)
    show(result, as_json, lambda: printed.finetuned(result, out))


def _ground(model: str, sources: list[Path], out: Path, config: Config, *, force: bool, as_json: bool) -> None:
    from shoptalk.artifact import locked
    from shoptalk.commands.ground import finetune_grounding
    from shoptalk.stages.world import World

    if not sources:
        raise InputError(_OF_DOCUMENTS)
    with Console() as console, locked(out):
        result = finetune_grounding(World(run=out, config=config, report=console), model, sources, force=force)
    show(result, as_json, lambda: printed.grounded(result, out))


def _pairs(
    model: str, sources: list[Path], columns: str, test: Path | None, out: Path, config: Config, *, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from shoptalk.artifact import locked
    from shoptalk.commands.translate import finetune_translation
    from shoptalk.stages.world import World

    if len(sources) != 1:
        raise InputError(_OF_PAIRS)
    with Console() as console, locked(out):
        world = World(run=out, config=config, report=console)
        result = finetune_translation(world, model, sources[0], columns=_two(columns), test=test, force=force)
    show(result, as_json, lambda: printed.translated(result, out))


@commands.command()
def translate(
    model: Annotated[str, typer.Argument(help="What `finetune --task translate` left, or any encoder–decoder.")],
    texts: Annotated[list[str] | None, typer.Argument(help="What it reads; - for standard input.")] = None,
    file: Annotated[Path | None, typer.Option(help="Texts: one a line, or JSON Lines with a text.")] = None,
    beams: Annotated[int, typer.Option(min=1, max=32, help="Beginnings that are kept in view.")] = 1,
    as_json: Json = False,
) -> None:
    """What the model writes for each text: a line each, in their order."""
    from shoptalk.commands.translate import translate as run

    given = messages_given(texts or [], file)
    written = run(model, given, beams=beams, say=lambda line: typer.echo(line, err=True))
    rows = [{"text": text, "written": line} for text, line in zip(given, written, strict=True)]
    show(rows, as_json, lambda: "\n".join(" ".join(line.split()) for line in written))


def _two(columns: str) -> tuple[str, str]:
    names = [name.strip() for name in columns.split(",")]
    if len(names) != 2 or not all(names):
        raise InputError(f"--columns {columns!r}: expected two names, such as --columns en,de.")
    if names[0].casefold() == names[1].casefold():  # columns are found whatever their case
        raise InputError(
            f"--columns {columns!r} names one column twice: a model would learn to repeat its source. Expected the "
            "columns of the source and of the target, such as --columns en,de."
        )
    return names[0], names[1]
