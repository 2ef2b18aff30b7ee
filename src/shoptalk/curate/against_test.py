"""A labels file beside its test file: the same labels, and different texts.

    for sentence in labels_unknown(tests, known, test_name="test.csv", labels_name="intents.csv", instead="..."):
        say(sentence)

A test whose labels no head has learned, and a test that repeats what heads learned from, both give a number that looks
like an answer: near 0 and near 100.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, sample
from shoptalk.curate.dedup import matches
from shoptalk.curate.groups import shared_groups
from shoptalk.curate.picture_labels import pictures_matching
from shoptalk.errors import SourceError
from shoptalk.records import Drop, Example, LabelSet, Picture

SHOWN = 3
"""Labels in a sentence."""
COUNTED_WRONG = "no head can answer with them, so these texts count as wrong"
LEFT_OUT = "no head can answer with them, so these texts are not asked"


def labels_unknown(
    tests: Sequence[Example], known: Collection[str], *, test_name: str, labels_name: str, instead: str
) -> list[str]:
    """What to tell of test labels that are not among the known ones; nothing where all are.

    Args:
        tests: of the test file.
        known: the labels that heads learn, and those that count as right without having been learned.
        test_name: the test file's name, for messages.
        labels_name: the labels file's name, for messages.
        instead: what becomes of such texts: `COUNTED_WRONG` or `LEFT_OUT`.

    Raises:
        SourceError: not one test has a known label.
    """
    counts = Counter(example.label for example in tests)
    unknown = {label: count for label, count in counts.most_common() if label not in known}
    if not unknown:
        return []
    if len(unknown) == len(counts):
        raise SourceError(
            f"{test_name} has labels such as {_some(list(counts))}, and none of them is in {labels_name}, which has "
            f"{_some(sorted(known))}. Expected a test with the labels of {labels_name}; give one, or correct the names."
        )
    return [
        f"{test_name}: {sum(unknown.values()):,} of {len(tests):,} texts have labels that {labels_name} does not have "
        f"({_some(list(unknown))}); {instead}"
    ]


def texts_shared(
    tests: Sequence[Example] | Sequence[LabelSet],
    examples: Sequence[Example] | Sequence[LabelSet],
    config: CurateConfig,
    *,
    test_name: str,
    labels_name: str,
) -> list[str]:
    """What to tell of test texts or pictures that heads learn from, exactly or nearly; nothing where there are none."""
    shared = int(_alike(tests, examples, config).sum())
    if not shared:
        return []
    what, unseen = ("texts", "messages") if all(_shown(test) is None for test in tests) else ("pictures", "pictures")
    return [
        f"{test_name}: {shared:,} of {len(tests):,} {what} stand in {labels_name} too, or nearly so, and a head has "
        f"seen the answer; on unseen {unseen} it is right less often. Take these {what} out of one of the files"
    ]


def without_tests(
    examples: Sequence[Example], tests: Sequence[Example], config: CurateConfig
) -> tuple[list[Example], list[Drop]]:
    """The labelled examples that are no near duplicates of a test and of no group that has one, which would make the
    test easier than life; and the others.
    """
    if not examples or not tests:
        return list(examples), []
    leaks = _alike(examples, tests, config)
    shared = shared_groups([example.groups for example in examples], [example.groups for example in tests])
    kept, dropped = [], []
    for example, leak, group in zip(examples, leaks, shared, strict=True):
        if not leak and group is None:
            kept.append(example)
            continue
        detail = "" if leak else f"the test has examples of the same {group}"
        source = example.id.rsplit("#", 1)[0]
        dropped.append(
            Drop(id=example.id, source=source, reason="in-test-cluster", detail=detail, sample=sample(example.text))
        )
    return kept, dropped


def _alike(
    some: Sequence[Example] | Sequence[LabelSet], others: Sequence[Example] | Sequence[LabelSet], config: CurateConfig
) -> Bool[np.ndarray, " N"]:
    """Which of some are near duplicates of one of the others. A text and a picture never are."""
    is_text = np.array([_shown(example) is None for example in some], dtype=bool)
    alike = np.zeros(len(some), dtype=bool)
    alike[is_text] = matches(
        [example.text for example in some if _shown(example) is None],
        [example.text for example in others if _shown(example) is None],
        config.near_duplicate,
    )
    alike[~is_text] = pictures_matching(
        [picture for example in some if (picture := _shown(example)) is not None],
        [picture for example in others if (picture := _shown(example)) is not None],
        config,
    )
    return alike


def _shown(example: Example | LabelSet) -> Picture | None:
    """The picture of an example that is one; texts of several labels never are."""
    return example.picture if isinstance(example, Example) else None


def labels_left(examples: Sequence[Example], kept: Sequence[Example], *, test_name: str, labels_name: str) -> list[str]:
    """What to tell of the labelled examples that `without_tests` has not kept; nothing where it kept all.

    Raises:
        SourceError: fewer than two labels are left.
    """
    if len(kept) == len(examples):
        return []
    what = (
        f"{labels_name}: {len(examples) - len(kept):,} of {len(examples):,} labelled texts stand in {test_name} too, "
        f"or nearly so{_or_their_group(examples)}, and are left out of the labels"
    )
    left = {example.label for example in kept}
    if len(left) < 2:
        raise SourceError(
            f"{what}. What is left has {'one label' if left else 'no label'}, and telling labels apart needs at least "
            f"two. Take the texts of {test_name} out of {labels_name}, give a test of other texts, or leave it out."
        )
    sentence = f"{what}; {len(kept):,} are left"
    if gone := sorted({example.label for example in examples} - left):
        sentence += f", and none of {_some(gone)}"
    return [sentence]


def _or_their_group(examples: Sequence[Example]) -> str:
    """Why else an example is left out, where examples have groups."""
    return ", or share a group with a text there" if any(example.groups for example in examples) else ""


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(repr(printable(name)) for name in names[:SHOWN])
    return listed + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
