"""The commands that make, measure and use one encoder."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from shoptalk.cli import printed
from shoptalk.cli.options import (
    Base,
    Budget,
    ConfigFile,
    Draws,
    Force,
    Json,
    NeededLabels,
    NeededTest,
    Out,
    Price,
    Replayed,
    Seed,
    Set,
    Shots,
    Sources,
    messages_given,
    refuse_both,
    replaying,
    show,
    tell_left_out,
)
from shoptalk.config import Config, load
from shoptalk.errors import ArtifactError, InputError
from shoptalk.progress import Console
from shoptalk.readback import read_record
from shoptalk.records import Drop, Example, Picture

commands = typer.Typer()


@commands.command()
def pretrain(
    sources: Sources,
    objective: Annotated[
        str, typer.Option(help="`shoptalk objectives` lists them; A+B is their sum, A-then-B trains in two phases.")
    ],
    out: Out,
    base: Base = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many; else the budget decides.")] = None,
    replay: Replayed = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train one objective on the sources and leave the model; the same command again resumes."""
    from shoptalk.commands.pretrain import pretrain as run
    from shoptalk.commands.single_plan import SinglePlan
    from shoptalk.nn.bases import kind_of
    from shoptalk.nn.product import folder_of
    from shoptalk.stages.world import together
    from shoptalk.telling.cards import plain_card
    from shoptalk.telling.origin import base_of

    refuse_both(steps, budget)
    overrides = [*(settings or []), *replaying(replay)]
    chosen = load(config, overrides=overrides, base=base, budget=budget, price_per_hour=price, seed=seed)
    about = "Made by `shoptalk pretrain`; not measured, so not proven."
    card = plain_card(base_of(chosen.base), f"trained with {objective}", about, kind=kind_of(chosen.base))
    with Console() as console, together(out, chosen, console) as world:
        artifact = run(world, sources, objective=objective, steps=steps, card=card, force=force)
        if world.first:
            tell_left_out(out)
            shipped = folder_of(kind_of(chosen.base))
            result: dict[str, Any] = {shipped: str(out / shipped), "content": artifact.content}
            try:
                plan = read_record(out / "plan.json", SinglePlan)
            except ArtifactError:
                console.say(f"pretrain: {out / 'plan.json'} is missing or damaged: how much was trained is not known")
            else:
                result |= {"steps": plan.steps, "spent": plan.spent}
            show(result, as_json, lambda: str(out / shipped))


@commands.command()
def distill(
    model: Annotated[str, typer.Argument(help="The teacher: minilm, a hub id, or a folder.")],
    sources: Sources,
    out: Out,
    layers: Annotated[int | None, typer.Option(min=1, help="Of the student; by default half the teacher's.")] = None,
    vocabulary: Annotated[str, typer.Option(help="Pieces that the student keeps: a number, or full.")] = "full",
    labels: Annotated[
        Path | None, typer.Option(help="Compare both by a linear probe; columns text,label. Kept from training.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many; else the budget decides.")] = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a smaller, faster student of an encoder on your text, and show both side by side; resumes."""
    from shoptalk.commands.distill import distill as run
    from shoptalk.commands.distill import parse_vocabulary, table
    from shoptalk.stages.world import together

    refuse_both(steps, budget)
    pieces = parse_vocabulary(vocabulary)
    chosen = load(config, overrides=settings or [], budget=budget, price_per_hour=price, seed=seed)
    with Console() as console, together(out, chosen, console) as world:
        result = run(world, model, sources, layers=layers, vocabulary=pieces, labels=labels, steps=steps, force=force)
        if world.first:
            tell_left_out(out)
            show(result | {"encoder": str(out / "encoder")}, as_json, lambda: table(result))


@commands.command()
def probe(
    model: str,
    labels: NeededLabels,
    test: NeededTest,
    shots: Shots = "1,5,10,full",
    draws: Draws = 10,
    seed: int = 0,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """The frozen encoder's few-shot accuracy: logistic regression on its vectors, averaged over draws."""
    from shoptalk.commands.compare import FULL, outcomes_by_shots, parse_shots
    from shoptalk.nn.bases import open_base
    from shoptalk.probes.linear import linear_probe

    wanted = parse_shots(shots)
    train, tests = _examples(labels, test, settings, [model])
    found = outcomes_by_shots(open_base(model), train, tests, shots=wanted, draws=draws, seed=seed)
    result = {}
    for k, correct in zip(wanted, found, strict=True):
        reading = linear_probe(correct, shots=k)
        result[FULL if k is None else str(k)] = {
            "accuracy": reading.value,
            "std_over_draws": reading.detail["std_over_draws"],
            "draws": len(correct),
            "n": reading.n,
        }
    show({"model": model, "shots": result}, as_json, lambda: printed.probe(result))


@commands.command()
def compare(
    base: str,
    adapted: str,
    labels: NeededLabels,
    test: NeededTest,
    shots: Shots = "1,5,10,full",
    draws: Draws = 10,
    seed: int = 0,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Two encoders on the same label sets and tests: the gain with its 95 % interval."""
    from shoptalk.commands.compare import compare as run
    from shoptalk.commands.compare import parse_shots
    from shoptalk.nn.bases import open_base

    wanted = parse_shots(shots)
    train, tests = _examples(labels, test, settings, [base, adapted])
    result = run(open_base(base), open_base(adapted), train, tests, shots=wanted, draws=draws, seed=seed)
    show(result, as_json, lambda: printed.comparison(result))


@commands.command()
def embed(
    model: str,
    sources: Sources,
    out: Annotated[Path, typer.Option(help=r"A .npy file: \[texts, dimensions].")],
    dtype: Annotated[
        str,
        typer.Option(help="What is stored: float32, float16, or int8 with OUT.scales.npy to multiply it by."),
    ] = "float32",
    precision: Annotated[str, typer.Option(help="What is computed in: float32, bfloat16, or auto (timed).")] = "auto",
    prompt: Annotated[
        str | None, typer.Option(help="What the model puts before each text, by its name: query, reply.")
    ] = None,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Unit vectors of every text (a turn or a passage), in order; ids and texts go beside them, into OUT.jsonl.

    Memory stays constant however large the sources are, and the same command continues after an interruption.
    numpy.load(OUT, mmap_mode="r") opens the vectors without reading them; of int8, vectors * scales are the unit
    vectors.
    """
    from shoptalk.commands.embed import embed_sources

    with Console() as console:
        n = embed_sources(
            model,
            sources,
            out,
            load(config, overrides=settings or []),
            report=console,
            dtype=dtype,
            precision=precision,
            prompt=prompt,
            force=force,
        )
    show({"out": str(out), "texts": n}, as_json, lambda: f"{n} vectors in {out}")


@commands.command()
def export(
    model: str,
    out: Annotated[Path, typer.Option(help="A folder for the model, tokenizer, processor and a README.")],
    form: Annotated[
        str, typer.Option("--format", help="onnx, tensorflow; or safetensors, of a language model.")
    ] = "onnx",
    quantize: Annotated[str, typer.Option(help="none, or int8: weights of 8 bits.")] = "none",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A model in a form that other programs open, checked against torch after writing."""
    from shoptalk.commands.export import export as run
    from shoptalk.commands.export import weights_in

    artifact = run(model, out, form=form, quantize=quantize, force=force)
    place, size = weights_in(out, form)
    result = {"out": str(out), "bytes": size, **artifact.readings}
    show(result, as_json, lambda: printed.export(result, place))


@commands.command()
def predict(
    model: Annotated[Path, typer.Argument(help="The folder of a run that had labels.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Messages to classify; - alone reads them from standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Messages: one a line, or JSON Lines with a text.")] = None,
    as_json: Json = False,
) -> None:
    """What each message is, by the encoder and head that a run ships; texts out of scope are marked.

    A line for each message: label, probability and text, between tabs. Tabs and line ends inside are shown as \\t and
    \\n there; --json has the text as it is. Of a run on pictures, give files, folders and zips of pictures instead: a
    line for each picture, with its path.
    """
    from shoptalk.nn.heads.answering import answers

    messages = _pictures(texts or [], file) if _reads_pictures(model) else messages_given(texts or [], file)
    rows = [
        {
            **({"picture": message.path} if isinstance(message, Picture) else {"text": message}),
            "label": answer.labels[0] if len(answer.labels) == 1 else None,
            "labels": list(answer.labels),
            "probability": answer.probability,
            "in_scope": answer.in_scope,
        }
        for message, answer in zip(messages, answers(model, messages), strict=True)
    ]
    show(rows, as_json, lambda: "\n".join(map(printed.answer, rows)))


def _reads_pictures(model: Path) -> bool:
    from shoptalk.nn.features import reads_pictures

    return reads_pictures(model / "encoder")


def _pictures(paths: list[str], file: Path | None) -> list[Picture]:
    from shoptalk.curate.sources import stream_sources
    from shoptalk.image.decode import unread_picture

    if file is not None or not paths or paths == ["-"]:
        raise InputError("This model classifies pictures. Give files, folders or zips of pictures.")
    unread = {path: advice for path in paths if Path(path).exists() and (advice := unread_picture(path)) is not None}
    for path, advice in unread.items():
        typer.echo(f"{path}: left out, {advice}", err=True)
    read = [Path(path) for path in paths if path not in unread]
    if not read:
        raise InputError("No picture is left to classify. Give files, folders or zips of pictures that are read.")
    pictures = []
    for document in stream_sources(read, load().curate):
        if isinstance(document, Drop):
            typer.echo(f"{document.source}: left out, {document.reason}: {document.detail}", err=True)
        elif document.picture is not None:
            pictures.append(document.picture)
        else:
            typer.echo(f"{document.source}: left out, a text, which this model does not read", err=True)
    return pictures


def _examples(
    labels: Path, test: Path, settings: Iterable[str] | None, models: Sequence[str]
) -> tuple[list[Example], list[Example]]:
    """The labelled examples and the tests, of the kind that all the models read."""
    from shoptalk.curate.against_test import COUNTED_WRONG, labels_unknown, texts_shared
    from shoptalk.curate.clean import printable
    from shoptalk.curate.labels import read_labels
    from shoptalk.curate.sources import rows_left_out
    from shoptalk.nn.bases import kind_of

    kinds = {model: kind_of(model) for model in models}
    pictures = all(kind in ("image", "pair") for kind in kinds.values())
    config: Config = load(overrides=settings or [])
    say = partial(typer.echo, err=True)
    examples, drops = read_labels(labels, config.curate, say=say, pictures=pictures)
    known = {example.label for example in examples}
    tests, test_drops = read_labels(test, config.curate, like=known, say=say, pictures=pictures)
    for path, left_out, read in ((labels, drops, examples), (test, test_drops, tests)):
        if left_out:
            say(rows_left_out(printable(path.name), left_out))
        for model, kind in kinds.items():
            _refuse_unread(model, kind, path, pictures=read[0].picture is not None)
    names = {"test_name": printable(test.name), "labels_name": printable(labels.name)}
    unknown = labels_unknown(tests, known, **names, instead=COUNTED_WRONG)
    for sentence in (*unknown, *texts_shared(tests, examples, config.curate, **names)):
        say(sentence)
    return examples, tests


def _refuse_unread(model: str, kind: str, path: Path, *, pictures: bool) -> None:
    """Refuse examples that a model cannot read.

    Raises:
        InputError: it says which.
    """
    if pictures and kind not in ("image", "pair"):
        other = "an image encoder, such as scratch:resnet-mini, or labelled texts"
    elif not pictures and kind == "image":
        other = "labelled pictures (a folder or zip of folders, or a table with image,label), or a text encoder"
    else:
        return
    holds = "pictures" if pictures else "texts"
    raise InputError(f"{path} holds {holds}, which {model} does not read. Give {other}.")
