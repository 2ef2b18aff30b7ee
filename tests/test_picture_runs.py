"""`adapt` on the quay from end to end: pictures with labels, and pictures with captions, also when it is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from shoptalk.adaptation import adapt, with_untrained
from shoptalk.config import load
from shoptalk.nn.scratch_pictures import MARK
from shoptalk.records import Picture
from shoptalk.stages.curate import open_curated
from shoptalk.stages.world import World
from shoptalk.telling.facts import open_facts
from shoptalk.training.reporter import Silent
from tests.conftest import Listener
from tests.report.report_pages import parse, row_of

QUAY = Path(__file__).parent.parent / "examples" / "quay"
PICTURES = [
    QUAY / "pictures.zip",
    "--task",
    "picture",
    "--labels",
    QUAY / "labels.csv",
    "--candidates",
    "simclr,none",
    "--bases",
    "scratch:resnet-mini,hog",
]
CAPTIONS = [QUAY / "captions.csv", "--task", "caption", "--candidates", "clip,none"]
BATCHES = [f"objectives.{name}.batch=32" for name in ("simclr", "byol", "clip")]
MOST_BYTES = 3_000_000
"""Of a report's page."""
SMALL = ["train.precision=float32", "draws=5", *BATCHES]


def settings(out: Path, *more: str) -> dict[str, Any]:
    return {"out": out, "config": load(None, overrides=[*SMALL, *more])}


def verdict_of(out: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    return told


def command(words: list[Any], out: Path, budget: str) -> list[str]:
    sets = [word for setting in (*SMALL, "train.snapshot_seconds=0.1") for word in ("--set", setting)]
    every = ["adapt", *words, "--budget", budget, *sets, "--out", out]
    return [sys.executable, "-c", "from shoptalk.cli.app import main; main()", *map(str, every)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def said(page: str) -> str:
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.mark.slow
def test_labelled_pictures_go_from_a_zip_to_a_verdict_over_what_needs_no_training(tmp_path: Path) -> None:
    out, listener = tmp_path / "run", Listener()
    chosen = settings(out, "budget=20ktok", 'candidates=["simclr","byol","none"]', "task=picture")
    told = adapt([QUAY / "pictures.zip"], labels=QUAY / "labels.csv", report=listener, **chosen).told()
    assert listener.stages[:6] == ["curate", "baseline", "plan", "choose", "pretrain", "decide"]
    assert [row["base"] for row in told["bases"]] == ["scratch:resnet-mini", "pixels", "hog"]
    assert told["base_model"] in ("pixels", "hog") and told["task"] == "picture"
    assert {row["objective"] for row in told["candidates"]} == {"simclr", "byol"}
    assert "% of unseen pictures correctly against" in told["sentence"] and "text" not in told["sentence"]
    curated = open_curated(World(run=out, config=chosen["config"], report=Silent()))
    assert all(isinstance(item, Picture) for item in curated.train.items) and len(curated.train) == 600
    labelled = {example.picture.sha256 for example in curated.examples if example.picture}
    assert len(labelled) == 180 and not labelled & {item.sha256 for item in curated.train.items}  # type: ignore[union-attr]
    assert [drop.reason for drop in curated.drops] == ["in-labelled-cluster"] * 180
    for part in ("encoder", "candidate/encoder", "head"):
        assert (out / part / "manifest.json").is_file()
    page = said((out / "report.html").read_text(encoding="utf-8"))
    assert "600 pictures from 600 documents" in page and not re.search(r"\b(messages?|conversations?)\b", page)
    assert (out / "report.html").stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_a_base_with_noise_in_its_weights_is_not_adopted_on_pictures(tmp_path: Path) -> None:
    sets = [word for setting in (*SMALL, "bases=[]") for word in ("--set", setting)]
    words = ["aa", QUAY / "pictures.zip", "--task", "picture", "--labels", QUAY / "labels.csv", *sets]
    begin = [sys.executable, "-c", "from shoptalk.cli.app import main; main()", "control"]
    done = subprocess.run(
        [*begin, *map(str, words), "--out", str(tmp_path / "aa"), "--json"],
        env=environment(), capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"] is True


@pytest.mark.slow
def test_pictures_with_captions_are_judged_on_held_out_documents(tiny_base: Path, tmp_path: Path) -> None:
    out, listener, base = tmp_path / "run", Listener(), f"scratch:resnet-mini+{tiny_base}"
    chosen = settings(out, "budget=20ktok", "task=caption", f"base={base}")
    told = adapt([QUAY / "captions.csv"], report=listener, **chosen).told()
    assert told["metric"] == "R@1" and told["n_draws"] == 1 and told["heads"] is None
    assert told["base_model"] == base and told["base"] < 5.0
    assert {row["objective"] for row in told["candidates"]} == {"clip"}
    assert all("caption_of_picture" in row["readings"] for row in told["candidates"])
    assert "By chance R@1 is 0.6 %." in told["sentence"]
    assert "Weights of the base are random" in told["sentence"]
    assert "Without any training, the captions of the training pictures that look most alike" in told["sentence"]
    card = (out / "candidate" / "encoder" / "README.md").read_text(encoding="utf-8")
    assert f"shoptalk adapt captions.csv --out RUN --task caption --base scratch:resnet-mini+{tiny_base.name}" in card
    source = (out / "report.html").read_text(encoding="utf-8")
    assert "pictures and captions from 600 documents" in said(source) and len(source.encode()) < MOST_BYTES
    pictures = open_facts(out).told()["pictures"]
    assert [row["asked"] for row in pictures["retrieval"]] == [row["among"] for row in pictures["retrieval"][::-1]]
    for row in pictures["retrieval"]:
        asked, among, *shares = row_of(source, row["direction"])
        expected = [row[key] for key in ("chance", "untrained", "before", "after")]
        assert (asked, among) == (str(row["asked"]), str(row["among"]))
        assert shares == [f"{share:.1f} %" for share in expected] and expected[1] > 10 * expected[0]
    asked_both_ways = [row["asked"] for row in pictures["retrieval"]]
    both = sum(row["asked"] * row["after"] for row in pictures["retrieval"]) / sum(asked_both_ways)
    assert both == pytest.approx(told["adapted"])
    assert told["n_examples"] <= min(asked_both_ways)  # pictures of one document, with their captions, count once
    assert len(pictures["found"]) == 8 and all(row["picture"]["data"] in source for row in pictures["found"])


@pytest.mark.slow
def test_the_page_of_a_masked_transformer_shows_what_it_read_decoded_and_looks_at(tmp_path: Path) -> None:
    out = tmp_path / "run"
    chosen = settings(
        out, "budget=6ktok", "task=picture", 'candidates=["mae","none"]', 'bases=["scratch:vit-nano"]',
        "objectives.mae.batch=32",
    )  # fmt: skip
    told = adapt([QUAY / "pictures.zip"], labels=QUAY / "labels.csv", report=Listener(), **chosen).told()
    source = (out / "report.html").read_text(encoding="utf-8")
    assert len(source.encode()) < MOST_BYTES
    pictures = open_facts(out).told()["pictures"]
    assert pictures["objective"] == "mae" and len(pictures["views"]) == 3
    assert all(len(set(row["views"])) == 3 for row in pictures["views"])  # one a step, of three steps
    assert len(pictures["reconstructions"]) == 6
    assert pictures["decoded_after"] == max(row["step"] for row in told["candidates"])  # whichever entry is the best
    parts = [[row[part] for part in ("masked", "decoded", "whole")] for row in pictures["reconstructions"]]
    assert all(len(set(copies)) == 3 for copies in parts)
    assert len(pictures["attention"]) == 4 and all(len(row["heads"]) == 4 for row in pictures["attention"])
    shown = {str(one.attributes["src"]) for one in parse(source).all("img")}
    assert shown >= {copy for copies in parts for copy in copies}
    assert shown >= {head for row in pictures["attention"] for head in row["heads"]}
    assert shown >= {view for row in pictures["views"] for view in row["views"]}
    for heading in ("What training saw", "What lies near, and where it looks"):
        assert f">{heading}</h2>" in source


@pytest.mark.slow
@pytest.mark.parametrize(("words", "budget"), [(PICTURES, "8ktok"), (CAPTIONS, "12ktok")], ids=["pictures", "pairs"])
def test_a_run_on_pictures_that_was_killed_ends_with_the_same_weights_and_verdict(
    words: list[Any], budget: str, tiny_base: Path, tmp_path: Path
) -> None:
    if words == CAPTIONS:
        words = [*words, "--base", f"scratch:resnet-mini+{tiny_base}"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    subprocess.run(command(words, whole, budget), env=environment(), check=True, capture_output=True)
    job = subprocess.Popen(
        command(words, part, budget), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    begun = time.monotonic()
    while not any(part.glob("work/*/step-*")) and job.poll() is None and time.monotonic() - begun < 300:
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert not (part / "verdict.json").exists()
    subprocess.run(command(words, part, budget), env=environment(), check=True, capture_output=True)
    verdicts = [verdict_of(folder) for folder in (whole, part)]
    for key in ("choice", "entry", "base", "adapted", "gain", "interval", "ladder"):
        assert verdicts[0][key] == verdicts[1][key]
    sentences = [told["sentence"].partition(" A picture takes ")[0] for told in verdicts]  # that is timed in each run
    assert sentences[0] == sentences[1]
    ends = [load_file(folder / "candidate" / "encoder" / "model.safetensors") for folder in (whole, part)]
    assert ends[0].keys() == ends[1].keys()
    for name, weights in ends[0].items():
        np.testing.assert_array_equal(weights, ends[1][name])


def test_what_began_with_random_weights_is_judged_beside_what_needs_no_training(tmp_path: Path) -> None:
    about = {"model_type": "resnet", MARK: "scratch:resnet-mini@64"}
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    folder = str(tmp_path)
    chosen = load(None, overrides=["task=picture", f"base={folder}"])
    assert with_untrained(chosen).bases == (folder, "pixels@64", "hog@64")
    assert with_untrained(with_untrained(chosen)) == with_untrained(chosen)
    alone = load(None, overrides=["task=picture", f"bases=[{json.dumps(folder)}]"])
    assert with_untrained(alone) == alone
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}), encoding="utf-8")
    assert with_untrained(chosen) == chosen


def test_a_pair_on_the_task_picture_is_joined_by_no_image_encoder(tiny_base: Path, tmp_path: Path) -> None:
    about = {"model_type": "vision-text-dual-encoder", MARK: "scratch:resnet-mini@64+minilm"}
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    for base in (str(tmp_path), f"scratch:resnet-mini+{tiny_base}"):
        chosen = load(None, overrides=["task=picture", f"base={base}"])
        assert chosen.other_bases == () and with_untrained(chosen) == chosen
