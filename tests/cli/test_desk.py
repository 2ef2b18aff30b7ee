import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shoptalk.cli import app
from shoptalk.errors import InputError
from tests.assistant.small_run import documents_of_harbour, small_run

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return small_run(tmp_path_factory.mktemp("desk") / "run", documents_of_harbour("pets.md"), base=str(tiny_base))


def told(*words: object) -> tuple[int, str]:
    result = RUNNER.invoke(app.app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_knowledge_is_added_listed_and_removed(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "sauna.md"
    file.write_text("---\nuntil: 2027-01-31\n---\n# Sauna\n\nOpen until ten.", encoding="utf-8")
    assert json.loads(told("knowledge", "add", run, file, "--json")[1])["embedded"] == 1
    assert "sauna.md: 1 passages, until 2027-01-31" in told("knowledge", "status", run)[1]
    assert json.loads(told("knowledge", "remove", run, "sauna.md", "--json")[1])["removed"] == ["sauna.md"]
    with pytest.raises(InputError, match=r"has no document 'sauna.md'"):
        told("knowledge", "remove", run, "sauna.md")


def test_calibrate_prints_the_sentence_and_leaves_the_picture(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_text("question,passage\nWhere may my dog be?,Where may my dog be?\n", encoding="utf-8")
    status, printed = told("calibrate", run, "--questions", file)
    assert status == 0
    assert printed.splitlines()[-1].startswith("No threshold can promise at most 5% wrong answers.")
    assert (run / "calibration" / "risk.svg").is_file()
    assert json.loads(told("calibrate", run, "--questions", file, "--json")[1])["needed"] == 59


def test_rules_that_do_not_do_what_is_expected_end_with_status_2(run: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[[rule]]\nname = "n"\nwords = ["HB"]\ndecision = "escalate"\n', encoding="utf-8")
    (tmp_path / "a.toml").write_text('[assistant]\nrules = "r.toml"\n', encoding="utf-8")
    messages = tmp_path / "m.csv"
    messages.write_text("text,expected\nHB 1,n\n", encoding="utf-8")
    assert told("rules", "test", run, messages, "--config", tmp_path / "a.toml")[0] == 0
    messages.write_text("text,expected\nhello,n\n", encoding="utf-8")
    status, printed = told("rules", "test", run, messages, "--config", tmp_path / "a.toml")
    assert status == 2
    assert "expected 'n', got 'none'" in printed


def test_a_pattern_that_is_too_slow_on_a_message_is_named_with_the_line_and_ends_with_status_2(
    run: Path, tmp_path: Path
) -> None:
    rules = '[[rule]]\nname = "endless"\npattern = "(a+)+$"\ndecision = "escalate"\n'
    (tmp_path / "r.toml").write_text(rules, encoding="utf-8")
    (tmp_path / "a.toml").write_text('[assistant]\nrules = "r.toml"\n', encoding="utf-8")
    messages = tmp_path / "m.csv"
    messages.write_text(f"text\nhello\n{'a' * 3_999}!\n", encoding="utf-8")
    status, printed = told("rules", "test", run, messages, "--config", tmp_path / "a.toml")
    assert status == 2 and printed.splitlines()[1].startswith("too slow: aaa")
    assert f"{messages}, line 3: the time for patterns ran out at the rule 'endless'." in printed
    result = json.loads(told("rules", "test", run, messages, "--config", tmp_path / "a.toml", "--json")[1])
    assert (result["wrong"], result["rules"]) == (1, {"none": 1, "too slow": 1})
    assert [(trial["line"], trial["too_slow"]) for trial in result["trials"]] == [(2, None), (3, "endless")]
