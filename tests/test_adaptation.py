import hashlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from shoptalk import decide
from shoptalk.adaptation import adapt
from shoptalk.artifact import create, open_artifact
from shoptalk.commands import pretrain as pretrain_module
from shoptalk.commands.finetune import Request, finetune
from shoptalk.commands.pretrain import pretrain
from shoptalk.commands.verify import verify
from shoptalk.config import Config, load
from shoptalk.errors import ArtifactError, ConfigError, DivergedError, SourceError, StorageError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads.answering import answers
from shoptalk.nn.heads.kind_answers import HeadFits
from shoptalk.nn.precision import Precision
from shoptalk.probes.once import Once
from shoptalk.records import Decision
from shoptalk.stages import candidate_costs, legs, ship
from shoptalk.stages.baseline import baseline_stage
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.world import World, open_embedder
from shoptalk.tasks import labelled
from shoptalk.tasks.judge import load_final
from shoptalk.training import plan as training_plan
from shoptalk.training.advance import Training, advance
from shoptalk.training.forecast import Timed, time_training
from shoptalk.training.loop import Step
from tests.conftest import BOTH_PRECISIONS, Listener, SmallWorld

BUDGET = "12ktok"
TWO, ALL = ("mlm", "neighbours", "none"), ("mlm", "simcse", "turns", "neighbours", "none")
"""Candidates: as few as compare with each other, and the default."""


def config_for(base: Path, **values: object) -> Config:
    small = [f"objectives.{name}.batch=8" for name in ("mlm", "simcse", "turns", "neighbours")]
    return load(
        overrides=small,
        base=str(base),
        **({"budget": BUDGET, "draws": 5, "shots": 2, "candidates": TWO} | values),
    )


def run(world: SmallWorld, base: Path, out: Path, listener: Listener, *, force: bool = False, **values: object) -> dict:
    return adapt(
        [world.conversations],
        out=out,
        config=config_for(base, **values),
        report=listener,
        labels=world.labels,
        force=force,
    ).told()


class Finished(NamedTuple):
    """A run that has ended, and what it was asked for and said."""

    world: SmallWorld
    out: Path
    verdict: dict[str, Any]


@pytest.fixture(scope="session")
def finished_once(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Precision], Finished]:
    """The run of `run` without further settings, in this precision: made once, never to be written to."""

    @cache
    def finished_in(precision: Precision) -> Finished:
        folder = tmp_path_factory.mktemp(f"finished-{precision}")
        world, out = SmallWorld(folder), folder / "run"
        return Finished(world, out, run(world, tiny_base, out, Listener()))

    return finished_in


@pytest.fixture
def finished(finished_once: Callable[[Precision], Finished], precision: Precision, tmp_path: Path) -> Finished:
    """A copy of that run for one test."""
    once = finished_once(precision)
    return once._replace(out=shutil.copytree(once.out, tmp_path / "run", symlinks=True))


@BOTH_PRECISIONS
def test_a_run_leaves_a_verdict_a_report_and_an_encoder_that_is_safe_to_serve(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    verdict = run(world, tiny_base, out, listener, candidates=ALL, budget="30ktok")
    assert verdict == json.loads((out / "verdict.json").read_text())
    assert verdict["choice"] in ("adopt", "keep_base", "inconclusive")
    assert verdict["n_draws"] == 5 and verdict["n_examples"] > 100
    assert verdict["interval"][0] <= verdict["gain"] <= verdict["interval"][1]
    assert len(verdict["candidates"]) >= 4
    by_candidate = {row["objective"]: row["readings"] for row in verdict["candidates"]}
    assert 0 < by_candidate["mlm"]["masked_bits"] < 20
    assert all(
        {"knn_accuracy", "rankme", "next_turn_retrieval", "intent"} <= set(readings)
        for readings in by_candidate.values()
    )
    assert verdict["spent"]["tokens"] > 0
    page = html.unescape(re.sub(r"<[^>]+>", "", (out / "report.html").read_text()))
    page = page.replace("\xa0", " ").replace("−", "-")  # the page sets its numbers with care
    assert verdict["sentence"] in page
    served = load_file(out / "encoder" / "model.safetensors")
    expected = out / "candidate" / "encoder" if verdict["choice"] == "adopt" else tiny_base
    for name, tensor in load_file(expected / "model.safetensors").items():
        np.testing.assert_array_equal(served[name], tensor)


@BOTH_PRECISIONS
def test_the_same_command_again_trains_nothing_and_says_the_same(
    finished: Finished, tiny_base: Path, listener: Listener
) -> None:
    assert run(finished.world, tiny_base, finished.out, listener) == finished.verdict
    assert listener.said == []


def test_a_changed_budget_keeps_what_does_not_depend_on_it(
    finished: Finished, tiny_base: Path, listener: Listener
) -> None:
    world, out = finished.world, finished.out
    before = {name: open_artifact(out / name) for name in ("corpus", "baseline")}
    plan = (out / "plan.json").read_text()
    with pytest.raises(StorageError, match=r"verdict for another question \(budget: 12ktok -> 9ktok\).*--force"):
        run(world, tiny_base, out, listener, budget="9ktok")
    assert (out / "plan.json").read_text() == plan
    run(world, tiny_base, out, listener, budget="9ktok", force=True)
    assert {name: open_artifact(out / name) for name in ("corpus", "baseline")} == before
    assert (out / "plan.json").read_text() != plan


def trained(listener: Listener) -> list[str]:
    """The training steps that a listener was told of."""
    return [line for line in listener.said if "/" in line.split(" ")[-1]]


@pytest.mark.slow
def test_how_often_snapshots_are_written_changes_no_result_and_trains_nothing_again(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out, again = tmp_path / "run", Listener()
    later = config_for(tiny_base)
    often = later.model_copy(update={"train": later.train.model_copy(update={"snapshot_seconds": 0.02})})
    first = adapt([world.conversations], out=out, config=often, report=listener, labels=world.labels).told()
    second = adapt([world.conversations], out=out, config=later, report=again, labels=world.labels).told()
    assert trained(listener) and not trained(again)
    assert second["candidates"] == first["candidates"]


@pytest.mark.slow
def test_a_corpus_is_sampled_only_where_a_candidate_has_targets_to_prepare(
    world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    rows = [json.dumps({"text": f"{world.topics[i % 4]} number {i} of many others"}) for i in range(1500)]
    world.conversations.write_text("\n".join(rows) + "\n")
    said = {}
    for candidates in (("mlm", "none"), ("mlm", "neighbours")):
        listener = Listener()
        config = load(
            overrides=["curate.near_duplicate=1.0", "objectives.mlm.batch=8", "objectives.neighbours.batch=8"],
            base=str(tiny_base), budget="4ktok", draws=5, shots=2, candidates=candidates,
        )  # fmt: skip
        adapt([world.conversations], out=tmp_path / candidates[1], config=config, report=listener)
        said[candidates[1]] = any("taking a sample" in line for line in listener.said)
    assert said == {"none": False, "neighbours": True}


def test_forecast_and_fact_are_in_the_verdict_and_the_plan_comes_before_training_in_one_line(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    spent = run(world, tiny_base, tmp_path / "run", listener, budget="0.01eur", price_per_hour=1.2)["spent"]
    assert spent["euros"] == pytest.approx(spent["seconds"] / 3600 * 1.2)
    assert spent["forecast"]["seconds"] <= 30.2  # that is what a hundredth of a euro buys
    for name in ("seconds", "tokens", "memory_bytes", "euros"):
        assert spent["ratio"][name] == pytest.approx(spent[name] / spent["forecast"][name], abs=1e-3)
    assert 0.3 < spent["ratio"]["memory_bytes"] < 3
    line = next(line for line in listener.said if line.startswith("plan: about"))
    assert re.search(r"about [\d.]+ (s|min).*, [\d.]+ (M|G)B, [\d.,]+ (k|M) tokens, [\d.]+ EUR", line)
    assert listener.said.index(line) < listener.said.index(trained(listener)[0])


def test_judging_finished_entries_again_still_tells_what_the_run_took(
    finished: Finished, tiny_base: Path, listener: Listener
) -> None:
    first = finished.verdict["spent"]
    again = run(finished.world, tiny_base, finished.out, listener, price_per_hour=7.2)["spent"]
    assert again["seconds"] > 0.5 * first["seconds"]
    assert again["tokens"] == first["tokens"]
    assert (first["euros"], again["euros"]) == (None, pytest.approx(again["seconds"] / 500))


def test_a_changed_threshold_decides_again_without_training(
    finished: Finished, tiny_base: Path, listener: Listener
) -> None:
    world, out = finished.world, finished.out
    small = [f"objectives.{name}.batch=8" for name in ("mlm", "simcse", "turns", "neighbours")]
    config = load(
        overrides=[*small, "smallest_gain=1.5"],
        base=str(tiny_base), budget=BUDGET, draws=5, shots=2, candidates=TWO,
    )  # fmt: skip
    verdict = adapt([world.conversations], out=out, config=config, report=listener, labels=world.labels, force=True)
    assert verdict.smallest_gain == 1.5
    assert not trained(listener)


def test_labelled_text_never_enters_training_and_is_kept_as_a_drop(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    labelled = world.labels.read_text().splitlines()[1].split(",")[0]
    with world.conversations.open("a") as file:
        file.write(json.dumps({"text": labelled}) + "\n")
    out = tmp_path / "run"
    run(world, tiny_base, out, listener)
    assert labelled not in (out / "corpus" / "documents.jsonl").read_text()
    drops = [json.loads(line) for line in (out / "corpus" / "drops.jsonl").read_text().splitlines()]
    assert [drop["reason"] for drop in drops] == ["in-labelled-cluster"]
    curated = next(said for said in listener.said if "left out" in said)  # a row of the labels would count here, too
    assert curated.endswith("; of files, documents, turns and rows 1 left out (1 in-labelled-cluster)")


@BOTH_PRECISIONS
def test_without_labels_the_verdict_is_inconclusive_and_says_what_to_do(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    verdict = adapt([world.conversations], out=tmp_path / "run", config=config_for(tiny_base), report=listener).told()
    assert verdict["choice"] == "inconclusive"
    assert verdict["gain"] is None
    assert "--accept-unproven" in verdict["sentence"]
    assert (tmp_path / "run" / "candidate" / "encoder" / "model.safetensors").exists()


def test_an_unproven_challenger_is_served_only_when_asked_for(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    given = {"out": out, "config": config_for(tiny_base), "report": listener, "accept_unproven": True}
    verdict = adapt([world.conversations], **given).told()
    assert verdict["served_unproven"] and verdict["sentence"].endswith(
        "served all the same, as --accept-unproven asks."
    )
    assert "or pass --accept-unproven" not in verdict["sentence"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Served unproven" in page and "Stay with the base" not in page
    served, candidate = (load_file(out / name / "model.safetensors") for name in ("encoder", "candidate/encoder"))
    name = "embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(served[name], candidate[name])
    assert not np.array_equal(served[name], load_file(tiny_base / "model.safetensors")[name])


def test_a_supplied_test_set_is_read_once_and_counted(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    test = SmallWorld(_folder(tmp_path / "test"), labels_per_class=40).labels
    lines = test.read_text().splitlines()
    test.write_text("\n".join([lines[0], *(f"please {line}" for line in lines[100:])]) + "\n")
    out = tmp_path / "run"
    verdict = adapt(
        [world.conversations],
        out=out,
        config=config_for(tiny_base),
        report=listener,
        labels=world.labels,
        test=test,
    ).told()
    assert verdict["on_test"]
    assert verdict["n_examples"] == len(lines) - 100
    assert len((out / "test_reads.jsonl").read_text().splitlines()) == 1


def test_none_as_the_only_candidate_keeps_the_base(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    verdict = run(world, tiny_base, tmp_path / "run", listener, candidates=("none",))
    assert verdict["choice"] == "keep_base"
    assert verdict["objective"] is None


def test_a_few_documents_without_labels_end_with_the_base_kept_and_an_encoder_to_serve(
    tiny_base: Path, tmp_path: Path
) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in map(str, range(12)):
        (documents / f"{name}.md").write_text(
            f"# {name}\n\nOf thing {name} we say this, and nothing more. {name} is its number.\n"
        )
    out = tmp_path / "run"
    config = load(base=str(tiny_base), budget=BUDGET, candidates=("neighbours",))
    verdict = adapt([documents], out=out, config=config).told()
    assert verdict["entry"] is None
    assert verdict["left_out"]["neighbours"].startswith("too little text: it suffices for")
    assert "Nothing could be trained" in verdict["sentence"] and "too little text" in verdict["sentence"]
    assert open_artifact(out / "encoder") is not None


def test_a_second_process_is_kept_out_of_a_run_folder(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    import fcntl

    out = tmp_path / "run"
    out.mkdir()
    with (out / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="in use by another shoptalk process"):
            run(world, tiny_base, out, listener)


def test_an_unknown_candidate_is_named_with_the_nearest_one(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'neighbours'"):
        run(world, tiny_base, tmp_path / "run", listener, candidates=("neighbors",))


def test_sources_that_hold_only_labelled_text_leave_nothing_to_learn_from(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    source = tmp_path / "only.csv"
    source.write_text(world.labels.read_text())
    with pytest.raises(SourceError, match="Nothing is left to learn from"):
        adapt([source], out=tmp_path / "run", config=config_for(tiny_base), report=listener, labels=world.labels)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_result_as_an_uninterrupted_one(
    world: SmallWorld, tiny_base: Path, tmp_path: Path
) -> None:
    _compare_with_kills(world, tiny_base, tmp_path, kills=1, budget="6ktok", candidates=TWO)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_at_random_steps_change_nothing(world: SmallWorld, tiny_base: Path, tmp_path: Path) -> None:
    _compare_with_kills(world, tiny_base, tmp_path, kills=10, budget="60ktok", candidates=ALL)


def _compare_with_kills(
    world: SmallWorld, base: Path, folder: Path, *, kills: int, budget: str, candidates: Sequence[str]
) -> None:
    def command(out: Path) -> list[str]:
        small = [f"--set=objectives.{name}.batch=8" for name in ("mlm", "simcse", "turns", "neighbours")]
        return [
            sys.executable, "-m", "shoptalk", "adapt", str(world.conversations), "--labels", str(world.labels),
            "--base", str(base), "--budget", budget, "--out", str(out), "--set=draws=5", "--set=shots=2",
            "--set=train.snapshot_seconds=0.02", "--set=train.precision=float32", "--json", *small,
            "--candidates", ",".join(candidates),
        ]  # fmt: skip

    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    whole, killed = folder / "whole", folder / "killed"
    done = subprocess.run(command(whole), env=environment, capture_output=True, text=True, check=True)
    rng = np.random.default_rng(0)
    steps = sum(1 for _ in _losses(whole))
    for at in sorted(rng.choice(np.arange(1, steps), kills, replace=False).tolist()):
        process = subprocess.Popen(
            command(killed), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and sum(1 for _ in _losses(killed)) < at:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = subprocess.run(command(killed), env=environment, capture_output=True, text=True, check=True)
    assert list(_losses(killed)) == list(_losses(whole))
    before, after = json.loads(done.stdout), json.loads(last.stdout)
    for verdict in (before, after):
        verdict["spent"] = {"tokens": verdict["spent"]["tokens"]}  # seconds and memory are the machine's
        for row in verdict["candidates"]:
            del row["seconds"]
    assert after == before
    one, other = (load_file(out / "candidate" / "encoder" / "model.safetensors") for out in (whole, killed))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def _losses(out: Path) -> list[tuple[str, int, float]]:
    """Every step's loss by candidate, whether training is under way or its entries are finished."""
    found: dict[tuple[str, int], float] = {}
    for log in [*sorted(out.glob("menu/[!.]*/log.jsonl")), *sorted(out.glob("work/[!.]*/log.jsonl"))]:
        name = log.parent.name.rsplit("-", 1)[0]
        try:
            lines = log.read_text().splitlines()
        except FileNotFoundError:  # the run goes on while this reads, and moved or removed the folder
            continue
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # being written
                continue
            found[name, row["step"]] = row["loss"]
    return [(name, step, loss) for (name, step), loss in sorted(found.items())]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_an_adapted_encoder_opens_again_and_gives_a_text_the_same_vector_in_any_order(finished: Finished) -> None:
    entry = next((finished.out / "menu").iterdir()) / "encoder"
    texts = ["where is my card", "refund please"]
    np.testing.assert_allclose(
        embed(open_base(str(entry)), texts), embed(open_base(str(entry)), texts[::-1])[::-1], atol=1e-6
    )


def test_labels_that_changed_do_not_replace_a_verdict_without_a_word(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    run(world, tiny_base, out, listener, candidates=("none",))
    verdict = (out / "verdict.json").read_bytes()
    world.labels.write_text(world.labels.read_text() + "one more of them,card\n")
    with pytest.raises(StorageError, match=r"holds a finished verdict for another question \(labels: "):
        run(world, tiny_base, out, listener, candidates=("none",))
    with pytest.raises(StorageError, match=r"another question \(labels: [0-9a-f]+\.\.\. -> none\)"):
        adapt([world.conversations], out=out, config=config_for(tiny_base, candidates=("none",)), report=listener)
    assert (out / "verdict.json").read_bytes() == verdict


def test_a_head_does_not_outlive_its_encoder(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    run(world, tiny_base, out, listener, candidates=("none",))
    assert answers(out, ["card"])
    config = config_for(tiny_base, candidates=("none",))
    adapt([world.conversations], out=out, config=config, report=listener, force=True)
    with pytest.raises(ArtifactError, match="There is no head"):
        answers(out, ["card"])


def test_a_head_on_another_encoder_is_refused(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    for name, seed in (("run", 0), ("other", 1)):
        run(world, tiny_base, tmp_path / name, listener, candidates=("none",), seed=seed)
    shutil.rmtree(tmp_path / "run" / "encoder")
    save = tmp_path / "other" / "encoder"
    (save / "README.md").write_text("another encoder")
    with create(tmp_path / "run" / "encoder", kind="encoder", config={}, parents={}) as inside:
        shutil.copytree(save, inside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
    with pytest.raises(ArtifactError, match="was fitted on another encoder"):
        answers(tmp_path / "run", ["card"])


def test_what_is_handed_out_is_checked_and_made_anew(finished: Finished, tiny_base: Path, listener: Listener) -> None:
    world, out, first = finished
    whole = (out / "encoder" / "model.safetensors").read_bytes()
    cut = out / "encoder" / "model.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"damaged 'model.safetensors'"):
        answers(out, ["card"])
    second = run(world, tiny_base, out, listener)
    assert "adapt: encoder of this run is missing or damaged, and is made anew" in listener.said
    assert cut.read_bytes() == whole
    assert {**second, "spent": None} == {**first, "spent": None}
    changed = bytearray(whole)
    changed[-1] ^= 1  # of the same size, so that only its hash tells
    cut.write_bytes(bytes(changed))
    run(world, tiny_base, out, Listener())
    assert cut.read_bytes() == whole


def test_a_head_that_was_deleted_is_made_anew_and_changed_weights_are_not_answered_with(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    run(world, tiny_base, out, listener, candidates=("none",))
    said = answers(out, ["card"])
    shutil.rmtree(out / "head")
    run(world, tiny_base, out, Listener(), candidates=("none",))
    assert answers(out, ["card"]) == said
    weights = out / "encoder" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=r"changed 'model.safetensors'.*run the command that made it again"):
        answers(out, ["card"])


def test_what_replaces_an_encoder_leaves_no_verdict_head_or_challenger_of_another_beside_it(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    run(world, tiny_base, out, listener, candidates=("mlm", "none"))
    assert (out / "candidate" / "encoder").exists()
    config = config_for(tiny_base, candidates=("none",))
    adapt([world.conversations], out=out, config=config, report=listener, labels=None, force=True)
    assert not (out / "candidate" / "encoder").exists() and not (out / "head").exists()
    inside = World(run=out, config=config_for(tiny_base), report=listener)
    pretrain(inside, [world.conversations], objective="mlm", steps=2, card="", force=True)
    assert not any((out / name).exists() for name in ("verdict.json", "report.html", "decision", "evidence"))
    assert verify(out, report=listener)["damaged"] == []


def test_weights_sources_and_labels_are_hashed_once_in_a_run(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    given = [world.conversations, world.labels, base / "model.safetensors"]
    for path in given:
        os.utime(path, (10**9, 10**9))  # long settled
    hashed: list[str] = []
    real = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        hashed.append(file.name)
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    run(world, base, tmp_path / "run", listener, candidates=("mlm", "none"))
    assert [hashed.count(str(path)) for path in given] == [1, 1, 1]


def test_one_command_does_not_overwrite_the_finished_work_of_another(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    run(world, tiny_base, out, listener, candidates=("none",))
    served = (out / "encoder" / "model.safetensors").read_bytes()
    inside = World(run=out, config=config_for(tiny_base), report=listener)
    with pytest.raises(StorageError, match=r"belongs to `shoptalk adapt` and holds a finished verdict, and `"):
        pretrain(inside, [world.conversations], objective="mlm", steps=2, card="")
    request = Request(
        model=str(tiny_base), labels=world.labels, test=None, task="intent", unlabelled=(), multi_label=False,
        out_of_scope=None, scope_loss=0.5, method="frozen",
    )  # fmt: skip
    with pytest.raises(StorageError, match="`shoptalk finetune` would overwrite it"):
        finetune(inside, request)
    assert (out / "encoder" / "model.safetensors").read_bytes() == served


def test_an_out_folder_inside_the_source_is_not_read_and_the_second_call_is_instant(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    source = world.conversations.parent
    (source / "notes.txt").symlink_to("/etc/passwd")
    (source / ".draft.txt").write_text("not to be read")
    out, config = source / "runs" / "one", config_for(tiny_base, candidates=("none",))
    first = adapt([source], out=out, config=config, report=listener, labels=world.labels)
    again = Listener()
    assert adapt([source], out=out, config=config, report=again, labels=world.labels) == first
    assert again.said == []
    documents = (out / "corpus" / "documents.jsonl").read_text()
    assert "README" not in documents and "root:" not in documents
    second = source / "runs" / "two"
    adapt([source], out=second, config=config, report=Listener(), labels=world.labels)
    lines = (second / "corpus" / "drops.jsonl").read_text().splitlines()
    drops = {row["id"]: row["reason"] for row in map(json.loads, lines)}
    inside = {id.split("/", 1)[1]: reason for id, reason in drops.items() if "#" not in id}
    assert inside["runs/one"] == "made-by-shoptalk"
    assert (inside["notes.txt"], inside[".draft.txt"]) == ("link-outside", "hidden")
    assert (second / "corpus" / "documents.jsonl").read_text() == documents


def test_a_source_that_is_the_out_folder_is_refused_before_anything_is_made(
    world: SmallWorld, tiny_base: Path, listener: Listener
) -> None:
    source = world.conversations.parent
    with pytest.raises(SourceError, match=r"given as a source and as --out.*Give another --out"):
        adapt([source], out=source, config=config_for(tiny_base), report=listener, labels=world.labels)
    assert not list(source.glob("*/manifest.json"))


def test_the_folder_that_a_command_is_given_from_is_told_by_its_sign(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.conversations.parent)
    config = config_for(tiny_base, candidates=("none",))
    adapt([Path()], out=tmp_path / "run", config=config, report=listener)
    assert "curate: reading ." in listener.said


def test_a_decay_that_has_begun_runs_to_its_end_and_its_weights_are_measured(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decay_at_the_second(checkpoints: decide.Scores, **_: object) -> Decision:
        choice = "decay" if len(checkpoints.entries) == 2 else "continue"
        return Decision(choice=choice, options=(), rule="", readings=(), sentence=f"{choice}.")

    monkeypatch.setattr(decide, "continue_training", decay_at_the_second)
    monkeypatch.setattr(training_plan, "_winner_checkpoints", lambda *_: 6)
    out = tmp_path / "run"
    verdict = run(world, tiny_base, out, listener, candidates=("mlm",), budget="60ktok")
    plan = json.loads((out / "plan.json").read_text())["candidates"]["mlm"]
    assert len(plan["checkpoints"]) == 5  # the fifth of six would lie in the planned decay
    begin, last = plan["checkpoints"][1], verdict["candidates"][-1]["step"]
    trained = [row for row in verdict["candidates"] if row["entry"] == f"mlm@{row['step']}"]  # the others are merges
    assert len(trained) == 3 and last > begin
    rows = [json.loads(line) for line in (out / "menu" / f"mlm-{last}" / "log.jsonl").read_text().splitlines()]
    highest = max(row["lr"] for row in rows)
    assert rows[-1]["step"] == last
    assert rows[-1]["lr"] == pytest.approx(highest / (last - begin + 1), rel=1e-6)  # the last of a decay to nought
    assert last - begin == max(1, round(0.25 * begin))  # a fifth of the steps in all


def test_the_head_learns_from_the_very_vectors_that_the_served_encoder_gives(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: dict[int, tuple[tuple[object, ...], np.ndarray]] = {}

    class Watched(Once):
        def remember(self, items: Sequence[object], vectors: np.ndarray) -> None:
            remembered[len(remembered)] = (tuple(items), vectors)
            super().remember(items, vectors)

    monkeypatch.setattr(ship, "Once", Watched)
    out = tmp_path / "run"
    adapt(
        [world.conversations],
        out=out,
        config=config_for(tiny_base),
        report=listener,
        labels=world.labels,
        accept_unproven=True,
    )
    served = open_embedder(config_for(tiny_base), str(out / "encoder"))
    assert len(remembered) == 2  # the labelled messages and the pool
    for items, vectors in remembered.values():
        np.testing.assert_array_equal(served.embed(items), vectors)


@pytest.mark.slow
@pytest.mark.parametrize("one_is_behind", [True, False])
def test_a_pilot_ends_with_its_heat_where_its_candidate_is_clearly_behind(
    world: SmallWorld,
    tiny_base: Path,
    tmp_path: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    one_is_behind: bool,
) -> None:
    def behind(pilots: decide.Scores, *, seed: int) -> dict[str, str]:
        return {name: f"{name} is behind" for name in pilots.entries if one_is_behind and name.startswith("mlm")}

    monkeypatch.setattr(decide, "behind", behind)
    out = tmp_path / "run"
    verdict = run(world, tiny_base, out, listener, candidates=("mlm", "neighbours"), budget="40ktok")
    plans = json.loads((out / "plan.json").read_text())["candidates"]
    heats, pilots = (
        {name: plan["heat"] for name, plan in plans.items()},
        {name: plan["checkpoints"][0] for name, plan in plans.items()},
    )
    trained = [row for row in verdict["candidates"] if row["entry"] == f"{row['objective']}@{row['step']}"]
    seen = {name: [row["step"] for row in trained if row["objective"] == name] for name in plans}
    assert all(steps[0] == heats[name] == pilots[name] // 4 for name, steps in seen.items())
    if one_is_behind:
        assert seen["mlm"] == [heats["mlm"]] and seen["neighbours"][1] == pilots["neighbours"]
        assert any(line == f"choose: mlm@{heats['mlm']} is behind. Its pilot ends here." for line in listener.said)
        assert listener.winner == "neighbours"
        lost = next(row for row in verdict["candidates"] if row["objective"] == "mlm")
        assert lost["interval"] and lost["eliminated"]  # it stays on the menu, and counts in the intervals
        assert verdict["spent"]["losers"]["tokens"] == lost["tokens"]
    else:
        assert all(steps[1] == pilots[name] for name, steps in seen.items())
    assert verdict["candidates"][-1]["objective"] == listener.winner


@pytest.mark.slow
def test_a_candidate_that_diverges_is_eliminated_with_its_reason_and_the_run_goes_on(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    config = config_for(tiny_base, candidates=("simcse", "mlm"))
    wild = config.model_copy(update={"objectives": {**config.objectives, "simcse": {"batch": 8, "lr": 1e30}}})
    verdict = adapt([world.conversations], out=out, config=wild, report=listener, labels=world.labels)
    assert {row.objective for row in verdict.candidates} == {"mlm"}
    facts = json.loads((out / "decision" / "facts.json").read_text())
    assert re.match(
        r"it diverged: The loss of simcse is nan at step \d+.*objectives\.simcse\.lr", facts["skipped"]["simcse"]
    )
    assert verdict.left_out == facts["skipped"]
    assert any("simcse (it diverged" in line or "simcse is out, it diverged" in line for line in listener.said)


def test_where_every_candidate_diverges_there_is_still_a_verdict(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    out = tmp_path / "run"
    config = config_for(tiny_base, candidates=("simcse",))
    wild = config.model_copy(update={"objectives": {"simcse": {"batch": 8, "lr": 1e30}}})
    verdict = adapt([world.conversations], out=out, config=wild, report=listener, labels=world.labels)
    assert (verdict.choice, verdict.objective, verdict.gain, verdict.interval) == ("keep_base", None, None, None)
    assert "diverged" in json.loads((out / "decision" / "facts.json").read_text())["skipped"]["simcse"]
    assert "Left out were simcse: it diverged: The loss of simcse is nan at step" in verdict.sentence
    assert "diverged" in json.loads((out / "verdict.json").read_text())["left_out"]["simcse"]
    assert (out / "encoder" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["simcs", "0.2*mlm+neighbors", "mlm-then-neighbors", "classify"])
def test_a_candidate_that_cannot_be_is_refused_before_anything_is_read(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean|learns from labels"):
        run(world, tiny_base, tmp_path / "run", listener, candidates=(name,))
    assert listener.said == [] and not (tmp_path / "run").exists()


def test_an_impossible_setting_of_an_objective_is_refused_before_anything_is_read(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    config = config_for(tiny_base).model_copy(update={"objectives": {"mlm": {"mask_rat": 0.2}}})
    with pytest.raises(ConfigError, match=r"objectives.mlm.mask_rat.*mask_rate"):
        adapt([world.conversations], out=tmp_path / "run", config=config, report=listener, labels=world.labels)
    assert not (tmp_path / "run").exists()


def test_a_time_budget_tries_heads_on_as_many_draws_as_it_pays_for(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = HeadFits.answers

    def slow(fits: HeadFits, kind: str) -> np.ndarray:
        answered, seconds = answers(fits, kind), 0.2
        time.sleep(seconds * len(answered))
        fits.seconds[kind] += seconds * len(answered)
        return answered

    inside = World(tmp_path / "c", config_for(tiny_base), listener)
    curated = curate_stage(inside, [world.conversations], world.labels, None)
    whole = baseline_stage(World(tmp_path / "a", config_for(tiny_base, draws=12), listener), curated)
    monkeypatch.setattr(HeadFits, "answers", slow)
    config = config_for(tiny_base, draws=12, budget="32s")  # 0.15 * 32 s / 3 / 0.2 s a draw: 8 draws and no more
    part = baseline_stage(World(tmp_path / "b", config, listener), curated)
    assert whole.final is not None and part.final is not None
    assert whole.final.tried == 10 and len(whole.final.scores) == 12  # kinds are compared on ten draws at most
    assert 5 <= part.final.tried <= 8
    assert part.final.tried <= len(part.final.scores) < 12 and len(part.final.scores) % 5 == 0


def test_what_the_first_draws_have_chosen_is_judged_on_all_of_them(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "TRIED_SHARE", 0.0)  # five draws are tried whatever the budget
    out = tmp_path / "run"
    verdict = run(world, tiny_base, out, listener, candidates=("mlm",), budget="30s", draws=9)
    assert load_final(out / "baseline" / "final").tried == 5
    assert verdict["n_draws"] == 9


def test_a_winner_that_diverges_after_its_pilot_makes_room_for_the_next_best(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def advance_until_it_diverges(training: Training, *, until: int, decay_from: int | None = None) -> Iterator[Step]:
        begun.append(training.config.name)
        # Both pilots are trained before one of the two goes on: that one fails after its next step.
        fails = len(begun) == 3
        for step in advance(training, until=until, decay_from=decay_from):
            yield step
            if fails:
                raise DivergedError(f"The loss of {training.config.name} is nan at step 9.")

    monkeypatch.setattr(legs, "advance", advance_until_it_diverges)
    verdict = run(world, tiny_base, tmp_path / "run", listener, candidates=("mlm", "simcse", "none"))
    failed, other = begun[2], next(name for name in ("mlm", "simcse") if name != begun[2])
    assert verdict["left_out"] == {failed: f"it diverged: The loss of {failed} is nan at step 9."}
    assert [row["objective"] for row in verdict["candidates"]].count(failed) == 1  # its pilot stays on the menu
    assert [row["objective"] for row in verdict["candidates"]].count(other) > 1
    assert listener.winner == other
    costs = {row["objective"]: row for row in verdict["spent"]["candidates"]}
    pilot = next(row for row in verdict["candidates"] if row["objective"] == failed)
    assert costs[failed]["tokens"] > pilot["tokens"]  # what it was trained on after its pilot was spent, too
    assert verdict["spent"]["losers"]["tokens"] == costs[failed]["tokens"]
    assert costs[other]["went_on"] and not costs[failed]["went_on"]


def test_weights_that_the_last_step_has_ruined_are_never_measured(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruined(training: Training, *, until: int, decay_from: int | None = None) -> Iterator[Step]:
        yield from advance(training, until=until, decay_from=decay_from)
        if training.config.name == "mlm":
            with torch.no_grad():
                next(training.objective.parameters()).fill_(float("nan"))

    monkeypatch.setattr(legs, "advance", ruined)
    verdict = run(world, tiny_base, tmp_path / "run", listener, candidates=("mlm", "simcse", "none"))
    assert {row["objective"] for row in verdict["candidates"]} == {"simcse"}
    assert "The weights of mlm are not finite" in verdict["left_out"]["mlm"]
    assert "objectives.mlm.lr" in verdict["left_out"]["mlm"]


@pytest.mark.slow
def test_a_candidate_that_does_not_fit_into_memory_is_eliminated(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(training: Training) -> Timed:
        if training.config.name == "simcse":
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return time_training(training)

    monkeypatch.setattr(candidate_costs, "time_training", too_large)
    verdict = run(world, tiny_base, tmp_path / "run", listener, candidates=("simcse", "mlm"))
    assert {row["objective"] for row in verdict["candidates"]} == {"mlm"}
    assert "objectives.simcse.batch" in verdict["left_out"]["simcse"]


def test_a_typo_in_the_settings_of_what_is_no_candidate_is_refused_too(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    config = config_for(tiny_base, candidates=("mlm",)).model_copy(update={"objectives": {"tsdae": {"bach": 8}}})
    with pytest.raises(ConfigError, match=r"objectives.tsdae.bach.*batch"):
        adapt([world.conversations], out=tmp_path / "run", config=config, report=listener, labels=world.labels)
    assert not (tmp_path / "run").exists()


def test_seventeen_labels_decide_nothing(tiny_base: Path, tmp_path: Path, listener: Listener) -> None:
    small = SmallWorld(tmp_path, labels_per_class=5)
    verdict = run(small, tiny_base, tmp_path / "run", listener, candidates=("mlm",))
    assert verdict["choice"] == "inconclusive"
    assert "too few to decide by (at least 100)" in verdict["sentence"]
    assert verdict["labels_needed"] >= 100
    assert verdict["interval"][0] < verdict["gain"] < verdict["interval"][1]
    assert all(row["interval"][0] < row["interval"][1] for row in verdict["candidates"])
    assert all(look.interval[0] < look.interval[1] for look in listener.looks)


def test_from_python_paths_may_be_strings_and_settings_and_report_may_be_left_out(
    world: SmallWorld, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.txt"):
        adapt([str(tmp_path / "nowhere.txt")], out=str(tmp_path / "run"), labels=str(world.labels))


@pytest.mark.slow
def test_weights_so_large_that_vectors_are_not_numbers_count_as_diverged(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grown(training: Training, *, until: int, decay_from: int | None = None) -> Iterator[Step]:
        yield from advance(training, until=until, decay_from=decay_from)
        if training.config.name == "mlm":
            with torch.no_grad():
                for weight in training.objective.product.network.parameters():
                    weight.fill_(3e38)

    monkeypatch.setattr(legs, "advance", grown)
    verdict = run(world, tiny_base, tmp_path / "run", listener, candidates=("mlm", "simcse", "none"))
    assert {row["objective"] for row in verdict["candidates"]} == {"simcse"}
    assert re.match(r"it diverged: .* texts vectors that are NaN or infinite", verdict["left_out"]["mlm"])


def test_pretraining_whose_last_step_has_ruined_the_weights_ships_nothing(
    world: SmallWorld, tiny_base: Path, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruined(training: Training, *, until: int) -> Iterator[Step]:
        yield from advance(training, until=until)
        with torch.no_grad():
            next(training.objective.product.network.parameters()).fill_(float("nan"))

    monkeypatch.setattr(pretrain_module, "advance", ruined)
    inside = World(run=tmp_path / "run", config=config_for(tiny_base), report=listener)
    with pytest.raises(DivergedError, match=r"The weights of simcse are not finite .* objectives\.simcse\.lr"):
        pretrain(inside, [world.conversations], objective="simcse", steps=2, card="")
    assert not (tmp_path / "run" / "encoder").exists()
