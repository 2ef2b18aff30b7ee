"""Every task by name: the one literal dict. A task's file says what it asks."""

from collections.abc import Iterable

from shoptalk.config import did_you_mean
from shoptalk.errors import ConfigError
from shoptalk.tasks.answer import answer
from shoptalk.tasks.intent import intent
from shoptalk.tasks.judge import Ground, Judge, Task

TASKS: dict[str, Task] = {
    "intent": intent,
    "answer": answer,
}
_BY_PAIRS = frozenset({"answer"})


def make_judges(names: tuple[str, ...], ground: Ground) -> dict[str, Judge]:
    """The judges of those tasks that there is something to judge by, by the tasks' names, which are their keys.

    Raises:
        ConfigError: there is no such task.
        InputError: what a task would judge by cannot be used.
    """
    check_tasks(names)
    judges = {name: judge for name in names if (judge := TASKS[name](ground)) is not None}
    for name, judge in judges.items():
        if judge.key != name:
            raise ValueError(f"The task {name!r} made a judge of the key {judge.key!r}; give it the task's name.")
    return judges


def check_tasks(names: tuple[str, ...]) -> None:
    """Refuse names of no task, before anything is read or measured.

    Raises:
        ConfigError: there is no such task.
    """
    for name in names:
        if name not in TASKS:
            raise ConfigError(f"No task {name!r}. {did_you_mean(name, TASKS)}")


def judged_by_pairs(names: Iterable[str]) -> bool:
    """Whether one of these tasks is judged by questions and what answers them, given or mined from conversations."""
    return not _BY_PAIRS.isdisjoint(names)
