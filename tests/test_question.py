"""A folder belongs to one command and one question."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.artifact import create
from shoptalk.errors import StorageError
from shoptalk.question import FILE, Question, claim, clear_work, question_of
from tests.attacks import STRANGE

ASKED = Question.of("pretrain", {"objective": "mlm", "train": {"clip": 1.0}}, sources={"a.txt": "1"}, base="abc")


def finish(folder: Path, name: str) -> None:
    with create(folder / name, kind=name, config={}, parents={}) as inside:
        (inside / "weights").write_text("learned")


def test_the_same_question_again_goes_on(tmp_path: Path) -> None:
    claim(tmp_path, ASKED)
    finish(tmp_path, "encoder")
    claim(tmp_path, ASKED)
    assert question_of(tmp_path) == ASKED


def test_another_question_is_free_to_take_a_folder_where_nothing_is_finished(tmp_path: Path) -> None:
    claim(tmp_path, ASKED)
    other = Question.of("pretrain", {"objective": "simcse"}, sources={"a.txt": "1"}, base="abc")
    claim(tmp_path, other)
    assert question_of(tmp_path) == other


def test_another_question_to_finished_work_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    claim(tmp_path, ASKED)
    finish(tmp_path, "encoder")
    other = Question.of("pretrain", {"objective": "simcse", "train": {"clip": 1.0}}, sources={"a.txt": "2"}, base="abc")
    with pytest.raises(StorageError, match=r"for another question \(objective: mlm -> simcse; sources"):
        claim(tmp_path, other)
    assert question_of(tmp_path) == ASKED
    claim(tmp_path, other, force=True)
    assert question_of(tmp_path) == other


def test_an_input_that_changed_is_told_by_its_name_and_not_by_its_hashes(tmp_path: Path) -> None:
    before, now = "0a" * 32, "1b" * 32
    claim(tmp_path, Question.of("pretrain", {}, encoder_weights=before))
    finish(tmp_path, "encoder")
    with pytest.raises(StorageError, match=r"\(encoder weights: its content is not what it was then\)"):
        claim(tmp_path, Question.of("pretrain", {}, encoder_weights=now))


def test_another_command_is_refused_even_where_nothing_is_finished(tmp_path: Path) -> None:
    claim(tmp_path, ASKED)
    with pytest.raises(StorageError, match=r"belongs to `shoptalk pretrain`, and `shoptalk adapt` would overwrite it"):
        claim(tmp_path, Question.of("adapt", {}))


@pytest.mark.parametrize(
    ("results", "command"),
    [
        (["decision", "encoder", "head"], "adapt"),
        (["encoder", "head"], "finetune"),
        (["encoder"], "pretrain"),
        (["corpus"], "curate"),
    ],
)
def test_finished_work_of_a_version_without_records_is_not_replaced(
    tmp_path: Path, results: list[str], command: str
) -> None:
    for name in results:
        finish(tmp_path, name)
    with pytest.raises(StorageError, match=f"of `shoptalk {command}`, made by an earlier version"):
        claim(tmp_path, ASKED)
    claim(tmp_path, ASKED, force=True)
    assert question_of(tmp_path) == ASKED


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["work/thesis.txt", "report.html", "log.jsonl", "plan.json", "verdict.json"])
def test_somebodys_own_files_are_not_taken_for_a_commands(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    first = Path(name).parts[0]
    with pytest.raises(StorageError, match=rf"holds {first}, which is not Shoptalk's .* move it away"):
        claim(tmp_path, ASKED, force=force)
    assert (tmp_path / name).read_text() == "mine" and question_of(tmp_path) is None
    claim(tmp_path, Question.of("curate", {}))  # which replaces none of these
    (tmp_path / FILE).unlink()
    (tmp_path / name).rename(tmp_path / "away.txt")
    if name.startswith("work"):
        (tmp_path / "work").rmdir()
    claim(tmp_path, ASKED)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("the command's own")
    claim(tmp_path, ASKED)


def test_a_file_among_unfinished_work_stays(tmp_path: Path) -> None:
    (tmp_path / "work" / "0123456789abcdef").mkdir(parents=True)
    (tmp_path / "work" / "0123456789abcdef" / "log.jsonl").write_text("{}\n")
    (tmp_path / "work" / "thesis.txt").write_text("mine")
    clear_work(tmp_path)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["thesis.txt"]
    (tmp_path / "work" / "thesis.txt").unlink()
    clear_work(tmp_path)
    clear_work(tmp_path)  # nothing is there
    assert not (tmp_path / "work").exists()


def test_a_setting_that_a_later_version_added_makes_no_other_question(tmp_path: Path) -> None:
    claim(tmp_path, ASKED)
    finish(tmp_path, "encoder")
    claim(tmp_path, Question.of("pretrain", {"objective": "mlm", "new": True}, sources={"a.txt": "1"}, base="abc"))


@pytest.mark.parametrize("rates", [(None, "0.1"), ("0.1", None), ("0.1", "0.2")])
def test_an_objectives_setting_that_is_given_or_left_out_makes_another_question(
    tmp_path: Path, rates: tuple[str | None, str | None]
) -> None:
    before, now = (
        Question.of("pretrain", {"objectives": {"mlm": {} if rate is None else {"lr": rate}}}) for rate in rates
    )
    claim(tmp_path, before)
    finish(tmp_path, "encoder")
    shown = [rate or "its default" for rate in rates]
    with pytest.raises(StorageError, match=rf"another question \(objectives.mlm.lr: {shown[0]} -> {shown[1]}\)"):
        claim(tmp_path, now)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_record_that_cannot_be_read_is_said_to_be_so(tmp_path: Path, strange: Callable[[Path], object]) -> None:
    strange(tmp_path / FILE)
    with pytest.raises(StorageError, match=r"question.json cannot be read"):
        claim(tmp_path, ASKED)


@given(
    st.dictionaries(st.text(min_size=1), st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.text()))
)
def test_a_question_differs_from_itself_in_nothing(settings: dict) -> None:
    assert Question.of("adapt", settings).differences(Question.of("adapt", settings)) == []
