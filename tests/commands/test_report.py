"""`shoptalk report`, on folders as runs leave them."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoptalk.artifact import create
from shoptalk.cli import app
from shoptalk.commands.report import report
from shoptalk.errors import ArtifactError, InputError, SourceError
from shoptalk.telling.facts import write_page
from tests.attacks import NO_JSON, STRANGE, replaced, reseal
from tests.report.report_facts import facts

SETTINGS = {"base": "minilm", "seed": 0, "shots": 5}


def left(folder: Path, **parents: str) -> Path:
    """A finished run's decision and page."""
    known = {"labels": "a" * 64, "base": "b" * 64} | parents
    with create(folder / "decision", kind="decision", config=SETTINGS, parents=known) as inside:
        (inside / "facts.json").write_text(json.dumps(facts()))
    (folder / "report.html").write_text("<!doctype html>\n<p>a report</p>\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [left(Path("runs/a")), left(Path("runs/b"), labels="c" * 64)]


def test_one_run_as_before_is_its_page_its_facts_or_its_markdown(runs: list[Path]) -> None:
    assert report(runs[:1], form="html") == "runs/a/report.html"
    assert json.loads(report(runs[:1], form="json")) == json.loads(json.dumps(facts()))
    assert report(runs[:1], form="md").startswith("# Adopt the adapted model")


@pytest.mark.parametrize("form", ["html", "md", "json"])
@pytest.mark.parametrize("many", [1, 2])
def test_with_out_any_form_goes_into_that_file_and_its_path_is_printed(runs: list[Path], form: str, many: int) -> None:
    out = Path("shared") / f"report.{form}"
    assert report(runs[:many], form=form, out=out) == str(out)
    assert out.read_text().endswith("\n") and len(out.read_text()) > 20


def test_several_runs_make_a_page_beside_where_one_stands(runs: list[Path]) -> None:
    assert report(runs, form="html") == "comparison.html"
    page = Path("comparison.html").read_text(encoding="utf-8")
    assert "runs compared" in page and "may not be ranked" in page


def test_several_runs_as_json_say_who_may_be_compared(runs: list[Path]) -> None:
    found = json.loads(report(runs, form="json"))
    assert [row["run"] for row in found["runs"]] == ["runs/a", "runs/b"] and found["groups"] == [[0], [1]]
    assert not Path("comparison.html").exists()


def test_the_run_that_is_not_finished_is_named(runs: list[Path]) -> None:
    Path("runs/c").mkdir()
    with pytest.raises(SourceError, match=r"runs/c is not a finished run: .*shoptalk adapt \.\.\. --out runs/c"):
        report([*runs, Path("runs/c")], form="md")
    with pytest.raises(SourceError, match="runs/d is not a finished run"):
        report([Path("runs/d")], form="html")


def test_a_run_given_twice_and_an_unknown_form_are_refused(runs: list[Path]) -> None:
    with pytest.raises(InputError, match="given more than once"):
        report([runs[0], runs[1], Path("runs/../runs/a")], form="md")
    with pytest.raises(InputError, match=r"'pdf' is not known\. Give one of: html, md, json"):
        report(runs, form="pdf")


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["shoptalk", "report", *words])
    status = 0
    try:
        app.main()
    except SystemExit as leave:
        status = int(leave.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_open_shows_the_page_that_was_made(
    runs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    assert told(capsys, monkeypatch, "runs/a", "--open")[0] == 0
    assert told(capsys, monkeypatch, "runs/a", "runs/b", "--open")[0] == 0
    assert told(capsys, monkeypatch, "runs/a", "runs/b", "--open", "--out", "x.html")[0] == 0
    names = [Path(url).name for url in shown]
    assert names == ["report.html", "comparison.html", "x.html"] and all(url.startswith("file://") for url in shown)
    status, _, error = told(capsys, monkeypatch, "runs/a", "runs/b", "--open", "--format", "md")
    assert status == 2 and "--open shows the page" in error


# --- what somebody may have changed


@pytest.mark.parametrize("form", ["html", "md", "json"])
@pytest.mark.parametrize("many", [1, 2])
def test_facts_that_are_not_what_their_manifest_says_are_not_shown(runs: list[Path], form: str, many: int) -> None:
    path = runs[0] / "decision" / "facts.json"
    path.write_text(path.read_text().replace("a", "b", 1))
    with pytest.raises(ArtifactError, match=r"runs/a/decision has a changed 'facts\.json': its hash.*Delete"):
        report(runs[:many], form=form)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("strange", NO_JSON.values(), ids=NO_JSON)
def test_facts_that_were_changed_together_with_their_manifest_are_said_to_be_damaged(
    runs: list[Path], strange: Callable[[Path], object]
) -> None:
    replaced(runs[0] / "decision" / "facts.json", strange)
    reseal(runs[0] / "decision")
    for form in ("html", "md", "json"):
        with pytest.raises(ArtifactError, match=r"runs/a/decision/facts\.json is damaged.*Delete runs/a/decision"):
            report(runs, form=form)
        with pytest.raises(ArtifactError, match=r"runs/a/decision/facts\.json is damaged"):
            report(runs[:1], form=form)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_strange_file_beside_the_decision_is_damage_too(runs: list[Path], strange: Callable[[Path], object]) -> None:
    replaced(runs[0] / "dose.json", strange)
    with pytest.raises(ArtifactError, match=r"runs/a/dose\.json is damaged.*Delete runs/a/dose\.json"):
        report(runs[:1], form="md")


@pytest.mark.timeout(30)
def test_a_page_that_is_missing_or_a_pipe_is_made_anew(runs: list[Path]) -> None:
    for spoil in (os.mkfifo, lambda path: None):
        replaced(runs[0] / "report.html", spoil)
        assert report(runs[:1], form="html") == "runs/a/report.html"
        assert Path("runs/a/report.html").read_text().startswith("<!doctype html>")


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value, of lists the first item's only."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_in(item, (*at, key))


def with_value(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    changed[at[0]] = with_value(tree[at[0]], at[1:], value)
    return changed


@pytest.mark.parametrize("value", [None, 7, -1e308, "text", [], [[]], {}, {"a": {}}, True], ids=repr)
def test_facts_of_any_shape_are_shown_or_said_to_be_damaged(runs: list[Path], value: Any) -> None:
    whole = json.loads(json.dumps(facts()))
    places = list(places_in(whole))
    for at in places[len(repr(value)) % 7 :: max(1, len(places) // 12)]:
        (runs[0] / "decision" / "facts.json").write_text(json.dumps(with_value(whole, at, value)))
        reseal(runs[0] / "decision")
        for form, many in (("md", 1), ("json", 1), ("json", 2), ("html", 2)):
            with contextlib.suppress(ArtifactError):
                report(runs[:many], form=form, out=Path("out"))
        with contextlib.suppress(ArtifactError):
            write_page(runs[0])
