"""Pretrain: the winner, from checkpoint to checkpoint, while the evidence says that more pays."""

from collections.abc import Sequence
from dataclasses import replace

from shoptalk import decide
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.choose import Chosen
from shoptalk.stages.curriculum import turn_of
from shoptalk.stages.entry import Entry, scores, train_to
from shoptalk.stages.legs import decay_end
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World
from shoptalk.training.advance import read_log
from shoptalk.training.elimination import eliminating
from shoptalk.training.schedule import Schedule


def train_stage(
    world: World, prepared: Prepared, baseline: Baseline, chosen: Chosen
) -> tuple[list[Entry], dict[str, str]]:
    """The menu's entries, and which candidates failed. Where the first of them fails, the next best goes on."""
    eliminated: dict[str, str] = {}
    entries = list(chosen.entries)
    for name in chosen.ranking:
        if eliminated:
            world.report.chosen(name)
        trained, reason = pretrain_stage(world, prepared, baseline, name, chosen.entries)
        entries += trained
        if reason is None:
            break
        world.report.say(f"pretrain: {name} is out, {reason}")
        eliminated[name] = reason
        if trained:
            break  # what it had learned before stays on the menu, measured like everything else
    return entries, eliminated


def pretrain_stage(
    world: World, prepared: Prepared, baseline: Baseline, winner: str, pilots: Sequence[Entry]
) -> tuple[list[Entry], str | None]:
    """Train the winner from checkpoint to checkpoint while the evidence says that more pays: its entries, and why it
    could go no further, where it diverged or cannot run here.

    A curriculum is not judged in its first phase, which need not help by itself; its second is judged by itself. A
    decay that has begun runs to its end: what is measured there has been decayed.
    """
    plan = prepared.plan.candidates[winner]
    turn = turn_of(winner, plan.steps, world.config)
    earlier = [entry for entry in pilots if entry.candidate == winner]
    entries: list[Entry] = []
    failed: dict[str, str] = {}
    with eliminating(failed, winner):
        for step in plan.checkpoints:
            before = [*earlier, *entries]
            if step not in [entry.step for entry in earlier]:
                entries.append(train_to(world, prepared, baseline, winner, step, earlier=before))
            later = [one for one in (*earlier, *entries) if one.step > turn]
            if not later:
                continue
            if entries:
                later[-1] = entries[-1] = _watched(world, baseline, later, after=turn)
            elif len(later) < 2:
                continue  # a pilot without a heat has been looked at once: it tells nothing yet
            if step == plan.checkpoints[-1]:
                break
            choice = _next(world, baseline, later, turn=turn, steps=plan.steps - turn)
            if choice == "decay":
                end, before = decay_end(world, prepared, winner, step), [*earlier, *entries]
                decayed = train_to(world, prepared, baseline, winner, end, earlier=before, decay_from=step)
                entries.append(_watched(world, baseline, [*later, decayed], after=turn))
            if choice != "continue":
                break
    return entries, failed.get(winner)


def _next(world: World, baseline: Baseline, entries: Sequence[Entry], *, turn: int, steps: int) -> str:
    """`continue`, `decay` or `stop` after the latest of a candidate's entries; what is not to go on is said.

    Their training began after step `turn`, and its plan goes `steps` further.
    """
    alarm = entries[-1].alarm
    if alarm is not None and alarm.fires:
        world.report.say(f"pretrain: {alarm.decision.sentence} Training stops here.")
        return "stop"
    judge = baseline.bench.judge
    if judge is None:
        return "continue"
    schedule = Schedule.plan(steps, warmup=world.config.train.warmup, decay=world.config.train.decay)
    decision = decide.continue_training(
        scores(baseline, judge, entries),
        progress=[schedule.progress(entry.step - turn) for entry in entries],
        end=schedule.progress(steps),
        worth=world.config.smallest_gain * judge.measure.point,
        base=world.base_name if baseline.others else "the base model",
    )
    if decision.choice != "continue":
        world.report.say(f"pretrain: {decision.sentence}")
    return decision.choice


def _watched(world: World, baseline: Baseline, entries: Sequence[Entry], *, after: int) -> Entry:
    """The last of a candidate's entries, asked whether the candidate over-fits; two entries are too few to tell.

    `after` is the step after which their training began.
    """
    judge = baseline.bench.judge
    if judge is None or len(entries) < 3:
        return entries[-1]
    log = read_log(entries[-1].folder)
    begins = [after, *(entry.step for entry in entries[:-1])]
    losses = [
        [row["loss"] for row in log if begin < row["step"] <= entry.step]
        for begin, entry in zip(begins, entries, strict=True)
    ]
    held_out = [entry.measured.pretext.value for entry in entries if entry.measured.pretext is not None]
    alarm = decide.overfitting(
        scores(baseline, judge, entries),
        losses,
        held_out=held_out if len(held_out) == len(entries) else None,
        seed=world.config.seed,
    )
    return replace(entries[-1], alarm=alarm)
