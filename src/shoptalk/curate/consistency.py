"""Labels that people typed: one label in several spellings, and equal texts with different labels.

    names, sentences = one_spelling(["Refund", "refund", "refund ", "delay"], "intents.csv", CurateConfig())
    kept, drops, sentences = without_conflicts(examples, "intents.csv", CurateConfig())

Both are told with examples, whatever is done about them, and both can be refused (`curate.label_spelling`,
`curate.label_conflicts`).

Spellings are merged by default: nobody means `Refund` and `REFUND` to be two intents, and as two they halve the
examples of each and make half of the right answers count as wrong. The most frequent spelling stands for all.

Contradictions are left out by default, every row of such a text: no head can be right about it, nothing in the file
says which label was meant, and in a test file it makes the best possible score less than 100. A person who corrects the
rows gets them back; a guess would have hidden the mistake. Where a text may have any number of labels, two rows are no
contradiction: their labels are added up.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, sample
from shoptalk.curate.picture_looks import look_of
from shoptalk.errors import SourceError
from shoptalk.records import Drop, Example

CONTRADICTION = "contradiction"
SHOWN = 3
"""Examples in a sentence."""
_AROUND = re.compile(r"^(?:[\s_\"'“”‘’«»`]|-(?=\D))+|[\s_\-\"'“”‘’«»`.,;:!?]+$")
_BETWEEN = re.compile(r"(?<=[^\W_])[\s_\-./'’]+(?=[^\W_])")


def spelling(label: str) -> str:
    """What is left of a label without case, spaces and punctuation: equal for `Card arrival` and `card_arrival`.

    Signs that tell labels apart stay: `c++` and `c#`, `-1` and `1`, `1.5` and `15`, `:)` and `:(`.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold()).strip()
    bare = _BETWEEN.sub(_joint, _AROUND.sub("", folded))
    return bare if any(character.isalnum() for character in bare) else folded


def _joint(match: re.Match[str]) -> str:
    """What stays of a separator: that between two digits, and the sign of a number."""
    left, right, between = match.string[match.start() - 1], match.string[match.end()], match[0]
    if right.isdigit() and (left.isdigit() or re.search(r"[\s_]-$", between)):
        return between
    return ""


def one_spelling(
    labels: Iterable[str], name: str, config: CurateConfig, *, like: Iterable[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """The label that each spelling stands for, and what to tell people.

    Args:
        labels: every row's, in file order.
        name: of the file, for messages.
        config: `label_spelling`.
        like: labels that are known already, those of the training file where this is a test file: theirs is the
            spelling.

    Raises:
        SourceError: there are several spellings of one label, and the settings refuse that.
    """
    counts = Counter(labels)
    known = _only_spelling(like)
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(spelling(label), []).append(label)
    names, several = dict[str, str](), list[str]()
    for key, spellings in groups.items():
        # `max` takes the first of equally frequent ones.
        chosen = known.get(key, max(spellings, key=lambda label: counts[label]))
        others = [label for label in spellings if label != chosen]
        names |= {label: chosen if config.label_spelling == "merge" else label for label in spellings}
        if others:
            several.append(f"{chosen!r}{_rows(counts[chosen])} also as {_counts(others, counts)}")
    if not several:
        return names, []
    what = f"{name}: {_number(len(several), 'label')} spelled in several ways"
    if config.label_spelling == "refuse":
        raise SourceError(
            f"{what}, which curate.label_spelling = 'refuse' forbids: {_some(several)}. Correct the file, or merge "
            "them with --set curate.label_spelling=merge."
        )
    if config.label_spelling == "keep":
        return names, [f"{what}, kept apart as curate.label_spelling = 'keep' asks for: {_some(several)}"]
    advice = "--set curate.label_spelling=keep keeps them apart"
    whose = "as the labels file has it" if known else "by its most frequent spelling"
    return names, [f"{what}, now one each, {whose}: {_some(several)} ({advice})"]


def without_conflicts(
    examples: Sequence[Example], name: str, config: CurateConfig
) -> tuple[list[Example], list[Drop], list[str]]:
    """The examples, those of contradictory texts that are left out, and what to tell people.

    Texts count as equal here where they differ in case and spaces only, pictures where their pixels are equal.

    Raises:
        SourceError: texts contradict each other, and the settings refuse that.
    """
    rows: dict[str, list[Example]] = {}
    for example in examples:
        text = " ".join(example.text.casefold().split())
        which = text if example.picture is None else look_of(example.picture).pixels.hex()
        rows.setdefault(which, []).append(example)
    conflicts = {text: same for text, same in rows.items() if len({example.label for example in same}) > 1}
    if not conflicts:
        return list(examples), [], []
    shown = [f"“{sample(same[0].text)}” is {_labels_of(same)}" for same in conflicts.values()]
    of = "text" if examples[0].picture is None else "picture"
    what = f"{name}: {_number(len(conflicts), of)} labelled in several ways"
    if config.label_conflicts == "refuse":
        raise SourceError(
            f"{what}, which curate.label_conflicts = 'refuse' forbids: {_some(shown)}. Correct the file, or leave such "
            f"{of}s out with --set curate.label_conflicts=drop."
        )
    if config.label_conflicts == "keep":
        kept = f"{what}, kept as curate.label_conflicts = 'keep' asks for: {_some(shown)}"
        return list(examples), [], [kept]
    drops = [drop for same in conflicts.values() for drop in _contradictions(same)]
    gone = {drop.id for drop in drops}
    remaining = [example for example in examples if example.id not in gone]
    sentence = f"{what}, so {len(drops):,} rows are left out: {_some(shown)}"
    if lost := sorted({example.label for example in examples} - {example.label for example in remaining}):
        listed = ", ".join(map(repr, lost[:SHOWN])) + (", ..." if len(lost) > SHOWN else "")
        sentence += f"; no {of} is left of {listed}"
    advice = "--set curate.label_conflicts=keep keeps them"
    return remaining, drops, [f"{sentence} (correct them, or {advice})"]


def sets_added_up(rows: Mapping[str, int], name: str, config: CurateConfig) -> list[str]:
    """What to tell of texts with any number of labels that stand in several rows with different ones, by their number
    of rows.

    Raises:
        SourceError: there are such texts, and the settings refuse that.
    """
    if not rows:
        return []
    what = f"{name}: {_number(len(rows), 'text')} given in several rows with different labels"
    shown = _some([f"“{sample(text)}” ({number} rows)" for text, number in rows.items()])
    if config.label_conflicts == "refuse":
        raise SourceError(
            f"{what}, which curate.label_conflicts = 'refuse' forbids: {shown}. Give one row a text, or add the labels "
            "up with --set curate.label_conflicts=keep."
        )
    return [f"{what}, which were added up: {shown}"]


def _contradictions(same: Sequence[Example]) -> list[Drop]:
    drops = []
    for example in same:
        other = next(other for other in same if other.label != example.label)
        drops.append(
            Drop(
                id=example.id,
                source=example.id.rsplit("#", 1)[0],
                reason=CONTRADICTION,
                detail=printable(f"labelled {example.label!r} here and {other.label!r} in {other.id}"),
                sample=sample(example.text),
            )
        )
    return drops


def _only_spelling(labels: Iterable[str]) -> dict[str, str]:
    """The label of each spelling that only one label has."""
    spellings: dict[str, set[str]] = {}
    for label in labels:
        spellings.setdefault(spelling(label), set()).add(label)
    return {key: next(iter(same)) for key, same in spellings.items() if len(same) == 1}


def _counts(labels: Sequence[str], counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{label!r} ({counts[label]:,})" for label in labels[:SHOWN])
    return listed + (", ..." if len(labels) > SHOWN else "")


def _rows(count: int) -> str:
    """In brackets, where a file has any."""
    return f" ({count:,} rows)" if count else ""


def _labels_of(same: Sequence[Example]) -> str:
    """Such as "'delay' (line 2) and 'refund' (line 7)": each label once, as many as are shown."""
    first: dict[str, Example] = {}
    for example in same:
        first.setdefault(example.label, example)
    listed = [f"{label!r} (line {example.id.rsplit('#', 1)[1]})" for label, example in first.items()]
    return " and ".join(listed[:SHOWN])


def _number(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def _some(parts: Sequence[str]) -> str:
    return "; ".join(parts[:SHOWN]) + (f"; and {len(parts) - SHOWN:,} more" if len(parts) > SHOWN else "")
