"""Records made of JSON that was read: what is published is what is read, and anything else is refused with its place.

facts = read_facts(read_json(path, dict), where=path)
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


def read_facts(told: Mapping[str, Any], *, where: Path | str = "This mapping") -> RunFacts:
    """The facts of a run, those of earlier versions too.

    Raises:
        ArtifactError: they are not in the form that this version reads; the message says what is wrong at which place.
    """
    return _record(RunFacts, _MISSING_FROM_EARLIER_RUNS | dict(told), where, _of_adapt(where))


def as_facts(given: RunFacts | Mapping[str, Any]) -> RunFacts:
    """Facts as a record, whether they are one or what its JSON holds; it raises as `read_facts` does."""
    return given if isinstance(given, RunFacts) else read_facts(given)


def read_verdict(told: Mapping[str, Any], *, where: Path | str = "This mapping") -> Verdict:
    """What a `verdict.json` holds; it raises as `read_facts` does."""
    return _record(Verdict, told, where, _of_adapt(where))


def read_evidence(told: Mapping[str, Any], *, where: Path | str = "This mapping") -> Evidence:
    """What an `evidence.json` holds; it raises as `read_facts` does."""
    return _record(Evidence, told, where, _of_adapt(where))


def read_dose(told: Mapping[str, Any], *, where: Path | str = "This mapping") -> DoseCurves:
    """What a `dose.json` holds; it raises as `read_facts` does."""
    file, run = (where, where.parent) if isinstance(where, Path) else ("RUN/dose.json", "RUN")
    return _record(DoseCurves, told, where, f"Delete {file} and run `shoptalk dose {run}` again.")


def _of_adapt(where: Path | str) -> str:
    """What to do where something of `shoptalk adapt` cannot be read."""
    folder = where.parent if isinstance(where, Path) else "RUN/decision"
    return (
        f"Delete {folder} and run the same `shoptalk adapt` again (with --force where it asks for it): what is "
        "finished is used again, and the report is made anew."
    )


def _record(model: type[M], told: Mapping[str, Any], where: Path | str, again: str) -> M:
    try:
        return model.model_validate_json(json.dumps(told, ensure_ascii=False).encode("utf-8"), strict=True)
    except UnicodeEncodeError as error:
        said = "it holds half a character, which cannot be shown"
        raise ArtifactError(f"{where} does not hold what Shoptalk writes there ({said}). {again}") from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        said = "; ".join(f"{_path(one['loc'], told)}: {one['msg']}" for one in problems[:_MOST_PROBLEMS])
        more = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise ArtifactError(
            f"{where} does not hold what Shoptalk writes there ({said}{more}). It was changed, or another version made "
            f"it. {again}"
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
