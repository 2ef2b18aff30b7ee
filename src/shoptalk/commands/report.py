"""`shoptalk report`: a finished run's report again, or several runs side by side, in any of three forms."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shoptalk.artifact import handed_out, open_artifact, write_text
from shoptalk.errors import InputError, SourceError
from shoptalk.readback import as_written, read_text
from shoptalk.report import render_markdown
from shoptalk.report.runs import FinishedRun, compared
from shoptalk.report.side_by_side import comparison_markdown, render_comparison
from shoptalk.telling.facts import facts_of, open_facts, write_page

FORMS = ("html", "md", "json")
COMPARISON = Path("comparison.html")
"""Where the page of several runs goes unless another place is given."""


def report(runs: Sequence[Path], *, form: str, out: Path | None = None) -> str:
    """What `shoptalk report` prints: the path of a page, or Markdown or JSON. With `out` that is written there, and its
    path is printed.

    Raises:
        InputError: there is no such form, or a run is given twice.
        SourceError: one of them is not a finished run; the message names it.
        ArtifactError: one of them is damaged; the message names it.
        StorageError: `out` cannot be written.
    """
    if form not in FORMS:
        raise InputError(f"--format {form!r} is not known. Give one of: {', '.join(FORMS)}.")
    single = len(runs) == 1
    if single and form == "html" and out is None:
        finished(runs[0])
        _page(runs[0])
        return str(page_of(runs))
    text = _of_one(runs[0], form) if single else _of_several(runs, form)
    if form == "html":
        out = out or page_of(runs)
    if out is None:
        return text
    write_text(out, text if text.endswith("\n") else f"{text}\n")
    return str(out)


def page_of(runs: Sequence[Path]) -> Path:
    """Where the page is that shows these runs."""
    return runs[0] / "report.html" if len(runs) == 1 else COMPARISON


def finished(run: Path) -> FinishedRun:
    """What a finished run has left.

    Raises:
        SourceError: it is not a finished run.
        ArtifactError: a file of its decision is damaged, or is not what its manifest says.
    """
    if open_artifact(run / "decision") is None:
        raise SourceError(
            f"{run} is not a finished run: it has no decision. Finish it with `shoptalk adapt ... --out {run}`."
        )
    artifact = handed_out(run / "decision")
    return FinishedRun(str(run), open_facts(run), artifact.config, artifact.parents, artifact.versions)


def comparison(runs: Sequence[Path]) -> dict[str, Any]:
    """Several finished runs side by side, as `report.runs.compared` tells them.

    Raises:
        SourceError: one of them is not a finished run; the message names it.
        ArtifactError: one of them is damaged; the message names it.
        InputError: a run is given twice.
    """
    twice = [str(run) for run, times in Counter(run.resolve() for run in runs).items() if times > 1]
    if twice:
        raise InputError(f"{twice[0]} is given more than once. Give each run once.")
    every = [finished(run) for run in runs]
    for run, one in zip(runs, every, strict=True):  # each alone first: what cannot be shown is then said of its run
        with as_written(facts_of(run)):
            comparison_markdown(compared([one]))
            render_comparison(compared([one]))
    return compared(every)


def _of_one(run: Path, form: str) -> str:
    facts = finished(run).facts
    if form == "html":
        return _page(run)
    with as_written(facts_of(run)):
        return json.dumps(facts, ensure_ascii=False) if form == "json" else render_markdown(facts)


def _page(run: Path) -> str:
    """The page of a finished run, made anew where it is missing or is no file."""
    path = page_of([run])
    if not path.is_file():
        write_page(run)
    return read_text(path)


def _of_several(runs: Sequence[Path], form: str) -> str:
    facts = comparison(runs)
    if form == "html":
        return render_comparison(facts)
    return json.dumps(facts, indent=1, ensure_ascii=False) if form == "json" else comparison_markdown(facts)
