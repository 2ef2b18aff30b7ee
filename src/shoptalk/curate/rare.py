"""Labels that are too rare to be measured: fewer than two independent examples.

    kept, drops, sentences = without_rare(examples, "intents.csv", CurateConfig(), measuring=True)

One example is needed to learn from and one to test on, and near duplicates count as one. Where gains are measured such
labels are left out by default; a head that is only fitted learns them. With `curate.rare_labels = "refuse"` whatever
needs two of each refuses the file with their names, and with "drop" they are always left out.
"""

from collections.abc import Sequence

import numpy as np

from shoptalk import decide
from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable, sample
from shoptalk.errors import SourceError
from shoptalk.records import Drop, Example

RARE = "rare-label"
FEWEST = 2
"""Independent examples of a label."""
SHOWN = 3
"""Labels in a sentence."""


def without_rare(
    examples: Sequence[Example], name: str, config: CurateConfig, *, measuring: bool
) -> tuple[list[Example], list[Drop], list[str]]:
    """The examples, those of rare labels that are left out, and what to tell people.

    Args:
        examples: of the labels file, never of a test file: what a head has learned is asked of one example too.
        name: of the file, for messages.
        config: `rare_labels`.
        measuring: whether gains will be measured by them.

    Raises:
        SourceError: the settings leave rare labels out, and fewer than two labels remain.
    """
    dropping = config.rare_labels == "drop" or (measuring and config.rare_labels == "auto")
    if not dropping or not examples:
        return list(examples), [], []
    labels = [example.label for example in examples]
    counts = decide.independent(labels, np.array([example.cluster for example in examples]))
    rare = {label: count for label, count in counts.items() if count < FEWEST}
    if not rare:
        return list(examples), [], []
    drops = [_drop(example) for example in examples if example.label in rare]
    listed = ", ".join(repr(printable(label)) for label in list(rare)[:SHOWN])
    more = f" and {len(rare) - SHOWN:,} more" if len(rare) > SHOWN else ""
    has = "1 label has" if len(rare) == 1 else f"{len(rare):,} labels have"
    rows = "1 row is" if len(drops) == 1 else f"{len(drops):,} rows are"
    sentence = (
        f"{name}: {has} fewer than {FEWEST} independent examples ({listed}{more}), so {rows} left out: one is needed "
        "to learn from and one to test on"
    )
    if len(counts) - len(rare) < FEWEST:
        raise SourceError(
            f"{sentence}. {'One label is' if len(rare) < len(counts) else 'No label is'} left, and telling labels "
            "apart needs at least two. Add examples, or merge labels."
        )
    return [example for example in examples if example.label not in rare], drops, [sentence]


def _drop(example: Example) -> Drop:
    return Drop(
        id=example.id,
        source=example.id.rsplit("#", 1)[0],
        reason=RARE,
        detail=printable(f"{example.label!r} has fewer than {FEWEST} independent examples"),
        sample=sample(example.text),
    )
