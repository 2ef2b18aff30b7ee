from argparse import ArgumentParser

import pytest

from benchmarks import command_line, timing


def speed(value: float, **more: object) -> timing.Result:
    return {"tokens_per_second": value, "peak_rss_mib": 100, **more}


def test_runs_take_turns_and_are_told_their_round() -> None:
    told: list[tuple[str, int]] = []

    def run(name: str) -> timing.Callable[[int], timing.Result]:
        def inner(number: int) -> timing.Result:
            told.append((name, number))
            return speed(1.0)

        return inner

    found = timing.in_turn({"a": run("a"), "b": run("b")}, 3)
    assert told == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert {name: len(results) for name, results in found.items()} == {"a": 3, "b": 3}


def test_the_spread_is_the_range_over_the_median_and_a_single_run_has_none() -> None:
    assert timing.spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
    assert timing.spread([5.0]) is None


def test_a_ratio_is_taken_within_each_round() -> None:
    # A machine that halves its speed in one round changes neither of that round's ratios.
    ratio, (low, high) = timing.ratios([30.0, 15.0, 33.0], [10.0, 5.0, 10.0])
    assert (ratio, low, high) == pytest.approx((3.0, 3.0, 3.3))
    with pytest.raises(ValueError):
        timing.ratios([1.0], [1.0, 2.0])


def test_a_bar_judges_the_ratio_where_there_is_one_else_the_value() -> None:
    assert timing.Row("c", "w", value=1.0, unit="u").met is None
    assert timing.Row("c", "w", value=100.0, unit="u", ratio=2.9, at_least=3.0).met is False
    assert timing.Row("c", "w", value=1.05, unit="u", at_most=1.1).met is True


def test_a_speed_row_counts_padding_memory_and_the_peer() -> None:
    ours = [speed(value, real_tokens=80, cells=100) for value in (300.0, 310.0, 290.0)]
    row = timing.speed_row("c", "w", ours, peer=[speed(100.0)] * 3, at_least=3.0)
    assert (row.value, row.ratio, row.ratio_range, row.met) == (300.0, 3.0, (2.9, 3.1), True)
    assert "20% padding" in row.note and "100 MiB" in row.note


def test_losses_are_compared_over_the_last_third_within_chance() -> None:
    start = [9.0] * 6
    peer = [speed(1.0, losses=[*start, 4.0, 5.0, 6.0])]
    alike = timing.loss_row("c", [speed(1.0, losses=[*start, 4.5, 5.5, 5.5])], peer)
    assert alike.value == pytest.approx(1 / 6) and alike.met is True
    assert "steps 7 to 9" in alike.what
    apart = timing.loss_row("c", [speed(1.0, losses=[*start, 8.0, 8.1, 8.2])], peer)
    assert apart.met is False


def test_the_result_of_a_run_is_its_last_line() -> None:
    assert timing.last_json('noise {"a": 1}\n{"real_tokens": 3}\n\n') == {"real_tokens": 3}
    with pytest.raises(ValueError):
        timing.last_json("\n")


def test_options_become_words() -> None:
    words = timing.options_to_words({"batch": 64, "bf16": True, "eager": False, "mask_rate": None, "max_length": 8})
    assert words == ["--batch", "64", "--bf16", "--max-length", "8"]


def test_a_failing_run_ends_the_comparison_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match="no such model"):
        timing.run_json(["sh", "-c", "echo no such model >&2; exit 3"], threads=None)


def test_peers_and_we_get_the_same_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    found = timing.environment(2)
    assert found["OMP_NUM_THREADS"] == "2" and "PYTHONPATH" not in found
    code = "import json, os; print(json.dumps({'t': os.environ['OMP_NUM_THREADS']}))"
    assert timing.run_json(["python3", "-c", code], threads=1) == {"t": "1"}


def test_quick_changes_only_what_was_not_asked_for() -> None:
    parser = ArgumentParser()
    command_line.add_options(parser)
    full = command_line.read_options(parser.parse_args([]))
    assert full == timing.Options(5, 48, quick=False, threads=None, minutes=30.0)
    quick = command_line.read_options(parser.parse_args(["--quick", "--repeats", "2"]))
    assert quick == timing.Options(2, 4, quick=True, threads=None, minutes=0.25)
    assert (quick.warmup, full.warmup) == (1, 12)
