from benchmarks import answer


def test_a_dialogue_asks_with_its_visitors_last_turn_once_for_each_piece_of_knowledge() -> None:
    turns = [
        {"role": "user", "text": "A hotel in the north, please."},
        {"role": "assistant", "text": "The Mill has rooms."},
        {"role": "user", "text": "Is it quiet there?"},
    ]
    seeking = [{"turns": turns, "labels": {"knowledge": ["mill/1", "mill/7"]}}]
    assert list(answer.dstc11_pairs(seeking)) == [
        {"question": "Is it quiet there?", "document": "mill/1"},
        {"question": "Is it quiet there?", "document": "mill/7"},
    ]


def test_a_row_has_the_verdict_with_its_interval_and_of_a_base_alone_no_gain() -> None:
    verdict = {"choice": "adopt", "entry": "turns@20", "base": 61.04, "adapted": 63.5, "gain": 2.46,
               "interval": [0.9, 4.0], "n_examples": 2129, "spent": {"seconds": 301.4}}  # fmt: skip
    assert answer.row_of("dstc11", verdict) == (
        "| dstc11 | 2,129 | adopt turns@20 | 61.0 | 63.5 | +2.5 | +0.9 to +4.0 | 301 |"
    )
    alone = verdict | {"choice": "keep_base", "entry": None, "adapted": None, "gain": None, "interval": None}
    assert answer.row_of("dstc11", alone) == "| dstc11 | 2,129 | keep_base | 61.0 |  |  |  | 301 |"
