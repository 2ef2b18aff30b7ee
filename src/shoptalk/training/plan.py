"""From a budget to a plan: how many steps each candidate gets, fixed before training starts.

Successive halving (Jamieson & Talwalkar 2016; Li et al. 2018, rate eta): every candidate trains a short pilot, the best
1/eta go on, the winner gets the rest. The plan also fixes the menu: the (candidate, step) pairs that the verdict may
choose from. Clocks are read once, here; after that the plan and not the clock governs the run and its resumption.
"""

import math
from collections.abc import Mapping

from shoptalk.errors import ConfigError
from shoptalk.nn.precision import Precision
from shoptalk.records import Frozen

ETA = 4
PILOT_SHARE = 0.08
"""Share of the training budget that one candidate's pilot gets, unless all pilots together would exceed PILOTS_MOST."""
PILOTS_MOST = 0.3
MENU_MOST = 12
FEWEST_STEPS = 4
PILOT_FEWEST = 5
"""Fewer steps than this tell nothing: a candidate is left out rather than compared on them."""


class Cost(Frozen):
    """What one step of an objective costs, and the most steps that are worth taking."""

    seconds: float
    tokens: float
    most_steps: int


class CandidatePlan(Frozen):
    """How a candidate trains: `checkpoints` are its menu steps, the first is the end of its pilot."""

    steps: int
    checkpoints: tuple[int, ...]
    tokens_per_step: float
    seconds_per_step: float

    @property
    def pilot(self) -> int:
        """Steps after which the candidate is compared with the others."""
        return self.checkpoints[0]


class Plan(Frozen):
    """The whole run, decided in advance."""

    budget: str
    precision: Precision
    rates: dict[str, float]
    keep: tuple[int, ...]
    """How many candidates go on after each rung; the last is 1."""
    candidates: dict[str, CandidatePlan]
    forecast_seconds: float
    """Of training and probing together, from now on."""
    forecast_tokens: int
    seed: int


def make_plan(
    costs: Mapping[str, Cost],
    *,
    budget: str,
    seconds: float | None,
    tokens: int | None,
    probe_seconds: float,
    precision: Precision,
    rates: dict[str, float],
    seed: int,
) -> Plan:
    """Allocate `seconds` (of training and probing) or `tokens` (of training) to the candidates.

    `costs` is in order of preference: where the budget does not pay for pilots that tell anything, the last are left
    out.

    Raises:
        ConfigError: the budget does not pay for a handful of steps of any candidate.
    """
    while True:
        plans, overhead = _allocate(costs, seconds=seconds, tokens=tokens, probe_seconds=probe_seconds)
        if len(costs) == 1 or (len(plans) == len(costs) and all(p.pilot >= PILOT_FEWEST for p in plans.values())):
            break
        costs = dict(list(costs.items())[:-1])
    if not plans:
        need = min((cost.seconds if seconds is not None else cost.tokens) for cost in costs.values()) * FEWEST_STEPS
        shown = (
            f"{math.ceil((need + overhead) / 60)}m (for training and probing alone)"
            if seconds is not None
            else f"{need:.0f}tok"
        )
        raise ConfigError(
            f"The budget {budget} does not pay for {FEWEST_STEPS} training steps of {next(iter(costs))!r} on this "
            f"machine. Give --budget {shown}, or another of --candidates."
        )
    keep, left = [], len(plans)
    while left > 1:
        left = math.ceil(left / ETA)
        keep.append(left)
    pilots = sum(plan.pilot * plan.seconds_per_step for plan in plans.values()) if len(plans) > 1 else 0.0
    longest = max((plan.steps - plan.pilot * (len(plans) > 1)) * plan.seconds_per_step for plan in plans.values())
    most_tokens = max(
        (plan.steps - plan.pilot * (len(plans) > 1)) * plan.tokens_per_step for plan in plans.values()
    ) + sum(plan.pilot * plan.tokens_per_step for plan in plans.values()) * (len(plans) > 1)
    menu = len(plans) - 1 + max(len(plan.checkpoints) for plan in plans.values())
    return Plan(
        budget=budget,
        precision=precision,
        rates=rates,
        keep=tuple(keep) or (1,),
        candidates=plans,
        forecast_seconds=round(pilots + longest + menu * probe_seconds, 1),
        forecast_tokens=round(most_tokens),
        seed=seed,
    )


def _allocate(
    costs: Mapping[str, Cost], *, seconds: float | None, tokens: int | None, probe_seconds: float
) -> tuple[dict[str, CandidatePlan], float]:
    """Each candidate's steps, and the seconds that probing takes of the budget."""
    n = len(costs)
    share = min(PILOT_SHARE, PILOTS_MOST / n) if n > 1 else 0.0
    checkpoints = _winner_checkpoints(n, seconds, probe_seconds)
    overhead = 0.0 if seconds is None else probe_seconds * ((n if n > 1 else 0) + checkpoints)
    plans = {}
    for name, cost in costs.items():
        unit, total = (cost.tokens, float(tokens or 0)) if seconds is None else (cost.seconds, seconds - overhead)
        steps = min(int((1.0 - share * (n - 1)) * total / unit), cost.most_steps)
        if steps >= FEWEST_STEPS:
            pilot = max(1, min(int(share * total / unit), steps // 2))
            plans[name] = _candidate_plan(steps, pilot, checkpoints, n > 1, cost)
    return plans, overhead


def _winner_checkpoints(n_candidates: int, seconds: float | None, probe_seconds: float) -> int:
    """How often the winner is looked at: a look may cost a sixteenth of the time, and the menu has 12 places."""
    affordable = 3 if seconds is None else int(seconds / (16 * max(probe_seconds, 1e-3)))
    return max(2, min(affordable, MENU_MOST - n_candidates, 6))


def _candidate_plan(steps: int, pilot: int, checkpoints: int, piloted: bool, cost: Cost) -> CandidatePlan:
    begin = pilot if piloted else 0
    later = {begin + round((steps - begin) * (i + 1) / checkpoints) for i in range(checkpoints)}
    return CandidatePlan(
        steps=steps,
        checkpoints=tuple(sorted(({pilot} if piloted else set()) | later)),
        tokens_per_step=cost.tokens,
        seconds_per_step=cost.seconds,
    )
