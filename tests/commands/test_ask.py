"""Asking a person, on a tiny run: what is asked, what is kept, what is refused, and that it resumes."""

import errno
import json
import random
import shutil
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoptalk.adaptation import adapt
from shoptalk.artifact import create, open_artifact
from shoptalk.commands import ask_journal, ask_run, ask_session, ask_settle
from shoptalk.commands.ask import answer_from, read_answers, result
from shoptalk.commands.ask_journal import FILE
from shoptalk.commands.ask_prepare import ABOUT, ROWS, open_asking
from shoptalk.commands.ask_session import AGAIN, LATER, Session, open_session
from shoptalk.commands.report import report
from shoptalk.commands.verify import verify
from shoptalk.config import Config, CurateConfig, load
from shoptalk.curate.labels import read_labels
from shoptalk.decide import stand
from shoptalk.errors import ArtifactError, InputError, SourceError, StorageError
from shoptalk.stages.curate import open_curated
from shoptalk.stages.world import World
from shoptalk.telling.facts import decided
from tests.attacks import reseal
from tests.conftest import Listener, SmallWorld

SMALL = ["objectives.mlm.batch=8", "objectives.mlm.lr=0.005", "merges=[]"]
BANK = 300


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    return SmallWorld(tmp_path_factory.mktemp("world"), labels_per_class=12)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_bank(tmp_path_factory.mktemp("bank") / "bank.csv", BANK)


def written_bank(path: Path, n: int, *, seed: int = 1) -> Path:
    rng = random.Random(seed)
    topics = [SmallWorld.topics[i % 4] for i in range(n)]
    lines = ["text,label", *(f"{SmallWorld._text(rng, topic)},{topic}" for topic in topics)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(small: SmallWorld, bank: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    config = load(overrides=SMALL, base=str(tiny_base), budget="12000tok", draws=5, shots=2, candidates=("mlm", "none"))
    adapt([small.conversations], out=out, config=config, report=Listener(), labels=small.labels)
    with open_session(out, bank=bank):
        pass  # what the two answer is computed once for all tests
    return out


def config_for(base: Path, **values: object) -> Config:
    fixed = {"budget": "12000tok", "draws": 5, "shots": 2, "candidates": ("mlm", "none")}
    return load(overrides=SMALL, base=str(base), **(fixed | values))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(finished, tmp_path / "run"))


def truth(text: str) -> str:
    return text.split(maxsplit=1)[0]


def answered(session: Session, n: int) -> list[str]:
    """The keys of the next n questions, answered as is right."""
    keys = []
    for _ in range(n):
        question = session.question()
        assert question is not None
        keys.append(question.key)
        session.answer(question.key, truth(question.text))
    return keys


def rows_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / FILE).read_text(encoding="utf-8").splitlines()]


def test_only_messages_on_which_the_two_differ_are_asked_and_no_question_tells_who_said_what(
    run: Path, bank: Path
) -> None:
    with open_session(run, bank=bank) as session:
        assert session.systems == ("base", "adapted")
        assert session.labels == tuple(sorted(SmallWorld.topics))
        assert 0 < session.standing.disagree < session.standing.bank <= BANK
        question = session.question()
        assert question is not None
        assert question.number == 1
        assert list(question.options) == sorted(question.options)
        session.answer(question.key, None)
    row = rows_of(run)[0]
    systems = row["systems"]
    assert isinstance(systems, dict)
    assert set(systems) == {"base", "adapted"}
    assert systems["base"] != systems["adapted"]
    assert {systems["base"], systems["adapted"]} <= set(question.options)
    assert list(row)[:2] == ["text", "label"]
    assert (row["label"], row["given"], row["order"]) == (None, "none", 1)
    assert row["who"]
    assert str(row["when"]).startswith("20")


def test_every_answer_is_on_disk_before_the_next_question_and_the_asking_goes_on_where_it_was(
    run: Path, bank: Path
) -> None:
    with open_session(run, bank=bank) as session:
        first = answered(session, 3)
        assert len(rows_of(run)) == 3
        waiting = session.question()
        standing = session.standing
    with open_session(run, bank=bank) as session:
        assert session.question() == waiting
        assert session.standing == standing
        assert len(session.path) == 4
        second = answered(session, 3)
    assert not set(first) & set(second)


def test_a_line_that_a_kill_has_cut_off_is_no_answer(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        answered(session, 2)
    with (run / FILE).open("a", encoding="utf-8") as file:
        file.write('{"text": "half a li')
    with open_session(run, bank=bank) as session:
        assert session.standing.asked == 2
        answered(session, 1)
    assert len(rows_of(run)) == 3


def test_an_answer_can_be_taken_back_and_leaves_no_label_behind(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        (kept,) = answered(session, 1)
        before = session.standing
        (undone,) = answered(session, 1)
        assert session.undo()
        assert session.standing == before
        question = session.question()
        assert question is not None
        assert question.key == undone
        assert [row["key"] for row in rows_of(run)] == [kept]
        assert session.undo()
        assert not session.undo()


def test_what_was_skipped_comes_after_all_others_and_is_no_answer_meanwhile(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank, most=10_000) as session:
        question = session.question()
        assert question is not None
        session.skip(question.key)
        assert session.standing.asked == 0
        keys = []
        while (following := session.question()) is not None:
            keys.append(following.key)
            session.answer(following.key, truth(following.text))
        fresh = list(dict.fromkeys(keys))
        assert fresh[-1] == question.key or session.standing.settled
        assert len(fresh) == session.standing.asked


def test_one_in_twenty_is_asked_twice_some_answers_later_and_its_consistency_is_told(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank, most=60) as session:
        keys, again = [], []
        while (question := session.question()) is not None:
            keys.append(question.key)
            again.append(question.again)
            # Half of the answers to what comes again differ from those before.
            session.answer(question.key, None if not question.again else truth(question.text))
        n = session.standing.asked
        sentence = session.sentence
    repeated = [key for key, second in zip(keys, again, strict=True) if second]
    assert len(set(repeated)) == len(repeated)
    assert all(keys[keys.index(key) + 1 :].index(key) >= LATER - 1 for key in repeated)
    assert len(repeated) <= 4 * AGAIN * n + 3
    if repeated:
        assert f"Of {len(repeated)} message" in sentence
        assert "0 got the same answer" in sentence


def test_a_file_answers_for_a_person_and_the_result_has_the_published_keys(run: Path, bank: Path) -> None:
    oracle = run.parent / "oracle.jsonl"
    texts = [line.rpartition(",")[0] for line in bank.read_text(encoding="utf-8").splitlines()[1:]]
    oracle.write_text("".join(json.dumps({"text": text, "label": truth(text)}) + "\n" for text in texts))
    with open_session(run, bank=bank, most=10_000) as session:
        assert answer_from(session, read_answers(oracle, session.labels)) == 0
        outcome = result(session)
        assert session.finished
    assert list(outcome) == ["choice", "gain", "interval", "asked", "bank", "disagree", "sentence"]
    standing = session.standing
    assert outcome["asked"] == standing.right + standing.wrong + standing.neither
    assert outcome["interval"][0] <= outcome["gain"] <= outcome["interval"][1]
    n, d = standing.asked, standing.disagree
    assert f"They differ on {d} of {standing.bank} messages. Of {n} answers" in outcome["sentence"]


def test_messages_that_a_file_does_not_know_are_skipped_and_one_that_knows_none_is_refused(
    run: Path, bank: Path
) -> None:
    with open_session(run, bank=bank, most=10_000) as session:
        question = session.question()
        assert question is not None
        unknown = answer_from(session, {question.text: truth(question.text)})
        assert unknown == session.standing.disagree - 1
        assert session.standing.asked == 1
    with (
        open_session(run, systems="base:plain,adapted", bank=bank) as session,
        pytest.raises(SourceError, match="know none of the"),
    ):
        answer_from(session, {"something else": "card"})


def test_answers_with_unknown_labels_are_refused_with_the_nearest_one_that_there_is(tmp_path: Path) -> None:
    file = tmp_path / "oracle.jsonl"
    file.write_text('{"text": "a", "label": "card"}\n{"text": "b", "label": "tickets"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match=r"'tickets' \(line 2\)\. Did you mean 'ticket'"):
        read_answers(file, SmallWorld.topics)
    file.write_text('{"text": "a", "label": "card"}\n{"text": "a", "label": "ticket"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="line 2: this text has the label 'ticket' and stands above with 'card'"):
        read_answers(file, SmallWorld.topics)
    file.write_text('{"label": "card"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="line 1: text"):
        read_answers(file, SmallWorld.topics)
    file.write_text("", encoding="utf-8")
    with pytest.raises(SourceError, match="has no answers"):
        read_answers(file, SmallWorld.topics)
    with pytest.raises(SourceError, match="do not exist"):
        read_answers(tmp_path / "nothing.jsonl", SmallWorld.topics)


def test_what_was_answered_is_a_labels_file_of_the_next_adapt(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        for n, _ in enumerate(range(12)):
            question = session.question()
            if question is None:
                break
            session.answer(question.key, None if n == 3 else truth(question.text))
    rows = rows_of(run)
    examples, drops = read_labels(run / FILE, CurateConfig())
    given = {(row["text"], row["label"]) for row in rows if row["label"] is not None}
    assert {(example.text, example.label) for example in examples} == given
    assert {drop.reason for drop in drops} <= {"no-label", "duplicate"}


def test_a_bank_that_the_run_was_made_from_is_refused_with_the_count(run: Path, small: SmallWorld) -> None:
    with (
        pytest.raises(SourceError, match=r"\d+ of the \d+ messages in .* that .* was made from"),
        open_session(run, bank=small.conversations),
    ):
        pass


def test_messages_that_the_run_knows_are_left_out_of_a_bank_and_that_is_said(
    run: Path, small: SmallWorld, tmp_path: Path
) -> None:
    path = written_bank(tmp_path / "mixed.csv", 150, seed=7)
    known = small.labels.read_text(encoding="utf-8").splitlines()[1:21]
    path.write_text(path.read_text(encoding="utf-8") + "\n".join(known) + "\n", encoding="utf-8")
    listener = Listener()
    with open_session(run, bank=path, report=listener) as session:
        assert session.standing.bank <= 150
        texts = {row.text for row in session._asking.rows}
    assert not texts & {line.rpartition(",")[0] for line in known}
    assert any("20 of the " in said and "are left out" in said for said in listener.said)


def test_a_bank_of_twenty_is_refused_with_how_many_are_needed(run: Path, tmp_path: Path) -> None:
    path = written_bank(tmp_path / "few.csv", 20, seed=3)
    with pytest.raises(SourceError, match=r"has 20 messages .* at least 100 are needed"), open_session(run, bank=path):
        pass


def test_a_run_without_a_bank_asks_for_one(run: Path) -> None:
    with pytest.raises(InputError, match="--bank SOURCE"), open_session(run):
        pass


def test_a_folder_that_is_no_finished_run_is_refused(run: Path, bank: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"), open_session(tmp_path / "nothing", bank=bank):
        pass
    shutil.rmtree(run / "decision")
    with pytest.raises(SourceError, match="is not a finished run"), open_session(run, bank=bank):
        pass


@pytest.mark.parametrize("part", ["decision", "candidate/encoder", "corpus"])
def test_a_run_that_was_changed_is_refused(run: Path, bank: Path, part: str) -> None:
    path = next(path for path in sorted((run / part).iterdir()) if path.suffix in (".json", ".jsonl", ".md"))
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(ArtifactError), open_session(run, bank=bank):
        pass


def test_a_run_whose_corpus_is_another_than_was_measured_is_refused(run: Path, bank: Path) -> None:
    path = run / "corpus" / "drops.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    reseal(run / "corpus")
    with pytest.raises(ArtifactError, match="has changed since its verdict"), open_session(run, bank=bank):
        pass


def test_a_folder_in_use_is_not_asked_about_twice_at_once(run: Path, bank: Path) -> None:
    with (
        open_session(run, bank=bank),
        pytest.raises(StorageError, match="in use by another"),
        open_session(run, bank=bank),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("base", "names 1; expected two"),
        ("base,base", "names one system twice"),
        ("base,adopted", "no system 'adopted'"),
        ("base,base:smooth", "Did you mean 'smoothed'"),
        ("base:plain,base:linear:x", "no head 'linear:x'"),
    ],
)
def test_systems_that_are_none_of_the_runs_are_refused_with_those_that_there_are(
    run: Path, bank: Path, given: str, message: str
) -> None:
    with pytest.raises(InputError, match=message), open_session(run, systems=given, bank=bank):
        pass


def test_two_names_of_one_system_are_nothing_to_choose_between(run: Path, bank: Path) -> None:
    with (
        pytest.raises(InputError, match="there is nothing to choose"),
        open_session(run, systems="base:names,base:linear", bank=bank),
    ):
        pass


def test_answers_to_other_systems_are_kept_and_not_counted(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        answered(session, 2)
    with open_session(run, systems="adapted,base", bank=bank) as session:
        assert session.standing.asked == 0
        answered(session, 1)
    assert len(rows_of(run)) == 3
    with open_session(run, bank=bank) as session:
        assert session.standing.asked == 2


def test_a_label_that_the_run_does_not_have_is_refused(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        question = session.question()
        assert question is not None
        with pytest.raises(InputError, match="no label 'pizza'"):
            session.answer(question.key, "pizza")
        with pytest.raises(InputError, match="No message"):
            session.answer("no such key", "card")
        assert not rows_of(run) if (run / FILE).exists() else True
        near = session.neighbours(question.key)
        assert near
        assert all(label in session.labels for _, label in near)


def settled_by(run: Path, bank: Path, side: int, *, most: int = 100) -> Session:
    """Answer what one of the two says (0 the base, 1 the challenger), and conclude."""
    with open_session(run, bank=bank, most=most, who="Ann") as session:
        while (question := session.question()) is not None:
            session.answer(question.key, session._rows[question.key].answers[side])
        session.conclude()
    return session


def verdict_in(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "verdict.json").read_text(encoding="utf-8")))


def entry_served(run: Path) -> str | None:
    encoder = open_artifact(run / "encoder")
    assert encoder is not None
    return encoder.parents.get("entry")


def test_answers_change_the_verdict_what_ships_and_the_report_and_both_pieces_of_evidence_are_shown(
    run: Path, bank: Path, small: SmallWorld
) -> None:
    before = verdict_in(run)
    assert before["choice"] == "inconclusive"
    assert "asked" not in before
    assert entry_served(run) is None
    session = settled_by(run, bank, 1)
    verdict = verdict_in(run)
    assert verdict["choice"] == "adopt"
    assert verdict["asked"]["before"] == "inconclusive"
    assert verdict["asked"]["asked"] == session.standing.asked
    assert verdict["asked"]["answered_by"] == ["Ann"]
    assert verdict["sentence"].startswith(session.sentence)
    assert verdict["sentence"].endswith(before["sentence"])
    assert verdict["labels_needed"] is None
    assert {key: verdict[key] for key in ("gain", "interval", "ladder")} == {
        key: before[key] for key in ("gain", "interval", "ladder")
    }
    candidate, head, encoder = (open_artifact(run / name) for name in ("candidate/encoder", "head", "encoder"))
    assert candidate is not None
    assert head is not None
    assert encoder is not None
    assert encoder.parents == candidate.parents
    assert head.parents["encoder"] == encoder.content
    assert f"Settled by {session.standing.asked} answers" in (run / "encoder" / "README.md").read_text(encoding="utf-8")
    page, markdown = (run / "report.html").read_text(encoding="utf-8"), report([run], form="md")
    for text in (page, markdown):
        assert "the labels alone said: Inconclusive" in text
    assert verify(run, report=Listener())["damaged"] == []


def test_the_same_adapt_again_keeps_what_people_have_settled_also_where_a_part_was_lost(
    run: Path, bank: Path, small: SmallWorld, tiny_base: Path
) -> None:
    settled_by(run, bank, 1)
    served, verdict = entry_served(run), verdict_in(run)

    def again() -> None:
        adapt([small.conversations], out=run, config=config_for(tiny_base), report=Listener(), labels=small.labels)

    again()
    assert (entry_served(run), verdict_in(run)) == (served, verdict)
    shutil.rmtree(run / "encoder")
    again()
    assert entry_served(run) == served
    assert verdict_in(run)["choice"] == "adopt"
    assert verify(run, report=Listener())["damaged"] == []


def test_answers_that_are_all_taken_back_leave_the_run_as_it_was(run: Path, bank: Path) -> None:
    before = {name: (run / name).read_text(encoding="utf-8") for name in ("verdict.json", "encoder/README.md")}
    settled_by(run, bank, 1)
    with open_session(run, bank=bank) as session:
        while session.undo():
            pass
        session.conclude()
    assert {name: (run / name).read_text(encoding="utf-8") for name in before} == before
    assert entry_served(run) is None
    assert verify(run, report=Listener())["damaged"] == []


def test_answers_for_the_base_keep_it_and_few_answers_leave_the_choice_to_the_labels(run: Path, bank: Path) -> None:
    settled_by(run, bank, 0, most=2)
    verdict = verdict_in(run)
    assert verdict["choice"] == "inconclusive"
    assert verdict["asked"]["asked"] == 2
    assert "A person was asked: They differ on" in verdict["sentence"]
    settled_by(run, bank, 0)
    verdict = verdict_in(run)
    assert (verdict["choice"], entry_served(run)) == ("keep_base", None)


def test_an_encoder_outside_its_guards_is_not_adopted_whatever_is_answered(
    run: Path, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ask_session, "left_guard", lambda verdict: "it forgets: general similarity changed by -9 points"
    )
    session = settled_by(run, bank, 1)
    assert session.standing.choice == "adopt"
    verdict = verdict_in(run)
    assert (verdict["choice"], entry_served(run)) == ("keep_base", None)
    assert "The base is kept all the same: it forgets" in verdict["sentence"]
    assert result(session)["choice"] == "keep_base"


def test_a_verdict_about_passages_is_not_asked_about_labels(
    run: Path, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about_passages = decided(run).model_copy(update={"task": "answer"})
    monkeypatch.setattr(ask_run, "decided", lambda folder: about_passages)
    with pytest.raises(InputError, match=r"judged by the task 'answer'.*--task intent"), open_session(run, bank=bank):
        pass


def test_other_systems_than_base_and_challenger_change_no_verdict(run: Path, bank: Path) -> None:
    before = verdict_in(run)
    with open_session(run, systems="base:plain,adapted", bank=bank) as session:
        while (question := session.question()) is not None:
            session.answer(question.key, session._rows[question.key].answers[1])
        session.conclude()
    assert verdict_in(run) == before
    assert not (run / "settled").exists()


@pytest.mark.slow
def test_what_was_answered_about_an_earlier_challenger_counts_no_more(
    run: Path, bank: Path, small: SmallWorld, tiny_base: Path
) -> None:
    settled_by(run, bank, 1)
    config = config_for(tiny_base, seed=1)
    adapt([small.conversations], out=run, config=config, report=Listener(), labels=small.labels, force=True)
    verdict = verdict_in(run)
    assert "asked" not in verdict
    assert (run / FILE).is_file()


def test_a_bank_of_another_question_is_none_of_this_run(run: Path) -> None:
    with create(run / "bank", kind="bank", config={}, parents={"corpus": "another"}) as inside:
        (inside / "messages.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="--bank SOURCE"), open_session(run):
        pass


@pytest.mark.slow
def test_the_bank_that_a_run_has_held_out_is_asked_about_and_adapt_says_how_many_answers_it_takes(
    tiny_base: Path, tmp_path: Path
) -> None:
    world = SmallWorld(tmp_path, labels_per_class=12)
    rng = random.Random(9)
    texts = [SmallWorld._text(rng, SmallWorld.topics[i % 4]) for i in range(1_500)]
    later = tmp_path / "later.jsonl"
    later.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    out, listener = tmp_path / "run", Listener()
    verdict = adapt([later], out=out, config=config_for(tiny_base), report=listener, labels=world.labels)
    held = verdict.bank
    assert held is not None
    assert 100 <= held <= 250
    assert "answers_needed" in verdict_in(out)
    with open_session(out) as session:
        assert session.standing.bank == held
        asked_texts = {row.text for row in session._asking.rows}
    trained_on = set(open_curated(World(run=out, config=config_for(tiny_base), report=listener)).train.texts)
    assert asked_texts <= set(texts) - trained_on
    assert verify(out, report=Listener())["damaged"] == []


def edited(run: Path, change: Callable[[list[str]], str]) -> bytes:
    """The journal after a person has edited its lines by hand."""
    content = change((run / FILE).read_text(encoding="utf-8").splitlines()).encode("utf-8")
    (run / FILE).write_bytes(content)
    return content


@pytest.mark.parametrize(
    "change",
    [
        "\n".join,  # an editor that ends no last line
        lambda lines: "\ufeff" + "\r\n".join(lines) + "\r\n",
        lambda lines: "\n\n".join(lines) + "\n \n",
    ],
)
def test_line_ends_of_an_editor_lose_no_answer(run: Path, bank: Path, change: Callable[[list[str]], str]) -> None:
    with open_session(run, bank=bank) as session:
        keys = answered(session, 3)
    edited(run, change)
    with open_session(run, bank=bank) as session:
        assert session.standing.asked == 3
        keys += answered(session, 1)
        assert session.undo()
        assert session.standing.asked == 3
    assert [row["key"] for row in map(json.loads, filter(str.strip, lines_of(run)))] == keys[:3]


def lines_of(run: Path) -> list[str]:
    return (run / FILE).read_text(encoding="utf-8-sig").split("\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "999999"}, "line 2: nothing with the key '999999' is asked about"),
        ({"label": "tickets"}, r"line 2: the run has no label 'tickets'\. Did you mean 'ticket'"),
        ({"given": "perhaps"}, "line 2: given"),
    ],
)
def test_an_edited_line_that_cannot_be_counted_is_named_and_nothing_is_to_be_deleted_for_it(
    run: Path, bank: Path, change: dict[str, str], reason: str
) -> None:
    with open_session(run, bank=bank) as session:
        answered(session, 3)
    content = edited(
        run, lambda lines: "\n".join([lines[0], json.dumps(json.loads(lines[1]) | change), *lines[2:]]) + "\n"
    )
    with (
        pytest.raises(ArtifactError, match=f"{reason}.*Mend that line or take it out") as refusal,
        open_session(run, bank=bank),
    ):
        pass
    assert "elete" not in str(refusal.value)
    assert (run / FILE).read_bytes() == content


def test_an_answer_that_a_full_disk_has_cut_off_does_not_spoil_the_next_one(
    run: Path, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: FileIO, content: bytes) -> None:
        file.write(content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_session(run, bank=bank) as session:
        answered(session, 1)
        with monkeypatch.context() as patch, pytest.raises(StorageError):
            patch.setattr(ask_journal, "_write_all", full)
            answered(session, 1)
        answered(session, 1)
    with open_session(run, bank=bank) as session:
        assert session.standing.asked == 2
    assert len(rows_of(run)) == 2


def test_a_file_that_does_not_know_a_message_leaves_nothing_of_it_behind_however_often_it_answers(
    run: Path, bank: Path
) -> None:
    with open_session(run, bank=bank) as session:
        question = session.question()
    assert question is not None
    for _ in range(2):
        with open_session(run, bank=bank) as session:
            answer_from(session, {question.text: truth(question.text)})
        assert len(rows_of(run)) == 1


def test_a_file_of_answers_may_begin_with_a_mark_and_end_its_lines_as_windows_does(tmp_path: Path) -> None:
    file = tmp_path / "oracle.jsonl"
    file.write_bytes('\ufeff{"text": "a", "label": "card"}\r\n{"text": "b", "label": null}\r\n'.encode())
    assert read_answers(file, SmallWorld.topics) == {"a": "card", "b": None}


def test_looking_at_another_bank_does_not_take_back_what_was_settled(run: Path, bank: Path, tmp_path: Path) -> None:
    settled_by(run, bank, 1)
    before, served = verdict_in(run), entry_served(run)
    another = written_bank(tmp_path / "another.csv", BANK, seed=2)
    settled_by(run, another, 0, most=1)
    assert (verdict_in(run), entry_served(run)) == (before, served)
    with open_session(run, bank=another) as session:
        assert session.undo()
        session.conclude()
    assert (verdict_in(run), entry_served(run)) == (before, served)
    settled_by(run, another, 0)
    assert (verdict_in(run)["choice"], entry_served(run)) == ("keep_base", None)


def test_a_kill_while_answers_are_taken_back_is_mended_by_the_same_command(
    run: Path, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = verdict_in(run)
    settled_by(run, bank, 1)
    with open_session(run, bank=bank) as session:
        while session.undo():
            pass
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ask_settle, "reship", interrupt)
            session.conclude()
    assert verdict_in(run)["choice"] == "adopt"
    with open_session(run, bank=bank) as session:
        session.conclude()
    assert (verdict_in(run), entry_served(run)) == (before, None)


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_skipped_question_counts_against_both_ends_until_it_is_answered(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        answered(session, 3)
        before = session.standing
        question = session.question()
        assert question is not None
        session.skip(question.key)
        skipped = session.standing
        assert skipped.asked == before.asked == 3
        assert skipped.bank_low <= before.bank_low and skipped.bank_high >= before.bank_high
        assert skipped.bank_high - skipped.bank_low > 0 and len(session.path) == 5
        session.answer(question.key, session._rows[question.key].answers[1])
        assert session.standing.asked == 4 and session.standing.low >= skipped.low
        assert len(session.path) == 5


def test_a_person_is_taken_to_slip_before_any_question_was_asked_twice(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank) as session:
        for _ in range(3):
            question = session.question()
            assert question is not None
            session.answer(question.key, session._rows[question.key].answers[0])
        about = session.standing
        sure = stand(np.full(3, -1), disagree=about.disagree, bank=about.bank, smallest_gain=0.5)
    assert about.asked == 3 and about.bank_low <= sure.bank_low and about.bank_high > sure.bank_high


@pytest.mark.slow
def test_a_file_is_asked_nothing_twice_since_it_would_say_the_same(run: Path, bank: Path) -> None:
    with open_session(run, bank=bank, most=10_000, twice=False) as session:
        while (question := session.question()) is not None:
            session.answer(question.key, session._rows[question.key].answers[session.asked % 2])
        assert not any(row["again"] for row in rows_of(run))
        assert "asked twice" not in session.sentence


def test_a_message_with_a_line_separator_of_its_own_can_be_asked_about(run: Path, bank: Path, tmp_path: Path) -> None:
    with open_session(run, bank=bank) as session:
        folder = tmp_path / "rows"
        with create(folder, kind="asked", config={}, parents={}) as inside:
            row = session._asking.rows[0].model_copy(update={"text": "one\u2028two"})
            (inside / ROWS).write_text(row.model_dump_json() + "\n", encoding="utf-8")
            (inside / ABOUT).write_text(session._asking.about.model_dump_json(), encoding="utf-8")
    assert open_asking(folder).rows == (row,)


def test_of_a_language_models_run_nobody_is_asked(tmp_path: Path) -> None:
    with create(tmp_path / "model", kind="encoder", config={}, parents={}) as inside:
        (inside / "config.json").write_text("{}")
    with create(tmp_path / "decision", kind="decision", config={}, parents={}):
        pass
    with pytest.raises(InputError, match=r"is a run of a language model.*--task intent or --task reply"):
        ask_run.open_run(tmp_path, Listener())
