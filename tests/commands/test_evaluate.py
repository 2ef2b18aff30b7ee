"""`shoptalk evaluate`: generated texts measured, compared, and refused where they cannot be."""

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sacrebleu", reason="the extra `texts` is not installed")
pytest.importorskip("rouge_score", reason="the extra `texts` is not installed")

from shoptalk.commands.evaluate import evaluate_texts
from shoptalk.curate.generated_texts import read_generated
from shoptalk.errors import InputError, SourceError
from shoptalk.evaluate.extractive import baselines
from tests.command_line import call

PLACES = ("Oster Quay", "Marrow Island", "North Pier", "Old Town")
DIALOGUE = [
    {"role": "customer", "text": "Hello."},
    {"role": "agent", "text": "Good morning, where would you like to go with us today?"},
    {"role": "customer", "text": "Where my sister lives."},
    {"role": "agent", "text": "Fine."},
]


def rows(n: int = 24, *, wrong: bool = False) -> list[dict[str, Any]]:
    """Good texts, or such as name another price."""
    return [
        {
            "prompt": f"What is the fare, question {i}?",
            "reference": f"A ticket to {PLACES[i % 4]} costs {i + 3} crowns on weekdays.",
            "candidate": f"It costs {i + (9 if wrong else 3)} crowns to go to {PLACES[i % 4]}.",
            "source": f"Fares. A ticket to {PLACES[i % 4]} costs {i + 3} crowns on weekdays. Children ride free. "
            "Dogs do too. The desk is open.",
        }
        for i in range(n)
    ]


def written(path: Path, given: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(given[0]))
            table.writeheader()
            table.writerows(given)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
    return path


def scores_of(measured: Any) -> dict[str, float]:
    return {score.key: score.value for score in measured}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_file_of_texts_is_measured_by_every_score_with_an_interval(tmp_path: Path, form: str) -> None:
    measures = evaluate_texts(written(tmp_path / f"new.{form}", rows()))
    assert list(scores_of(measures.levels)) == ["bleu", "chrf", "rouge1", "rouge2", "rougeL", "support"]
    assert all(score.interval[0] <= score.value <= score.interval[1] for score in measures.levels)
    assert scores_of(measures.levels)["support"] == 100 and measures.stated == measures.supported == 48
    assert measures.texts == 24 and measures.compared == () and "on 24 texts" in measures.sentence


def test_two_systems_are_compared_on_the_same_texts(tmp_path: Path) -> None:
    new, old = written(tmp_path / "new.jsonl", rows()), written(tmp_path / "old.jsonl", rows(wrong=True))
    measures = evaluate_texts(new, against=old)
    (other,) = measures.compared
    assert other.name == "old.jsonl"
    gains = {score.key: score for score in other.gains}
    assert gains["support"].value == pytest.approx(50) and gains["support"].interval[0] > 0
    assert gains["chrf"].value == pytest.approx(scores_of(measures.levels)["chrf"] - scores_of(other.levels)["chrf"])
    assert "Against old.jsonl it differs in" in measures.sentence and "more than chance" in measures.sentence


def test_a_file_against_itself_is_told(tmp_path: Path) -> None:
    new = written(tmp_path / "new.jsonl", rows())
    again = tmp_path / "crlf.jsonl"
    again.write_bytes(new.read_bytes().replace(b"\n", b"\r\n"))
    sentence = evaluate_texts(new, against=again).sentence
    assert "crlf.jsonl has the same text in every row" in sentence and "Give another system's texts" in sentence
    assert "same text" not in evaluate_texts(new, against=written(tmp_path / "o.jsonl", rows(wrong=True))).sentence


def test_a_system_against_itself_may_be_chance(tmp_path: Path) -> None:
    new, old = written(tmp_path / "new.jsonl", rows()), written(tmp_path / "old.jsonl", rows())
    measures = evaluate_texts(new, against=old)
    assert all(score.value == 0 and score.interval[0] < 0 < score.interval[1] for score in measures.compared[0].gains)
    assert "which may be chance" in measures.sentence


def test_what_needs_no_model_is_compared_with(tmp_path: Path) -> None:
    given = [row | {"source": DIALOGUE} for row in rows()]
    measures = evaluate_texts(written(tmp_path / "new.jsonl", given), baselines=True)
    assert [other.name for other in measures.compared] == ["lead-3", "longest turn"]
    plain = evaluate_texts(written(tmp_path / "plain.jsonl", rows()), baselines=True)
    assert [other.name for other in plain.compared] == ["lead-3"]


def test_lead_is_three_sentences_of_a_text_and_three_turns_of_a_conversation(tmp_path: Path) -> None:
    said = {}
    for name, source in (
        ("text", rows(1)[0]["source"]),
        ("passages", ["One. Two.", "Three is here. Four is not."]),
        ("turns", DIALOGUE),
        ("lines", "Anna: Hello.\nBen: We are going to the island on Sunday.\nAnna: Fine.\nBen: Bye."),
    ):
        given = read_generated(
            written(tmp_path / f"{name}.jsonl", [rows(1)[0] | {"source": source}]), needs=["candidate"]
        )
        said[name] = {who: texts[0] for who, texts in baselines(given).items()}
    assert said["text"] == {"lead-3": "Fares. A ticket to Oster Quay costs 3 crowns on weekdays. Children ride free."}
    assert said["passages"] == {"lead-3": "One. Two. Three is here."}
    assert (
        said["turns"]["lead-3"]
        == "Hello. Good morning, where would you like to go with us today? Where my sister lives."
    )
    assert said["turns"]["longest turn"].startswith("Good morning")
    assert said["lines"]["longest turn"] == "We are going to the island on Sunday."


def test_texts_without_sources_have_no_support_and_say_so_where_some_have(tmp_path: Path) -> None:
    given = [{key: row[key] for key in ("reference", "candidate")} for row in rows()]
    measures = evaluate_texts(written(tmp_path / "new.jsonl", given))
    assert "support" not in scores_of(measures.levels) and measures.stated is None
    heard: list[str] = []
    evaluate_texts(written(tmp_path / "some.jsonl", [rows()[0], *given[1:]]), say=heard.append)
    assert any("line 2 of some.jsonl has no source" in line for line in heard)
    with pytest.raises(SourceError, match=r"line 1 of .*new.jsonl has none. Expected a 'source'"):
        evaluate_texts(tmp_path / "new.jsonl", baselines=True)


@pytest.mark.parametrize("empty", ["", None, []])
def test_of_columns_that_mean_the_same_the_first_that_says_something_counts(tmp_path: Path, empty: Any) -> None:
    given = [{"source": empty, "passages": None, "turns": DIALOGUE, "candidate": None, "text": "Fine.", "prompt": "p"}]
    (row,) = read_generated(written(tmp_path / "new.jsonl", given), needs=["candidate"])
    assert row.candidate == "Fine." and row.spoken and row.context[0].text == "Hello."
    table = written(tmp_path / "new.csv", [{"source": "", "passages": "One.", "candidate": "", "text": "x"}])
    (row,) = read_generated(table, needs=["candidate"])
    assert row.passages == ("One.",) and row.candidate == ""  # it wrote nothing, and that counts


def test_what_nobody_can_read_is_taken_out_of_a_text_and_nothing_else_is_repaired(tmp_path: Path) -> None:
    source = "It\u2019s \x1b]0;mine\x07one &amp; CAFÃ‰\x0btwo\r\nthree\rfour\tfive\udc80"
    (row,) = read_generated(written(tmp_path / "new.jsonl", [{"text": source, "prompt": source}]), needs=["candidate"])
    assert row.candidate == row.prompt == "It\u2019s ]0;mineone &amp; CAFÃ‰\ntwo\nthree\nfour\tfive\ufffd"


def test_rouge_of_another_script_is_left_out_and_the_share_of_unknown_words_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [{"candidate": f"Паром {i}.", "reference": "Паром отходит."} for i in range(8)]
    status, output, error = call(capsys, monkeypatch, "evaluate", written(tmp_path / "ru.jsonl", given))
    assert status == 0, error
    assert "ROUGE-1" not in output
    assert "100 % of the references' words have others: it is not given" in output
    german = [{"candidate": f"Brot für {i}.", "reference": "Brot für alle hier."} for i in range(8)]
    path = written(tmp_path / "de.jsonl", german)
    status, output, _ = call(capsys, monkeypatch, "evaluate", path)
    assert "ROUGE-1" in output and "25 % of the references' words have others: it splits them" in output
    assert (
        evaluate_texts(path).beyond_rouge == 25
        and evaluate_texts(written(tmp_path / "e.jsonl", rows())).beyond_rouge == 0
    )


def test_a_text_that_says_nothing_counts_and_is_told(tmp_path: Path) -> None:
    given = rows()
    given[3]["candidate"] = ""
    measures = evaluate_texts(written(tmp_path / "new.jsonl", given))
    assert measures.empty == 1
    assert (
        scores_of(measures.levels)["rouge1"]
        < scores_of(evaluate_texts(written(tmp_path / "b.jsonl", rows())).levels)["rouge1"]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: [row | {"candidate": ""} for row in given], "All 24 candidates .* are empty"),
        (lambda given: [*given[:2], given[2] | {"candidate": None}], "Line 3 of .* has no 'candidate'"),
        (lambda given: [*given[:2], given[2] | {"reference": ""}], "Line 3 of .* has no 'reference'"),
        (lambda given: [*given[:2], given[2] | {"reference": 7}], "Line 3 of .* has '7' as 'reference'"),
        (lambda given: [{"candidate": row["candidate"]} for row in given], "has no 'reference'; its keys: candidate"),
        (lambda given: [given[0] | {"source": 3}, *given[1:]], "Line 1 of .* has a 'source' that is neither a text"),
        (lambda given: given[:1], "has 1 row: an interval over texts needs 2"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_measured_are_named(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        evaluate_texts(written(tmp_path / "new.jsonl", change(rows())))


def test_a_table_without_a_column_says_which_it_has(tmp_path: Path) -> None:
    path = written(tmp_path / "new.csv", [{"candidate": "a", "wanted": "b"}] * 3)
    with pytest.raises(SourceError, match=r"has no column 'reference'. Its columns: candidate, wanted. Expected"):
        evaluate_texts(path)


@pytest.mark.parametrize(("name", "content", "said"), [
    ("none.jsonl", None, r"is not there, or no file.*a 'candidate' \(or 'text'\) and a 'reference' in each row"),
    ("", None, "is a folder. Give a .jsonl or .csv file"),
    ("new.txt", "a\n", r"is no .jsonl or .csv file"),
    ("empty.jsonl", "\n", "has no rows"),
    ("broken.jsonl", '{"candidate": "a", "reference": "b"}\n{"candidate"\n', "Line 2 .* cannot be read: bad-json"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=said):
        evaluate_texts(tmp_path / name)


def test_files_about_other_texts_are_not_compared(tmp_path: Path) -> None:
    new = written(tmp_path / "new.jsonl", rows())
    with pytest.raises(SourceError, match=r"has 24 rows and .*short.jsonl 23"):
        evaluate_texts(new, against=written(tmp_path / "short.jsonl", rows(23)))
    with pytest.raises(SourceError, match=r"Line 1 of .* has another prompt than line 1 of"):
        evaluate_texts(new, against=written(tmp_path / "turned.jsonl", rows()[::-1]))


def test_a_missing_extra_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "sacrebleu" else real(name, *rest)
    )
    with pytest.raises(InputError, match=r"needs the package sacrebleu.*pip install 'shoptalk\[texts\]'"):
        evaluate_texts(written(tmp_path / "new.jsonl", rows()))


def test_the_command_prints_a_table_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = written(tmp_path / "new.jsonl", rows()), written(tmp_path / "old.jsonl", rows(wrong=True))
    status, output, error = call(capsys, monkeypatch, "evaluate", new, "--against", old, "--baselines")
    assert status == 0, error
    assert "over old.jsonl" in output and "over lead-3" in output and "ROUGE-L" in output
    assert "48 of the 48 numbers and names that it states stand in the sources" in output
    status, output, _ = call(capsys, monkeypatch, "evaluate", new, "--json")
    assert status == 0 and json.loads(output)["name"] == "new.jsonl"
    status, _, error = call(capsys, monkeypatch, "evaluate", new, "--against", tmp_path / "none.jsonl")
    assert status == 2 and "is not there" in error
