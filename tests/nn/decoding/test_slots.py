"""Which slot a prompt gets, and what it finds there of its own beginning."""

from shoptalk.nn.decoding.slots import Place, SlotTable


def written(table: SlotTable, ids: list[int]) -> Place:
    place = table.take(ids)
    table.note(place.slot, ids, len(ids))
    table.leave(place.slot)
    return place


def test_a_conversation_goes_on_in_its_own_slot() -> None:
    table = SlotTable(3)
    first = written(table, [1, 2, 3, 4])
    assert first.reused == 0
    written(table, [9, 9, 9, 9])
    assert written(table, [1, 2, 3, 4, 5, 6]) == (first.slot, first.slot, 4)


def test_the_last_token_of_a_prompt_is_always_read() -> None:
    table = SlotTable(1)
    written(table, [1, 2, 3])
    assert written(table, [1, 2, 3]).reused == 2
    assert written(table, [1]).reused == 0


def test_a_prompt_that_begins_alike_copies_and_leaves_the_other_its_states() -> None:
    table = SlotTable(2)
    first = written(table, [1, 2, 3, 4, 5, 6, 7, 8])
    second = written(table, [1, 2, 3, 0, 0])
    assert (second.source, second.reused) == (first.slot, 3) and second.slot != first.slot
    assert written(table, [1, 2, 3, 4, 5, 6, 7, 8, 9]).reused == 8


def test_a_slot_in_use_lends_its_beginning_and_is_not_given_away() -> None:
    table = SlotTable(2)
    held = table.take([1, 2, 3, 4])
    table.note(held.slot, [1, 2, 3, 4], 4)
    assert table.free
    other = table.take([1, 2, 3, 4, 5])
    assert (other.source, other.reused) == (held.slot, 4) and other.slot != held.slot
    assert not table.free


def test_the_slot_that_was_taken_longest_ago_is_given_first() -> None:
    table = SlotTable(3)
    slots = [written(table, [number, number, number]).slot for number in (1, 2, 3)]
    assert sorted(slots) == [0, 1, 2]
    written(table, [1, 1, 1, 1])
    assert written(table, [7, 7, 7]).slot == slots[1]
