"""Examples of one customer or conversation belong together, as near duplicates do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk import decide
from shoptalk.config import CurateConfig
from shoptalk.curate.against_test import without_tests
from shoptalk.curate.groups import joined, together, without_conversations
from shoptalk.curate.labels import read_label_sets, read_labels
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop, Example, Metadata, Turn

GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon"
WORDS = GREEK.split()


def rows_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def messages(n: int, **columns: Any) -> list[dict[str, Any]]:
    """Texts that are not alike, each with a column's value by its place."""
    return [
        {"text": f"{WORDS[i % 20]} {WORDS[i // 20]} {WORDS[(7 * i + 3) % 20]}", "label": "ab"[i % 2]}
        | {name: value(i) for name, value in columns.items()}
        for i in range(n)
    ]


def chained(near: list[int], groups: list[list[str]]) -> list[set[int]]:
    """The components written as the definition has them: what shares a number or a name, until nothing changes."""
    parts = [{i} for i in range(len(near))]
    changed = True
    while changed:
        changed = False
        for a in list(parts):
            for b in list(parts):
                if a is b or a not in parts or b not in parts:
                    continue
                if any(near[i] == near[j] or set(groups[i]) & set(groups[j]) for i in a for j in b):
                    parts.remove(b)
                    a.update(b)
                    changed = True
    return parts


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.lists(st.sampled_from(["u", "v", "w", "x", "y"]), max_size=2)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(),
)
def test_what_belongs_together_is_what_both_relations_chain_in_any_order(rows: list[Any], random: Any) -> None:
    near, groups = [row[0] for row in rows], [row[1] for row in rows]
    numbers = joined(np.array(near), groups)
    for part in chained(near, groups):
        assert len({int(numbers[i]) for i in part}) == 1
    assert len(np.unique(numbers)) == len(chained(near, groups))
    assert numbers[0] == 0 and set(np.diff(np.unique(numbers)).tolist()) <= {1}

    order = list(range(len(rows)))
    random.shuffle(order)
    again = joined(np.array([near[i] for i in order]), [groups[i] for i in order])
    same = {(i, j) for i in order for j in order if numbers[i] == numbers[j]}
    assert same == {(order[a], order[b]) for a in range(len(order)) for b in range(len(order)) if again[a] == again[b]}


def test_no_examples_have_no_clusters() -> None:
    assert joined(np.zeros(0, dtype=np.int64), []).tolist() == []


@pytest.mark.parametrize("column", ["group", "customer", "conversation", "Customer", "customer_id"])
def test_rows_of_one_customer_share_a_cluster_and_it_is_told(tmp_path: Path, column: str) -> None:
    path = rows_file(tmp_path / "labels.jsonl", messages(40, **{column: lambda i: f"c{i // 2}"}))
    said: list[str] = []
    examples, _ = read_labels(path, CurateConfig(), say=said.append)
    assert [example.cluster for example in examples] == [i // 2 for i in range(40)]
    name = column.lower().removesuffix("_id")
    assert said == [
        f"labels.jsonl: by {name} and near duplicates, the 40 examples are 20 independent ones (40 differ in their "
        "texts); what belongs together stays on one side of every split"
    ]


def test_rows_without_a_customer_stand_alone(tmp_path: Path) -> None:
    values: list[Any] = ["", None, "  ", 17, 17, "17"] + [f"c{i}" for i in range(20)]
    path = rows_file(tmp_path / "labels.jsonl", messages(26, customer=lambda i: values[i]))
    examples, _ = read_labels(path, CurateConfig())
    assert [example.cluster for example in examples][:6] == [0, 1, 2, 3, 3, 3]
    assert len({example.cluster for example in examples}) == 24


def test_a_csv_has_groups_too_and_several_labels_a_text(tmp_path: Path) -> None:
    rows = messages(24)
    path = tmp_path / "labels.csv"
    body = "".join(f"{row['text']},{row['label']},c{i // 2}\n" for i, row in enumerate(rows))
    path.write_text("text,label,Conversation_ID\n" + body, encoding="utf-8")
    assert [example.cluster for example in read_labels(path, CurateConfig())[0]] == [i // 2 for i in range(24)]
    assert [item.cluster for item in read_label_sets(path, CurateConfig())[0]] == [i // 2 for i in range(24)]


def test_a_customer_and_a_conversation_both_join(tmp_path: Path) -> None:
    columns = {"customer": lambda i: f"c{i // 2}", "conversation": lambda i: "one" if i in (0, 2) else ""}
    examples, _ = read_labels(rows_file(tmp_path / "labels.jsonl", messages(40, **columns)), CurateConfig())
    assert [example.cluster for example in examples][:6] == [0, 0, 0, 0, 1, 1]


def test_a_repeated_row_joins_the_customers_who_wrote_it(tmp_path: Path) -> None:
    rows = messages(40, customer=lambda i: f"c{i // 2}")
    rows.append(rows[0] | {"customer": "c7"})
    for read in (read_labels, read_label_sets):
        examples, drops = read(rows_file(tmp_path / "labels.jsonl", rows), CurateConfig())
        assert examples[0].cluster == examples[14].cluster == examples[15].cluster
        assert [drop.reason for drop in drops] == ["duplicate"]


def test_the_column_may_be_named_or_left_unread(tmp_path: Path) -> None:
    columns = {"ticket": lambda i: i // 4, "customer": lambda i: i // 2}
    path = rows_file(tmp_path / "labels.jsonl", messages(48, **columns))
    by_ticket, _ = read_labels(path, CurateConfig(group_column="ticket"))
    assert [example.cluster for example in by_ticket] == [i // 4 for i in range(48)]
    unread, _ = read_labels(path, CurateConfig(group_column=""))
    assert len({example.cluster for example in unread}) == 48
    assert not any(example.groups for example in unread)


def test_a_column_of_labels_that_is_called_group_is_no_column_of_groups(tmp_path: Path) -> None:
    rows = [{"text": row["text"], "group": row["label"]} for row in messages(30)]
    examples, _ = read_labels(rows_file(tmp_path / "labels.jsonl", rows), CurateConfig(label_column="group"))
    assert len({example.cluster for example in examples}) == 30


def test_a_named_column_that_labels_lack_is_refused_and_of_a_test_told(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "labels.jsonl", messages(30, customer=lambda i: i))
    config = CurateConfig(group_column="ticket")
    with pytest.raises(SourceError, match=r"no column 'ticket'.*--set curate.group_column=NAME"):
        read_labels(path, config)
    said: list[str] = []
    read_labels(path, config, like=["a", "b"], say=said.append)
    assert said == [
        "labels.jsonl has no column 'ticket' (curate.group_column); near duplicates alone count as belonging together "
        "there"
    ]


def test_a_column_that_joins_nearly_everything_is_refused_with_its_number(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "labels.jsonl", messages(60, group=lambda i: i % 3))
    with pytest.raises(
        SourceError, match=r"by group, the 60 examples are no more than 3 independent ones.*at least 10"
    ):
        read_labels(path, CurateConfig())


def test_few_examples_are_not_blamed_on_their_column(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "labels.jsonl", messages(6, customer=lambda i: i // 2))
    assert len({example.cluster for example in read_labels(path, CurateConfig())[0]}) == 3


def test_a_row_whose_customer_is_a_list_is_left_out_and_says_so(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "labels.jsonl", messages(30, customer=lambda i: [1, 2] if i == 4 else i))
    examples, drops = read_labels(path, CurateConfig())
    assert len(examples) == 29
    assert [(drop.id, drop.reason) for drop in drops] == [("labels.jsonl#5", "wrong-type")]
    assert drops[0].detail == "the customer is list; expected a string or a number"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 25)), min_size=60, max_size=120), st.integers(0, 99))
def test_a_split_never_has_one_group_on_both_sides(rows: list[tuple[str, int]], seed: int) -> None:
    labels = [label for label, _ in rows]
    groups = [together({"customer": customer}, CurateConfig()) for _, customer in rows]
    numbers = joined(np.arange(len(rows)), groups)
    if min(decide.independent(labels, numbers).values()) < 2:
        return
    for tested in decide.splits(np.array(labels), numbers, n_draws=10, seed=seed):
        sides = [{groups[i] for i in np.flatnonzero(side)} for side in (tested, ~tested)]
        assert not sides[0] & sides[1]
        assert {labels[i] for i in np.flatnonzero(~tested)} == set(labels)


def test_labels_that_share_a_customer_with_the_test_are_left_out_with_that_reason() -> None:
    def example(text: str, *groups: str) -> Example:
        return Example(id=f"x#{len(text)}", text=text, label="a", groups=groups)

    labels = [example("one thing", "customer: 1"), example("another thing here", "customer: 2"), example("third")]
    kept, drops = without_tests(labels, [example("unlike all the others", "customer: 2")], CurateConfig())
    assert kept == [labels[0], labels[2]]
    assert [(drop.reason, drop.detail) for drop in drops] == [
        ("in-test-cluster", "the test has examples of the same customer: 2")
    ]


def test_conversations_that_labelled_texts_come_from_stay_unseen() -> None:
    turns = (Turn(role="user", text="a question"), Turn(role="agent", text="an answer"))
    by_id = Document(id="chats.jsonl#c17", source="chats.jsonl", turns=turns)
    other = Document(id="chats.jsonl#c18", source="chats.jsonl", turns=turns)
    column = Metadata({"Conversation": "c17"})
    by_column = Document(id="mails.csv#4", source="mails.csv", text="a mail", metadata=column)
    text = Document(id="notes.txt#c17", source="notes.txt", text="no conversation")
    items = list(without_conversations([by_id, other, by_column, text], [("conversation: c17", "customer: c18")]))
    assert [item.id for item in items if isinstance(item, Document)] == [other.id, text.id]
    drops = [item for item in items if isinstance(item, Drop)]
    assert [(drop.id, drop.reason) for drop in drops] == [
        (by_id.id, "in-labelled-cluster"),
        (by_column.id, "in-labelled-cluster"),
    ]
    assert "the conversation 'c17'" in drops[0].detail
