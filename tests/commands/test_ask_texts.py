"""Two systems' texts, judged blind: what is asked, what is kept, and what follows."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from shoptalk.cli.ask_terminal import drawn
from shoptalk.commands.ask_desk import Desk
from shoptalk.commands.ask_session import Session
from shoptalk.commands.ask_texts import open_texts
from shoptalk.decide.disagreements import Consistency, stand
from shoptalk.errors import InputError, SourceError, StorageError
from tests.command_line import call

PLACE = "127.0.0.1:8123"
N = 60


def rows(system: str, n: int = N) -> list[dict[str, Any]]:
    """Both write the same for every tenth prompt."""
    return [
        {
            "prompt": f"Summarise note {i}.",
            "text": f"Note {i}." if i % 10 == 0 else f"Note {i}, by {system}.",
            "source": f"It is {i}.",
        }
        for i in range(n)
    ]


def written(path: Path, given: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path / "old.jsonl", rows("old")), written(tmp_path / "new.jsonl", rows("new"))


def opened(files: tuple[Path, Path], out: Path, **choices: Any) -> Any:
    return open_texts(*files, out=out, smallest_gain=choices.pop("smallest_gain", 0.5), **choices)


def prefer(session: Session, system: str, times: int) -> None:
    for _ in range(times):
        question = session.question()
        assert question is not None
        session.answer(question.key, next(option for option in question.options if system in option))


def test_only_prompts_on_which_the_two_differ_are_asked_in_random_order_on_random_sides(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    asked, first = [], []
    with opened(files, tmp_path / "out", twice=False, smallest_gain=0.0) as session:
        assert (session.standing.bank, session.standing.disagree) == (N, 54)
        while (question := session.question()) is not None:
            asked.append(int(re.findall(r"\d+", question.text)[0]))
            first.append("new" in question.options[0])
            assert question.context == (("source", f"It is {asked[-1]}."),) and len(question.options) == 2
            session.answer(question.key, None, "equal")
    assert sorted(asked) == [i for i in range(N) if i % 10] and asked != sorted(asked)
    assert 15 < sum(first) < 39


def test_what_follows_is_what_follows_from_answers_about_messages(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out", twice=False) as session:
        prefer(session, "new", 12)
        prefer(session, "old", 3)
        for given in ("equal", "bad", "bad"):
            question = session.question()
            assert question is not None
            session.answer(question.key, None, given)
        x = np.array([1] * 12 + [-1] * 3 + [0] * 3)
        now, wanted = session.standing, stand(x, disagree=54, bank=N, smallest_gain=0.5, consistency=None)
        assert (now.low, now.high, now.gain) == (wanted.low, wanted.high, wanted.gain)
        assert now.gain == pytest.approx(100 * 54 / 60 * 9 / 18)
        said = session.sentence
    assert "They differ on 54 of 60 prompts." in said
    assert "better 12 times, the old one 3 times, neither 3 times (1 equally good, 2 both bad)" in said


def test_a_clear_preference_settles_it_and_the_folder_says_so(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out", twice=False) as session:
        while session.question() is not None:
            prefer(session, "new", 1)
        assert session.choice == "adopt" and session.standing.asked < 54
        session.conclude()
    judged = json.loads((tmp_path / "out" / "judged.json").read_text())
    assert judged["choice"] == "adopt" and judged["systems"] == ["old", "new"] and judged["interval"][0] > 0.5


def test_the_same_command_goes_on_and_other_files_begin_anew(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out") as session:
        prefer(session, "new", 4)
        following = session.question()
    with opened(files, tmp_path / "out") as session:
        assert session.asked == 4 and session.question() == following
        assert session.undo() and session.asked == 3
    other = written(tmp_path / "new.jsonl", [row | {"text": row["text"] + "!"} for row in rows("new")])
    with opened((files[0], other), tmp_path / "out") as session:
        assert session.asked == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and set(lines[0]["systems"]) == {"old", "new"} and "new" in lines[0]["label"]


@pytest.mark.parametrize("change", ["a row", "a name"])
def test_what_was_judged_of_other_texts_is_not_deleted(files: tuple[Path, Path], tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    with opened(files, out, twice=False) as session:
        prefer(session, "new", 2)
        session.conclude()
    judged = (out / "judged.json").read_bytes()
    given = [row | {"text": f"{row['text']}!"} for row in rows("new")] if change == "a row" else rows("new")
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other" / f"{'new' if change == 'a row' else 'renamed'}.jsonl", given)
    refused = pytest.raises(StorageError, match=r"judged of other texts \(.*Give another --out")
    with refused, opened((files[0], other), out, twice=False) as session:
        session.conclude()
    assert (out / "judged.json").read_bytes() == judged
    with opened(files, out, twice=False) as session:
        assert session.asked == 2


def test_some_prompts_come_twice_and_their_answers_widen_the_interval(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out", smallest_gain=0.0) as session:
        again = 0
        while (question := session.question()) is not None:
            again += question.again
            session.answer(question.key, None, "bad")
        assert again >= 1 and "asked twice" in session.sentence
        alone = stand(
            np.zeros(54, dtype=np.int64), disagree=54, bank=N, smallest_gain=0.0, consistency=Consistency(0, 0)
        )
        assert session.standing.asked == alone.asked


def test_what_comes_twice_has_its_sides_changed(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Who always takes the first one contradicts himself, and the interval is widened for it."""
    first: dict[str, tuple[str, ...]] = {}
    with opened(files, tmp_path / "out", smallest_gain=0.0) as session:
        twice = 0
        while (question := session.question()) is not None:
            if question.again:
                assert question.options == first[question.key][::-1]
                twice += 1
            first.setdefault(question.key, question.options)
            session.answer(question.key, question.options[0])
        outcome = session.outcome()
    assert outcome.twice == twice > 0 and outcome.same == 0


def test_equal_texts_leave_nothing_to_choose(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a.jsonl", rows("x")), written(tmp_path / "b.jsonl", rows("x"))
    with opened((one, other), tmp_path / "out") as session:
        assert session.finished and "They write the same for all 60 prompts" in session.sentence
        assert "if one of the two files is not the one that you meant, give the other" in session.sentence
        assert "Everything is answered" not in session.sentence


def test_answers_that_say_not_why_neither_is_better_are_counted(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out", twice=False) as session:
        for given in ("none", "equal", "none"):
            question = session.question()
            assert question is not None
            session.answer(question.key, None, given)
        assert "neither 3 times (1 equally good, 0 both bad, 2 without saying which)" in session.sentence


def test_an_answer_that_there_is_not_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out") as session:
        question = session.question()
        assert question is not None
        with pytest.raises(InputError, match="There is no answer 'fine' here"):
            session.answer(question.key, None, "fine")
        with pytest.raises(InputError, match=r"'x' is neither of the two texts that are asked about\. Give one of"):
            session.answer(question.key, "x")


def test_a_conversation_is_shown_turn_by_turn_and_a_source_alone_is_the_question(tmp_path: Path) -> None:
    turns = [{"role": "customer", "text": "Where is it?"}, {"role": "agent", "text": "Here."}]
    for name, given in {
        "turns": {"prompt": "Reply.", "turns": turns},
        "alone": {"source": "A long document."},
    }.items():
        pair = [written(tmp_path / f"{name}-{who}.jsonl", [given | {"text": who}]) for who in ("old", "new")]
        with opened((pair[0], pair[1]), tmp_path / name) as session:
            question = session.question()
            assert question is not None
            if name == "turns":
                assert (
                    question.context == (("customer", "Where is it?"), ("agent", "Here.")) and question.text == "Reply."
                )
            else:
                assert question.context == () and question.text == "A long document."
    bare = [written(tmp_path / f"bare-{who}.jsonl", [{"text": who}]) for who in ("old", "new")]
    with (
        pytest.raises(SourceError, match="says not what the texts were written for"),
        opened((bare[0], bare[1]), tmp_path / "x"),
    ):
        pass


def test_the_folder_of_another_command_is_not_taken(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "question.json").write_text(json.dumps({"command": "adapt", "asked": {}}))
    with pytest.raises(StorageError, match=r"belongs to `shoptalk adapt`.*Give another --out\.$"), opened(files, out):
        pass


# --- the page -----------------------------------------------------------------------------------------------------


class OnPage:
    """A browser without a script."""

    def __init__(self, session: Session) -> None:
        self.desk = Desk(session, run="old and new", again="old new --out out", place=PLACE, linger=60.0)
        self.client = TestClient(self.desk.app(), base_url=f"http://{PLACE}", follow_redirects=True)

    def page(self) -> str:
        return self.client.get(f"/{self.desk.secret}/").text

    def send(self, verb: str, choice: str) -> tuple[int, str]:
        data = {"turn": str(self.desk.turn), "choice": choice}
        answer = self.client.post(f"/{self.desk.secret}/{verb}", data=data)
        return answer.status_code, answer.text


def test_the_page_asks_which_text_is_better_and_takes_equal_and_both_bad(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with opened(files, tmp_path / "out") as session:
        reader = OnPage(session)
        page = reader.page()
        assert "Which of these two texts is better?" in page and "Equally good" in page and "Both bad" in page
        assert "None of these" not in page and "Another label" not in page and "Similar messages" not in page
        for choice, kept in (("equal", "Kept: equally good."), ("bad", "Kept: both bad."), ("o1", "Kept: Note")):
            status, page = reader.send("answer", choice)
            assert status == 200 and kept in page
        assert reader.send("answer", "none")[0] == 400
        lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
        assert [line["given"] for line in lines] == ["equal", "bad", "answer"]
        assert "shoptalk ask old new --out out" in reader.send("close", "")[1]


def test_nothing_tells_which_system_wrote_what_while_texts_are_judged(tmp_path: Path) -> None:
    """The same texts under each other's name, and answered alike, give the same pages until the end."""
    pages: dict[str, list[str]] = {}
    for folder, names in (("one", ("old", "new")), ("other", ("new", "old"))):
        (tmp_path / folder).mkdir()
        given = [
            written(tmp_path / folder / f"{name}.jsonl", rows(who)) for name, who in zip(names, ("A", "B"), strict=True)
        ]
        with opened((given[0], given[1]), tmp_path / folder / "out", twice=False) as session:
            reader = OnPage(session)
            pages[folder] = []
            for _ in range(8):
                page = reader.page()
                pages[folder].append(page)
                question = session.question()
                assert question is not None
                reader.send("answer", f"o{next(i for i, text in enumerate(question.options) if 'B' in text)}")
    for page in (*pages["one"], *pages["other"]):
        aside = page.partition("<aside")[2]
        assert "better" not in aside.replace("Which of the two gains", "") and "<svg" not in aside
        assert "Only" not in aside and "points" not in aside
        assert "would settle it" not in page and "of 54 answered" in aside


def test_the_terminal_tells_no_more_of_texts_than_how_many_are_judged(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out", twice=False) as session:
        prefer(session, "new", 4)
        prefer(session, "old", 1)
        assert drawn(session) == "5 answered"
        while session.question() is not None:
            prefer(session, "new", 1)
        assert drawn(session).endswith("; settled")


def test_the_end_shows_how_the_two_stand(files: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(files, tmp_path / "out", twice=False) as session:
        while session.question() is not None:
            prefer(session, "new", 1)
        page = OnPage(session).page()
    assert "Settled by" in page and "take new" in page and "<svg" in page and "future prompts" in page


# --- the command --------------------------------------------------------------------------------------------------


def test_a_file_may_answer_for_a_person_and_json_says_what_came_of_it(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preferred = [{"text": row["prompt"], "label": row["text"]} for row in rows("new")]
    answers = written(tmp_path / "preferred.jsonl", preferred)
    out = tmp_path / "out"
    status, output, error = call(capsys, monkeypatch, "ask", *files, "--out", out, "--answers", answers, "--json")
    assert status == 0, error
    said = json.loads(output)
    assert said["choice"] == "adopt" and said["bank"] == N and "the new one was better" in said["sentence"]
    assert (out / "judged.json").is_file()
    status, output, _ = call(
        capsys, monkeypatch, "ask", *files, "--out", out, "--smallest-gain", "95", "--answers", answers
    )
    assert status == 0 and not output.startswith("choice: adopt")


def test_a_file_answers_each_of_several_rows_with_one_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is of the row that has its text, quotation marks and all; what fits none, or two, is not answered."""
    one = [{"prompt": "Say it.", "text": f"It\u2019s {i}, by old."} for i in range(4)]
    other = [row | {"text": row["text"].replace("old", "new")} for row in one]
    one, other = ([*part, {"prompt": "Again.", "text": f"{i}"}] for part, i in ((one, 1), (other, 2)))
    better = [("Say it.", other[0]), ("Say it.", one[1]), ("Say it.", other[2]), ("Say it.", one[2])]
    lines = [{"text": prompt, "label": row["text"]} for prompt, row in better]
    lines.append({"text": "Again.", "label": None})
    files = written(tmp_path / "old.jsonl", one), written(tmp_path / "new.jsonl", other)
    answers, out = written(tmp_path / "preferred.jsonl", lines), tmp_path / "out"
    status, _, error = call(capsys, monkeypatch, "ask", *files, "--out", out, "--answers", answers, "--json")
    assert status == 0, error
    assert "preferred.jsonl has no answer to 2 of the prompts asked about" in error
    kept = {
        row["systems"]["new"]: row["label"] for row in map(json.loads, (out / "answers.jsonl").read_text().splitlines())
    }
    assert kept == {other[0]["text"]: other[0]["text"], other[1]["text"]: one[1]["text"], "2": None}
    strangers = written(tmp_path / "strangers.jsonl", [{"text": "Say it.", "label": "Nobody wrote this."}])
    status, _, error = call(capsys, monkeypatch, "ask", *files, "--out", tmp_path / "x", "--answers", strangers)
    assert status == 2 and "know none of the 5 prompts on which old and new differ. Give the better text" in error


@pytest.mark.parametrize(("words", "said"), [
    ([], "Give --out DIR"),
    (["--out", "x", "--systems", "base,adapted"], "--bank and --systems are for a run"),
])  # fmt: skip
def test_options_of_the_other_kind_of_asking_are_refused(
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    status, _, error = call(capsys, monkeypatch, "ask", *files, *words)
    assert status == 2 and said in error
    status, _, error = call(capsys, monkeypatch, "ask", files[0].parent, "--smallest-gain", "2")
    assert status == 2 and "--out and --smallest-gain are for two files" in error


def test_answers_about_the_files_the_other_way_round_are_told_and_do_not_count(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with opened(files, out) as session:
        prefer(session, "new", 4)
    preferred = [{"text": row["prompt"], "label": row["text"]} for row in rows("new")]
    words = ["--out", out, "--answers", written(tmp_path / "preferred.jsonl", preferred)]
    status, _, error = call(capsys, monkeypatch, "ask", *files[::-1], *words)
    assert status == 0 and f"4 answers in {out} are about other texts" in error
    assert "give another --out" in error and "the other way round" in error
    assert "about other texts" not in call(capsys, monkeypatch, "ask", *files, "--out", tmp_path / "a", *words[2:])[2]


def test_without_a_terminal_no_folder_is_made(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    status, _, error = call(capsys, monkeypatch, "ask", *files, "--out", tmp_path / "out")
    assert status == 2 and "There is no terminal to ask in" in error and "--page" in error
    assert not (tmp_path / "out").exists()
