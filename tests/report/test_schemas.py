"""The published JSON schemas are those of the records, and describe every field."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoptalk.report.schemas import SCHEMAS, file_name, schema_text

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schema_is_what_the_record_gives_today(name: str) -> None:
    published = (REFERENCE / file_name(name)).read_text(encoding="utf-8")
    assert published == schema_text(name), "`python -m shoptalk.report.schemas docs/reference` writes them anew"


def test_no_schema_is_published_that_no_record_has() -> None:
    assert {path.name for path in REFERENCE.glob("*.json")} == {file_name(name) for name in SCHEMAS}


def undescribed(schema: Any) -> Iterator[str]:
    for kind, record in [("", schema), *schema.get("$defs", {}).items()]:
        for name, field in record.get("properties", {}).items():
            of = schema["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field
            if not (field.get("description") or of.get("description")):
                yield f"{kind}.{name}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_described(name: str) -> None:
    assert list(undescribed(json.loads(schema_text(name)))) == []
