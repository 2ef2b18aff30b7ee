"""How to reproduce the run, and what to try next."""

from shoptalk.report.figures import Fact, fig, keyed, told
from shoptalk.report.markup import Child, Html, definitions, disclosure, el, join, note, table
from shoptalk.report.sentences import REPLACES
from shoptalk.report.wording import words


def again(facts: Fact) -> Html:
    """The command, the seed, the machine, the versions."""
    found = facts.reproduce
    pairs: list[tuple[Child, Child]] = [("Seed", told(found.seed))]
    pairs += [(keyed(item), told(item)) for _, item in found.hardware.items()]
    versions: list[list[Child]] = [[keyed(version), told(version)] for _, version in found.versions.items()]
    return join(
        _command(found.command) if found.command else None,
        definitions(pairs),
        disclosure("Versions", table("Versions", ["Package", "Version"], versions)) if versions else None,
    )


def next_steps(facts: Fact) -> Html | None:
    """What to try, each with the command for it."""
    steps = facts.next
    if not steps:
        return None
    items = (el("li", told(step.say), _command(step.command) if step.command else None) for step in steps)
    replaces = any("--force" in str(step.command.value).split() for step in steps if step.command)
    return join(el("ol", *items, class_="steps"), note(REPLACES) if replaces else None)


def _command(command: Fact) -> Html:
    return el("pre", fig(words, command, tag="code"))
