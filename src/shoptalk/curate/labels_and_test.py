"""The labelled examples and the test of a run, read together: neither holds what the other is measured on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoptalk.config import CurateConfig
from shoptalk.curate.against_test import LEFT_OUT, labels_left, labels_unknown, without_tests
from shoptalk.curate.clean import printable
from shoptalk.curate.consistency import CONTRADICTION
from shoptalk.curate.labels import read_labels
from shoptalk.curate.rare import without_rare
from shoptalk.curate.sources import rows_left_out
from shoptalk.records import Drop, Example


@dataclass(frozen=True)
class LabelsAndTest:
    """What the labels and the test hold, and what was left out of both."""

    examples: Sequence[Example]
    tests: Sequence[Example]
    drops: Sequence[Drop]


def read_labels_and_test(
    labels: Path | None,
    test: Path | None,
    config: CurateConfig,
    say: Callable[[str], None],
    *,
    tell_pair: bool,
    pictures: bool,
) -> LabelsAndTest:
    """Both files; with `tell_pair`, also whether they fit together: else the caller has told that in its own words.

    Raises:
        SourceError: a file cannot be used.
    """
    examples, label_drops = read_labels(labels, config, say=say, pictures=pictures) if labels else ([], [])
    known = {example.label for example in examples}
    tests, test_drops = read_labels(test, config, like=known, say=say, pictures=pictures) if test else ([], [])
    for path, drops in ((labels, label_drops), (test, test_drops)):
        # What repeats or contradicts another row is told by what reads them.
        if path is not None and (
            unusable := [drop for drop in drops if drop.reason not in ("duplicate", CONTRADICTION)]
        ):
            say(rows_left_out(printable(path.name), unusable))
    kept, leaks = without_tests(examples, tests, config)
    frequent, rare, sentences = without_rare(kept, printable(labels.name) if labels else "", config, measuring=True)
    if labels and test and tell_pair:
        names = {"test_name": printable(test.name), "labels_name": printable(labels.name)}
        known -= {example.label for example in kept} - {example.label for example in frequent}
        unknown = labels_unknown(tests, known, **names, instead=LEFT_OUT)
        sentences = [*unknown, *labels_left(examples, kept, **names), *sentences]
    for sentence in sentences if tell_pair else ():
        say(sentence)
    return LabelsAndTest(frequent, tests, [*label_drops, *test_drops, *leaks, *rare])
