"""Examples that belong together beyond near duplicates: those of one customer or conversation, by columns of the file.

    together({"text": "a", "label": "x", "customer": 17}, CurateConfig())           # ("customer: 17",)
    joined(clusters(texts, 0.8), [example.groups for example in examples])         # equal for what belongs together

What one customer writes is alike in more than its words. An interval that takes ten messages of one for ten independent
ones is too narrow, and a head that is tested on customers whom it knows looks better than it is on others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import printable
from shoptalk.curate.columns import column_named
from shoptalk.curate.rules import without_reserved
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop

AUTO = "auto"
CONVERSATION = "conversation"
KNOWN = ("group", "customer", CONVERSATION)
"""Columns that say so where the settings name none, each also with `_id` at its end."""
FEWEST = 10
"""Independent examples; where groups leave fewer, their column hardly says who wrote what."""


def group_columns(config: CurateConfig) -> list[str]:
    """The names that a column may have which says what belongs together."""
    if config.group_column != AUTO:
        return [config.group_column] if config.group_column else []
    taken = {name.casefold() for name in (config.text_column, config.label_column, f"{config.label_column}s")}
    return [name for known in KNOWN for name in (known, f"{known}_id") if name not in taken]


def together(row: Mapping[str, Any], config: CurateConfig) -> tuple[str, ...]:
    """What a row belongs to, a name for each column that says so and holds something.

    Raises:
        ValueError: a value is a list or an object.
    """
    groups = []
    for column in group_columns(config):
        value = row.get(column)
        if isinstance(value, list | dict):
            raise ValueError(f"the {column} is {type(value).__name__}; expected a string or a number")
        if value is not None and (name := printable(str(value)).strip()):
            groups.append(f"{column.casefold().removesuffix('_id')}: {name}")
    return tuple(dict.fromkeys(groups))


def joined(near: Int[np.ndarray, " N"], groups: Sequence[Sequence[str]]) -> Int[np.ndarray, " N"]:
    """One number for all examples that near duplicates and groups join, by whatever chain; numbered by their first.

    Args:
        near: the near-duplicate cluster of each example.
        groups: what each belongs to; an example without any is joined to none by that.
    """
    _, nodes = np.unique(near, return_inverse=True)
    n_near = int(nodes.max()) + 1 if len(nodes) else 0
    number = {name: n_near + i for i, name in enumerate(dict.fromkeys(name for names in groups for name in names))}
    edges = [(int(nodes[i]), number[name]) for i, names in enumerate(groups) for name in names]
    return chained(nodes, edges, size=n_near + len(number))


def chained(nodes: Int[np.ndarray, " N"], edges: Sequence[tuple[int, int]], *, size: int) -> Int[np.ndarray, " N"]:
    """One number for all of these nodes that edges join, by whatever chain; numbered by their first.

    The edges are of a graph of `size` nodes, of which these are some; a node may come several times.
    """
    left, right = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    _, component = connected_components(coo_array((np.ones(len(edges)), (left, right)), shape=(size, size)))
    first: dict[int, int] = {}
    return np.array([first.setdefault(c, len(first)) for c in component[nodes].tolist()], dtype=np.int64)


def independent_ones(
    texts_alike: Int[np.ndarray, " N"],
    groups: Sequence[Sequence[str]],
    name: str,
    say: Callable[[str], None],
) -> Int[np.ndarray, " N"]:
    """As `joined`, and what that does to the examples of a file is told.

    Raises:
        SourceError: groups leave hardly any independent examples where there were enough.
    """
    numbers = joined(texts_alike, groups)
    before, after = (len(np.unique(each)) for each in (texts_alike, numbers))
    if after == before:
        return numbers
    kinds = list(dict.fromkeys(group.partition(":")[0] for names in groups for group in names))
    by = " and ".join(kinds)
    if after < FEWEST <= before:
        raise SourceError(
            f"{name}: by {by}, the {len(numbers):,} examples are no more than {after} independent ones, and at least "
            f"{FEWEST} are needed ({before:,} differ in their texts). Expected a column that names the customer or the "
            "conversation of each row. Name the right one with --set curate.group_column=NAME, or none with "
            "--set 'curate.group_column=\"\"'."
        )
    say(
        f"{name}: by {by} and near duplicates, the {len(numbers):,} examples are {after:,} independent ones "
        f"({before:,} differ in their texts); what belongs together stays on one side of every split"
    )
    return numbers


def shared_groups(groups: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> list[str | None]:
    """Of each example, a group that it shares with any of the others; None where there is none."""
    theirs = {name for names in others for name in names}
    return [next((name for name in names if name in theirs), None) for names in groups]


def without_conversations(
    items: Iterable[Document | Drop], groups: Iterable[Sequence[str]]
) -> Iterator[Document | Drop]:
    """The items without the conversations from which labelled or test texts come, each of which becomes a drop.

    A conversation is known by its id, or by what a column `conversation` says of a document.
    """
    prefix = f"{CONVERSATION}: "
    names = {name.removeprefix(prefix) for some in groups for name in some if name.startswith(prefix)}

    def why(document: Document) -> str | None:
        name = _conversation(document, names)
        return (
            None if name is None else f"a labelled or test text is of the conversation {name!r}, which must stay unseen"
        )

    return without_reserved(items, why)


def _conversation(document: Document, names: set[str]) -> str | None:
    """The name, of those, by which a document is or belongs to a conversation."""
    if not names:
        return None
    columns = (column_named(name, document.metadata) for name in (CONVERSATION, f"{CONVERSATION}_id"))
    called = [str(document.metadata[column]).strip() for column in columns if column is not None]
    if document.turns:
        called += [document.id, document.id.partition("#")[2]]
    return next((name for name in called if name in names), None)
