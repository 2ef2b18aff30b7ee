"""The question that a folder answers: a command and its settings. A folder belongs to one command and one question, so
that no finished work is replaced silently.

    claim(out, Question.of("adapt", settings, sources=fingerprint, labels=digest, base=digest), force=False)

The question is written into `FOLDER/question.json` before anything else.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from shoptalk.artifact import digest, discard, open_artifact, write_text
from shoptalk.errors import AbsentError, ArtifactError, StorageError
from shoptalk.readback import MANIFEST, read_record
from shoptalk.records import Frozen

FILE = "question.json"
NOTHING = "none"
"""Recorded for an input that was not given."""
_DEFAULT = "its default"
_OPTIONAL = ("objectives.", "objective.")
"""Prefixes of settings that are recorded only where a user gives them; one that is missing has its default."""
_HASH = re.compile("[0-9a-f]{64}")
_MOST_SHOWN = 5
_OF_THE_VERSION = {
    "questions": {
        "prompts": "this version of Shoptalk asks the model in other words",
        "rules": "this version of Shoptalk judges questions by other rules",
    }
}
"""For each command, what of its question no user sets, and what is said where it differs. Where it is missing, an
earlier version made the work, which is a difference.
"""
_ALL_ANEW = ("questions",)
"""Commands that make everything again for another question."""
# For each command, the artifact that it ends with, and its name in messages.
_RESULTS = {
    "adapt": ("decision", "a finished verdict"),
    "control aa": ("menu/noise-4", "a finished control"),
    "control wrong-domain": ("decision", "a finished control"),
    "control shuffled-labels": ("decision", "a finished control"),
    "finetune": ("head", "a finished classifier"),
    "finetune translate": ("translation", "a finished translator"),
    "finetune ground": ("grounding_head", "a finished grounding head"),
    "distill": ("encoder", "a finished student"),
    "questions": ("questions", "a finished set of questions"),
    "pretrain": ("encoder", "a trained encoder"),
    "curate": ("corpus", "a curated corpus"),
}
# Commands that replace nothing: what people have answered is kept.
_WITHOUT_FORCE = ("ask",)
# The parts of an answer besides `encoder` or `model`: artifacts, first the one that marks the others as complete, and
# files.
_PARTS = ("decision", "evidence", "head", "translation", "candidate/encoder", "candidate/model")
_PAGES = ("verdict.json", "report.html", "dose.json", "distill.json")
WORK = "work"
"""Where commands keep what is unfinished, below the folder that they claimed."""
_REPLACED = (*_PAGES, "log.jsonl", "plan.json", WORK)
_REPLACED_BY: dict[str, tuple[str, ...]] = {"curate": (), "ask": ("judged.json",)}
"""What a command writes anew or deletes without looking at it, where that is not all of the above. In a folder that no
command has claimed it is somebody's own."""


class Question(Frozen):
    """A command, and everything that its result depends on: settings by name, inputs by hash."""

    command: str
    asked: dict[str, str]

    @classmethod
    def of(
        cls,
        command: str,
        settings: Mapping[str, Any],
        *,
        sources: Mapping[str, str] | None = None,
        **inputs: str | None,
    ) -> "Question":
        """Settings may be nested; `sources` are files and their hashes; an input that was not given is None."""
        asked = _flat(settings)
        if sources is not None:
            asked["sources"] = f"{len(sources):,} files, {digest(dict(sources))[:12]}"
        return cls(command=command, asked=asked | {name: (value or NOTHING)[:64] for name, value in inputs.items()})

    def differences(self, earlier: "Question") -> list[str]:
        """The settings and inputs that differ, as `name: before -> now`.

        A setting that only one of the two has, because a version between them added it, is not a difference; that of an
        objective is, because those are recorded only where they are given, and so is what a command asks for by its
        version alone, which is told in words.
        """
        before, now = earlier.asked, self.asked
        of_version = _OF_THE_VERSION.get(self.command, {})
        names = [
            name
            for name in now | before
            if name not in of_version and (name.startswith(_OPTIONAL) or (name in now and name in before))
        ]
        pairs = [(name, before.get(name, _DEFAULT), now.get(name, _DEFAULT)) for name in names]
        differ = [_difference(name, then, value) for name, then, value in pairs if then != value]
        return differ + [words for name, words in of_version.items() if before.get(name) != now.get(name)]


def refuse_other_command(folder: Path, command: str, *, force: bool = False) -> None:
    """Refuse a folder that another command has claimed, or that holds files which this one would replace: before a
    command writes what it needs to ask its question.

    Raises:
        StorageError: it is one, and `force` was not given.
    """
    earlier = question_of(folder)
    if earlier is None:
        _refuse_unclaimed(folder, command, force=force)
    elif not force and earlier.command != command:
        raise StorageError(
            f"{folder} belongs to `shoptalk {earlier.command}`{_holding(folder, earlier.command)}, and "
            f"`shoptalk {command}` would overwrite it. Give another --out"
            f"{'.' if command in _WITHOUT_FORCE else ', or --force to replace it.'}"
        )


def claim(folder: Path, question: Question, *, force: bool = False) -> None:
    """Claim a folder for a question: the same question continues, another is refused if finished work would be lost.

    Raises:
        StorageError: the folder belongs to another command, holds the finished answer to another question, or holds
            files that no command made and that this one would replace.
    """
    refuse_other_command(folder, question.command, force=force)
    if (earlier := question_of(folder)) is not None and not force:
        differences = question.differences(earlier)
        if differences and _finished(folder, question.command):
            shown = "; ".join(differences[:_MOST_SHOWN])
            more = f"; and {len(differences) - _MOST_SHOWN} more" if len(differences) > _MOST_SHOWN else ""
            raise StorageError(
                f"{folder} holds {_RESULTS[question.command][1]} for another question ({shown}{more}). Give another "
                f"--out to keep it, or --force to replace it; {_forced(question.command)}."
            )
    write_text(folder / FILE, question.model_dump_json(indent=1))


def _refuse_unclaimed(folder: Path, asked: str, *, force: bool) -> None:
    """Refuse a folder without a record where something would be lost: an earlier version's work, or somebody's own."""
    command = _command_without_record(folder)
    if command is not None and not force:
        raise StorageError(
            f"{folder} holds {_RESULTS[command][1]} of `shoptalk {command}`, made by an earlier version that did not "
            "record the settings. Its encoder, head and report can be used as they are. Give another --out"
            f"{'.' if asked in _WITHOUT_FORCE else ', or --force to make it again.'}"
        )
    theirs = [name for name in _REPLACED_BY.get(asked, _REPLACED) if (folder / name).exists()]
    if command is None and theirs:
        raise StorageError(
            f"{folder} holds {theirs[0]}, which is not Shoptalk's as far as is recorded there, and would be lost. Give "
            "another --out, an empty folder for instance, or move it away."
        )


def clear_work(folder: Path) -> None:
    """Delete the folders of unfinished work in a folder that was claimed. Commands leave folders there: a file is
    somebody's own, and stays.
    """
    with contextlib.suppress(OSError):
        for path in (folder / WORK).iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
        (folder / WORK).rmdir()


def withdraw(folder: Path, *, but: Collection[str] = ()) -> None:
    """Remove an earlier answer from a folder just before a new encoder replaces the old one: no verdict, page, head or
    challenger may lie beside an encoder that it is not about. `but` names what stays.
    """
    for name in _PAGES:
        if name not in but:
            (folder / name).unlink(missing_ok=True)
    for name in _PARTS:
        if name not in but and (folder / name / MANIFEST).is_file():
            discard(folder / name)


def question_of(folder: Path) -> Question | None:
    """The question that a folder belongs to; None where there is no record of one.

    Raises:
        StorageError: the record cannot be read.
    """
    try:
        return read_record(folder / FILE, Question)
    except AbsentError:
        return None
    except ArtifactError as error:
        raise StorageError(f"{folder / FILE} cannot be read. Delete it, or give another --out. {error}") from error


def _command_without_record(folder: Path) -> str | None:
    """The command that left a finished folder without a record: the first one whose result is there."""
    if open_artifact(folder / "decision") is not None:
        return "adapt"
    if open_artifact(folder / "head") is not None:
        return "finetune"
    if open_artifact(folder / "encoder") is not None or open_artifact(folder / "model") is not None:
        return "distill" if (folder / "distill.json").is_file() else "pretrain"
    only_corpus = not any((folder / name).exists() for name in ("baseline", "plan.json", "log.jsonl", "tokens"))
    return "curate" if only_corpus and open_artifact(folder / "corpus") is not None else None


def _finished(folder: Path, command: str) -> bool:
    if command not in _RESULTS:
        return False
    result = _RESULTS[command][0]
    # `pretrain` leaves a language model in a folder of another name.
    names = (result, "model") if command == "pretrain" else (result,)
    return any(open_artifact(folder / name) is not None for name in names)


def _forced(command: str) -> str:
    return "all of it is made again" if command in _ALL_ANEW else "what has not changed is not made again"


def _holding(folder: Path, command: str) -> str:
    return f" and holds {_RESULTS[command][1]}" if _finished(folder, command) else ""


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by dotted names; values as JSON."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _difference(name: str, before: str, now: str) -> str:
    """A change in words: of an input's content, of which hashes alone are known, no more than that it changed."""
    if _HASH.fullmatch(before) and _HASH.fullmatch(now):
        return f"{name.replace('_', ' ')}: its content is not what it was then"
    return f"{name}: {_short(before)} -> {_short(now)}"


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:12]}..."
