"""The picture of an interval that narrows: everything inside its frame, and the same numbers in words."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.report.narrowing import described, narrowing
from shoptalk.report.question_json import StandingShown
from shoptalk.report.wording import interval

ENDS = st.floats(-100, 100).map(lambda value: round(value, 4))


@st.composite
def paths(draw: st.DrawFn) -> list[StandingShown]:
    """A standing before any answer, and after each of some."""
    count = draw(st.integers(1, 130))
    steps, low, high = [], -abs(draw(ENDS)) - 1e-3, abs(draw(ENDS)) + 1e-3
    shrink = draw(st.floats(0.5, 1.0))
    for asked in range(count + 1):
        settled = asked == count and draw(st.booleans())
        steps.append(
            StandingShown(
                choice="adopt" if settled else "inconclusive",
                asked=asked,
                right=asked,
                wrong=0,
                neither=0,
                disagree=200,
                bank=3000,
                gain=(low + high) / 2 if asked else None,
                low=low,
                high=high,
                bank_low=low * 0.8,
                bank_high=high * 0.8,
                settled=settled,
                more=draw(st.none() | st.integers(0, 2000)),
                exhausted=False,
            )
        )
        low, high = low * shrink, high * shrink
    return steps


@settings(deadline=None, max_examples=40)
@given(paths(), st.floats(0.0, 5.0))
def test_every_mark_lies_inside_the_picture(steps: list[StandingShown], smallest_gain: float) -> None:
    picture = narrowing(steps, smallest_gain)
    assert picture is not None and "nan" not in picture.text.replace("narrowing", "")
    for width, height, inside in re.findall(r'viewBox="0 0 (\d+) (\d+)"[^>]*>(.*?)</svg>', picture.text, flags=re.S):
        for drawn in re.findall(r' d="M([^"z]*)z?"', inside):
            for point in drawn.split("L"):
                x, y = map(float, point.split(","))
                assert -0.1 <= x <= int(width) + 0.1 and -0.1 <= y <= int(height) + 0.1
        for name, value in re.findall(r' (x|y|x1|y1|x2|y2|cx|cy)="([^"]*)"', inside):
            most = int(width) if "x" in name else int(height)
            assert -0.1 <= float(value) <= most + 0.1


@settings(deadline=None, max_examples=40)
@given(paths())
def test_the_table_ends_with_the_present_and_is_never_long(steps: list[StandingShown]) -> None:
    picture = narrowing(steps, 0.5)
    assert picture is not None
    rows = re.findall(r'<tr><th scope="row">([\d,]+)</th>', picture.text)
    assert len(rows) <= 62 and rows[0] == f"{steps[-1].asked:,}" and rows[-1] == "0"


@settings(deadline=None, max_examples=40)
@given(paths())
def test_the_words_tell_the_same_ends_as_the_picture(steps: list[StandingShown]) -> None:
    first, now = steps[0], steps[-1]
    said = described(steps, 0.5)
    assert f"from {interval((first.low, first.high))} points at first" in said
    assert f"from {interval((now.low, now.high))} points on future messages" in said
    assert f"from {interval((now.bank_low, now.bank_high))} on these messages" in said


def test_there_is_no_picture_before_the_first_answer() -> None:
    assert narrowing([], 0.5) is None


def test_the_caption_says_why_an_interval_widens_only_where_it_does() -> None:
    def step(asked: int, low: float, high: float) -> StandingShown:
        return StandingShown(
            choice="inconclusive",
            asked=asked,
            right=asked,
            wrong=0,
            neither=0,
            disagree=9,
            bank=90,
            gain=None,
            low=low,
            high=high,
            bank_low=low,
            bank_high=high,
            settled=False,
            more=None,
            exhausted=False,
        )

    narrower, wider = [step(0, -5.0, 5.0), step(1, -4.0, 5.0)], [step(0, -5.0, 5.0), step(1, -5.0, 6.0)]
    said = [narrowing(steps, 0.5) for steps in (narrower, wider)]
    assert ["asked twice" in picture.text for picture in said if picture is not None] == [False, True]
