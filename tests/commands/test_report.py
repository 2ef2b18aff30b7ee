"""`shoptalk report`, on folders as runs leave them."""

import json
from pathlib import Path
from typing import Any

import pytest

from shoptalk.artifact import create
from shoptalk.cli import app
from shoptalk.commands.report import report
from shoptalk.errors import InputError, SourceError
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
