"""What a report says to try next."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from shoptalk.records import ACCURACY
from shoptalk.report.nouns import nouns_for
from shoptalk.report.verdict_json import Verdict
from shoptalk.telling.advice import PhaseRates, advise
from tests.report.report_facts import entry, facts

COMMAND = "shoptalk adapt ./my texts.jsonl --labels 'the labels.csv' --budget=6m --out runs/acme"


PRETEXTS = ("neighbours", "turns", "tsdae", "mlm", "simcse")


def verdict(choice: str, **more: Any) -> Verdict:
    rows = [entry("mlm", 20, -1.0, eliminated=True), entry("neighbours", 60, 1.2), entry("neighbours", 180, 2.3)]
    whole = facts()["verdict"]
    told = whole | {
        "choice": choice, "metric": "accuracy", "gain": 2.3, "objective": "neighbours", "entry": "neighbours@180",
        "labels_needed": None, "n_examples": 300, "smallest_gain": 0.5, "candidates": rows, "on_test": False,
        "spent": whole["spent"] | {"seconds": 100.0},
    }  # fmt: skip
    return Verdict.model_validate(told | more)


def asked(found: Verdict, **more: Any) -> list[tuple[str, str | None]]:
    usual = {"skipped": {}, "texts": 5000, "run": Path("runs/acme"), "command": COMMAND, "labels": Path("l.csv")}
    return [
        (step.say, step.command)
        for step in advise(
            found,
            **(usual | {"rates": {"neighbours": PhaseRates((3e-4,))}, "pretexts": PRETEXTS} | more),
        )
    ]


def test_an_open_question_is_answered_by_labels_first_and_then_by_longer_training() -> None:
    found = asked(verdict("inconclusive", labels_needed=1200))
    assert "about 1,200 in all instead of 300" in found[0][0]
    assert found[0][1] is not None and "--labels 'the labels.csv'" in found[0][1]
    assert "still 1.1 points better" in found[1][0]
    assert found[1][1] is not None and found[1][1].endswith("--budget 4m") and "6m" not in found[1][1]


def test_a_longer_budget_is_longer_than_what_was_allowed_and_not_only_than_what_was_taken() -> None:
    found = asked(verdict("keep_base"), skipped={"turns": "the budget is too small for it"}, allowed=360.0)
    assert any("Compare turns too" in say and str(command).endswith("--budget 12m") for say, command in found)


def test_a_command_for_the_same_folder_replaces_its_verdict_and_one_for_another_has_nothing_to_replace() -> None:
    commands = [command for _, command in asked(verdict("inconclusive", labels_needed=1200)) if command]
    adapts = [shlex.split(command) for command in commands if command.startswith("shoptalk adapt")]
    assert len(adapts) > 2
    for words in adapts:
        last = len(words) - 1 - words[::-1].index("--out")
        assert ("--force" in words) == (words[last + 1] == "runs/acme")


def test_asking_a_person_comes_first_where_the_messages_held_out_would_do() -> None:
    more = {"labels_needed": 1200, "answers_needed": 48, "bank": 3_000}
    found = asked(verdict("inconclusive", bank_needed=3_000, **more))
    assert found[0][0].startswith("Answer about 48 messages")
    assert found[0][1] == "shoptalk ask runs/acme"
    assert "about 1,200 in all" in found[1][0]
    assert "about 1,200 in all" in asked(verdict("inconclusive", bank_needed=10_000, **more))[0][0]


def test_an_adopted_entry_should_be_confirmed_on_a_test_unless_it_was() -> None:
    assert any("--test test.csv" in str(command) for _, command in asked(verdict("adopt")))
    assert not any("--test" in str(command) for _, command in asked(verdict("adopt", on_test=True)))


def test_a_gain_is_worth_a_dose_curve_and_labels_are_worth_a_classifier() -> None:
    for choice in ("adopt", "keep_base", "inconclusive"):
        commands = [command for _, command in asked(verdict(choice))]
        assert "shoptalk dose runs/acme" in commands
        assert "shoptalk finetune runs/acme/encoder --labels l.csv --out runs/acme-classifier" in commands
    assert not any("dose" in str(command) for _, command in asked(verdict("keep_base", gain=-0.3)))
    without = {say for say, command in asked(verdict("adopt", heads=None, shots=None)) if "dose" in str(command)}
    assert without == {"Measure how much is enough: the gain against training and texts."}


def test_a_challenger_outside_its_guards_is_trained_more_gently() -> None:
    rows = [entry("neighbours", 180, 2.3, inside_guards=False, why_not="it forgets")]
    found = asked(verdict("keep_base", candidates=rows))
    assert "more gently" in found[0][0] and "it forgets" in found[0][0]
    assert found[0][1] is not None and found[0][1].endswith("--set objectives.neighbours.lr=0.0001")


def test_a_challenger_behind_what_needs_no_training_is_trained_longer() -> None:
    why = "it does worse than what needs no training, the nearest captions: 27.7 % there, -20.0 points here"
    rows = [entry("clip", 60, 7.0, inside_guards=False, why_not=why)]
    found = asked(verdict("keep_base", task="caption", objective="clip", entry="clip@60", candidates=rows))
    assert found[0][0].startswith("Train clip longer") and why in found[0][0]
    assert "--budget" in str(found[0][1]) and not any("more gently" in said for said, _ in found)


def test_a_language_model_behind_a_compressor_is_trained_longer_and_not_more_gently() -> None:
    why = "xz, which learns nothing, takes 1.600 bits a byte of 40 of the texts, the trained model 2.100 bits"
    rows = [entry("clm", 60, 0.4, inside_guards=False, why_not=why)]
    found = asked(verdict("keep_base", task="language_model", objective="clm", entry="clm@60", candidates=rows))
    assert found[0][0].startswith("Train clm longer") and not any("more gently" in said for said, _ in found)


def test_a_classifier_is_not_tuned_on_random_weights_and_one_that_is_served_unproven_is_not_called_safe() -> None:
    more = {"base_model": "scratch:mini"}
    assert not any("classifier" in say for say, _ in asked(verdict("keep_base", **more)))
    said = [say for say, _ in asked(verdict("keep_base", **more, served_unproven=True)) if "classifier" in say]
    assert said == ["Tune a classifier on all labels with the encoder that is served, unproven."]
    young = asked(verdict("keep_base", base_model="runs/young", base_began_as="scratch:mini"))
    assert "Tune a classifier on all labels with the encoder that is handed out." in [say for say, _ in young]
    assert "Tune a classifier on all labels with the encoder that is safe to serve." in [
        say for say, _ in asked(verdict("keep_base"))
    ]


def test_where_captions_are_few_pictures_with_captions_are_to_be_added() -> None:
    measure = ACCURACY.model_copy(update={"unlabelled": "pictures with captions"}).told()
    said = [say for say, _ in asked(verdict("keep_base", measure=measure), texts=200, nouns=nouns_for("pair"))]
    assert any(
        say.startswith("Add unlabelled pictures with captions of the same kind: 200 pictures and") for say in said
    )


def test_a_language_model_that_forgets_is_to_read_general_text_again_unless_it_did() -> None:
    why = "it forgets: general text takes it 5.9 % more bits than the base (guard 2 %)"
    for name, told in (("clm", True), ("clm-replay-25", False)):
        rows = [entry(name, 60, 0.1, inside_guards=False, why_not=why)]
        more = {"objective": name, "entry": f"{name}@60", "candidates": rows}
        sentences = [said for said, _ in asked(verdict("keep_base", task="language_model", **more))]
        assert any("--replay SOURCE" in said for said in sentences) == told
        assert not any("--replay" in said for said, _ in asked(verdict("keep_base", **more)))


@pytest.mark.parametrize(("step", "setting"), [(180, "neighbours.lr=0.0001"), (60, "mlm.lr=0.0002")])
def test_a_curriculum_is_trained_more_gently_by_the_setting_of_the_phase_that_its_entry_was_trained_in(
    step: int, setting: str
) -> None:
    name = "mlm-then-neighbours"
    rows = [entry(name, step, 2.3, inside_guards=False, why_not="it forgets")]
    found = verdict("keep_base", objective=name, entry=f"{name}@{step}", candidates=rows)
    command = asked(found, rates={name: PhaseRates((6e-4, 3e-4), turn=90)})[0][1]
    assert command is not None and command.endswith(f"--set objectives.{setting}")


def test_a_base_that_is_kept_has_other_candidates_and_more_text_suggested() -> None:
    found = asked(verdict("keep_base"), texts=200, skipped={"turns": "it needs conversations"})
    assert any("200 texts are few" in say for say, _ in found)
    assert any(
        "tsdae and simcse" in say
        and str(command).endswith("--candidates tsdae,simcse,none --out runs/acme-tsdae-simcse")
        and "runs/acme " not in str(command)
        for say, command in found
    )
    dear = asked(verdict("keep_base"), skipped={"turns": "the budget is too small for it"})
    assert any("Compare turns too" in say and str(command).endswith("--budget 4m") for say, command in dear)


def test_pilots_that_came_out_close_are_given_more_and_clear_ones_are_not() -> None:
    rows = [entry("mlm", 10, 0.9, eliminated=True), entry("neighbours", 10, 1.2), entry("neighbours", 60, 0.4)]
    found = asked(verdict("keep_base", candidates=rows))
    assert any("after 10 steps neighbours was 0.3 points ahead" in say for say, _ in found)
    assert any(str(command).endswith("--budget 4m") for _, command in found)
    clear = [entry("mlm", 10, -0.9, eliminated=True), *rows[1:]]
    assert not any("pilots" in say for say, _ in asked(verdict("keep_base", candidates=clear)))
    assert not any("pilots" in say for say, _ in asked(verdict("keep_base", candidates=rows[1:])))


def test_without_labels_labels_come_first_and_nothing_that_needs_them_is_offered() -> None:
    found = asked(verdict("inconclusive", metric=None, gain=None, labels_needed=400), labels=None)
    assert "Label about 400 messages" in found[0][0]
    assert found[0][1] is not None and found[0][1].endswith("--labels labels.csv")
    assert not any("dose" in str(command) for _, command in found)
    began = "shoptalk adapt ./my texts.jsonl --labels 'the labels.csv' --budget=6m --out runs/acme"
    assert found[1][1] == f"{began} --force --accept-unproven"


def test_where_nothing_was_trained_the_reasons_are_said() -> None:
    nothing = verdict("keep_base", objective=None, entry=None, candidates=[])
    assert "turns (it needs conversations)" in asked(nothing, skipped={"turns": "it needs conversations"})[0][0]
    assert "--candidates neighbours,turns,none" in str(asked(nothing)[0][1])


def test_a_run_that_no_command_began_has_advice_without_its_command() -> None:
    found = asked(verdict("inconclusive", labels_needed=1200), command="")
    assert found[0][1] is None and found[1][1] is None
    assert any(command == "shoptalk dose runs/acme" for _, command in found)
