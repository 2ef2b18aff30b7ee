"""What `verdict.json` says of a decision, as keys and as sentences, by what was measured and decided."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoptalk import decide
from shoptalk.evaluate import labelfree
from shoptalk.evaluate.base_choice import bases_sentence
from shoptalk.evaluate.climb import ladder_facts
from shoptalk.objectives.recipe import replay_sentence
from shoptalk.tasks import needs_of, unjudged
from shoptalk.tasks.judge import Judge


def judged_facts(
    judge: Judge, estimate: decide.Estimate, ruling: decide.Ruling, ladder: decide.Ladder, *, candidate: str | None
) -> dict[str, Any]:
    """The keys that say what was decided, and by what numbers; `candidate` is what the best challenger was trained
    with, None where nothing was trained.
    """
    return {
        "choice": ruling.decision.choice,
        "objective": candidate,
        "entry": ruling.entry,
        "task": judge.key,
        "metric": judge.measure.name,
        "measure": judge.measure.told(),
        "base": ruling.base,
        "adapted": ruling.adapted,
        "gain": ruling.gain,
        "interval": None if ruling.interval is None else list(ruling.interval),
        "confidence": decide.CONFIDENCE,
        "n_examples": estimate.n_examples,
        "n_draws": estimate.n_draws,
        "shots": None,  # heads learn from all labels but those that a draw tests
        "labels_needed": ruling.labels_needed,
        "rule": ruling.decision.rule,
        **ladder_facts(ladder),
        "on_test": judge.test is not None and candidate is not None,
    }


def judged_sentence(
    judge: Judge,
    ruling: decide.Ruling,
    ladder: decide.Ladder,
    *,
    base: str,
    candidate: str | None,
    trained: Iterable[str],
    guarded: bool,
    bases: Sequence[dict[str, Any]],
    others: Iterable[Mapping[str, Any]],
) -> str:
    """What people read first.

    Args:
        judge: of the task that must gain.
        ruling: what was decided.
        ladder: what each step brought.
        base: the best of the bases, by name.
        candidate: what the best challenger was trained with, None where nothing was trained.
        trained: what all entries were trained with.
        guarded: whether the best challenger is outside its guards.
        bases: `base_rows`; empty of one base alone.
        others: rows of what was measured beside the task, each with its sentence.
    """
    on_test, adopted = judge.test is not None and candidate is not None, ruling.decision.choice == "adopt"
    sentences = [
        decide.brought(ladder, ruling, candidate=candidate, guarded=guarded, on_test=on_test, base=base),
        ruling.conclusion,
        bases_sentence(bases, judge, adopted=adopted).strip() if bases else "",
        replay_sentence(trained, candidate),
        *(row["sentence"] for row in others),
        judge.remark,
    ]
    return " ".join(filter(None, sentences))


def unjudged_facts(
    task: str,
    candidates: Sequence[str],
    *,
    candidate: str | None,
    entry: str | None,
    ranking: Sequence[str],
    known: bool,
    finding: str,
) -> dict[str, Any]:
    """The same keys where nothing judges `task`: always inconclusive. `candidates` were named, `candidate` is that of
    the best entry, None where nothing was trained; `known` is whether label-free scores rank what was trained, and
    `finding` what is said of the best of it.
    """
    numbers = ("base", "adapted", "gain", "interval", "confidence", "shots")
    return {
        "choice": "inconclusive",
        "objective": candidate,
        "entry": entry,
        "task": task,
        "metric": labelfree.NAME if known else None,
        "ranking": list(ranking),
        **dict.fromkeys(numbers),
        "n_examples": 0,
        "n_draws": 0,
        "labels_needed": needs_of(task).labels,
        "sentence": unjudged(task, candidates, finding, trained=candidate is not None),
        "rule": "nothing to judge by, no verdict (DESIGN, section 1)",
    }
