"""The owner's rules on what visitors write: patterns are read within a time, and what is not read goes to a person."""

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shoptalk.assistant import business_rules
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.business_rules import SECONDS, BusinessRule, FirstRule, first_rule, load_rules
from shoptalk.assistant.decide_reply import Decided, Signals, decide
from shoptalk.assistant.rule_trials import refuse_rules_as_messages, try_rules
from shoptalk.errors import ConfigError, InputError
from tests.assistant.small_run import documents_of_harbour, small_run, visitor

ENDLESS, KEEPS_BUSY = "(a+)+$", "a" * 3_999 + "!"
NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path, tiny_base: Path) -> Path:
    return small_run(tmp_path / "run", documents_of_harbour("pets.md"), base=str(tiny_base))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def rule(name: str, decision: str = "escalate", **conditions: Any) -> BusinessRule:
    return BusinessRule.model_validate({"name": name, "decision": decision, "text": "Words.", **conditions})


def ruling(rules: Sequence[BusinessRule], message: str) -> FirstRule:
    return first_rule(rules, message, intent=None, probability=0.0, now=NOON, is_open=True)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (ENDLESS, KEEPS_BUSY),
        (r"(\w+\s?)*!\B", "a b " * 999 + "!a"),
        (r"^(\w+\s?)+\W?$", "a" * 3_998 + "!!"),
        (r"order no (\d+|\w+)*;", "order no " + "1" * 3_990),
        (r"(.*,)*x\by", "x," * 2_000),
        (r"(?:please )?(?=(?:\s|\n)+x|(\d\d?)*z)", "1" * 4_000),
        (r"(?:\w{1,15}\s?){1,15}!", "a" * 4_000 + " !?"),
        (r"(.+)\1\1\1\1z\b", "a" * 3_998 + "z_"),
        (r"(?R)", "a"),
    ],
)
def test_a_pattern_that_some_message_keeps_busy_is_left_after_a_tenth_of_a_second_of_the_processor(
    pattern: str, message: str
) -> None:
    begun = time.thread_time()
    assert ruling([rule("endless", pattern=pattern)], message) == FirstRule(too_slow="endless")
    assert time.thread_time() - begun < 3 * SECONDS


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(\w+\s?)*!", "a" * 4_000),
        (r".*.*.*=", "a" * 4_000),
        (r"^(\w+\s?)*$", "word " * 799 + "!!"),
        (r"\s*\s*\s*\s*x", " " * 4_000),
        (r"[\w.+-]+@[\w-]+\.[\w.]+", "a" * 8_000),
        (r"refund.*booking", "refund " * 1_000),
    ],
)
def test_what_the_library_sees_through_is_read_to_the_end(pattern: str, message: str) -> None:
    assert ruling([rule("a", pattern=pattern)], message) == FirstRule()


@pytest.mark.parametrize("decision", ["answer", "clarify", "escalate", "decline"])
@pytest.mark.parametrize("next_decision", ["answer", "escalate"])
def test_a_message_that_keeps_a_pattern_busy_goes_to_a_person_whatever_rules_decide(
    decision: str, next_decision: str
) -> None:
    found = ruling([rule("slow", decision, pattern=ENDLESS), rule("next", next_decision, words=["x"])], KEEPS_BUSY)
    signals = Signals(KEEPS_BUSY, rule=found.rule, too_slow=found.too_slow, confidence=1.0, pinned=True)
    decided = decide(signals, AssistantSettings(), threshold=0.5)
    assert decided == Decided("escalate", "tool_failure", "phrase", "escalate")


def test_a_rule_before_a_slow_one_decides_and_a_slow_one_whose_other_conditions_do_not_hold_is_not_read() -> None:
    slow = rule("slow", pattern=ENDLESS)
    first = rule("first", words=["help"])
    assert ruling([first, slow], f"help {KEEPS_BUSY}") == FirstRule(first)
    elsewhen = rule("slow", pattern=ENDLESS, **{"from": NOON.date().replace(year=2027)})
    last = rule("last", pattern="!$")
    assert ruling([elsewhen, rule("slow too", pattern=ENDLESS, words=["x"]), last], KEEPS_BUSY) == FirstRule(last)


def test_patterns_share_one_time_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    class TakesItsTime:
        def search(self, text: str, *, timeout: float, concurrent: bool) -> None:
            given.append(timeout)
            if timeout < 0.4 * SECONDS:
                raise TimeoutError
            until = time.thread_time() + 0.4 * SECONDS
            while time.thread_time() < until:
                pass

    monkeypatch.setattr(business_rules, "_compiled", lambda pattern: TakesItsTime())
    assert ruling([rule(f"rule {n}", pattern="x") for n in range(9)], "m") == FirstRule(too_slow="rule 2")
    assert given[0] == SECONDS and given[0] > given[1] + 0.3 * SECONDS > given[2] + 0.6 * SECONDS
    given.clear()
    monkeypatch.setattr(business_rules, "SECONDS", 0.0)
    assert ruling([rule("late", pattern="x")], "m").too_slow == "late"
    assert given == [0.0]  # less than nothing is no limit at all to the library


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Three threads that never wait."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()


def test_other_threads_at_work_do_not_use_up_the_time_of_a_usual_pattern(busy_threads: None) -> None:
    message = ("hilfe, when does my order to the harbour arrive? I decide about my claim " * 60)[:4_000]
    usual = [rule("usual", pattern=r"man overboard|is missing|\bhilfe\b.*\b(mutter|vater|kind)\b|unconscious")]
    assert [ruling(usual, message) for _ in range(12)] == [FirstRule()] * 12


@pytest.mark.parametrize(
    ("pattern", "message", "applies"),
    [
        (r"(\w)\1{3,}", "heeeelp", True),
        (r"\b(\w+)\s+\1\b", "the the boat", True),
        (r"(?P<what>order|claim).*(?P=what)", "a claim is a CLAIM", True),
        (r"(?<=order )\d+(?!\d)", "Order 12", True),
        (r"(?<!dis)allowed", "disallowed", False),
        (r"^(?=.*refund)(?!.*booking).*\bmy\b", "my refund", True),
        (r"^(?=.*refund)(?!.*booking).*\bmy\b", "my refund of a booking", False),
        (r"(?i:STRASSE)|größe", "GRÖSSE, straße", False),
        (r"größe", "GRÖẞE GRÖßE", True),
        (r"\bпаром\b", "Где ПАРОМ?", True),
        (r"\bHB-[0-9]{5}\b", f"{'x ' * 3_990}hb-12345", True),
    ],
)
def test_patterns_are_read_as_python_s_in_the_whole_message_and_case_does_not_matter(
    pattern: str, message: str, applies: bool
) -> None:
    assert (ruling([rule("a", pattern=pattern)], message).rule is not None) == applies


def test_words_are_looked_for_in_the_whole_message() -> None:
    police = rule("a", words=["police"])
    assert ruling([police], "x " * 3_990 + "police") == FirstRule(police)


@pytest.mark.parametrize("pattern", ["(", "[[:foo:]]", r"\p{Nope}", "(?V0)(?V1)a", "(?au)a", "(" * 3_000 + ")" * 3_000])
def test_a_pattern_that_is_none_is_refused_by_the_name_of_the_library_that_reads_it(
    pattern: str, tmp_path: Path
) -> None:
    """Python's re takes the second of them."""
    text = f"[[rule]]\nname = 'a'\npattern = '{pattern}'\ndecision = 'escalate'\n"
    with pytest.raises(ConfigError, match=r"rules\.toml rule 1.*pattern.*that the library regex can read: .+"):
        load_rules(write(tmp_path / "rules.toml", text))


# --- tried on messages, and in replies --------------------------------------------------------------------------------


def test_a_reply_names_the_slow_rule_to_its_owner_and_says_nothing_of_it_to_the_visitor(run: Path) -> None:
    write(run / "rules.toml", f'[[rule]]\nname = "numbers"\npattern = "{ENDLESS}"\ndecision = "decline"\n')
    write(run / "assistant.toml", '[assistant]\nrules = "rules.toml"\n')
    assistant = Assistant.open(run)
    reply = assistant.reply(visitor(KEEPS_BUSY))
    assert (reply.decision, reply.reason, reply.too_slow) == ("escalate", "tool_failure", "numbers")
    assert "numbers" not in reply.text and reply.path == "canned"
    assert assistant.reply(visitor("Is the sauna open?")).too_slow is None


def test_what_is_too_slow_on_a_message_of_a_file_is_not_as_expected_and_has_its_line(run: Path, tmp_path: Path) -> None:
    write(run / "rules.toml", f'[[rule]]\nname = "slow"\npattern = "{ENDLESS}"\ndecision = "escalate"\n')
    write(run / "assistant.toml", '[assistant]\nrules = "rules.toml"\n')
    file = write(tmp_path / "m.csv", f"text,expected\nb!,none\n{KEEPS_BUSY},escalate\n{KEEPS_BUSY},\n")
    trials = try_rules(Assistant.open(run), file)
    assert [(trial.line, trial.too_slow, trial.right) for trial in trials] == [
        (2, None, True),
        (3, "slow", False),
        (4, "slow", False),
    ]
    assert (trials[1].rule, trials[1].decision) == (None, "escalate")


def test_rules_are_tried_on_messages_and_what_is_not_as_expected_is_told(run: Path, tmp_path: Path) -> None:
    write(run / "rules.toml", '[[rule]]\nname = "numbers"\npattern = "HB-[0-9]+"\ndecision = "escalate"\n')
    write(run / "assistant.toml", '[assistant]\nrules = "rules.toml"\n')
    assistant = Assistant.open(run)
    file = write(tmp_path / "m.csv", "text,expected\nwhere is HB-1,numbers\nwhere is it,none\nHB-2,decline\nHB-3,\n")
    trials = try_rules(assistant, file)
    assert [trial.right for trial in trials] == [True, True, False, True]
    assert assistant.reply(visitor("where is HB-1")).reason == "policy"
    with pytest.raises(InputError, match="line 2: 'nmbers' is neither"):
        try_rules(assistant, write(tmp_path / "n.csv", "text,expected\na,nmbers\n"))


def test_rules_that_cannot_be_used_are_refused_before_anything_is_opened(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(run / "rules.toml", '[[rule]]\nname = "half"\npattern = "(a+"\ndecision = "escalate"\n')
    write(run / "assistant.toml", '[assistant]\nrules = "rules.toml"\npictures = "nowhere"\n')
    monkeypatch.setattr("shoptalk.assistant.assistant.opened_reader", lambda run: pytest.fail("it was opened"))
    with pytest.raises(ConfigError, match="no regular expression"):
        Assistant.open(run)


@pytest.mark.parametrize(
    ("pattern", "times"),
    [
        ("a{100000000}", "100,000,000"),
        ("(?:(?:a?){5000}){5000}b", "25,000,000"),
        ("[a{2}]{10001,}", "10,001"),
        ("(?x)a{ 1000 000 }", "1,000,000"),
        ("(?x)a #[\\n{1000000}#]", "1,000,000"),
        ("(?:a{1000}[[:alpha:])]){1000}", "1,000,000"),
    ],
)
def test_counted_repeats_that_would_take_all_memory_are_refused(pattern: str, times: str, tmp_path: Path) -> None:
    file = write(tmp_path / "rules.toml", f'[[rule]]\nname = "long"\npattern = "{pattern}"\ndecision = "escalate"\n')
    with pytest.raises(ConfigError, match=f"asks for a part {times} times in a row"):
        load_rules(file)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:a{100}){100}", "(a{6000})(b{6000}){1}", "[{20000}]", "x{0,1000000}", "^[0-9]{4,8}$", "(?:a{2} ){,9000}!",
        "(?x) HB - [0-9]{5} # once [0-9]{20000}",
    ],
)  # fmt: skip
def test_counted_repeats_of_a_message_s_length_are_read(pattern: str, tmp_path: Path) -> None:
    file = write(tmp_path / "rules.toml", f'[[rule]]\nname = "long"\npattern = "{pattern}"\ndecision = "escalate"\n')
    assert [rule.pattern for rule in load_rules(file)] == [pattern]


def test_a_file_of_rules_is_no_file_of_messages_and_is_told_where_rules_belong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"CSV or JSONL file of messages is expected.*come from the settings"):
        refuse_rules_as_messages(tmp_path / "rules.toml")


def test_without_rules_there_is_nothing_to_test(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no rules"):
        try_rules(Assistant.open(run), write(tmp_path / "m.csv", "text\na\n"))
