"""Pictures in the report: small files in the page itself, each with words for those who do not see it."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from shoptalk.report.page import render
from tests.report.report_facts import facts
from tests.report.report_pages import parse, row_of, untraced, visible

MOST_BYTES = 3_000_000


def jpeg(seed: int) -> str:
    """A picture that packs as badly as any of its size."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def shown(number: int) -> dict[str, str]:
    return {"name": f"pictures/{number}.png", "data": jpeg(number)}


def with_pictures(n: int = 1) -> dict[str, Any]:
    """Facts with as many of everything as a run has at most, where `n` is large."""
    told = facts()
    names = [row["text"] for row in (*told["changed"]["gained"], *told["changed"]["lost"])]
    told["pictures"] = {
        "thumbnails": {name: jpeg(0) for name in names} | {f"more{i}": jpeg(i) for i in range(280 if n > 1 else 1)},
        "objective": "mae",
        "views": [{"picture": shown(1), "views": [jpeg(2)] * 6}] * 3,
        "reconstructions": [{"name": "pictures/1.png", "masked": jpeg(3), "decoded": jpeg(4), "whole": jpeg(5)}] * 6,
        "decoded_after": 1_234,
        "attention": [{"picture": shown(6), "heads": [jpeg(7)] * 6}] * 4,
        "neighbours": [{"picture": shown(8), "before": [shown(9)] * 5, "after": [shown(10)] * 5}] * 5,
        "retrieval": [
            {
                "direction": name,
                "asked": asked,
                "among": 210,
                "chance": 0.6,
                "untrained": 27.7,
                "before": 0.5,
                "after": 31.25,
            }
            for name, asked in (("R@1 image to text", 1_173), ("R@1 text to image", 210))
        ],
        "found": [
            {
                "picture": shown(11),
                "captions": ["<b>A ferry</b> at dusk"],
                "before": "a lighthouse",
                "after": "<b>A ferry</b> at dusk",
                "right_before": False,
                "right_after": True,
            }
        ]
        * 8,
    }
    return told


def test_every_picture_lies_in_the_page_and_has_words() -> None:
    source = render(with_pictures())
    every = list(parse(source).all("img"))
    assert len(every) > 100
    assert all(str(one.attributes["src"]).startswith("data:image/jpeg;base64,") for one in every)
    assert all(one.attributes["alt"] for one in every)
    assert "img-src data:" in source
    assert "and the picture itself, after 1,234 steps." in visible(source)
    for heading in ("Captions that are found", "What lies near, and where it looks", "What training saw"):
        assert f">{heading}</h2>" in source


def test_how_often_captions_and_pictures_are_found_is_told_both_ways() -> None:
    told = with_pictures()
    source = render(told)
    assert row_of(source, "R@1 image to text") == ["1,173", "210", "0.6 %", "27.7 %", "0.5 %", "31.2 %"]
    assert row_of(source, "R@1 text to image") == ["210", "210", "0.6 %", "27.7 %", "0.5 %", "31.2 %"]
    for row in told["pictures"]["retrieval"]:
        del row["untrained"]
    source = render(told)
    assert row_of(source, "R@1 image to text") == ["1,173", "210", "0.6 %", "0.5 %", "31.2 %"]
    assert "No training" not in source


def test_what_is_told_of_pictures_is_escaped_and_traced() -> None:
    told = with_pictures()
    source = render(told)
    assert "<b>A ferry</b>" not in source and "&lt;b&gt;A ferry&lt;/b&gt;" in source
    assert untraced(source, told) == untraced(render(facts()), facts())


def test_a_page_with_as_many_pictures_as_there_can_be_stays_under_three_megabytes() -> None:
    assert len(render(with_pictures(100)).encode()) < MOST_BYTES


def test_a_run_of_texts_has_no_such_sections() -> None:
    source = render(facts())
    assert "What training saw" not in source and "<img" not in source
