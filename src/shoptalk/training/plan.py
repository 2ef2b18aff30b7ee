"""The plan of a run: how many steps of its budget each candidate gets, fixed before training starts.

Successive halving (Jamieson & Talwalkar 2016; Li et al. 2018, rate eta): every candidate trains a short pilot, the best
1/eta go on, the winner gets the rest. The plan also fixes the menu: the (candidate, step) pairs that the verdict may
choose from. Clocks are read once, here; after that the plan and not the clock governs the run and its resumption.
"""

import math
from collections.abc import Mapping, Sequence

from pydantic import Field

from shoptalk.config import Budget
from shoptalk.errors import ConfigError, TooLittleTextError
from shoptalk.nn.machine import Machine
from shoptalk.nn.precision import Precision
from shoptalk.objectives.recipe import Recipe
from shoptalk.quantities import Forecast, Spending
from shoptalk.records import Frozen

ETA = 4
PILOT_SHARE = 0.08
"""Share of the training budget that one candidate's pilot gets, unless all pilots together would exceed PILOTS_MOST."""
PILOTS_MOST = 0.3
LOSER_MOST = 0.15
"""The largest share of the whole budget for a candidate that is eliminated: preparing and timing it, a pilot, a look.

A pilot alone is at most 8 %, but looks are not limited: in ten minutes with looks of 100 s, two candidates left 200 s
for training, and the loser took 16 s of pilot and 100 s of look, 19 %. So a pilot gets what the look leaves of 15 %;
where five steps do not fit into that, fewer candidates are compared. Preparing and timing are over when the plan is
made: what they took shortens the pilot, but not to less than five steps.
"""
HEAT_SHARE = 1 / 3
"""Pilots begin with a heat, a look at a quarter of them (1 / ETA), where the looks of all heats take at most this share
of all pilots' time: where no candidate is out by then, that is what they cost."""
OUT_IN_HEATS = 0.5
"""Of the losers, how many a forecast takes to be out after their heat. A guess: it is between none and all."""
MENU_MOST = 12
FEWEST_STEPS = 4
PILOT_FEWEST = 5
"""Fewer steps than this show nothing: a candidate is left out rather than compared on them."""


class Cost(Frozen):
    """What one step of an objective costs, its share of the snapshots included, and the most steps worth taking."""

    seconds: float
    tokens: float
    most_steps: int
    before_seconds: float = 0.0
    """What preparing its targets and timing it took."""
    shortest: int = 0
    """Of a curriculum, the number of the phase whose text allows the fewest steps of the whole; else 0."""


def joint_cost(costs: Sequence[Cost], *, share: float) -> Cost:
    """What a step of a curriculum costs on average over its phases, the first of which has `share` of the steps; as
    many are worth taking as no phase has too many of. Of one training, its own.
    """
    if len(costs) == 1:
        return costs[0]
    first, second = costs
    allowed = (first.most_steps / share, second.most_steps / (1 - share))
    return Cost(
        seconds=share * first.seconds + (1 - share) * second.seconds,
        tokens=share * first.tokens + (1 - share) * second.tokens,
        most_steps=max(2, int(min(allowed))),
        shortest=allowed.index(min(allowed)),
    )


class CandidatePlan(Frozen):
    """How a candidate trains. `checkpoints` are its steps on the menu; the first one is the end of its pilot, unless
    that has a heat, which is on the menu too.
    """

    steps: int
    checkpoints: tuple[int, ...]
    tokens_per_step: float
    seconds_per_step: float
    heat: int | None = None
    """Steps after which a candidate that is clearly behind is out: `decide.behind`."""

    @property
    def pilot(self) -> int:
        """Steps after which the candidate is compared with the others."""
        return self.checkpoints[0]

    @property
    def menu(self) -> tuple[int, ...]:
        """All steps at which it is measured."""
        return (*(() if self.heat is None else (self.heat,)), *self.checkpoints)


class Plan(Frozen):
    """The whole run, decided in advance."""

    budget: str
    precision: Precision
    rates: dict[str, float]
    machine: Machine
    keep: tuple[int, ...]
    """How many candidates go on after each rung; the last is 1."""
    candidates: dict[str, CandidatePlan]
    forecast_seconds: float
    """From now on: training (the mean over candidates that may win), looking at checkpoints, coming to the verdict."""
    forecast_tokens: int
    seed: int
    before_seconds: float
    """The time before the plan was made: curating, the baseline, targets, timing."""
    memory_bytes: int
    """The forecast of the run's peak memory."""
    preparing_seconds: dict[str, float] = Field(default_factory=dict)
    """The part of `before_seconds` that each candidate's targets and timing took, those left out included."""
    merges: tuple[float, ...] = ()
    """The averages with the base's weights that are paid for, by the share of the trained ones."""
    eliminated: dict[str, str] = Field(default_factory=dict)
    """Candidates that failed while they were timed, and why."""

    def forecast(self, budget: Budget) -> Forecast:
        """The forecast of the whole run, the time before the plan included."""
        seconds = round(self.before_seconds + self.forecast_seconds, 1)
        expected = Spending(seconds=seconds, tokens=self.forecast_tokens, memory_bytes=self.memory_bytes)
        return Forecast(
            expected=expected.priced(budget.price_per_hour),
            before=self.before_seconds,
            price_per_hour=budget.price_per_hour,
        )


def make_plan(
    costs: Mapping[str, Cost],
    *,
    budget: Budget,
    before_seconds: float,
    look_seconds: float,
    end_seconds: float,
    memory_bytes: int,
    precision: Precision,
    rates: dict[str, float],
    machine: Machine,
    seed: int,
    decays: Mapping[str, float] | None = None,
    merges: Sequence[float] = (),
    n_bases: int = 1,
    heats: bool = False,
) -> Plan:
    """Allocate the rest of the budget to the candidates.

    Of a time budget, `before_seconds` are spent already, `look_seconds` go into every checkpoint (measuring, opening,
    saving), `end_seconds` into the verdict, and the rest into training; a token budget is for training alone.
    `decays` has each candidate's share of final steps in which its learning rate falls: no checkpoint lies within them,
    so that nothing is measured (and perhaps shipped) half decayed. `merges` are wanted: each costs a look, and those
    nearest to a half come first where a time budget does not pay for all. They and every base but the first of
    `n_bases` take a place on the menu. `costs` is in order of preference: where the budget
    does not pay for pilots that show anything, the last candidates are left out. `heats` says whether there is
    something to tell by which candidate is clearly behind; pilots begin with a heat where that is worth its looks.

    Raises:
        ConfigError: the budget does not pay for `FEWEST_STEPS` of any candidate, or there is too little text for them.
    """
    tokens, preparing = budget.tokens, {name: round(cost.before_seconds, 1) for name, cost in costs.items()}
    seconds = None if budget.time is None else budget.time - before_seconds - end_seconds
    shares = _affordable_merges(merges, seconds, look_seconds)

    def allocated(
        costs: Mapping[str, Cost], *, looks: int
    ) -> tuple[Mapping[str, Cost], dict[str, CandidatePlan], float]:
        """The candidates that can be compared, their plans and what looks take; each pilot has so many looks."""
        most = None if budget.time is None else LOSER_MOST * budget.time - looks * look_seconds
        while True:
            plans, overhead = _allocate(
                costs,
                seconds=seconds,
                tokens=tokens,
                look_seconds=look_seconds,
                pilot_looks=looks,
                pilot_most=most,
                decays=decays or {},
                n_merges=len(shares),
                n_bases=n_bases,
            )
            if len(costs) == 1 or (len(plans) == len(costs) and all(p.pilot >= PILOT_FEWEST for p in plans.values())):
                return costs, plans, overhead
            costs = dict(list(costs.items())[:-1])

    every = costs
    costs, plans, overhead = allocated(every, looks=1)
    if heats and len(plans) > 1:
        _, heated, more = allocated(every, looks=2)
        others = len(shares) + n_bases - 1
        heated = _heated(heated, look_seconds=look_seconds, timed=seconds is not None, others=others)
        if list(heated) == list(plans) and all(plan.heat for plan in heated.values()):
            plans, overhead = heated, more
    if not plans:
        raise _nothing_affordable(costs, budget, beside=before_seconds + overhead + end_seconds)
    menu = _menu(plans) + len(shares) - OUT_IN_HEATS * sum(plan.heat is not None for plan in list(plans.values())[1:])
    return Plan(
        budget=str(budget),
        precision=precision,
        rates=rates,
        machine=machine,
        keep=_rungs(len(plans)),
        candidates=plans,
        forecast_seconds=round(_expected(plans, "seconds_per_step") + menu * look_seconds + end_seconds, 1),
        forecast_tokens=round(_expected(plans, "tokens_per_step")),
        seed=seed,
        before_seconds=round(before_seconds, 1),
        memory_bytes=memory_bytes,
        preparing_seconds=preparing,
        merges=shares,
    )


def _nothing_affordable(costs: Mapping[str, Cost], budget: Budget, *, beside: float) -> ConfigError:
    """What to say where the budget does not pay for any candidate; `beside` are the seconds of a time budget that go
    into other things than training.

    Raises:
        TooLittleTextError: it is the text that does not suffice.
    """
    name, cost = next(iter(costs.items()))
    enough_text(name, cost)
    timed = budget.time is not None
    need = min((cost.seconds if timed else cost.tokens) for cost in costs.values()) * FEWEST_STEPS
    return ConfigError(
        f"The budget {budget} does not pay for {FEWEST_STEPS} training steps of {name!r} on this "
        f"machine. Give --budget {_enough(budget, need + beside if timed else need)}, or other --candidates: none "
        "keeps the base."
    )


def enough_text(name: str, cost: Cost) -> Cost:
    """The cost of a candidate that has the text for the fewest steps that can be judged.

    Raises:
        TooLittleTextError: it has not.
    """
    if cost.most_steps >= FEWEST_STEPS:
        return cost
    phases = Recipe.parse(name).phases
    objective = phases[cost.shortest].name
    short = f" for its phase {objective}" if len(phases) > 1 else ""
    raise TooLittleTextError(
        f"too little text{short}: it suffices for {cost.most_steps} training steps, and {FEWEST_STEPS} are the fewest "
        f"that can be judged. Give more text, a smaller objectives.{objective}.batch or more "
        f"objectives.{objective}.passes"
    )


def _rungs(candidates: int) -> tuple[int, ...]:
    """How many candidates go on after each rung."""
    keep = [math.ceil(candidates / ETA)]
    while keep[-1] > 1:
        keep.append(math.ceil(keep[-1] / ETA))
    return tuple(keep)


def _menu(plans: Mapping[str, CandidatePlan]) -> int:
    """How many entries are measured at most."""
    pilots = sum(len(plan.menu) - len(plan.checkpoints) + 1 for plan in plans.values())
    return pilots - 1 + max(len(plan.checkpoints) for plan in plans.values())


def _heated(
    plans: Mapping[str, CandidatePlan], *, look_seconds: float, timed: bool, others: int
) -> dict[str, CandidatePlan]:
    """The plans with a heat in each pilot, where that shows anything and is worth its looks; else as they are.

    A token budget's plan does not depend on the clock: there heats count as worth their looks. `others` are the
    entries of the menu that no candidate trains.
    """
    heats = {name: plan.pilot // ETA for name, plan in plans.items()}
    worth = not timed or len(plans) * look_seconds <= HEAT_SHARE * sum(
        plan.pilot * plan.seconds_per_step for plan in plans.values()
    )
    heated = {name: plan.model_copy(update={"heat": heats[name]}) for name, plan in plans.items()}
    shows = all(heat >= PILOT_FEWEST for heat in heats.values())
    return heated if shows and worth and _menu(heated) + others <= MENU_MOST else dict(plans)


def _expected(plans: Mapping[str, CandidatePlan], unit: str) -> float:
    """The sum over all pilots and the winner's other steps, where every candidate is equally likely to win, and
    `OUT_IN_HEATS` of the losers' pilots end with their heat.
    """
    if len(plans) == 1:
        return sum(plan.steps * float(getattr(plan, unit)) for plan in plans.values())
    loses = 1 - 1 / len(plans)
    expected = 0.0
    for plan in plans.values():
        spared = 0 if plan.heat is None else loses * OUT_IN_HEATS * (plan.pilot - plan.heat)
        expected += (plan.steps - loses * (plan.steps - plan.pilot) - spared) * float(getattr(plan, unit))
    return expected


def _enough(budget: Budget, need: float) -> Budget:
    """A budget in the same unit that pays for `need` seconds (or tokens), rounded up."""
    if budget.tokens is not None:
        return Budget(tokens=math.ceil(need))
    if budget.euros is not None and budget.price_per_hour is not None:
        euros = math.ceil(need / 3600 * budget.price_per_hour * 100) / 100
        return Budget(euros=euros, price_per_hour=budget.price_per_hour)
    return Budget(seconds=60 * math.ceil(need / 60))


def _allocate(
    costs: Mapping[str, Cost],
    *,
    seconds: float | None,
    tokens: int | None,
    look_seconds: float,
    pilot_looks: int,
    pilot_most: float | None,
    decays: Mapping[str, float],
    n_merges: int,
    n_bases: int,
) -> tuple[dict[str, CandidatePlan], float]:
    """Each candidate's steps, and the seconds of the budget that probing takes: `pilot_looks` in each pilot. With a
    time budget, a pilot and the work before it take at most `pilot_most` seconds.
    """
    n = len(costs)
    share = min(PILOT_SHARE, PILOTS_MOST / n) if n > 1 else 0.0
    checkpoints = _winner_checkpoints(pilot_looks * n, seconds, look_seconds, n_merges, n_bases)
    overhead = 0.0 if seconds is None else look_seconds * ((pilot_looks * n if n > 1 else 0) + checkpoints + n_merges)
    plans = {}
    for name, cost in costs.items():
        unit, total = (cost.tokens, float(tokens or 0)) if seconds is None else (cost.seconds, seconds - overhead)
        steps = min(int((1.0 - share * (n - 1)) * total / unit), cost.most_steps)
        if steps >= FEWEST_STEPS:
            allowed = share * total
            if pilot_most is not None:
                left = max(pilot_most - cost.before_seconds, min(pilot_most, PILOT_FEWEST * unit))
                allowed = max(0.0, min(allowed, left))
            pilot = max(1, min(int(allowed / unit + 1e-9), steps // 2))
            plans[name] = _candidate_plan(steps, pilot, checkpoints, n > 1, cost, decays.get(name, 0.0))
    return plans, overhead


def _winner_checkpoints(piloted: int, seconds: float | None, look_seconds: float, n_merges: int, n_bases: int) -> int:
    """How often the winner is measured: a look may cost a sixteenth of the time, and the menu has 12 places, of which
    pilots take `piloted`.
    """
    affordable = 3 if seconds is None else _looks(seconds, look_seconds) - n_merges
    return max(2, min(affordable, MENU_MOST - piloted - n_merges - (n_bases - 1), 6))


def _looks(seconds: float, look_seconds: float) -> int:
    return int(seconds / (16 * max(look_seconds, 1e-3)))


def _affordable_merges(merges: Sequence[float], seconds: float | None, look_seconds: float) -> tuple[float, ...]:
    """Of the wanted averages those that are paid for beside two checkpoints, nearest to a half first; ascending.

    One is always paid for: where training gains and forgets too much, an average is all that may ship.
    """
    most = len(merges) if seconds is None else max(1, _looks(seconds, look_seconds) - 2)
    return tuple(sorted(sorted(merges, key=lambda share: abs(share - 0.5))[:most]))


def _candidate_plan(steps: int, pilot: int, checkpoints: int, piloted: bool, cost: Cost, decay: float) -> CandidatePlan:
    falls_from = steps - max(1, round(decay * steps)) if decay else steps
    begin = pilot if piloted else 0
    later = {begin + round((steps - begin) * (i + 1) / checkpoints) for i in range(checkpoints)}
    later = {step for step in later if step <= falls_from or step == steps}
    return CandidatePlan(
        steps=steps,
        checkpoints=tuple(sorted(({pilot} if piloted else set()) | later)),
        tokens_per_step=cost.tokens,
        seconds_per_step=cost.seconds,
    )
