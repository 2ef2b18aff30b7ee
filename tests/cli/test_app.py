import contextlib
import errno
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

from shoptalk import __version__
from shoptalk.cli import app
from shoptalk.cli.options import replaying
from shoptalk.config import load
from shoptalk.evaluate.bench import measure
from shoptalk.evaluate.foreign import foreign_sentences
from shoptalk.nn.encoder import TextEncoder
from shoptalk.probes.forgetting import general_pairs
from tests.command_line import call
from tests.conftest import SmallWorld

TINY = ["--set", "draws=5", "--set", "shots=2", "--budget", "9ktok", "--candidates", "neighbours,none",
        "--set", "objectives.neighbours.batch=8"]  # fmt: skip


@pytest.fixture
def shoptalk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *words: call(capsys, monkeypatch, *words)


def test_init_writes_a_file_that_adapt_accepts_and_never_overwrites_it(shoptalk: Any, tmp_path: Path) -> None:
    assert shoptalk("init", tmp_path)[0] == 0
    status, _, error = shoptalk("init", tmp_path)
    assert status == 2 and "exists already" in error


def test_the_whole_road_from_adapt_to_predict(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    status, output, error = shoptalk(
        "adapt", world.conversations, "--labels", world.labels, "--base", tiny_base, "--out", out, "--json", *TINY
    )
    assert status == 0, error
    verdict = json.loads(output)
    promised = "choice objective metric base adapted gain interval confidence n_examples n_draws labels_needed sentence"
    assert {*promised.split(), "spent", "candidates"} <= set(verdict)
    texts, labels = zip(*(line.split(",") for line in world.labels.read_text().splitlines()[1::40]), strict=True)
    status, output, _ = shoptalk("predict", out, *texts, "--json")
    assert status == 0 and [row["label"] for row in json.loads(output)] == list(labels)
    status, output, _ = shoptalk("report", out, "--format", "md")
    assert status == 0 and verdict["sentence"][:40] in output
    status, output, _ = shoptalk("report", out)
    assert Path(output.strip()).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_compare_gives_both_accuracies_and_an_interval_for_each_number_of_shots(
    shoptalk: Any, world: SmallWorld, tiny_base: Path
) -> None:
    status, output, _ = shoptalk(
        "compare", tiny_base, tiny_base, "--labels", world.labels, "--test", world.labels, "--shots", "1,full",
        "--draws", 3, "--json",
    )  # fmt: skip
    assert status == 0
    rows = json.loads(output)["shots"]
    assert list(rows) == ["1", "full"]
    assert rows["1"]["gain"] == 0 and rows["1"]["draws"] == 3 and rows["full"]["draws"] == 1


def test_probe_prints_accuracy_for_each_number_of_shots(shoptalk: Any, world: SmallWorld, tiny_base: Path) -> None:
    status, output, _ = shoptalk(
        "probe", tiny_base, "--labels", world.labels, "--test", world.labels, "--shots", "2", "--json"
    )
    assert status == 0 and 0 <= json.loads(output)["shots"]["2"]["accuracy"] <= 100


def test_pretrain_leaves_an_encoder_and_a_log_and_is_instant_the_second_time(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    words = ["pretrain", world.conversations, "--objective", "turns", "--base", tiny_base, "--steps", 3,
             "--set", "objectives.turns.batch=8", "--out", tmp_path / "p"]  # fmt: skip
    assert shoptalk(*words)[0] == 0
    log = (tmp_path / "p" / "log.jsonl").read_text()
    rows = [json.loads(line) for line in log.splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all({"loss", "tokens", "seconds"} <= set(row) for row in rows)
    assert (tmp_path / "p" / "encoder" / "model.safetensors").exists()
    assert shoptalk(*words)[0] == 0
    assert (tmp_path / "p" / "log.jsonl").read_text() == log


def test_pretrain_keeps_forecast_and_fact_beside_its_plan(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    words = ["pretrain", world.conversations, "--objective", "turns", "--base", tiny_base,
             "--set", "objectives.turns.batch=8", "--out", tmp_path / "p"]  # fmt: skip
    status, _, error = shoptalk(*words, "--budget", "2ktok", "--price", 1.2)
    assert status == 0 and "EUR" in error
    plan = json.loads((tmp_path / "p" / "plan.json").read_text())
    spent = plan["spent"]
    rows = [json.loads(line) for line in (tmp_path / "p" / "log.jsonl").read_text().splitlines()]
    assert spent["tokens"] == sum(row["tokens"] for row in rows)
    assert spent["seconds"] >= sum(row["seconds"] for row in rows)
    assert spent["ratio"]["tokens"] == pytest.approx(spent["tokens"] / plan["forecast"]["tokens"], abs=1e-3)
    assert 0.5 < spent["ratio"]["tokens"] < 1.5
    steps = shoptalk(*words, "--budget", "2ktok", "--price", 2.4, "--set", "train.snapshot_seconds=7")
    assert steps[0] == 0 and "step" not in steps[2]  # neither changes the result: nothing is trained


def test_distill_prints_teacher_and_student_side_by_side(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    words = ["distill", tiny_base, world.conversations, "--out", tmp_path / "d", "--steps", 2,
             "--set", "objectives.distil.batch=8"]  # fmt: skip
    status, output, _ = shoptalk(*words)
    assert status == 0 and "teacher" in output and "student" in output and "texts/s" in output
    status, output, _ = shoptalk(*words, "--json")
    found = json.loads(output)
    assert status == 0 and (found["teacher"]["layers"], found["student"]["layers"]) == (2, 1)
    assert (Path(found["encoder"]) / "model.safetensors").exists()
    assert shoptalk(*words, "--budget", "1m")[0] == 2


def test_embed_writes_one_row_a_text_in_order(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "v.npy"
    assert shoptalk("embed", tiny_base, world.conversations, "--out", out)[0] == 0
    vectors = np.load(out)
    rows = out.with_suffix(".jsonl").read_text().splitlines()
    assert vectors.shape == (160, 32) and len(rows) == 160
    assert json.loads(rows[1])["turn"] == 1


def test_the_wrong_domain_shares_no_sentence_with_the_forgetting_guard() -> None:
    judged = {sentence for pair in general_pairs() for sentence in (pair.a, pair.b)}
    foreign = foreign_sentences()
    assert len(set(foreign)) == len(foreign) == 2_000
    assert not judged & set(foreign)


def test_a_control_of_equal_encoders_is_decided_as_a_run_is(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precisions = []

    def spy(product: TextEncoder, *rest: Any, **more: Any) -> Any:
        precisions.append(product.precision)
        return measure(product, *rest, **more)

    monkeypatch.setattr("shoptalk.control.measure", spy)
    monkeypatch.setattr("shoptalk.stages.baseline.measure", spy)
    status, output, error = shoptalk(
        "control", "aa", world.conversations, "--labels", world.labels, "--base", tiny_base, "--out", tmp_path / "c",
        "--json", *TINY, "--set", "train.precision=bfloat16",
    )  # fmt: skip
    assert status == 0, error
    assert precisions == ["bfloat16"] * 5  # the base and four challengers
    verdict = json.loads(output)["verdict"]
    assert len(verdict["candidates"]) == 4 and verdict["heads"]["base"] and verdict["rule"]


def test_a_finished_control_is_not_replaced_by_one_of_other_sources(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    arguments = ("--labels", world.labels, "--base", tiny_base, "--out", tmp_path / "c", "--json", *TINY)
    assert shoptalk("control", "aa", world.conversations, *arguments)[0] == 0
    with world.conversations.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": "a text that was not there before"}) + "\n")
    status, _, error = shoptalk("control", "aa", world.conversations, *arguments)
    assert status == 2 and "a finished control for another question (sources: " in error


def test_a_control_says_that_its_labels_file_does_not_exist(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    for kind in ("aa", "wrong-domain", "shuffled-labels"):
        status, _, error = shoptalk(
            "control", kind, world.conversations, "--labels", tmp_path / "no.csv", "--out", tmp_path / "c", *TINY
        )
        assert status == 2 and "no.csv does not exist" in error


@pytest.mark.parametrize("kind", ["aa", "shuffled-labels", "wrong-domain"])
@pytest.mark.slow
def test_a_control_is_never_adopted(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, kind: str
) -> None:
    status, output, error = shoptalk(
        "control", kind, world.conversations, "--labels", world.labels, "--base", tiny_base, "--out", tmp_path / "c",
        "--json", *TINY,
    )  # fmt: skip
    assert status == 0, error
    assert json.loads(output)["passed"]


def test_curate_counts_what_it_kept_and_dropped(shoptalk: Any, world: SmallWorld, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    again.write_bytes(world.conversations.read_bytes())
    status, output, _ = shoptalk("curate", world.conversations, again, "--out", tmp_path / "c", "--json")
    assert status == 0
    found = json.loads(output)
    assert found["documents"] == 40 and found["drops"] == {"duplicate": 40}


def test_curate_adapt_and_finetune_say_what_was_left_out_and_where_it_stands(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    with world.labels.open("a", encoding="utf-8") as file:
        file.write("no label at all,\n,card\n")
    said = shoptalk("curate", world.conversations, world.labels, "--out", tmp_path / "c")[1]
    assert f"left out: 1 (1 empty), each with its reason in {tmp_path / 'c' / 'corpus' / 'drops.jsonl'}" in said
    words = ["adapt", world.conversations, "--labels", world.labels, "--base", tiny_base, "--out", tmp_path / "a"]
    status, said, error = shoptalk(*words, *TINY[:-3], "none")
    assert status == 0, error
    reasons = dict.fromkeys(["no-label", "empty"], 1)
    assert f"left out: 2 (1 no-label, 1 empty), each with its reason in {tmp_path / 'a' / 'corpus'}" in said
    words = ["finetune", tiny_base, "--labels", world.labels, "--out", tmp_path / "f"]
    said = shoptalk(*words)[1]
    path = tmp_path / "f" / "head" / "drops.jsonl"
    assert f"left out: 2 (1 no-label, 1 empty), each with its reason in {path}" in said
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["labels.csv#122", "labels.csv#123"]
    assert json.loads(shoptalk(*words, "--json")[1])["drops"] == reasons
    words = [*words[:-1], tmp_path / "u", "--unlabelled", world.conversations]
    assert json.loads(shoptalk(*words, "--json")[1])["drops_file"] == "corpus/drops.jsonl"


def test_probe_and_compare_say_what_was_left_out_of_each_file_and_print_the_same_json(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    test = tmp_path / "test.csv"
    test.write_bytes(world.labels.read_bytes())
    words = ["--labels", world.labels, "--test", test, "--shots", "1", "--draws", 2, "--json"]
    probe, compare = ["probe", tiny_base, *words], ["compare", tiny_base, tiny_base, *words]
    before = [shoptalk(*command) for command in (probe, compare)]
    assert not any("left out" in error for _, _, error in before)
    with world.labels.open("a", encoding="utf-8") as file:
        file.write("no label at all,\n,card\n")
    with test.open("a", encoding="utf-8") as file:
        file.write("nor here,\n")
    for command, (_, json_before, _) in zip((probe, compare), before, strict=True):
        status, output, error = shoptalk(*command)
        assert (status, output) == (0, json_before)
        assert "labels.csv: 2 left out (1 no-label, 1 empty). The first: labels.csv#122: no 'label'." in error
        assert "test.csv: 1 left out (1 no-label). The first: test.csv#122: no 'label'." in error


@pytest.mark.parametrize(
    "words",
    [
        ["control", "aa"],
        ["control", "shuffled-labels"],
        ["distill"],
        ["pretrain", "--objective", "mlm", "--steps", "1", "--set", "objectives.mlm.batch=8"],
    ],
)
def test_control_distill_and_pretrain_say_what_was_left_out_too(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, words: list[str]
) -> None:
    for path, row in ((world.labels, ",card"), (world.conversations, "{not json")):
        with path.open("a", encoding="utf-8") as file:
            file.write(row + "\n")
    if words == ["distill"]:
        words = [*words, tiny_base, "--labels", world.labels, "--steps", "1", "--set", "objectives.distil.batch=8"]
    elif words[0] == "control":
        words = [*words, "--labels", world.labels, "--base", tiny_base, *TINY[:-3], "none"]
    else:
        words = [*words, "--base", tiny_base]
    status, output, error = shoptalk(*words, world.conversations, "--out", tmp_path / "o", "--json")
    assert status == 0, error
    assert "left out" not in output
    assert "1 bad-json" in error and f"each with its reason in {tmp_path / 'o' / 'corpus' / 'drops.jsonl'}" in error
    if words[0] != "pretrain":
        assert "1 empty" in error


def test_adapt_leaves_a_label_with_one_example_out_with_a_sentence_and_refuses_it_where_settings_say_so(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    with world.labels.open("a", encoding="utf-8") as file:
        file.write("where did my voucher go,voucher\n")
    words = ["adapt", world.conversations, "--labels", world.labels, "--base", tiny_base, *TINY[:-3], "none"]
    status, _, error = shoptalk(*words, "--out", tmp_path / "a", "--set", "curate.rare_labels=refuse")
    assert status == 2 and "'voucher'" in error and "--set curate.rare_labels=drop" in error
    status, output, error = shoptalk(*words, "--out", tmp_path / "b")
    assert status == 0, error
    assert "labels.csv: 1 label has fewer than 2 independent examples ('voucher'), so 1 row is left out" in error
    assert "left out: 1 (1 rare-label)" in output
    drop = json.loads((tmp_path / "b" / "corpus" / "drops.jsonl").read_text())
    assert (drop["id"], drop["reason"]) == ("labels.csv#122", "rare-label")


@pytest.mark.parametrize(
    "command", ["adapt", "curate", "control aa", "control wrong-domain", "control shuffled-labels", "pretrain"]
)
def test_a_source_that_is_given_as_out_too_is_refused_and_nothing_stays_in_it(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, command: str
) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    world.conversations.rename(source / "chats.jsonl")
    words = {"pretrain": ["--objective", "mlm"], "curate": []}.get(
        command.partition(" ")[0], ["--labels", world.labels]
    )
    base = [] if command == "curate" else ["--base", tiny_base]
    status, _, error = shoptalk(*command.split(), source, *words, *base, "--out", source)
    assert status == 2 and "given as a source and as --out" in error
    assert [path.name for path in source.iterdir()] == ["chats.jsonl"]


def test_every_commands_help_shows_what_stands_in_brackets() -> None:
    group: Any = typer.main.get_command(app.app)
    for name, command in group.commands.items():
        texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
        page = CliRunner(env={"COLUMNS": "400", "NO_COLOR": "1"}).invoke(app.app, [name, "--help"]).output
        shown = " ".join(page.split())
        for words in re.findall(r"\[[^\]]*\]", " ".join(" ".join(texts).split())):
            assert words in shown, f"shoptalk {name} --help: write \\{words}, which rich takes for a style"
    embed = CliRunner(env={"COLUMNS": "400"}).invoke(app.app, ["embed", "--help"]).output
    assert "A .npy file: [texts, dimensions]." in embed


@pytest.mark.parametrize("command", ["objectives", "models"])
def test_lists_are_there_for_people_and_for_scripts(shoptalk: Any, command: str) -> None:
    assert shoptalk(command)[0] == 0
    assert json.loads(shoptalk(command, "--json")[1])


def test_objectives_stand_under_what_they_train(shoptalk: Any) -> None:
    blocks = [block.splitlines() for block in shoptalk("objectives")[1].strip().split("\n\n")]
    under = {heading: {row.split()[0] for row in rows} for heading, *rows in blocks}
    assert {"mlm", "mosaic"} <= under["Text encoders"] and under["Image encoders"] == {
        "simclr", "moco", "byol", "dino", "mae",
    }  # fmt: skip
    assert under["Encoders of pictures and texts"] == {"clip"} and "clm" in under["Language models"]
    told = {row["name"]: row["trains"] for row in json.loads(shoptalk("objectives", "--json")[1])}
    assert told["span"] == ["encoder–decoder language models"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "soon"], "is not a budget"),
        (["--budget", "0.50eur"], "add --price 1.20"),
        (["--set", "train.clipp=1"], "Did you mean 'clip'"),
        (["--candidates", "simsce"], "Did you mean 'simcse'"),
        (["--set", "objectives.simcse.lrr=1"], "Did you mean 'lr'"),
        (["--base", "minilmm"], "No model 'minilmm'"),
    ],
)
def test_wrong_settings_exit_with_2_and_say_what_to_do(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    base = [] if "--base" in words else ["--base", tiny_base]
    status, output, error = shoptalk("adapt", world.conversations, "--out", tmp_path / "r", *base, *words)
    assert (status, output) == (2, "") and said in error


@pytest.mark.parametrize(
    "words", [("finetune", "minilm", "--out", "o"), ("distill", "minilm", "d", "--out", "o"), ("dose", "nowhere")]
)
def test_every_command_with_a_budget_in_money_takes_a_price(shoptalk: Any, words: tuple[str, ...]) -> None:
    status, _, error = shoptalk(*words, "--budget", "0.50eur", "--price", 0)
    assert status == 2 and "price" in error and "No such option" not in error and "Did you mean" not in error


def _empty_folder(folder: Path) -> Path:
    path = folder / "empty"
    path.mkdir()
    return path


def _binary(folder: Path) -> Path:
    path = folder / "picture.txt"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def _long_line(folder: Path) -> Path:
    path = folder / "long.txt"
    path.write_bytes(b"x" * 50_000_000)
    return path


def _wrong_column(folder: Path) -> Path:
    path = folder / "wrong.csv"
    path.write_text("message,when\nhello there,today\n")
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_empty_folder, "empty"),
        (_binary, "binary"),
        (_long_line, "line-too-long"),
        (_wrong_column, "curate.text_column"),
        (lambda folder: folder / "missing.jsonl", "missing.jsonl"),
    ],
)
def test_sources_that_hold_nothing_usable_exit_with_2_and_say_why(
    shoptalk: Any, tiny_base: Path, tmp_path: Path, make: Any, said: str
) -> None:
    status, _, error = shoptalk("adapt", make(tmp_path), "--base", tiny_base, "--out", tmp_path / "r")
    assert status == 2 and said in error


def test_an_unreadable_file_among_good_ones_is_kept_as_a_drop_and_the_run_goes_on(
    shoptalk: Any, world: SmallWorld, tmp_path: Path
) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    world.conversations.rename(folder / "good.jsonl")
    (folder / "bad.txt").write_bytes(bytes(range(256)) * 10)
    (folder / "cut.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    status, output, _ = shoptalk("curate", folder, "--out", tmp_path / "c", "--json")
    found = json.loads(output)
    assert status == 0 and found["documents"] == 40 and sum(found["drops"].values()) == 2


def test_labels_with_one_class_are_refused(shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path) -> None:
    labels = tmp_path / "one.csv"
    labels.write_text("text,label\nhello there,greeting\ngood day to you,greeting\n")
    status, _, error = shoptalk(
        "adapt", world.conversations, "--labels", labels, "--base", tiny_base, "--out", tmp_path / "r"
    )
    assert status == 2 and "two" in error


def test_an_output_folder_that_cannot_be_written_is_said_plainly(
    shoptalk: Any, world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.mkdir

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name == "readonly":
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    status, _, error = shoptalk("adapt", world.conversations, "--out", tmp_path / "readonly")
    assert status == 2 and "read-only" in error and "--out" in error


def test_a_full_disk_is_said_plainly_and_leaves_no_half_artifact(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        status, _, error = shoptalk(
            "adapt", world.conversations, "--labels", world.labels, "--base", tiny_base, "--out", small / "r", *TINY
        )
        assert status == 2 and "disk is full" in error
        assert all(
            (folder / "manifest.json").exists() for folder in (small / "r").glob("[!.]*/") if any(folder.iterdir())
        )
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", str(small)], check=False)


def test_predict_on_a_run_without_labels_says_what_is_missing(shoptalk: Any, tmp_path: Path) -> None:
    status, _, error = shoptalk("predict", tmp_path, "hello")
    assert status == 2 and "no head" in error


def test_finetune_leaves_what_predict_answers_with(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    words = ["finetune", tiny_base, "--labels", world.labels, "--test", world.labels, "--task", "topic",
             "--out", tmp_path / "f"]  # fmt: skip
    status, output, error = shoptalk(*words)
    assert status == 0, error
    assert "topic: linear head" in output and "test: accuracy" in output and str(tmp_path / "f" / "head") in output
    status, output, _ = shoptalk(*words, "--json")
    assert status == 0 and json.loads(output)["test"]["accuracy"] > 60
    status, output, _ = shoptalk("predict", tmp_path / "f", "card card card", "ticket ticket", "--json")
    rows = json.loads(output)
    assert status == 0 and [row["text"] for row in rows] == ["card card card", "ticket ticket"]
    assert all(row["labels"] == [row["label"]] and 0 < row["probability"] <= 1 for row in rows)
    status, output, _ = shoptalk("predict", tmp_path / "f", "card card card")
    shown, probability, text = output.rstrip("\n").split("\t")
    assert rows[0]["label"] in shown and ("out of scope" in shown) == (not rows[0]["in_scope"])
    assert float(probability) == pytest.approx(rows[0]["probability"], abs=0.01) and text == "card card card"


def test_predict_reads_a_file_or_standard_input(
    shoptalk: Any, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, messages = tmp_path / "l.csv", tmp_path / "m.jsonl"
    labels.write_text("text,label\n" + "".join(f"card {i},card\nrefund {i},refund\n" for i in range(6)))
    messages.write_text('{"text": "card\\tcard"}\n{"text": "refund\\nnow"}\n')
    words = ["finetune", tiny_base, "--labels", labels, "--out", tmp_path / "f", "--set", "curate.near_duplicate=1.0"]
    assert shoptalk(*words)[0] == 0
    status, output, error = shoptalk("predict", tmp_path / "f", "--file", messages)
    assert status == 0, error
    assert [line.split("\t")[2] for line in output.splitlines()] == ["card\\tcard", "refund\\nnow"]
    for words in (["-"], ["--file", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"card card\nrefund refund\n")))
        status, output, _ = shoptalk("predict", tmp_path / "f", *words, "--json")
        assert status == 0 and [row["text"] for row in json.loads(output)] == ["card card", "refund refund"]
    assert shoptalk("predict", tmp_path / "f")[0] == 2
    assert "not both" in shoptalk("predict", tmp_path / "f", "hello", "--file", messages)[2]
    status, _, error = shoptalk("predict", tmp_path / "f", "hello", messages)
    assert status == 2 and f"{messages} is a file, and this model reads messages" in error


def test_the_version_is_printed(shoptalk: Any) -> None:
    assert shoptalk("--version")[:2] == (0, f"shoptalk {__version__}\n")


def test_predict_shows_no_label_and_several_as_they_are(shoptalk: Any, tiny_base: Path, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    rows = [("card " * 4, "card"), ("visa " * 4, ""), ("card refund " * 2, "card|refund"), ("refund " * 4, "refund")]
    labels.write_text("text,labels\n" + "".join(f"{text}{i},{label}\n" for i in range(12) for text, label in rows))
    words = ["finetune", tiny_base, "--labels", labels, "--multi-label", "--out", tmp_path / "f"]
    assert shoptalk(*words, "--set", "curate.near_duplicate=1.0")[0] == 0
    texts = [text + "3" for text, _ in rows]
    status, output, _ = shoptalk("predict", tmp_path / "f", *texts, "--json")
    assert status == 0
    assert [(row["labels"], row["label"]) for row in json.loads(output)] == [
        (["card"], "card"), ([], None), (["card", "refund"], None), (["refund"], "refund"),
    ]  # fmt: skip
    shown = [line.split("\t")[0] for line in shoptalk("predict", tmp_path / "f", *texts)[1].splitlines()]
    assert shown == ["card", "-", "card|refund", "refund"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "clasify"], "Give one of: frozen, classify, setfit"),
        (["--multi-label", "--unlabelled", "some.txt"], "Leave out --unlabelled"),
        (["--out-of-scope", "nothing"], "'nothing' is not a label"),
        (["--scope-loss", "-3"], "expected a number of points from 0 to 100"),
        (["--test", "missing.csv"], "The test file missing.csv does not exist"),
        (["--set", "train.clipp=1"], "Did you mean 'clip'"),
    ],
)
def test_wrong_words_to_finetune_exit_with_2_and_say_what_to_do(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    status, output, error = shoptalk("finetune", tiny_base, "--labels", world.labels, "--out", tmp_path / "f", *words)
    assert (status, output) == (2, "") and said in error
    assert not (tmp_path / "f" / "head").exists()


def test_a_bug_exits_with_1_and_asks_to_be_reported(
    shoptalk: Any, world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the unexpected")

    monkeypatch.delenv("SHOPTALK_DEBUG", raising=False)
    monkeypatch.setattr("shoptalk.stages.curate.curate_stage", broken)
    status, _, error = shoptalk("curate", world.conversations, "--out", tmp_path / "c")
    assert status == 1 and "bug in Shoptalk" in error and "the unexpected" in error


SMALL = [word for part in ("mlm", "neighbours", "turns", "tsdae", "nsp", "sop")
         for word in ("--set", f"objectives.{part}.batch=8")]  # fmt: skip


@pytest.mark.parametrize("objective", ["0.2*mlm+neighbours", "tsdae", "nsp", "sop"])
def test_pretrain_takes_every_text_objective_and_sums_of_them(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path, objective: str
) -> None:
    words = ["pretrain", world.conversations, "--objective", objective, "--base", tiny_base, "--steps", 4,
             "--out", tmp_path / "p", *SMALL]  # fmt: skip
    assert shoptalk(*words)[0] == 0
    log = (tmp_path / "p" / "log.jsonl").read_text()
    rows = [json.loads(line) for line in log.splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    if "+" in objective:
        sums = [0.2 * row["mlm.loss"] + row["neighbours.loss"] for row in rows]
        assert [row["loss"] for row in rows] == pytest.approx(sums, rel=1e-5)
    assert (tmp_path / "p" / "encoder" / "model.safetensors").exists()
    assert shoptalk(*words)[0] == 0
    assert (tmp_path / "p" / "log.jsonl").read_text() == log


@pytest.mark.slow
def test_adapt_takes_a_sum_of_objectives_as_a_candidate_and_says_what_others_lack(
    shoptalk: Any, world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    rest = ["--labels", world.labels, "--base", tiny_base, "--set", "draws=5", "--set", "shots=2", *SMALL]
    status, _, error = shoptalk("adapt", world.conversations, "--candidates", "0.5*mlm+turns,none",
                                     "--budget", "6ktok", "--out", tmp_path / "r", *rest)  # fmt: skip
    assert status == 0, error
    rows = json.loads((tmp_path / "r" / "verdict.json").read_text())["candidates"]
    assert {row["objective"] for row in rows} == {"0.5*mlm+turns"}
    assert all(row["readings"]["masked_bits"] > 0 for row in rows if "merge" not in row)

    documents = tmp_path / "documents.txt"
    documents.write_text("".join(f"the {number}th paragraph tells of parcels\n\n" for number in range(30)))
    status, _, error = shoptalk("adapt", documents, "--candidates", "nsp,sop,mlm+turns,none",
                                     "--budget", "6ktok", "--out", tmp_path / "d", *rest)  # fmt: skip
    assert status == 0, error
    assert "nsp (it needs consecutive turns of at least two conversations)" in error
    assert "mlm+turns (it needs what each of its parts needs)" in error
    status, _, error = shoptalk("adapt", documents, "--candidates", "mlm+trns", "--out", tmp_path / "e", *rest)
    assert status == 2 and "No candidate 'trns'. Did you mean 'turns'?" in error


def test_an_interruption_exits_with_130_and_says_that_the_same_command_continues(
    shoptalk: Any, world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shoptalk.stages.curate.curate_stage", interrupted)
    status, _, error = shoptalk("curate", world.conversations, "--out", tmp_path / "c")
    assert status == 130 and "the same command continues" in error


def test_dose_is_a_command_that_needs_a_finished_run(shoptalk: Any, tmp_path: Path) -> None:
    status, _, error = shoptalk("dose", tmp_path / "r", "--budget", "10m")
    assert status == 2 and "is not a finished run" in error


def test_every_command_of_the_readme_is_there(shoptalk: Any) -> None:
    listed = "init adapt curate pretrain finetune distill dose probe compare control embed export predict report"
    output = shoptalk("--help")[1]
    assert all(re.search(rf"\b{name}\b", output) for name in [*listed.split(), "objectives", "models"])


def outcome(*words: object, before: str = "", **options: Any) -> tuple[int, str]:
    """Exit status and standard error of `shoptalk WORDS` in a process of its own, after `before` in its shell."""
    command = f"{before}exec {sys.executable} -m shoptalk {' '.join(map(str, words))}"
    done = subprocess.run(
        ["bash", "-c", command], check=False, timeout=120, text=True, stderr=subprocess.PIPE, **options
    )
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="/dev/full is a Linux device that is always full")
@pytest.mark.parametrize("words", ["models", "models --json", "--help", "--version"])
def test_standard_output_that_is_full_is_no_bug(words: str) -> None:
    with Path("/dev/full").open("w") as full:
        status, error = outcome(words, stdout=full)
    assert status == 2 and "shoptalk: There is no space left where the output goes" in error
    assert "Traceback" not in error and "Exception ignored" not in error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MemoryError(), "Memory ran out"),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), "ulimit -f"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "ulimit -v"),
    ],
)
def test_the_machines_limits_are_no_bugs(
    shoptalk: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(app, "app", fail)
    status, _, said = shoptalk()
    assert status == 2 and advice in said and "bug" not in said


@pytest.mark.slow
def test_a_byte_that_is_no_text_in_a_message_is_printed_as_an_escape(
    world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, error = outcome("finetune", tiny_base, "--labels", world.labels, "--out", out, stdout=subprocess.DEVNULL)
    assert status == 0, error
    for form in ("", "--json"):
        with (tmp_path / "said").open("w") as said:
            status, error = outcome("predict", out, "$'card \\xff'", form, stdout=said)
        assert status == 0, error
        assert "card \\udcff" in (tmp_path / "said").read_text()
    assert json.loads((tmp_path / "said").read_text())[0]["text"] == "card \udcff"


def test_replay_names_general_text_whatever_is_in_its_name_and_without_it_nothing_is_set() -> None:
    paths = [Path('odd "name", 1.txt'), Path("wörter")]
    assert load(overrides=replaying(paths)).replay.sources == tuple(map(str, paths))
    assert replaying(None) == replaying([]) == []
