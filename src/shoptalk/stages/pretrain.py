"""Pretrain: the winner, from checkpoint to checkpoint, while the evidence says that more pays."""

from collections.abc import Sequence
from dataclasses import replace

from shoptalk import decide
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curriculum import turn_of
from shoptalk.stages.entry import Entry, outcomes, train_to
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log


def pretrain_stage(
    world: World, prepared: Prepared, baseline: Baseline, winner: str, pilots: Sequence[Entry]
) -> list[Entry]:
    """Train the winner from checkpoint to checkpoint while the evidence says that more pays.

    A curriculum is not judged in its first phase, which need not help by itself; its second is judged by itself.
    """
    plan = prepared.plan.candidates[winner]
    turn = turn_of(winner, plan.steps, world.config)
    earlier = [entry for entry in pilots if entry.candidate == winner]
    entries: list[Entry] = []
    decay_from: int | None = None
    for step in (step for step in plan.checkpoints if step > (earlier[0].step if earlier else 0)):
        entry = train_to(world, prepared, baseline, winner, step, earlier=[*earlier, *entries], decay_from=decay_from)
        if step <= turn:
            entries.append(entry)
            continue
        later = [one for one in (*earlier, *entries) if one.step > turn]
        entries.append(_watched(world, baseline, [*later, entry], after=turn))
        alarm = entries[-1].alarm
        if alarm is not None and alarm.fires:
            world.report.say(f"pretrain: {alarm.decision.sentence} Training stops here.")
            break
        if decay_from is not None or step == plan.checkpoints[-1]:
            break
        if baseline.bench.labelled is None:
            continue
        decision = decide.continue_training(outcomes(baseline, [*later, entry]))
        if decision.choice != "continue":
            world.report.say(f"pretrain: {decision.sentence}")
        if decision.choice == "stop":
            break
        decay_from = entry.step if decision.choice == "decay" else None
    return entries


def _watched(world: World, baseline: Baseline, entries: Sequence[Entry], *, after: int) -> Entry:
    """The last of a candidate's entries, asked whether the candidate over-fits; two entries are too few to tell.

    `after` is the step after which their training began.
    """
    if baseline.bench.labelled is None or len(entries) < 3:
        return entries[-1]
    log = read_log(entries[-1].folder)
    begins = [after, *(entry.step for entry in entries[:-1])]
    losses = [
        [row["loss"] for row in log if begin < row["step"] <= entry.step]
        for begin, entry in zip(begins, entries, strict=True)
    ]
    bits = [entry.measured.values().get("masked_bits") for entry in entries]
    held_out = [value for value in bits if value is not None]
    alarm = decide.overfitting(
        outcomes(baseline, entries),
        losses,
        held_out=held_out if len(held_out) == len(entries) else None,
        seed=world.config.seed,
    )
    return replace(entries[-1], alarm=alarm)
