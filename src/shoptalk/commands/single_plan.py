"""The plan of one training that `pretrain` makes: steps, precision and forecast, decided once."""

import time
from pathlib import Path
from typing import Any

from shoptalk.artifact import write_text
from shoptalk.errors import ArtifactError, ConfigError
from shoptalk.nn.machine import Machine, prepare
from shoptalk.nn.precision import Precision
from shoptalk.quantities import Forecast, Spending
from shoptalk.readback import read_record
from shoptalk.records import Frozen
from shoptalk.stages.candidate import PreparedCandidate
from shoptalk.stages.candidate_costs import CandidateTiming, time_candidate
from shoptalk.stages.curriculum import Phase
from shoptalk.stages.world import World, best_device, matmul_rates, usual_precision
from shoptalk.text.corpus import Corpus
from shoptalk.training import launch
from shoptalk.training.forecast import peak_to_come


class SinglePlan(Frozen):
    """The steps, precision and forecast of the training that `key` identifies."""

    key: str
    steps: int
    lr: float
    precision: Precision
    rates: dict[str, float]
    machine: Machine
    seed: int
    before_seconds: float
    """The time before the plan was made."""
    forecast: Spending
    """Of the whole run, the time before the plan included. It has no price, which the next call may change."""
    earlier: tuple[Phase, ...] = ()
    """The phases that were trained before; `forecast` and `spent` include them."""
    spent: dict[str, Any] | None = None
    """Once it is trained: fact, forecast and their ratio."""

    @property
    def step_seconds(self) -> float:
        """The forecast seconds of a step, including its share of the time to save the encoder."""
        return (self.forecast.seconds - self.before_seconds) / self.steps

    def priced(self, price_per_hour: float | None) -> Forecast:
        """The forecast at a price."""
        expected = self.forecast.priced(price_per_hour)
        return Forecast(expected=expected, before=self.before_seconds, price_per_hour=price_per_hour)


def single_plan(
    world: World,
    key: str,
    candidate: PreparedCandidate,
    corpus: Corpus,
    inputs: Any,
    steps: int | None,
    *,
    begun: float,
    after: Phase | None,
) -> SinglePlan:
    """Steps and precision, decided once and kept in `DIR/plan.json`; `begun` is when the run began (`perf_counter`).

    Raises:
        ConfigError: the budget does not pay for one step.
    """
    path = world.run / "plan.json"
    stored = launch.agree(lambda: None if (plan := _read_plan(path, key)) is None else plan.model_dump(mode="json"))
    if stored is not None:
        return SinglePlan.model_validate(stored)
    precision, rates = usual_precision(world.config), matmul_rates()
    timing = time_candidate(candidate, corpus, inputs, world.config, precision)  # of steps that all processes take

    def decide() -> dict[str, Any]:
        plan = _decided(world, key, candidate, timing, precision, rates, steps, begun=begun, after=after)
        write_text(path, plan.model_dump_json(indent=1))
        return plan.model_dump(mode="json")

    return SinglePlan.model_validate(launch.agree(decide))


def _decided(
    world: World,
    key: str,
    candidate: PreparedCandidate,
    timing: CandidateTiming,
    precision: Precision,
    rates: dict[str, float],
    steps: int | None,
    *,
    begun: float,
    after: Phase | None,
) -> SinglePlan:
    config, budget, before = world.config, world.config.limits(), time.perf_counter() - begun
    if steps is None:
        left = None if budget.time is None else budget.time - before - timing.entry_seconds
        affordable = (budget.tokens or 0) / timing.cost.tokens if left is None else left / timing.cost.seconds
        steps = min(int(affordable), timing.cost.most_steps)
        if steps < 1:
            raise ConfigError(
                f"The budget {config.budget} does not pay for one step of {candidate.name!r}. Give a larger --budget."
            )
    forecast = Spending(
        seconds=round(before + steps * timing.cost.seconds + timing.entry_seconds, 1),
        tokens=round(steps * timing.cost.tokens) + (after.tokens if after else 0),
        memory_bytes=peak_to_come(best_device(), [timing.timed], (candidate.targets or {}).values()),
    )
    return SinglePlan(
        key=key,
        steps=steps,
        lr=candidate.spec.lr,
        precision=precision,
        rates=rates,
        machine=prepare(best_device()),
        seed=config.seed,
        before_seconds=round(before, 1),
        forecast=forecast,
        earlier=() if after is None else (after,),
    )


def _read_plan(path: Path, key: str) -> SinglePlan | None:
    """The plan that is stored, if it is that of `key`; one that is damaged, or in another version's form, is made
    anew.
    """
    try:
        plan = read_record(path, SinglePlan)
    except ArtifactError:
        return None
    return plan if plan.key == key else None
