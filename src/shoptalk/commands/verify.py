"""Verify: every artifact of a folder against the hashes in its manifest, and the copies that stand beside them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoptalk.artifact import Artifact, damages, open_manifest
from shoptalk.errors import ArtifactError, SourceError
from shoptalk.nn.heads.answering import belongs
from shoptalk.readback import MANIFEST, read_text, walk
from shoptalk.telling.facts import published_text
from shoptalk.training.reporter import Reporter


def verify(run: Path, *, report: Reporter) -> dict[str, Any]:
    """Read every artifact in a folder anew and compare it with its hashes: how many `artifacts`, `files` and `bytes`
    were read, and the list `damaged` of paths, each with its problem.

    Raises:
        SourceError: there is no artifact in it.
    """
    all_manifests = (root / MANIFEST for root, folders, names in walk(run) if MANIFEST in (*folders, *names))
    manifests = sorted(path for path in all_manifests if not _is_unfinished(path.relative_to(run)))
    if not manifests:
        raise SourceError(f"There is nothing to verify in {run}: no {MANIFEST} below it. Give the folder of a run.")
    n_files, n_bytes, damaged, sound = 0, 0, [], 0
    for manifest in manifests:
        name = manifest.parent.relative_to(run).as_posix()
        report.say(f"verify: {name}")
        problems = []
        for file, size, problem in _read(manifest.parent):
            n_files, n_bytes = n_files + 1, n_bytes + size
            if problem is not None:
                problems.append({"path": f"{name}/{file}" if file else name, "problem": problem})
        damaged += problems
        sound += not problems
    damaged += _copied(run)
    damaged += _apart(run)
    return {"artifacts": len(manifests), "sound": sound, "files": n_files, "bytes": n_bytes, "damaged": damaged}


def _copied(run: Path) -> Iterator[dict[str, str]]:
    """The verdict that people read, where it is not what the artifacts say."""
    if not (run / "decision" / "verdict.json").is_file():
        return
    with contextlib.suppress(ArtifactError):
        if read_text(run / "verdict.json") == published_text(run):
            return
    yield {"path": "verdict.json", "problem": "differs from decision/verdict.json"}


def _apart(run: Path) -> Iterator[dict[str, str]]:
    """A run with a verdict but without its encoder, and a head that was fitted on another encoder than the run's."""
    try:
        decision, encoder, head, model = (
            open_manifest(run / name) for name in ("decision", "encoder", "head", "model")
        )
    except ArtifactError:  # reported already
        return
    if decision is not None and encoder is None and model is None:
        yield {"path": "encoder", "problem": "is missing though the run has a verdict; run its command again"}
    if head is not None and encoder is not None and not belongs(head, encoder):
        yield {"path": "head", "problem": "was fitted on another encoder than the one in encoder"}


def _read(folder: Path) -> Iterator[tuple[str, int, str | None]]:
    """Each file of an artifact with its size, and what is wrong with it; a manifest that cannot be read is one."""
    try:
        artifact: Artifact | None = open_manifest(folder)
    except ArtifactError as error:
        yield "", 0, str(error)
        return
    if artifact is None:
        yield "", 0, f"{folder / MANIFEST} is a link to nothing"
        return
    for name, problem in damages(folder, artifact, fresh=True):
        file = folder / name
        yield name, file.stat().st_size if problem is None else 0, problem


def _is_unfinished(path: Path) -> bool:
    """Whether it lies in a folder that a crash has left unfinished, which nothing reads."""
    return any(part.startswith(".") for part in path.parts)
