"""The command line: parse, call, print. Results go to standard output, everything else to standard error."""

import contextlib
import json
import os
import shlex
import sys
import webbrowser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from shoptalk.config import TEMPLATE, Config, load
from shoptalk.errors import InputError, ShoptalkError, SourceError
from shoptalk.progress import Console

app = typer.Typer(
    help="Self-supervised learning for conversational AI: does training on your own text make your assistant better?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sources = Annotated[list[Path], typer.Argument(help="Files or folders: .txt .md .csv .jsonl, gzip or not.")]
Labels = Annotated[Path | None, typer.Option(help="CSV or JSONL with the columns text,label.")]
NeededLabels = Annotated[Path, typer.Option(help="CSV or JSONL with the columns text,label.")]
NeededTest = Annotated[Path, typer.Option(help="Test examples: CSV or JSONL with the columns text,label.")]
Out = Annotated[Path, typer.Option(help="Where the result goes.")]
Base = Annotated[str | None, typer.Option(help="minilm, scratch:mini, a hub id, or a folder; `shoptalk models`.")]
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
Shots = Annotated[str, typer.Option(help="Labels per class, comma-separated; `full` is all of them.")]
Draws = Annotated[int, typer.Option(min=2, help="Random label sets per number of shots.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    base: Base = None,
    candidates: Annotated[
        str | None, typer.Option(help="Comma-separated; `shoptalk objectives` lists them; also A+B and A-then-B.")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Labels per class that the assistant will have.")] = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    accept_unproven: Annotated[bool, typer.Option(help="Serve the challenger although nothing was proven.")] = False,
    config: ConfigFile = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Measure, choose, train, prove: adapt an encoder to your text and say whether that helped."""
    from shoptalk.adapt import adapt as run

    chosen = load(
        config,
        overrides=settings or [],
        base=base,
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
            accept_unproven=accept_unproven,
            command=shlex.join(["shoptalk", *sys.argv[1:]]),
        )
    _print(verdict, as_json, lambda: _verdict_text(verdict, out))


@app.command()
def curate(sources: Sources, out: Out, config: ConfigFile = None, settings: Set = None, as_json: Json = False) -> None:
    """Read sources into a corpus: documents.jsonl, and drops.jsonl with the reason for each drop."""
    from shoptalk.stages.data import curate_stage
    from shoptalk.stages.world import World

    with Console() as console:
        world = World(run=out, config=load(config, overrides=settings or []), report=console)
        curated = curate_stage(world, sources, None, None)
    reasons: dict[str, int] = {}
    for drop in curated.drops:
        reasons[drop.reason] = reasons.get(drop.reason, 0) + 1
    result = {
        "documents": curated.n_documents,
        "texts": len(curated.train) + len(curated.held_out),
        "drops": reasons,
        "corpus": str(out / "corpus"),
    }
    _print(result, as_json, lambda: "\n".join(f"{name}: {value}" for name, value in result.items()))


@app.command()
def pretrain(
    sources: Sources,
    objective: Annotated[
        str, typer.Option(help="`shoptalk objectives` lists them; A+B is their sum, A-then-B trains in two phases.")
    ],
    out: Out,
    base: Base = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many; else the budget decides.")] = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Train one objective on the sources and leave the encoder; the same command again resumes."""
    from shoptalk.artifact import locked
    from shoptalk.nn import gather
    from shoptalk.stages.single import pretrain as run
    from shoptalk.stages.world import Silent, World, best_device
    from shoptalk.training.launch import joined

    if steps is not None and budget is not None:
        raise InputError("Give --steps or --budget, not both: each decides how long to train.")
    chosen = load(config, overrides=settings or [], base=base, budget=budget, price_per_hour=price, seed=seed)
    card = f"# {chosen.base}, trained with {objective}\n\nMade by `shoptalk pretrain`; not measured, so not proven.\n"
    with joined(best_device()):  # under torchrun one of several processes, of which the first writes and speaks
        first = gather.rank() == 0
        with Console() as console, locked(out) if first else contextlib.nullcontext():
            world = World(run=out, config=chosen, report=console if first else Silent())
            run(world, sources, objective=objective, steps=steps, card=card)
        if first:
            typer.echo(str(out / "encoder"))


@app.command()
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
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Train a smaller, faster student of an encoder on your text, and show both side by side; resumes."""
    from shoptalk.artifact import locked
    from shoptalk.nn import gather
    from shoptalk.stages.distilling import distill as run
    from shoptalk.stages.distilling import parse_vocabulary, table
    from shoptalk.stages.world import Silent, World, best_device
    from shoptalk.training.launch import joined

    if steps is not None and budget is not None:
        raise InputError("Give --steps or --budget, not both: each decides how long to train.")
    pieces = parse_vocabulary(vocabulary)
    chosen = load(config, overrides=settings or [], budget=budget, seed=seed)
    with joined(best_device()):  # as for `pretrain`
        first = gather.rank() == 0
        with Console() as console, locked(out) if first else contextlib.nullcontext():
            world = World(run=out, config=chosen, report=console if first else Silent())
            result = run(world, model, sources, layers=layers, vocabulary=pieces, labels=labels, steps=steps)
        if first:
            _print(result | {"encoder": str(out / "encoder")}, as_json, lambda: table(result))


@app.command()
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
    from shoptalk.evaluate.compare import FULL, outcomes_by_shots, parse_shots
    from shoptalk.nn.bases import open_base
    from shoptalk.probes.linear import linear_probe

    wanted = parse_shots(shots)
    train, tests = _examples(labels, test, settings)
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
    _print(
        {"model": model, "shots": result},
        as_json,
        lambda: "\n".join(
            f"{k:>5} shots  {row['accuracy']:5.1f} %  ± {row['std_over_draws']:.1f} over draws"
            for k, row in result.items()
        ),
    )


@app.command()
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
    from shoptalk.evaluate.compare import compare as run
    from shoptalk.evaluate.compare import parse_shots
    from shoptalk.nn.bases import open_base

    wanted = parse_shots(shots)
    train, tests = _examples(labels, test, settings)
    result = run(open_base(base), open_base(adapted), train, tests, shots=wanted, draws=draws, seed=seed)
    _print(result, as_json, lambda: _comparison_text(result))


@app.command()
def control(
    kind: Annotated[str, typer.Argument(help="aa, wrong-domain or shuffled-labels.")],
    sources: Sources,
    labels: NeededLabels,
    out: Out,
    base: Base = None,
    candidates: Annotated[str | None, typer.Option(help="Comma-separated.")] = None,
    budget: Budget = None,
    price: Price = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Run an adaptation whose right answer is "do not adopt", and see whether the procedure says so."""
    from shoptalk.control import control as run

    names = tuple(part.strip() for part in candidates.split(",")) if candidates else None
    chosen = load(
        config, overrides=settings or [], base=base, candidates=names, budget=budget, price_per_hour=price, seed=seed
    )
    with Console() as console:
        result = run(kind, sources, labels=labels, out=out, config=chosen, report=console)
    word = "passed: not adopted" if result["passed"] else "FAILED: adopted what cannot have helped"
    _print(result, as_json, lambda: f"control {kind} {word}\n{result['verdict']['sentence']}")


@app.command()
def embed(
    model: str,
    sources: Sources,
    out: Annotated[Path, typer.Option(help="A .npy file: [texts, dimensions].")],
    dtype: Annotated[
        str,
        typer.Option(help="What is stored: float32, float16, or int8 with OUT.scales.npy to multiply it by."),
    ] = "float32",
    precision: Annotated[str, typer.Option(help="What is computed in: float32, bfloat16, or auto (timed).")] = "auto",
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Unit vectors of every text (a turn or a passage), in order; ids and texts go beside them, into OUT.jsonl.

    Memory stays constant however large the sources are, and the same command continues after an interruption.
    numpy.load(OUT, mmap_mode="r") opens the vectors without reading them; of int8, vectors * scales are the unit
    vectors.
    """
    from shoptalk.stages.embedding import embed_sources

    with Console() as console:
        n = embed_sources(
            model,
            sources,
            out,
            load(config, overrides=settings or []),
            report=console,
            dtype=dtype,
            precision=precision,
        )
    typer.echo(f"{n} vectors in {out}")


@app.command()
def export(
    model: str,
    out: Annotated[Path, typer.Option(help="A folder for the graph, the tokenizer and a README.")],
    form: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    quantize: Annotated[str, typer.Option(help="none, or int8: weights of 8 bits.")] = "none",
    as_json: Json = False,
) -> None:
    """The encoder as a file that needs neither torch nor Shoptalk, checked against torch after writing."""
    from shoptalk.stages.export import export as run

    artifact = run(model, out, form=form, quantize=quantize)
    size = (out / "model.onnx").stat().st_size
    result = {"out": str(out), "bytes": size, "least_cosine": artifact.readings["least_cosine"]}
    _print(
        result,
        as_json,
        lambda: f"{out / 'model.onnx'}: {size / 1e6:.1f} MB, lowest cosine to torch {result['least_cosine']:.5f}",
    )


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="The folder of a run that had labels.")],
    texts: Annotated[list[str], typer.Argument(help="Messages to classify.")],
    as_json: Json = False,
) -> None:
    """What each message is, by the encoder and head that a run ships; texts out of scope are marked."""
    from shoptalk.stages.finetuning import answers

    rows = [
        {
            "text": text,
            "label": answer.labels[0] if len(answer.labels) == 1 else None,
            "labels": list(answer.labels),
            "probability": answer.probability,
            "in_scope": answer.in_scope,
        }
        for text, answer in zip(texts, answers(model, texts), strict=True)
    ]
    _print(rows, as_json, lambda: "\n".join(map(_answer_text, rows)))


@app.command()
def finetune(
    model: Annotated[str, typer.Argument(help="An encoder: minilm, a hub id, a folder, a run.")],
    labels: NeededLabels,
    out: Out,
    task: Annotated[str, typer.Option(help="What the labels are, in a word: intent, sentiment, ...")] = "intent",
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Text of the same domain that heads may learn from; may be given again.")
    ] = None,
    multi_label: Annotated[bool, typer.Option(help="A text has any number of labels: a list, or a|b.")] = False,
    out_of_scope: Annotated[str | None, typer.Option(help="The label of texts that no answer fits.")] = None,
    scope_loss: Annotated[float, typer.Option(help="Points of accuracy in scope that abstaining may cost.")] = 0.5,
    method: Annotated[
        str, typer.Option(help="frozen: heads on the encoder as it is. classify, setfit: tune the encoder too.")
    ] = "frozen",
    test: Annotated[Path | None, typer.Option(help="Test examples to judge the result on.")] = None,
    budget: Budget = None,
    seed: Seed = None,
    config: ConfigFile = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """From a few labels to a classifier: the kind of head that does best, calibrated, and when to abstain."""
    from shoptalk.artifact import locked
    from shoptalk.stages.finetuning import Request
    from shoptalk.stages.finetuning import finetune as run
    from shoptalk.stages.world import World

    chosen = load(config, overrides=settings or [], budget=budget, seed=seed)
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
    )
    with Console() as console, locked(out):
        result = run(World(run=out, config=chosen, report=console), request)
    _print(result, as_json, lambda: _finetuned_text(result, out))


@app.command()
def report(
    run: Path,
    form: Annotated[str, typer.Option("--format", help="html, md or json.")] = "html",
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Where a run's report is, or the report itself as Markdown or JSON."""
    from shoptalk.artifact import open_artifact
    from shoptalk.evaluate.report import render_markdown

    if form not in ("html", "md", "json"):
        raise InputError(f"--format {form!r}: there is html, md and json.")
    if open_artifact(run / "decision") is None:
        raise SourceError(
            f"{run} is not a finished run: it has no decision. `shoptalk adapt ... --out {run}` makes one."
        )
    facts = (run / "decision" / "facts.json").read_text(encoding="utf-8")
    if form == "json":
        typer.echo(facts)
    elif form == "md":
        typer.echo(render_markdown(json.loads(facts)))
    else:
        typer.echo(str(run / "report.html"))
    if open_it:
        webbrowser.open((run / "report.html").resolve().as_uri())


@app.command()
def objectives(as_json: Json = False) -> None:
    """Every objective with its settings and their defaults."""
    from shoptalk.objectives import OBJECTIVES, make_spec

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "about": str(spec.__doc__).strip().splitlines()[0],
            "settings": make_spec(name, {}).model_dump(exclude={"kind"}),
        }
        for name, spec in OBJECTIVES.items()
    ]
    _print(rows, as_json, lambda: "\n".join(f"{r['name']:<11} {r['about']}  {_settings(r['settings'])}" for r in rows))


@app.command()
def models(as_json: Json = False) -> None:
    """The base models that have a short name; any hub id or folder works too."""
    from shoptalk.nn.bases import BASES
    from shoptalk.nn.scratch import SIZES

    rows: list[dict[str, str | None]] = [
        {"name": base.name, "about": base.about, "hub_id": base.hub_id} for base in BASES.values()
    ]
    rows += [{"name": size.name, "about": size.about, "hub_id": None} for size in SIZES.values()]
    _print(rows, as_json, lambda: "\n".join(f"{row['name']:<13} {row['about']}" for row in rows))


def main() -> None:
    """The entry point. Exit status: 0 done, 1 our bug, 2 wrong input, 130 interrupted (DESIGN, section 8)."""
    try:
        app()
    except ShoptalkError as error:
        _complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        _complain("Interrupted. What is finished is kept: the same command continues.")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # the last stop: say that it is ours, and how to report it
        if os.environ.get("SHOPTALK_DEBUG"):
            raise
        _complain(
            f"This is a bug in Shoptalk: {type(error).__name__}: {error}\n"
            "Please report it with the command you ran; SHOPTALK_DEBUG=1 shows where it happened."
        )
        sys.exit(1)


def _complain(text: str) -> None:
    typer.echo(f"shoptalk: {text}", err=True)


def _print(result: Any, as_json: bool, text: Callable[[], str]) -> None:
    typer.echo(json.dumps(result, indent=1, ensure_ascii=False) if as_json else text())


def _verdict_text(verdict: dict[str, Any], out: Path) -> str:
    lines = [f"verdict: {verdict['choice']}", verdict["sentence"], ""]
    if verdict["gain"] is not None:
        low, high = verdict["interval"]
        lines.append(
            f"base {verdict['base']:.1f} %, adapted {verdict['adapted']:.1f} %: "
            f"gain {verdict['gain']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"
        )
    if verdict.get("heads"):
        lines.append(verdict["heads"]["sentence"])
    lines.append(f"spent {_spent_text(verdict['spent'])}")
    lines += _losers_text(verdict["spent"])
    lines += [f"encoder to serve: {out / 'encoder'}", f"report: {out / 'report.html'}"]
    return "\n".join(lines)


def _spent_text(spent: dict[str, Any]) -> str:
    from shoptalk.training.forecast import Spending, compared

    fact = Spending.model_validate({name: spent[name] for name in Spending.model_fields})
    return str(fact) if spent["forecast"] is None else compared(fact, Spending.model_validate(spent["forecast"]))


def _losers_text(spent: dict[str, Any]) -> list[str]:
    """What each candidate cost, where there were several; nothing to tell where one was trained alone."""
    from shoptalk.training.forecast import span

    if len(spent["candidates"]) < 2:
        return []
    rows = sorted(spent["candidates"], key=lambda row: -float(row["seconds"]))
    each = ", ".join(f"{row['objective']} {row['share']:.0%}" for row in rows)
    lost = spent["losers"]
    return [f"of it on candidates that did not go on: {span(lost['seconds'])}, {lost['share']:.0%} ({each})"]


def _dose_text(found: dict[str, Any], run: Path) -> str:
    lines = [f"{found['entry']}, gain in points over the base"]
    for name, curve in found["curves"].items():
        lines += ["", f"{name} ({curve['unit']})"]
        lines += [
            f"  {row['dose']:>10,}  {row['base']:5.1f} -> {row['adapted']:5.1f} %   {row['gain']:+.1f} "
            f"({row['interval'][0]:+.1f} to {row['interval'][1]:+.1f})"
            for row in curve["points"]
        ]
        lines += [
            f"  check: the {check['law']} law of the smaller doses says {check['predicted']:+.1f} "
            f"({check['predicted_interval'][0]:+.1f} to {check['predicted_interval'][1]:+.1f}) "
            f"at {check['dose']:,.0f}, measured {check['measured']:+.1f} "
            f"({check['interval'][0]:+.1f} to {check['interval'][1]:+.1f}): "
            f"{'holds' if check['holds'] else 'does not hold'}"
            for check in curve["checks"]
        ]
        lines += [f"  {part['sentence']}" for part in (curve, *curve.get("accuracy", {}).values())]
    return "\n".join([*lines, "", f"all of it: {run / 'dose.json'}"])


def _comparison_text(result: dict[str, Any]) -> str:
    lines = [
        f"{k:>5} shots  {row['base']:5.1f} -> {row['adapted']:5.1f} %   {row['gain']:+.1f} "
        f"({row['interval'][0]:+.1f} to {row['interval'][1]:+.1f})"
        for k, row in result["shots"].items()
    ]
    return "\n".join([*lines, result["sentence"]])


def _answer_text(row: dict[str, Any]) -> str:
    said = "|".join(row["labels"]) or "-"
    return f"{said if row['in_scope'] else f'out of scope ({said})'}\t{row['probability']:.2f}\t{row['text']}"


def _finetuned_text(result: dict[str, Any], out: Path) -> str:
    lines = [f"{result['task']}: {result['sentence']}"]
    lines += [f"test: {name.replace('_', ' ')} {value:.1f} %" for name, value in (result["test"] or {}).items()]
    return "\n".join([*lines, f"encoder and head: {out / 'encoder'}, {out / 'head'}"])


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _examples(labels: Path, test: Path, settings: Iterable[str] | None) -> tuple[list[Any], list[Any]]:
    from shoptalk.curate.labels import read_labels

    config: Config = load(overrides=settings or [])
    return read_labels(labels, config.curate)[0], read_labels(test, config.curate)[0]
