"""What commands print for people, from results as `--json` prints them."""

from pathlib import Path
from typing import Any

import pytest

from shoptalk.cli import printed
from shoptalk.config.settings import UNTRAINED
from shoptalk.records import ACCURACY
from shoptalk.report.sentences import NEED_NO_TRAINING

RUN = Path("runs") / "acme"
BITS = ACCURACY.model_copy(update={"unit": "bits", "difference": "bits", "decimals": 3}).told()


def spent(**more: Any) -> dict[str, Any]:
    taken = {"seconds": 372.0, "tokens": 3_100_000, "memory_bytes": 1_900_000_000, "euros": None}
    losers = {"seconds": 31.0, "tokens": 200_000, "share": 0.083}
    return taken | {"forecast": None, "candidates": [], "losers": losers} | more


def verdict(**more: Any) -> dict[str, Any]:
    found = {
        "choice": "adopt",
        "sentence": "Adopt neighbours@180.",
        "base": 78.1,
        "adapted": 80.4,
        "gain": 2.3,
        "interval": [1.3, 3.3],
        "heads": {"sentence": "A smoothed head serves both best."},
        "spent": spent(),
    }
    return found | more


def test_a_verdict_is_told_with_its_gain_its_heads_what_it_took_and_where_things_are() -> None:
    lines = printed.verdict(verdict(), RUN, drops={}).splitlines()
    assert lines[:2] == ["verdict: adopt", "Adopt neighbours@180."]
    assert "base 78.1 %, adapted 80.4 %: gain +2.3 points (95 % interval +1.3 to +3.3)" in lines
    assert "A smoothed head serves both best." in lines
    assert "spent 6.2 min, 1.9 GB, 3.1 M tokens" in lines
    assert lines[-2:] == [f"encoder to serve: {RUN / 'encoder'}", f"report: {RUN / 'report.html'}"]


def test_where_only_random_weights_are_kept_neither_is_said_to_be_worth_serving() -> None:
    kept = verdict(choice="inconclusive", base_model="scratch:resnet-mini+minilm", objective="clip")
    line = printed.verdict(kept, RUN, drops={}).splitlines()[-2]
    assert line.startswith("encoder to serve: neither is worth serving yet: the base's weights are random")
    assert "would change that" in line and str(RUN / "candidate" / "encoder") in line
    for told in (kept | {"choice": "adopt"}, kept | {"base_model": "hog"}):
        assert printed.verdict(told, RUN, drops={}).splitlines()[-2] == f"encoder to serve: {RUN / 'encoder'}"


def test_a_challenger_that_is_served_unproven_is_what_is_told_to_be_served() -> None:
    served = verdict(choice="inconclusive", base_model="scratch:mini", objective="mlm", served_unproven=True)
    line = printed.verdict(served, RUN, drops={}).splitlines()[-2]
    assert line == f"encoder to serve: {RUN / 'encoder'} (the challenger, unproven)"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"gain": 0.1}, "the base stays as it was, and this run does not say whether it is worth serving"),
        ({"gain": 0.1, "compressor": {"inside": False}}, "neither is worth serving yet: a general compressor"),
        ({"gain": -0.1, "compressor": {"inside": False}}, "the base stays as it was"),
        ({"gain": None, "interval": None}, "neither is known to be worth serving"),
        ({"gain": -0.1, "bases": [{"base": "runs/a"}, {"base": "hog@64"}]}, str(RUN / "encoder")),
        ({"gain": -0.1, "bases": [{"base": "runs/a"}, {"base": "runs/b"}]}, "the base stays as it was"),
    ],
)
def test_a_base_that_began_with_random_weights_is_kept_without_being_called_good(
    told: dict[str, Any], said: str
) -> None:
    kept = verdict(choice="keep_base", base_model="runs/a", base_began_as="scratch:gpt-nano", objective="clm") | told
    assert printed.verdict(kept, RUN, drops={}).splitlines()[-2].startswith(f"encoder to serve: {said}")


def test_what_needs_no_training_is_what_the_settings_add() -> None:
    assert NEED_NO_TRAINING == UNTRAINED


def test_where_nothing_was_trained_from_random_weights_nothing_is_said_to_be_trained() -> None:
    bare = verdict(choice="keep_base", base_model="scratch:mini", objective=None, gain=None, interval=None)
    line = printed.verdict(bare, RUN, drops={}).splitlines()[-2]
    assert line.startswith("encoder to serve: there is nothing worth serving yet") and "trained:" not in line


def test_a_verdict_has_a_line_for_each_step_of_its_ladder_in_the_units_of_its_measure() -> None:
    def step(name: str, value: float, gain: float | None) -> dict[str, Any]:
        ends = None if gain is None else [gain - 1, gain + 1]
        return {"step": name, "value": value, "unit": "%", "gain": gain, "interval": ends}

    steps = [step("plain head", 54.2, None), step("unlabelled text", 77.7, 23.5), step("adapted encoder", 78.5, 0.8)]
    whole = {"step": "unlabelled text", "gain": 23.5, "interval": [21.9, 25.1]}
    lines = printed.verdict(verdict(ladder=steps, in_all=whole), RUN, drops={}).splitlines()
    place = lines.index("")
    assert lines[place + 1 : place + 5] == [
        "  plain head         54.2 %",
        "  + unlabelled text  77.7 %  +23.5 (+22.5 to +24.5)",
        "  + adapted encoder  78.5 %  +0.8 (-0.2 to +1.8)     measured, not adopted",
        "  in all                     +23.5 (+21.9 to +25.1)",
    ]
    told = printed.verdict(verdict(measure=BITS, base=1.2, adapted=1.25, ladder=steps[:1], in_all=whole), RUN, drops={})
    assert "base 1.200 bits, adapted 1.250 bits: gain +2.300 bits" in told and "plain head" not in told


def test_what_was_left_out_is_told_by_reason_with_where_it_stands() -> None:
    line = f"left out: 1,204 (1,200 duplicate, 4 bad-csv), each with its reason in {RUN / 'corpus' / 'drops.jsonl'}"
    drops = {"duplicate": 1200, "bad-csv": 4}
    assert line in printed.verdict(verdict(), RUN, drops=drops).splitlines()
    assert "left out: nothing" in printed.verdict(verdict(), RUN, drops={}).splitlines()
    result = {
        "texts": 3417,
        "pictures": 0,
        "documents": 1,
        "drops": drops | {"of-tomorrow": 1},
        "corpus": str(RUN / "corpus"),
    }
    told = printed.curated(result).splitlines()
    assert told[0] == f"kept: 3,417 texts in 1 document, in {RUN / 'corpus' / 'documents.jsonl'}"
    assert told[1].startswith("left out: 1,205 (1,200 duplicate, 4 bad-csv, 1 of-tomorrow)")
    assert told[2:] == [
        "    1,200  duplicate    the same text or picture came before",
        "        4  bad-csv      the row cannot be read as CSV",
        "        1  of-tomorrow",
    ]
    shown = result | {"texts": 1, "pictures": 20, "documents": 20, "drops": {}}
    assert printed.curated(shown).startswith("kept: 20 pictures and 1 text in 20 documents, in ")
    assert printed.curated(shown | {"texts": 0}).startswith("kept: 20 pictures in 20 documents, in ")


def test_a_verdict_without_labels_names_no_gain() -> None:
    told = printed.verdict(verdict(choice="inconclusive", gain=None, interval=None, heads=None), RUN, drops={})
    assert "gain" not in told and "head" not in told


def test_forecast_and_fact_stand_side_by_side_where_there_was_a_forecast() -> None:
    forecast = {"seconds": 186.0, "tokens": 3_100_000, "memory_bytes": 1_900_000_000, "euros": None}
    assert "fact / forecast: time 2.00, tokens 1.00" in printed.verdict(
        verdict(spent=spent(forecast=forecast)), RUN, drops={}
    )


def test_what_losers_cost_is_told_where_several_candidates_trained_the_dearest_first() -> None:
    rows = [
        {"objective": "mlm", "seconds": 11.0, "share": 0.03, "went_on": False},
        {"objective": "neighbours", "seconds": 200.0, "share": 0.54, "went_on": True},
        {"objective": "simcse", "seconds": 20.0, "share": 0.05, "went_on": False},
    ]
    assert "did not go on: 31 s, 8% (simcse 5%, mlm 3%)" in printed.verdict(
        verdict(spent=spent(candidates=rows)), RUN, drops={}
    )
    assert "did not go on" not in printed.verdict(verdict(spent=spent(candidates=rows[1:2])), RUN, drops={})


def test_answers_out_of_scope_say_so_and_no_label_is_a_dash() -> None:
    row = {"labels": ["card"], "in_scope": True, "probability": 0.914, "text": "lost it"}
    assert printed.answer(row) == "card\t0.91\tlost it"
    assert printed.answer(row | {"in_scope": False}) == "out of scope (card)\t0.91\tlost it"
    assert printed.answer(row | {"labels": []}).startswith("-\t")
    assert printed.answer(row | {"labels": ["a", "b"]}).startswith("a|b\t")


def test_an_answer_is_one_line_with_two_tabs_whatever_the_message_holds() -> None:
    row = {"labels": ["a\tb"], "in_scope": True, "probability": 0.5, "text": "one\ttwo\r\nthree\u2028four\x1b[2J é"}
    told = printed.answer(row)
    assert told.count("\t") == 2 and len(told.splitlines()) == 1
    assert told == "a\\tb\t0.50\tone\\ttwo\\r\\nthree\\u2028four\\x1b[2J é"


def test_a_comparison_has_a_line_for_each_number_of_shots_and_ends_with_its_sentence() -> None:
    row = {"base": 61.0, "adapted": 63.5, "gain": 2.5, "interval": [-0.5, 5.5]}
    told = printed.comparison({"shots": {"1": row, "full": row}, "sentence": "Better at no shot count."}).splitlines()
    assert told[0] == "    1 shots   61.0 ->  63.5 %   +2.5 (-0.5 to +5.5)"
    assert told[1].startswith(" full shots") and told[2] == "Better at no shot count."


def test_a_control_that_was_adopted_is_told_as_failed() -> None:
    result = {"control": "aa", "passed": False, "sentence": "Adopt noise@1.", "verdict": {}}
    assert printed.control(result).splitlines() == [
        "control aa FAILED: adopted what cannot have helped",
        "Adopt noise@1.",
    ]
    assert "control aa passed" in printed.control(result | {"passed": True})


def test_a_dose_is_told_curve_by_curve_with_its_check() -> None:
    point = {"dose": 306_000, "base": 78.0, "adapted": 80.1, "gain": 2.1, "interval": [1.4, 2.8]}
    check = {
        "law": "exponential",
        "predicted": 2.3,
        "predicted_interval": [1.8, 2.9],
        "dose": 306_000,
        "measured": 2.1,
        "interval": [1.4, 2.8],
        "holds": True,
    }
    curve = {"unit": "tokens of self-supervision", "points": [point], "checks": [check], "sentence": "Enough."}
    told = printed.dose({"entry": "neighbours@180", "curves": {"tokens": curve}}, RUN)
    assert "     306,000   78.0 ->  80.1 %   +2.1 (+1.4 to +2.8)" in told
    assert "check: the exponential law of the smaller doses says +2.3 (+1.8 to +2.9) at 306,000, measured +2.1" in told
    assert "holds" in told and "  Enough." in told and str(RUN / "dose.json") in told


def test_a_dose_of_a_language_model_is_told_in_bits_to_three_decimals() -> None:
    point = {"dose": 700, "base": 1.5, "adapted": 1.2345, "gain": 0.2655, "interval": [0.25, 0.28]}
    check = {
        "law": "power", "predicted": 0.27, "predicted_interval": [0.26, 0.28], "dose": 700, "measured": 0.2655,
        "interval": [0.25, 0.28], "holds": False,
    }  # fmt: skip
    curve = {"unit": "unlabelled documents", "points": [point], "checks": [check], "sentence": "Enough."}
    told = printed.dose({"entry": "clm@60", "measure": BITS, "curves": {"texts": curve}}, RUN)
    assert "clm@60, gain in bits over the base" in told
    assert "         700    1.500 ->   1.234 bits   +0.266 (+0.250 to +0.280)" in told
    assert "says +0.270 (+0.260 to +0.280) at 700, measured +0.266 (+0.250 to +0.280): does not hold" in told


def test_a_finetuning_tells_its_test_where_there_was_one() -> None:
    result = {"task": "intent", "sentence": "linear head.", "test": {"accuracy": 91.25, "scope_recall": 70.0}}
    assert "test: accuracy 91.2 %\ntest: scope recall 70.0 %" in printed.finetuned(result, RUN)
    assert "test" not in printed.finetuned(result | {"test": None}, RUN)


def test_a_finetuning_tells_what_tuning_came_to_where_it_was_asked_for() -> None:
    result = {"task": "intent", "sentence": "linear head.", "test": None}
    tuning = {"sentence": "not proven, so the frozen one ships"}
    assert "tuning: not proven, so the frozen one ships" in printed.finetuned(result | {"tuning": tuning}, RUN)
    assert "tuning" not in printed.finetuned(result | {"tuning": None}, RUN)


def test_a_verdict_ends_with_how_many_answers_would_settle_it_where_messages_were_held_out() -> None:
    def last(**more: Any) -> str:
        return printed.verdict(verdict(**more), RUN, drops={}).splitlines()[-1]

    about = "to settle it by asking: about 48 answers of yours"
    assert last(answers_needed=48, bank_needed=300, bank=300) == f"{about}: `shoptalk ask {RUN}`"
    larger = last(answers_needed=48, bank_needed=3_000, bank=300)
    assert larger.startswith(f"{about}, out of 3,000 messages that it has not seen (300 were held out)")
    assert larger.endswith("--bank SOURCE`")
    assert "too close for any number" in last(answers_needed=None, bank_needed=None, bank=300)
    assert "there is nothing to choose" in last(answers_needed=0, bank_needed=300, bank=300)
    assert last(answers_needed=48, bank_needed=300, bank=300, asked={"asked": 3}).startswith("report: ")
