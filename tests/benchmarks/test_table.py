import pytest

from benchmarks import __main__ as command
from benchmarks import table, timing

BEGIN, END = table.BEGIN, table.END

CPUINFO = """processor\t: 0
model name\t: Some Xeon
flags\t\t: fpu avx2 avx512f amx_bf16 amx_tile sse
processor\t: 1
model name\t: Some Xeon
flags\t\t: fpu avx2
"""


def test_the_cpu_is_told_by_its_name_and_the_flags_that_matter() -> None:
    assert table.cpu(CPUINFO) == ("Some Xeon", ("avx2", "avx512f", "amx_tile", "amx_bf16"))
    assert table.cpu("") == ("", ())


def test_hardware_and_versions_can_be_read_here() -> None:
    assert "core" in table.hardware()
    assert "torch" in table.versions()


def test_a_row_shows_its_figures_and_whether_the_bar_is_met() -> None:
    row = timing.Row(
        "c", "a | b", 8123.4, "tokens/s", spread=0.034, ratio=15.25, ratio_range=(15.0, 15.5), at_least=15.0
    )
    line = table.markdown([row]).splitlines()[-1]
    assert line == "| a / b | 8,123 tokens/s | 3% | 15.2× (15 to 15.5) | ≥ 15: met |  |"
    missed = table.markdown([timing.Row("c", "w", 1.2, "×", at_most=1.1, note="n")]).splitlines()[-1]
    assert missed == "| w | 1.2 × |  |  | ≤ 1.1: missed | n |"


ORDER = ("mlm", "embed")


def test_new_results_replace_their_own_section_and_nothing_else() -> None:
    readme = f"# Title\n\nBefore.\n\n{BEGIN}\n\n### embed\n\nold embed\n\n{END}\n\nAfter.\n"
    once = table.place(readme, {"mlm": "### mlm\n\nnew mlm"}, order=ORDER)
    assert once.startswith("# Title\n\nBefore.\n\n") and once.endswith("\n\nAfter.\n")
    assert once.index("new mlm") < once.index("old embed")
    twice = table.place(once, {"embed": "### embed\n\nnew embed"}, order=ORDER)
    assert "new mlm" in twice and "new embed" in twice and "old embed" not in twice
    assert table.place(twice, {}, order=ORDER) == twice


def test_without_markers_results_go_to_the_end_and_broken_markers_are_refused() -> None:
    found = table.place("# Title\n", {"mlm": "### mlm\n\nx"}, order=ORDER)
    assert found.startswith("# Title\n") and table.split_sections(found.split(BEGIN)[1]).keys() == {"mlm"}
    for broken in (BEGIN, END, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"):
        with pytest.raises(ValueError, match="mend the README"):
            table.place(broken, {}, order=ORDER)


def test_rows_are_told_from_other_output() -> None:
    assert command.read_row('{"comparison": "mlm", "what": "w", "value": 1.0, "unit": "u"}\n') == timing.Row(
        "mlm", "w", 1.0, "u"
    )
    for line in ("loading", "3", '{"unknown": 1}', "[1]"):
        assert command.read_row(line) is None
