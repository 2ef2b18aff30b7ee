"""What the report calls the items of a run: texts where nothing is said, pictures where they are."""

import re
from typing import Any

import pytest

from shoptalk.report import render
from shoptalk.report.markdown import render_markdown
from shoptalk.tasks.picture import MEASURE
from tests.report.report_facts import facts

_OWN = "the numbers are in the text"
WORDS = re.compile(r"\b(texts?|messages?)\b", re.IGNORECASE)


def about(kind: str) -> dict[str, Any]:
    """The facts of a run, told of another kind of product, without what is worded where it is measured."""
    told = facts() | {"kind": kind, "dose": None, "remarks": [], "label_free": [], "trace": {"nodes": []}}
    return told | {"verdict": told["verdict"] | {"measure": MEASURE.told(), "ladder": [], "bank": None}}


def said(page: str) -> str:
    """What is read on a page: no scripts, styles or tags, and nothing that the run's own sentences or samples say."""
    page = re.sub(r"<(script|style)\b.*?</\1>|<bdi.*?</bdi>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split()).replace(_OWN, "")


@pytest.mark.parametrize("kind", ["image", "pair"])
def test_a_report_on_pictures_speaks_of_pictures_alone(kind: str) -> None:
    page = said(render(about(kind)))
    assert "pictures" in page and "Pictures that changed sides" in page
    assert not WORDS.findall(page), [page[max(0, hit.start() - 60) : hit.end() + 30] for hit in WORDS.finditer(page)]


def test_training_on_pictures_is_counted_in_patches_and_has_no_padding() -> None:
    counted = re.compile(r"\b(tokens?|padding|waste)\b", re.IGNORECASE)
    told, short = about("image"), render_markdown(about("image"))
    page = said(render(told))
    assert "Training patches" in page and "Patches a second" in page and "training patches" in short
    assert not counted.findall(page), [page[max(0, hit.start() - 60) : hit.end()] for hit in counted.finditer(page)]
    assert "token" not in short.lower()
    assert "training tokens and patches" in said(render(about("pair")))
    assert "Training tokens" in said(render(facts()))


def test_its_markdown_too() -> None:
    short = render_markdown(about("image"))
    assert "## Pictures that changed sides" in short and "pictures from" in short
    assert "labelled texts" not in short and "texts from" not in short


def test_without_a_word_about_it_a_report_is_about_texts() -> None:
    page = said(render(facts()))
    assert "Texts that changed sides" in page and "Pictures" not in page
