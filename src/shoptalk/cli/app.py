"""The command line: parse, call, print. Results go to standard output, everything else to standard error."""

import contextlib
import io
import os
import shlex
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from shoptalk import __version__
from shoptalk.cli import ask_terminal, desk, encoders, finetuning, printed, serving, texts, writing
from shoptalk.cli.options import (
    Base,
    Budget,
    ConfigFile,
    Force,
    Json,
    Labels,
    Out,
    Pairs,
    Price,
    Replayed,
    Seed,
    Set,
    Sources,
    replaying,
    show,
    tell_left_out,
)
from shoptalk.config import TEMPLATE, load
from shoptalk.errors import InputError, ShoptalkError, exhausted
from shoptalk.nn.waiting import let_threads_sleep
from shoptalk.progress import Console

app = typer.Typer(
    help="Self-supervised learning for conversational AI: does training on your own text make your assistant better?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"shoptalk {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before the command."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Where to write shoptalk.toml.")] = Path()) -> None:
    """Write shoptalk.toml: the goal, with every setting at its default and a comment."""
    from shoptalk.artifact import storage_errors, write_text

    path = folder / "shoptalk.toml"
    with storage_errors(path):
        if path.exists():
            raise InputError(f"{path} exists already and is left as it is. Delete it, or give another folder.")
        write_text(path, TEMPLATE)
    typer.echo(str(path))


@app.command()
def adapt(
    sources: Sources,
    out: Out,
    labels: Labels = None,
    test: Annotated[Path | None, typer.Option(help="Test examples that nothing selects on; read once.")] = None,
    pairs: Pairs = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What must gain: intent, reply (needs no labels), answer, picture (pictures with labels), caption "
            "(pictures with captions), language_model, chat."
        ),
    ] = None,
    base: Base = None,
    bases: Annotated[
        str | None,
        typer.Option(help="Several to compare, comma-separated: the first is adapted, the verdict is over the best."),
    ] = None,
    candidates: Annotated[
        str | None, typer.Option(help="Comma-separated; `shoptalk objectives` lists them; also A+B and A-then-B.")
    ] = None,
    replay: Replayed = None,
    shots: Annotated[int | None, typer.Option(help="Labels per class of the row at few labels.")] = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    accept_unproven: Annotated[bool, typer.Option(help="Serve the challenger although nothing was proven.")] = False,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure, choose, train, prove: adapt a model to your text or pictures and say whether that helped."""
    from shoptalk.adaptation import adapt as run
    from shoptalk.curate.curation import count_drops

    chosen = load(
        config,
        overrides=[*(settings or []), *replaying(replay)],
        task=task,
        base=base,
        bases=tuple(part.strip() for part in bases.split(",")) if bases else None,
        candidates=tuple(part.strip() for part in candidates.split(",")) if candidates else None,
        shots=shots,
        budget=budget,
        price_per_hour=price,
        seed=seed,
    )
    with Console() as console:
        verdict = run(
            sources,
            out=out,
            config=chosen,
            report=console,
            labels=labels,
            test=test,
            pairs=pairs,
            accept_unproven=accept_unproven,
            command=shlex.join(["shoptalk", *sys.argv[1:]]),
            force=force,
        )
    told = verdict.told()
    show(told, as_json, lambda: printed.verdict(told, out, drops=count_drops(out / "corpus")))


@app.command()
def curate(
    sources: Sources,
    out: Out,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Read sources into a corpus: documents.jsonl, and drops.jsonl with the reason for each drop."""
    from shoptalk.artifact import locked
    from shoptalk.curate.curation import count_drops
    from shoptalk.curate.sources import source_fingerprint
    from shoptalk.question import Question, claim
    from shoptalk.stages.curate import curate_stage
    from shoptalk.stages.world import World

    chosen = load(config, overrides=settings or [])
    with Console() as console, locked(out):
        files = source_fingerprint(sources, chosen.curate, out=out)
        question = Question.of("curate", chosen.curate.model_dump(), sources=files)
        claim(out, question, force=force)
        world = World(run=out, config=chosen, report=console)
        curated = curate_stage(world, sources, None, None)
    pictures = len(curated.train.pictures) + len(curated.held_out.pictures)
    result = {
        "documents": curated.n_documents,
        "texts": len(curated.train) + len(curated.held_out) - pictures,
        "pictures": pictures,
        "drops": count_drops(out / "corpus"),
        "corpus": str(out / "corpus"),
    }
    show(result, as_json, lambda: printed.curated(result))


@app.command()
def control(
    kind: Annotated[str, typer.Argument(help="aa, wrong-domain or shuffled-labels.")],
    sources: Sources,
    out: Out,
    labels: Labels = None,
    task: Annotated[
        str | None, typer.Option(help="What the labels are of: intent, or picture; or language_model, without labels.")
    ] = None,
    foreign: Annotated[
        list[Path] | None,
        typer.Option(
            help="Of wrong-domain: text to learn from in place of the sentences that ship; may be given again."
        ),
    ] = None,
    base: Base = None,
    candidates: Annotated[str | None, typer.Option(help="Comma-separated.")] = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run an adaptation whose right answer is "do not adopt", and see whether the procedure says so."""
    from shoptalk.control import control as run

    names = tuple(part.strip() for part in candidates.split(",")) if candidates else None
    chosen = load(
        config,
        overrides=settings or [],
        task=task,
        base=base,
        candidates=names,
        budget=budget,
        price_per_hour=price,
        seed=seed,
    )
    with Console() as console:
        result = run(
            kind,
            sources,
            labels=labels,
            out=out,
            config=chosen,
            report=console,
            foreign=foreign or (),
            force=force,
        )
    tell_left_out(out)
    show(result, as_json, lambda: printed.control(result))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="The folder of a finished run; several are compared.")],
    form: Annotated[str, typer.Option("--format", help="html, md or json.")] = "html",
    out: Annotated[
        Path | None, typer.Option(help="A file for the result; a page of several runs goes to comparison.html else.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Where a run's report is, or the report itself as Markdown or JSON; of several runs, a comparison."""
    from shoptalk.commands.report import page_of
    from shoptalk.commands.report import report as make

    if open_it and form != "html" and len(runs) > 1:
        raise InputError("--open shows the page, which is not made with --format md or json. Give one of the two.")
    typer.echo(make(runs, form=form, out=out))
    if open_it:
        webbrowser.open((out if out and form == "html" else page_of(runs)).resolve().as_uri())


@app.command()
def dose(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run whose verdict has a gain.")],
    budget: Annotated[
        str | None,
        typer.Option(help="Of the new trainings: 10m, 3Mtok, 0.50eur with --price; without one, all of them are made."),
    ] = None,
    price: Price = None,
    as_json: Json = False,
) -> None:
    """How much is enough: gain against training, unlabelled text and labels, where the task has some; resumes."""
    from shoptalk.commands.dose import dose as measure
    from shoptalk.config import Budget as Limit

    limit = None if budget is None else Limit.parse(budget, price_per_hour=price)
    with Console() as console:
        curves = measure(run, budget=limit, report=console).told()
    show(curves, as_json, lambda: printed.dose(curves, run))


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(help="The folder of a run, or of any command that leaves one.")],
    as_json: Json = False,
) -> None:
    """Every artifact in a folder against its hashes: is anything damaged, cut short or changed by hand?"""
    from shoptalk.commands.verify import verify as check

    with Console() as console:
        result = check(run, report=console)
    show(result, as_json, lambda: printed.verified(result))
    if result["damaged"]:
        raise typer.Exit(2)


@app.command()
def objectives(as_json: Json = False) -> None:
    """Every objective with its settings and their defaults, by what it trains."""
    from shoptalk.nn.product import CALLED
    from shoptalk.objectives import OBJECTIVES, make_spec, spec_for
    from shoptalk.objectives.recipe import SUMS

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "about": str(spec.__doc__).strip().splitlines()[0],
            "trains": [CALLED[kind] for kind in CALLED if kind in spec.takes],
            "settings": make_spec(name, {}).model_dump(exclude={"kind"}),
        }
        for name, spec in OBJECTIVES.items()
    ]
    rows += [
        {
            "name": name,
            "about": f"The sum {'+'.join(f'{weight:g}*{part}' for part, weight in weights.items())}.",
            "trains": [CALLED["text"]],
            "settings": spec_for(name, {}).model_dump(include={"lr", "batch", "passes"}),
        }
        for name, weights in SUMS.items()
    ]
    show(rows, as_json, lambda: printed.objectives(rows))


@app.command()
def models(as_json: Json = False) -> None:
    """The base models that have a short name; any hub id or folder works too, and PICTURES+TEXTS for both at once."""
    from shoptalk.nn.bases import BASES
    from shoptalk.nn.features import FEATURES
    from shoptalk.nn.scratch import SIZES
    from shoptalk.nn.scratch_lm import LM_SIZES
    from shoptalk.nn.scratch_pictures import PICTURE_SIZES
    from shoptalk.nn.smollm2 import SMOLLM2

    rows: list[dict[str, str | None]] = [
        {"name": base.name, "about": base.about, "hub_id": base.hub_id} for base in BASES.values()
    ]
    rows.append({"name": SMOLLM2.name, "about": SMOLLM2.about, "hub_id": SMOLLM2.hub_id})
    made: dict[str, str] = {}
    for sizes in (SIZES, LM_SIZES, PICTURE_SIZES):
        made |= {size.name: size.about for size in sizes.values()}
    rows += [{"name": name, "about": about, "hub_id": None} for name, about in (made | FEATURES).items()]
    show(rows, as_json, lambda: printed.models(rows))


app.add_typer(encoders.commands)
app.add_typer(finetuning.commands)
app.add_typer(writing.commands)
app.add_typer(serving.commands)
app.add_typer(desk.commands)
app.add_typer(ask_terminal.commands)
app.add_typer(texts.commands)


def main() -> None:
    """The entry point. Exit status: 0 done; 1 our bug; 2 wrong input, or no room or memory left; 130 interrupted
    (DESIGN, section 8).
    """
    let_threads_sleep()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Half a character, such as a byte of an argument that is no UTF-8, is printed as an escape: also right in JSON.
        # A pipe gets each line when it is complete, so that nothing is lost with a killed process.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        _run()
    except ShoptalkError as error:
        _complain(str(error))
        sys.exit(2)
    except SystemExit as left:
        if left.code == 130 and isinstance(left.__context__, typer.Exit):  # what typer makes of Ctrl-C
            _complain("Interrupted. What is finished is kept: the same command continues.")
        raise
    except BrokenPipeError:
        _forget_output()
        sys.exit(1)
    except Exception as error:  # the last stop: say that it is ours, and how to report it
        if os.environ.get("SHOPTALK_DEBUG"):
            raise
        if (limit := exhausted(error)) is not None:
            _complain(f"{limit} ({type(error).__name__}: {error})" if str(error) else limit)
            _forget_output()
            sys.exit(2)
        _complain(
            f"This is a bug in Shoptalk: {type(error).__name__}: {error}\n"
            "Please report it with the command you ran; SHOPTALK_DEBUG=1 shows where it happened."
        )
        sys.exit(1)


def _run() -> None:
    try:
        app()
    except SystemExit:
        sys.stdout.flush()  # where that fails it is said like any other error, not by Python on its way out
        raise


def _forget_output() -> None:
    """What is left of standard output goes nowhere: Python would try to write it once more, and fail again."""
    with contextlib.suppress(OSError, ValueError):  # where there is none
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(what: str) -> None:
    with contextlib.suppress(OSError):  # where standard error is full too, the exit status has to do
        typer.echo(f"shoptalk: {what}", err=True)
