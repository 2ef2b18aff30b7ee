"""Records read back from JSON: what is published is what is read, and anything else is refused with its place.

facts = read_facts(path.read_text(encoding="utf-8"), where=path)
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from shoptalk.errors import ArtifactError
from shoptalk.records import Published
from shoptalk.report.dose_json import DoseCurves
from shoptalk.report.evidence_json import Evidence
from shoptalk.report.facts_json import RunFacts
from shoptalk.report.verdict_json import Verdict

M = TypeVar("M", bound=Published)

_MOST_PROBLEMS = 3
_MISSING_FROM_EARLIER_RUNS: dict[str, Any] = {"remarks": []}
"""What runs of 24a6c83 did not tell of, by key."""


def read_facts(text: str | bytes, *, where: Path | str = "These facts") -> RunFacts:
    """The facts of a run, those of earlier versions too.

    Raises:
        ArtifactError: they are not in the form that this version reads; the message says what is wrong at which place.
    """
    known = _object(text, where, _again(where))
    return _record(RunFacts, _MISSING_FROM_EARLIER_RUNS | known, where, _again(where))


def as_facts(given: RunFacts | Mapping[str, Any]) -> RunFacts:
    """Facts as a record, whether they are one or what its JSON holds; it raises as `read_facts` does."""
    return given if isinstance(given, RunFacts) else read_facts(json.dumps(given))


def read_verdict(text: str | bytes, *, where: Path | str = "This verdict") -> Verdict:
    """What a `verdict.json` holds; it raises as `read_facts` does."""
    return _record(Verdict, _object(text, where, _again(where)), where, _again(where))


def read_evidence(text: str | bytes, *, where: Path | str = "This evidence") -> Evidence:
    """What an `evidence.json` holds; it raises as `read_facts` does."""
    return _record(Evidence, _object(text, where, _again(where)), where, _again(where))


def read_dose(text: str | bytes, *, where: Path | str = "These dose curves") -> DoseCurves:
    """What a `dose.json` holds; it raises as `read_facts` does."""
    run = where.parent if isinstance(where, Path) else "RUN"
    again = f"Run `shoptalk dose {run}` again, which measures them anew."
    return _record(DoseCurves, _object(text, where, again), where, again)


def _again(where: Path | str) -> str:
    folder = where.parent if isinstance(where, Path) else "RUN/decision"
    return (
        f"Delete {folder} and run the same `shoptalk adapt` again (with --force where it asks for it): what is "
        "finished is used again, and the report is made anew."
    )


def _object(text: str | bytes, where: Path | str, again: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{where}: it holds half a character, which cannot be shown. {again}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: this is not JSON that can be read ({error}). {again}") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{where}: a JSON object was expected, and it is a {type(value).__name__}. {again}")
    return value


def _record(model: type[M], value: Mapping[str, Any], where: Path | str, again: str) -> M:
    try:
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        said = "; ".join(f"{_path(one['loc'], value)}: {one['msg']}" for one in problems[:_MOST_PROBLEMS])
        more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise ArtifactError(
            f"{where}: this is not what this version of Shoptalk writes there ({said}{more}). It was changed, or "
            f"another version made it. {again}"
        ) from error


def _path(place: Sequence[str | int], value: Any) -> str:
    """A place as `verdict.candidates[0].gain`. The names of types, which pydantic puts between, are left out."""
    path = ""
    for number, step in enumerate(place):
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif isinstance(value, dict) and (step in value or number == len(place) - 1):
            path += f".{step[:60]}"
            value = value.get(step)
    return path.removeprefix(".") or "the whole"
