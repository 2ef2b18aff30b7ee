"""What users and their scripts hold on to, read from the code as it runs: flags, settings, keys of JSON.

Help texts and descriptions are left out: they may change freely.
"""

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main

from shoptalk.cli.app import app, main
from shoptalk.config import Config
from shoptalk.objectives import OBJECTIVES
from tests.conftest import SmallWorld
from tests.tiny import tiny_product

HERE = Path(__file__).parent
BY_DATA = {
    "candidates": "of plan.json: a candidate",
    "dev": "of finetune: a kind of head",
    "drops": "of curate: a reason",
    "preparing_seconds": "an objective",
    "rates": "a precision that this machine was timed in",
    "readings": "a measure",
    "settings": "of objectives: pinned as settings",
    "shots": "of compare and probe: a number of labels per class",
    "sources": "of embed: a file",
    "specs": "of plan.json: an objective",
}
"""Objects whose keys are data, by the key that they stand under: each counts as one key, `*`."""


def pins() -> dict[str, Callable[[], Any]]:
    """What is pinned, by the name of its file beside this one."""
    return {"flags": flags, "settings": settings, "json_keys": json_keys}


def pinned(name: str) -> Any:
    """What the file of that name says."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def differences(old: Any, new: Any, where: str = "") -> tuple[list[str], list[str]]:
    """What was added, and what was changed or taken away, which breaks somebody's script."""
    if isinstance(old, dict) and isinstance(new, dict):
        added, broken = [f"{where}{key}" for key in new if key not in old], []
        for key, value in old.items():
            if key not in new:
                broken.append(f"{where}{key} is gone")
            else:
                more, worse = differences(value, new[key], f"{where}{key}: ")
                added, broken = added + more, broken + worse
        return added, broken
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(item, str) for item in (*old, *new)):
        gone = [f"{where}{item} is gone" for item in old if item not in new]
        return [f"{where}{item}" for item in new if item not in old], gone
    return [], [] if old == new else [f"{where.rstrip(': ')} was {old!r} and is {new!r}"]


def shoptalk(*words: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `shoptalk WORDS`, run in this process."""
    output, error, status = io.StringIO(), io.StringIO(), 0
    argv = ["shoptalk", *map(str, words)]
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
    ):
        try:
            main()
        except SystemExit as leave:
            status = int(leave.code or 0)
    return status, output.getvalue(), error.getvalue()


# Flags


def flags() -> dict[str, dict[str, Any]]:
    """Every command's arguments, by their place, and options, as they are written, with what they take."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: _parameters(command.params) for name, command in sorted(commands.items())}


def _parameters(parameters: list[Any]) -> dict[str, Any]:
    arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
    options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    by_place = {f"argument {place}": _described(argument) for place, argument in enumerate(arguments, start=1)}
    return by_place | {" ".join((*o.opts, *o.secondary_opts)): _described(o) for o in options}


def _described(parameter: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"required": True}
    if not parameter.required:
        default = parameter.default() if callable(parameter.default) else parameter.default
        described = {"default": str(default) if isinstance(default, Path) else default}
    if parameter.multiple or parameter.nargs != 1:
        described["several"] = True
    if getattr(parameter, "is_flag", False):
        described["switch"] = True
    bounds = {"least": parameter.min, "most": parameter.max}
    return described | {name: value for name, value in bounds.items() if value is not None}


# Settings


def settings() -> dict[str, dict[str, Any]]:
    """Every setting by its key, with its default and bounds; objectives' under `objectives.NAME`."""
    return dict(_settings(Config.model_json_schema(), "")) | {
        key: described
        for name, spec in OBJECTIVES.items()
        for key, described in _settings(spec.model_json_schema(), f"objectives.{name}.")
    }


def _settings(
    schema: Mapping[str, Any],
    prefix: str,
    definitions: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`defaults` are those of a section where it stands; the section's own schema has those of its class."""
    definitions = definitions or schema.get("$defs", {})
    for name, field in schema["properties"].items():
        section = definitions.get(field.get("$ref", "").rsplit("/", 1)[-1])
        if section is not None and "properties" in section:
            yield from _settings(section, f"{prefix}{name}.", definitions, field.get("default"))
        else:
            described = {key: value for key, value in field.items() if key not in ("description", "title")}
            yield f"{prefix}{name}", described | ({"default": defaults[name]} if defaults else {})


# Keys of JSON


def json_keys() -> dict[str, list[str]]:
    """The keys of what commands print and of the files that they leave, on a small world with a tiny base."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: sorted(set(_keys(value))) for name, value in _results(Path(folder)).items()}


def _results(folder: Path) -> dict[str, Any]:
    world, base, out = SmallWorld(folder), folder / "base", folder / "run"
    tiny_product().save(base, card="# tiny\n")
    labelled = ["--labels", world.labels]
    small = ["--set", "draws=5", "--set", "shots=2", "--set", "objectives.neighbours.batch=8"]

    def printed(*words: object) -> Any:
        status, output, error = shoptalk(*words, "--json")
        assert status == 0, error
        return json.loads(output)

    adapt = ["adapt", world.conversations, "--base", base, "--candidates", "neighbours,none", "--budget", "9ktok"]
    results = {"adapt --json": printed(*adapt, *labelled, "--out", out, *small)}
    results["verdict.json"] = _read(out / "verdict.json")
    results["plan.json"] = _read(out / "plan.json")
    for inner in ("facts.json", "evidence.json"):  # what pages are made from: the first level
        results[inner] = dict.fromkeys(_read(next(out.rglob(inner))))
    results["manifest.json"] = dict.fromkeys(_read(out / "corpus" / "manifest.json"))
    results["log.jsonl"] = _read(next((out / "menu").glob("[!.]*/log.jsonl")))
    results["predict --json"] = printed("predict", out, "where is my card")
    results["verdict.json, no labels"] = printed(*adapt, "--out", folder / "unlabelled", *small)
    results["curate --json"] = printed("curate", world.labels, _twice(world.labels), "--out", folder / "curated")
    pair = [*labelled, "--test", world.labels, "--shots", "2", "--draws", "3"]
    results["compare --json"] = printed("compare", base, base, *pair)
    results["probe --json"] = printed("probe", base, *pair)
    results["finetune --json"] = printed("finetune", base, *labelled, "--test", world.labels, "--out", folder / "heads")
    results["objectives --json"] = printed("objectives")
    results["models --json"] = printed("models")
    trained = folder / "trained"
    words = ["pretrain", world.conversations, "--base", base, "--objective", "mlm", "--steps", "2", "--out", trained]
    assert shoptalk(*words, "--set", "objectives.mlm.batch=8")[0] == 0
    results["pretrain: plan.json"] = _read(trained / "plan.json")
    results["pretrain: log.jsonl"] = _read(trained / "log.jsonl")
    assert shoptalk("embed", base, world.conversations, "--out", folder / "v.npy")[0] == 0
    results["embed: OUT.json"] = _read(folder / "v.json")
    results["embed: OUT.jsonl"] = _read(folder / "v.jsonl")
    return results


def _twice(path: Path) -> Path:
    copy = path.with_name("again.csv")
    copy.write_bytes(path.read_bytes())
    return copy


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def _keys(value: Any, prefix: str = "", *, open_to_data: bool = False) -> Iterator[str]:
    """The keys of objects inside each other, such as `spent.seconds`; of a list, those of all its items."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = prefix + ("*" if open_to_data else key)
            yield name
            yield from _keys(inner, f"{name}.", open_to_data=key in BY_DATA)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item, prefix)
