from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shoptalk.assistant.assistant_settings import AssistantSettings, load_settings
from shoptalk.assistant.business_rules import BusinessRule, first_rule, load_rules
from shoptalk.assistant.decide_reply import Signals, decide
from shoptalk.assistant.desk_hours import is_open, opens_at
from shoptalk.assistant.phrases import PHRASES, language_of, phrase
from shoptalk.assistant.reply import REASONS
from shoptalk.assistant.wishes import anger, is_greeting, is_thanks, wants_person
from shoptalk.config import TEMPLATE
from shoptalk.errors import ConfigError
from tests.assistant.small_run import HARBOUR

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    "text",
    [
        "I want to talk to a person", "can I speak with someone real?", "human please", "agent", "agent agent agent",
        "Put me through to your supervisor", "is there a real person here?", "get me a human being", "call me back",
        "no more bots", "Ich will mit einem Menschen reden", "Mitarbeiter bitte", "Kann mich jemand anrufen?",
        "je veux parler à un humain", "quiero hablar con una persona", "vorrei parlare con un operatore",
        "quero falar com um atendente", "ik wil een medewerker spreken", "Let me speak to your manager",
        "connect me with customer service",
    ],
)  # fmt: skip
def test_a_wish_for_a_person_is_understood(text: str) -> None:
    assert wants_person(text)


@pytest.mark.parametrize(
    "text",
    [
        "How many people fit on board?", "Is a person in a wheelchair allowed?", "What does a person pay to Marrow?",
        "I don't want to talk to a person, just tell me the price", "Which ship carries most people?",
        "Do your staff speak German?", "Wie viele Menschen passen auf das Schiff?", "can my dog come along",
        "when does the harbour manager's office open", "I spoke about the price with my wife", "the agent was friendly",
    ],
)  # fmt: skip
def test_a_question_about_people_is_no_wish_for_one(text: str) -> None:
    assert not wants_person(text)


def test_greetings_thanks_and_anger_are_told_from_questions() -> None:
    assert is_greeting("Hello there!") and is_greeting("Guten Tag") and not is_greeting("Hello, when do you sail?")
    assert is_thanks("thank you so much!") and not is_thanks("thanks but when?")
    assert anger("you useless idiots, this is a disgrace!!") >= 3
    assert anger("When is the next boat?") == 0


def decided(threshold: float = 0.5, **signals: Any) -> tuple[str, str]:
    found = decide(Signals(message="m", **signals), AssistantSettings(person_intents=("human",)), threshold=threshold)
    assert found.reason in REASONS
    return found.decision, found.reason


def test_the_order_of_decisions() -> None:
    rule = BusinessRule.model_validate({"name": "r", "words": ["m"], "decision": "decline"})
    assert decided(too_slow="r", confidence=1.0) == ("escalate", "tool_failure")
    assert decided(rule=rule, wants_person=True) == ("decline", "policy")
    assert decided(wants_person=True, confidence=1.0) == ("escalate", "customer_request")
    assert decided(anger=3, confidence=1.0) == ("escalate", "sentiment")
    assert decided(anger=1, angry_before=True, confidence=1.0) == ("escalate", "sentiment")
    assert decided(anger=1, confidence=1.0) == ("answer", "supported")
    assert decided(asked_before=1, earlier=("answer",), confidence=1.0) == ("escalate", "repetition")
    assert decided(asked_before=1, earlier=("clarify",), confidence=1.0) == ("answer", "supported")
    assert decided(asked_before=2, confidence=1.0) == ("escalate", "repetition")
    assert decided(intent="human", probability=0.9, confidence=1.0) == ("escalate", "unsupported_request")
    assert decided(intent="human", probability=0.9, in_scope=False, confidence=1.0) == ("answer", "supported")
    assert decided(confidence=0.5) == ("answer", "supported")
    assert decided(confidence=0.49, in_scope=False) == ("decline", "out_of_scope")
    assert decided(confidence=0.49) == ("clarify", "ambiguous")
    assert decided(confidence=0.49, earlier=("clarify",)) == ("escalate", "pending_clarification")
    assert decided(confidence=0.1) == ("escalate", "missing_knowledge")
    assert decided(pinned=True) == ("answer", "supported")


def test_every_language_has_every_phrase_and_the_owner_s_go_first() -> None:
    assert all(set(phrases) == set(PHRASES["en"]) for phrases in PHRASES.values())
    assert language_of("Wann fährt das nächste Schiff und was kostet es?") == "de"
    assert language_of("When is the next boat?") == "en"
    assert phrase("decline", "Was kostet das?", {"decline": "no"}) == "no"
    assert phrase("decline", "Was kostet das Schiff?", {"decline": "no", "decline.de": "nein"}) == "nein"


# --- rules ------------------------------------------------------------------------------------------------------------


def rules_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_first_rule_whose_conditions_all_hold_decides(tmp_path: Path) -> None:
    rules = load_rules(
        rules_file(
            tmp_path,
            '[[rule]]\nname = "a"\nwords = ["fair"]\nfrom = 2027-01-01\ndecision = "decline"\n'
            '[[rule]]\nname = "b"\nintents = ["refund"]\nleast = 0.8\ndecision = "escalate"\n'
            '[[rule]]\nname = "c"\npattern = "hb-[0-9]{5}"\nopen = true\ndecision = "escalate"\n',
        )
    )

    def first(message: str, *, probability: float = 0.0, is_open: bool = True) -> str | None:
        found = first_rule(rules, message, intent="refund", probability=probability, now=NOON, is_open=is_open)
        return found.rule.name if found.rule else None

    assert first("the fair") is None  # not yet
    assert first("anything", probability=0.9) == "b"
    assert first("where is HB-12345?") == "c"
    assert first("where is HB-12345?", is_open=False) is None
    assert first("unfair") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing = 1", "expected \\[\\[rule\\]\\] sections"),
        ("[[rule]]\nname = 'a'\ndecision = 'escalate'", "has no condition"),
        ("[[rule]]\nname = 'a'\nwords = ['x']\ndecision = 'answer'", "without words for it"),
        ("[[rule]]\nname = 'a'\npattern = '('\ndecision = 'escalate'", "no regular expression"),
        ("[[rule]]\nname = 'a'\nwords = ['x']\ndecision = 'escalate'\nreason = 'polisy'", "Did you mean 'policy'"),
        ("[[rule]]\nname = 'a'\nword = ['x']\ndecision = 'escalate'", "Did you mean 'words'"),
        ("[[rule]]\nname = 'a'\nwords = ['x']\ndecision = 'decline'\n" * 2, "two rules called 'a'"),
        ("[[rule", "Cannot read the rules"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_what_to_do(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_rules(rules_file(tmp_path, text))


def test_harbour_s_settings_and_rules_load() -> None:
    settings = load_settings(Path(), HARBOUR / "assistant.toml")
    assert settings.rules is not None
    assert len(load_rules(Path(settings.rules))) >= 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[assistant]\ngreting = 'x'", "Did you mean 'greeting'"),
        ("[assistant]\ntimezone = 'Mars'", "no time zone 'Mars'"),
        ("[assistant.hours]\nmonday = '9-17'", "expected 'HH:MM-HH:MM'"),
        ("[assistant.hours]\nmonday = '09:00-24:30'", "at most 24:00"),
        ("[assistant.hours]\nmoonday = '09:00-17:00'", "no weekday"),
        ("[assistant.texts]\nescalte = 'x'", r"'escalte', which is no sentence. Did you mean 'escalate'\?"),
        ("[assistant.texts]\n'closed.it' = 'x'", "one of the languages en, de, fr, es, ar, or 'closed' alone"),
        ("assistant = 3", "expected a section"),
        (
            "[asistant]\ngreeting = 'x'",
            r"assistant\.toml has 'asistant', which nothing reads. Did you mean 'assistant'\?",
        ),
        ("[srve]\nthreads = 2", r"'srve', which nothing reads. Did you mean 'serve'\?"),
        ("greeting = 'x'", r"'greeting', which nothing reads. Write it below \[assistant\]."),
        ("[qqq]", r"'qqq', which nothing reads. There is: \[assistant\], \[serve\]."),
        (f"[assistant]\nhours = {'[' * 5_000}", "nested too deeply. Expected a TOML file with a section"),
        ("[assistant.generator]\nmodel = 'm'\nbase_url = 'ftp://x'", "expected an address"),
    ],
)
def test_a_setting_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "assistant.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_settings(tmp_path)


def test_a_run_s_settings_may_stand_beside_the_assistant_s(tmp_path: Path) -> None:
    path = tmp_path / "shoptalk.toml"
    path.write_text(TEMPLATE + "\n[assistant]\ngreeting = 'Ahoy'\n[serve]\nthreads = 2\n", encoding="utf-8")
    assert load_settings(tmp_path, path).greeting == "Ahoy"


def test_a_folder_in_the_place_of_the_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "assistant.toml").mkdir()
    with pytest.raises(ConfigError, match=r"Cannot read .*assistant\.toml"):
        load_settings(tmp_path)


def test_rules_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(f"rule = {'[' * 5_000}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Cannot read the rules .* nested too deeply"):
        load_rules(tmp_path / "rules.toml")


def test_hours_say_when_people_are_at_the_desk() -> None:
    settings = AssistantSettings(hours={"monday": "09:00-17:00", "tuesday": "closed"})
    assert is_open(settings, NOON)
    assert not is_open(settings, NOON.replace(hour=17))
    assert not is_open(settings, NOON.replace(day=1, month=12))  # a Tuesday
    assert not is_open(settings, NOON.replace(day=2, month=12))  # no hours are given for it
    assert is_open(AssistantSettings(), NOON)


@pytest.mark.parametrize(
    ("hours", "opens"),
    [
        ({}, "2026-11-30 12:00"),
        ({"monday": "09:00-17:00"}, "2026-11-30 12:00"),
        ({"monday": "13:30-17:00"}, "2026-11-30 13:30"),
        ({"monday": "09:00-11:00"}, "2026-12-07 09:00"),
        ({"monday": "09:00-11:00", "tuesday": "closed", "wednesday": "08:00-24:00"}, "2026-12-02 08:00"),
        ({"monday": "closed"}, "2026-11-30 12:00"),  # never
    ],
)
def test_the_desk_opens_at_the_next_hour_that_the_settings_name(hours: dict[str, str], opens: str) -> None:
    assert f"{opens_at(AssistantSettings(hours=hours), NOON):%Y-%m-%d %H:%M}" == opens
