"""What the report is made of: axes, numbers for people, escaping, and colours that can be read."""

import json
import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.report.charts import Axis, make_axis
from shoptalk.report.facts_json import ClassGain, CurvePoint, CurveStart, GainCurve, GuardRow
from shoptalk.report.figures import Fact, breaking, embedded, fig
from shoptalk.report.lines import Point, read_curve, thin
from shoptalk.report.markup import clean, el
from shoptalk.report.wording import biggest, duration, explained, moment, plain, short, signed


@settings(deadline=None)
@given(st.floats(-1e4, 1e4), st.one_of(st.just(0.0), st.floats(0.1, 1e4)), st.integers(2, 8))
def test_ticks_are_few_round_and_inside_the_axis(low: float, span: float, most: int) -> None:
    axis = make_axis(low, low + span, 0, 100, most=most)
    assert axis.low <= low + 1e-6 and axis.high >= low + span - 1e-6
    assert 2 <= len(axis.ticks) <= most + 2
    step = axis.ticks[1] - axis.ticks[0]
    mantissa = float(f"{step:.3e}".split("e")[0])
    assert mantissa == pytest.approx(1) or mantissa == pytest.approx(2) or mantissa == pytest.approx(5)
    for tick in axis.ticks:
        assert abs(tick / step - round(tick / step)) < 1e-3
        assert -1e-6 <= axis(tick) <= 100 + 1e-6


def test_an_axis_puts_its_ends_on_its_pixels() -> None:
    axis = Axis(-1.0, 3.0, 200.0, 0.0, ())
    assert (axis(-1.0), axis(1.0), axis(3.0)) == (200.0, 100.0, 0.0)


@settings(deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=700))
def test_thinning_keeps_the_mean_of_equal_stretches_and_the_range(values: list[float]) -> None:
    points = [(float(step), value) for step, value in enumerate(values)]
    made = thin(points, 100)
    assert len(made) == min(len(points), 100)
    assert [x for x, _ in made] == sorted(x for x, _ in made)
    assert min(values) - 1e-9 <= min(y for _, y in made) and max(y for _, y in made) <= max(values) + 1e-9


def test_the_biggest_changes_are_in_order_and_leave_out_what_did_not_change() -> None:
    classes = [
        ClassGain(label=str(gain), n=9, base=50.0, adapted=50.0 + gain, gain=gain)
        for gain in (1.0, -3.0, 0.0, 5.0, -1.0, 2.0)
    ]
    gains, losses = biggest(classes, 2)
    assert [row.gain for row in gains] == [5.0, 2.0]
    assert [row.gain for row in losses] == [-3.0, -1.0]


def test_numbers_are_written_for_people() -> None:
    assert [signed(value) for value in (2.34, -0.4, -0.04, None, float("nan"), True)] == [
        "+2.3",
        "−0.4",
        "0.0",
        "–",
        "–",
        "–",
    ]
    assert [duration(value) for value in (1.2, 59.96, 520, 3600, 7500)] == [
        "1.2 s",
        "1 min",
        "8 min 40 s",
        "1 h",
        "2 h 5 min",
    ]
    assert [short(value) for value in (0, 999, 1500, 250_000, 1_500_000)] == ["0", "999", "1.5k", "250k", "1.5M"]
    assert [plain(value) for value in (210.3, -3.1, 0.0, 0.0123, 12345.6)] == [
        "210",
        "−3.10",
        "0.00",
        "0.0123",
        "12,346",
    ]


def test_numbers_without_a_date_or_a_number_stay_readable() -> None:
    assert moment("2026-11-22T10:00:00+00:00") == "22 November 2026, 10:00 UTC"
    assert moment("yesterday") == "yesterday"
    assert plain(0.02, like=0.31) == "0.020" and plain(9.0, like=219) == "9"


def test_a_measure_is_explained_by_the_end_of_its_name_and_once() -> None:
    assert len(explained(["next-turn MRR", "MRR", "alignment"])) == 2
    assert explained(["something else"]) == []


def test_a_curve_starts_at_the_base_and_leaves_out_what_was_not_measured() -> None:
    points = [
        CurvePoint(entry="x@1", step=1, tokens=100, gain=1.0, low=0.5, high=None),
        CurvePoint(entry="x@2", step=2, tokens=200, gain=float("nan"), low=None, high=None),
    ]
    curve = GainCurve(objective="x", eliminated=False, points=tuple(points))
    assert read_curve(Fact(curve)) == (Point(0.0, 0.0, 0.0, 0.0), Point(100.0, 1.0, 0.5, 1.0))
    assert read_curve(Fact(curve.model_copy(update={"points": ()}))) == ()
    below = curve.model_copy(update={"start": CurveStart(gain=-26.6, low=-35.8, high=-17.4)})
    assert read_curve(Fact(below), over_another=True)[0] == Point(0.0, -26.6, -35.8, -17.4)
    assert read_curve(Fact(curve), over_another=True) == (Point(100.0, 1.0, 0.5, 1.0),), "an earlier version's"


def test_a_figure_knows_where_it_stands_in_the_facts() -> None:
    place = Fact({"a/b": [{"c~d": 2.34}]})["a/b"][0]["c~d"]
    assert fig(signed, place).text == '<span data-reading="/a~1b/0/c~0d" data-as="signed">+2.3</span>'
    assert fig(signed, place["deeper"]).text == "–"


def test_a_field_of_a_record_is_an_attribute_and_stands_where_its_json_has_it() -> None:
    row = Fact(GuardRow(entry="x@1", name="forgetting", change=-0.2, limit=-1.0, inside=True), "/guards/0")
    assert (
        (row.change.value, row.change.pointer)
        == (-0.2, "/guards/0/value")
        == (row["value"].value, row["value"].pointer)
    )
    with pytest.raises(AttributeError, match="GuardRow at /guards/0 has no field gian"):
        row.gian  # noqa: B018
    assert Fact(None).heads.sentence.value is None


@settings(deadline=None)
@given(st.text())
def test_any_text_can_stand_in_a_data_element(text: str) -> None:
    made = embedded([text])
    assert not set("<>&\u2028\u2029") & set(made)
    assert json.loads(made) == [clean(text)]
    made.encode("utf-8")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_escaped_in_children_and_attributes(text: str) -> None:
    made = el("p", text, title=text).text
    assert re.fullmatch('<p title="[^"<>]*">[^<>]*</p>', made)
    made.encode("utf-8")


@settings(deadline=None)
@given(st.text(alphabet="a_@/-<&>"))
def test_a_name_may_break_and_says_the_same(text: str) -> None:
    made = breaking(el("bdi", text, title=text))
    assert made.text.replace("<wbr>", "") == el("bdi", text, title=text).text


def test_line_breaks_stay_and_control_characters_do_not() -> None:
    assert clean("a\r\nb\tc\x00\x85") == "a\nb\tc\ufffd\ufffd"


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_every_colour_of_text_and_lines_can_be_read_on_its_page(scheme: int) -> None:
    style = files("shoptalk.report").joinpath("report.css").read_text(encoding="utf-8")
    root = re.findall(r":root \{(.*?)\}", style, flags=re.S)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", root))
    assert len(colours) == 21
    for ground in ("page", "wash"):
        for tone in colours.keys() - {"page", "wash", "rule", "faint"}:
            light, dark = sorted((luminance(colours[ground]), luminance(colours[tone])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, tone)
