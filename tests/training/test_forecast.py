from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shoptalk.quantities import Forecast, Spending, compared, ratios, span
from shoptalk.training import forecast
from shoptalk.training.advance import Training
from shoptalk.training.forecast import peak_memory, peak_to_come, time_training
from shoptalk.training.loop import LoopConfig, batch_positions, train
from tests.toyworld import small_spec, toy_world

CPU = torch.device("cpu")


def training_in(folder: Path, *, batch: int = 32) -> Training:
    world = toy_world(small_spec("mlm"))
    return Training.build(
        world.spec,
        corpus=world.corpus,
        inputs=world.tokens,
        product=world.product,
        targets=world.targets,
        config=LoopConfig(steps=1, batch=batch, lr=1e-3),
        folder=folder,
        snapshot_seconds=0.0,
    )


class Clockwork:
    """Stands in for `train`: a step takes half a second and two milliseconds a cell, the first one twice that."""

    def __init__(self, per_cell: float = 0.002) -> None:
        self.batches: list[int] = []
        self.per_cell = per_cell

    def __call__(self, objective: Any, data: Any, collate: Any, config: LoopConfig) -> Iterator[Any]:
        for step in train(objective, data, collate, config):
            self.batches.append(config.batch)
            step.seconds = (0.5 + self.per_cell * step.cells) * (2 if step.number == 1 else 1)
            yield step


def test_the_fixed_cost_of_a_step_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "train", Clockwork())
    training = training_in(tmp_path)
    found = time_training(training)
    cells = []
    for number in range(len(training.data) // 32):
        key = forecast.Key(seed=0, step=number)
        cells.append(
            training.collate([training.data[i] for i in batch_positions(len(training.data), 32, key)], key).cells
        )
    assert found.seconds == pytest.approx(0.5 + 0.002 * np.mean(cells), rel=0.05)


def test_most_steps_are_taken_with_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clockwork(per_cell=0.0)
    monkeypatch.setattr(forecast, "train", clock)
    found = time_training(training_in(tmp_path))
    assert clock.batches == [16, 16, 32, 32, 32, 32]
    assert found.seconds == pytest.approx(0.5, rel=0.2)  # the first, which is twice as slow, does not count
    assert found.more_bytes == 0


def test_a_step_that_would_take_too_long_is_scaled_up_from_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clockwork(per_cell=1.0)
    monkeypatch.setattr(forecast, "train", clock)
    found = time_training(training_in(tmp_path))
    assert clock.batches == [16, 16, 16]
    assert found.seconds > forecast.LONGEST


def test_tokens_of_a_step_are_those_of_many_batches_and_not_of_the_timed_ones(tmp_path: Path) -> None:
    training = training_in(tmp_path, batch=4)
    found = time_training(training)
    whole = [step.tokens for step in train(training.objective, training.data, training.collate,
             replace(training.config, steps=min(forecast.SAMPLED, len(training.data) // 4)))]  # fmt: skip
    assert found.tokens == pytest.approx(np.mean(whole))
    assert found.save_seconds > 0


def test_mapped_arrays_count_on_top_of_the_peak_and_arrays_in_memory_do_not(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "ids.bin", dtype=np.int32, mode="w+", shape=(50_000_000,))
    timed = forecast.Timed(seconds=1, tokens=1, save_seconds=0, more_bytes=7)
    before = peak_memory(CPU)
    found = peak_to_come(CPU, [timed], [mapped, np.zeros(10)])
    assert 0 <= found - before - mapped.nbytes - 7 < 50e6


def test_peak_memory_is_in_bytes_and_never_falls() -> None:
    before = peak_memory(CPU)
    block = np.ones(40_000_000)
    after = peak_memory(CPU)
    assert 50e6 < before <= after < 100e9 and after >= block.nbytes


def test_a_cost_is_one_line_with_euros_only_where_an_hour_has_a_price() -> None:
    cost = Spending(seconds=360, tokens=3_100_000, memory_bytes=1_400_000_000)
    assert str(cost) == "6.0 min, 1.4 GB, 3.1 M tokens"
    assert str(cost.priced(0.2)) == "6.0 min, 1.4 GB, 3.1 M tokens, 0.020 EUR"
    assert cost.priced(0.2).priced(None) == cost


def test_forecast_and_fact_stand_beside_their_ratio() -> None:
    said = Spending(seconds=100, tokens=1000, memory_bytes=2 * 10**9).priced(3.6)
    fact = Spending(seconds=120, tokens=900, memory_bytes=10**9)
    found = Forecast(expected=said, before=5, price_per_hour=3.6).against(fact)
    assert found["forecast"] == {"seconds": 100, "tokens": 1000, "memory_bytes": 2 * 10**9, "euros": pytest.approx(0.1)}
    assert found["ratio"] == {"seconds": 1.2, "tokens": 0.9, "memory_bytes": 0.5, "euros": 1.2}
    assert (found["seconds"], found["euros"]) == (120, pytest.approx(0.12))
    assert "time 1.20, tokens 0.90, memory 0.50" in compared(fact, said)


def test_what_was_not_forecast_has_no_ratio() -> None:
    nothing = Spending(seconds=0, tokens=0, memory_bytes=0)
    assert set(ratios(nothing, nothing).values()) == {None}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.2, "4.2 s"), (45.0, "45 s"), (59.8, "1.0 min"), (372.0, "6.2 min"), (1860.0, "31 min"), (9000.0, "2.5 h")],
)
def test_a_span_is_told_in_the_unit_that_people_would_use(seconds: float, text: str) -> None:
    assert span(seconds) == text
