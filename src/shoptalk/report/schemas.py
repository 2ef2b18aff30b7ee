"""The published JSON schemas of what a run leaves for others to read.

    python -m shoptalk.report.schemas docs/reference        # writes a file for each, NAME.schema.json

A test holds the files in `docs/reference/` to what the records give today.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from shoptalk.records import Published
from shoptalk.report.comparison_json import Comparison
from shoptalk.report.dose_json import DoseCurves
from shoptalk.report.facts_json import RunFacts
from shoptalk.report.text_measures_json import TextMeasures
from shoptalk.report.verdict_json import Verdict

SCHEMAS: dict[str, type[Published]] = {
    "verdict": Verdict,
    "facts": RunFacts,
    "dose": DoseCurves,
    "comparison": Comparison,
    "evaluation": TextMeasures,
}
"""The record behind each schema: of `RUN/verdict.json`, of `shoptalk report RUN --format json`, of `RUN/dose.json`, of
`shoptalk report RUN RUN --format json`, and of `shoptalk evaluate TEXTS --json`."""


class _Untitled(GenerateJsonSchema):
    """Without a title for each field, which would be its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_text(name: str) -> str:
    """What `docs/reference/NAME.schema.json` holds."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | SCHEMAS[name].model_json_schema(
        schema_generator=_Untitled
    )
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def file_name(name: str) -> str:
    """The name of a schema's file."""
    return f"{name}.schema.json"


def write_schemas(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (folder / file_name(name)).write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
