from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.curate import seen
from shoptalk.curate.seen import Table, names


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 2**32 - 1)), max_size=3_000))
@settings(deadline=None, max_examples=25)
def test_a_table_remembers_what_a_dictionary_would(pairs: list[tuple[int, int]]) -> None:
    table, expected = Table(), {}
    for key, number in pairs:
        text = b"%d" % key
        assert table.get(text) == expected.get(text, 0)
        table.set(text, number)
        expected[text] = number
    assert len(table) == len(expected)
    assert all(table.get(text) == number for text, number in expected.items())


def test_a_table_takes_at_most_30_bytes_a_text() -> None:
    table = Table()
    for number in range(1, 20_001):
        table.set(b"%d" % number, number)
        if number > 1_000:
            held = sum(part.itemsize * len(part) for part in (table._keys, table._numbers))
            assert 14.9 * number <= held <= 30 * number
    assert seen._FULLEST == 0.8


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=30))
@settings(deadline=None, max_examples=40)
def test_names_come_back_by_their_numbers(texts: list[str]) -> None:
    with names() as kept:
        numbers = [kept.add(text) for text in texts]
        assert 0 not in numbers and len(set(numbers)) == len(texts)
        assert [kept[number] for number in reversed(numbers)] == texts[::-1]
        assert kept[kept.add("one more")] == "one more"
