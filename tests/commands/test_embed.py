import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shoptalk.commands import embed as embedding
from shoptalk.commands import vectors
from shoptalk.commands.embed import embed_sources
from shoptalk.commands.vectors import ShardPlan, VectorsCard, Work, quantise
from shoptalk.config import Config
from shoptalk.errors import InputError, SourceError, StorageError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.nn.precision import Precision
from tests.attacks import STRANGE
from tests.conftest import BOTH_PRECISIONS, Listener, SmallWorld

CONFIG = Config()


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten shards for the 160 texts of the small world."""
    monkeypatch.setattr(embedding, "SHARD", 16)


def run(
    base: Path,
    sources: list[Path],
    out: Path,
    listener: Listener,
    dtype: str = "float32",
    precision: Precision = "float32",
    *,
    force: bool = False,
) -> int:
    return embed_sources(
        str(base), sources, out, CONFIG, report=listener, dtype=dtype, precision=precision, force=force
    )


def expected(base: Path, rows: Path, precision: Precision = "float32") -> np.ndarray:
    texts = [json.loads(line)["text"] for line in rows.read_text(encoding="utf-8").splitlines()]
    return embed(open_base(str(base)), texts, precision=precision)


@pytest.mark.usefixtures("small_shards")
@BOTH_PRECISIONS
def test_every_text_gets_its_row_in_the_order_of_the_source(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, precision: Precision
) -> None:
    out = tmp_path / "v.npy"
    assert run(tiny_base, [world.conversations], out, listener, precision=precision) == 160
    rows = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    wanted = [
        (f"conversations.jsonl#{document['id']}", turn, message["text"])
        for document in map(json.loads, world.conversations.read_text().splitlines())
        for turn, message in enumerate(document["turns"])
    ]
    assert [(row["id"], row["turn"], row["text"]) for row in rows] == wanted
    vectors = np.load(out, mmap_mode="r")
    assert isinstance(vectors, np.memmap) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(tiny_base, out.with_suffix(".jsonl"), precision), atol=1e-6)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    assert any("160 texts" in line for line in listener.said) and "texts/s" in listener.said[-1]


def test_what_is_left_out_is_told_and_where_it_is_all_the_message_is_about_that(
    tiny_base: Path, tmp_path: Path, listener: Listener
) -> None:
    huge, rows = tmp_path / "huge.txt", tmp_path / "rows.jsonl"
    huge.write_text("word " * 300_000 + "\n")
    with pytest.raises(SourceError) as refused:
        run(tiny_base, [huge], tmp_path / "v.npy", listener)
    assert str(refused.value) == (
        f"No usable text in {huge}: 1 left out (1 line-too-long). The first: huge.txt#1: line 1 has over 1,000,000 "
        "characters; put line breaks between its texts."
    )
    rows.write_text('{"text": "where is my card"}\n{"text": " "}\n{not json\n{"text": 3\n')
    assert run(tiny_base, [rows, huge], tmp_path / "v.npy", listener) == 1
    assert any("embed: 4 left out (2 bad-json, 1 empty, 1 line-too-long)" in line for line in listener.said)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 5e-4), ("int8", 4e-3)])
def test_smaller_types_hold_nearly_the_same_vectors(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, dtype: str, tolerance: float
) -> None:
    out = tmp_path / "v.npy"
    run(tiny_base, [world.conversations], out, listener, dtype)
    vectors = np.load(out, mmap_mode="r")
    assert vectors.dtype == np.dtype(dtype)
    scales = np.load(out.with_suffix(".scales.npy")) if dtype == "int8" else np.float32(1)
    np.testing.assert_allclose(vectors * scales, expected(tiny_base, out.with_suffix(".jsonl")), atol=tolerance)


def test_a_repeated_text_has_the_same_vector_each_time(tiny_base: Path, tmp_path: Path, listener: Listener) -> None:
    source, out = tmp_path / "s.csv", tmp_path / "v.npy"
    source.write_text("text\nhello\nmy card\nhello\n")
    run(tiny_base, [source], out, listener)
    vectors = np.load(out)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_allclose(vectors, expected(tiny_base, out.with_suffix(".jsonl")), atol=1e-6)


@given(arrays(np.float32, (5, 7), elements=st.floats(-1, 1, width=32)))
def test_quantised_vectors_are_at_most_half_a_step_off(vectors: np.ndarray) -> None:
    integers, scales = quantise(vectors)
    assert np.abs(integers.astype(int)).max() <= 127
    assert (np.abs(integers * scales - vectors) <= 0.5001 * scales + 1e-7).all()


class StopError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_what_a_crash_left_is_continued_and_not_done_again(
    tiny_base: Path,
    world: SmallWorld,
    tmp_path: Path,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
) -> None:
    whole, out = tmp_path / "whole.npy", tmp_path / "v.npy"
    run(tiny_base, [world.conversations], whole, listener, dtype)
    real, calls = embedding.embed, []

    def failing(product: TextEncoder, texts: list[str], **settings: Any) -> np.ndarray:
        calls.append(len(texts))
        if len(calls) == 5:
            raise StopError
        return real(product, texts, **settings)

    monkeypatch.setattr(embedding, "embed", failing)
    with pytest.raises(StopError):
        run(tiny_base, [world.conversations], out, listener, dtype)
    assert not out.exists() and not out.with_suffix(".jsonl").exists()
    assert run(tiny_base, [world.conversations], out, listener, dtype) == 160
    assert len(calls) == 5 + 6
    assert any("64 of them are kept" in line for line in listener.said)
    for suffix in [".npy", ".jsonl", *([".scales.npy"] if dtype == "int8" else [])]:
        assert out.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("change", ["dtype", "source", "model"])
def test_another_setting_source_or_model_starts_over(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    out, base = tmp_path / "v.npy", tmp_path / "model"
    subprocess.run(["cp", "-r", str(tiny_base), str(base)], check=True)
    real, calls = embedding.embed, []

    def counting(product: TextEncoder, texts: list[str], **settings: Any) -> np.ndarray:
        calls.append(len(texts))
        if len(calls) == 5:
            raise StopError
        return real(product, texts, **settings)

    monkeypatch.setattr(embedding, "embed", counting)
    with pytest.raises(StopError):
        run(base, [world.conversations], out, listener)
    if change == "source":
        lines = world.conversations.read_text().splitlines()
        world.conversations.write_text("\n".join(lines[::-1]) + "\n")
    if change == "model":
        (base / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    run(base, [world.conversations], out, listener, "float16" if change == "dtype" else "float32")
    assert len(calls) == 5 + 10
    np.testing.assert_allclose(np.load(out), expected(base, out.with_suffix(".jsonl")), atol=1e-3)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("moves", [1, 2])
def test_a_crash_while_files_move_into_place_is_mended_by_the_same_call(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    out, real, done = tmp_path / "v.npy", Path.replace, []

    def failing(self: Path, target: Path) -> Path:
        if Path(target).stem.startswith("v") and self.parent.name.endswith(".embedding"):
            done.append(target)
            if len(done) == moves + 1:
                raise StopError
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(StopError):
            run(tiny_base, [world.conversations], out, listener, "int8")
    assert not out.exists()
    assert run(tiny_base, [world.conversations], out, listener, "int8") == 160
    rebuilt = np.load(out) * np.load(out.with_suffix(".scales.npy"))
    np.testing.assert_allclose(rebuilt, expected(tiny_base, out.with_suffix(".jsonl")), atol=4e-3)


def test_the_same_call_again_is_instant_and_another_type_replaces_it(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.npy"
    run(tiny_base, [world.conversations], out, listener, "int8")
    with monkeypatch.context() as patch:
        patch.setattr(embedding, "embed", lambda *_, **__: pytest.fail("embedded again"))
        assert run(tiny_base, [world.conversations], out, listener, "int8") == 160
    with pytest.raises(StorageError, match=r"made from other sources, another model or other settings.*--force"):
        run(tiny_base, [world.conversations], out, listener, "float16")
    assert np.load(out).dtype == np.int8
    run(tiny_base, [world.conversations], out, listener, "float16", force=True)
    assert np.load(out).dtype == np.float16 and not out.with_suffix(".scales.npy").exists()


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.json", "mine.scales.npy"])
def test_files_of_the_users_own_are_never_overwritten(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, name: str
) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=f"would overwrite .*{name}"):
        run(tiny_base, [world.conversations], tmp_path / "mine.npy", listener)
    assert (tmp_path / name).read_text() == "precious"


def test_a_source_is_never_overwritten_by_its_own_rows(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    run(tiny_base, [world.conversations], tmp_path / "v.npy", listener)
    with pytest.raises(InputError, match=r"would overwrite .*v\.jsonl"):
        run(tiny_base, [tmp_path / "v.jsonl"], tmp_path / "v.npy", listener)


@pytest.mark.parametrize(
    ("out", "settings", "said"),
    [
        ("v.bin", {}, "ends in .npy"),
        ("v.npy", {"dtype": "float64"}, "Give one of: float32, float16, int8"),
        ("v.npy", {"precision": "fast"}, "Give one of: auto, float32, bfloat16"),
    ],
)
def test_unknown_settings_say_what_there_is(
    tiny_base: Path,
    world: SmallWorld,
    tmp_path: Path,
    listener: Listener,
    out: str,
    settings: dict[str, str],
    said: str,
) -> None:
    with pytest.raises(InputError, match=said):
        embed_sources(str(tiny_base), [world.conversations], tmp_path / out, CONFIG, report=listener, **settings)


def test_an_out_inside_a_source_folder_is_refused(tiny_base: Path, world: SmallWorld, listener: Listener) -> None:
    folder = world.conversations.parent
    with pytest.raises(InputError, match="would be read as a source"):
        run(tiny_base, [folder], folder / "v.npy", listener)


def test_a_disk_without_room_is_noticed_before_the_work(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    monkeypatch.setattr(embedding, "embed", lambda *_, **__: pytest.fail("embedded"))
    with pytest.raises(StorageError, match="--dtype float16"):
        run(tiny_base, [world.conversations], tmp_path / "v.npy", listener)


def test_a_forecast_comes_before_a_long_embedding(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_PROBED_FROM", 100)
    monkeypatch.setattr(embedding, "SAY_EVERY", 0.0)
    monkeypatch.setattr(embedding, "SHARD", 50)
    run(tiny_base, [world.conversations], tmp_path / "v.npy", listener)
    forecast = next(i for i, line in enumerate(listener.said) if "expected" in line)
    assert "50 of 160 texts" in listener.said[forecast + 1] and "left" in listener.said[forecast + 1]


@pytest.mark.usefixtures("small_shards")
@pytest.mark.slow
def test_a_killed_process_is_continued_by_the_same_call(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener
) -> None:
    out, whole = tmp_path / "v.npy", tmp_path / "whole.npy"
    script = (
        "import sys, time; from pathlib import Path; from shoptalk.config import Config\n"
        "from shoptalk.progress import Console; from shoptalk.commands import embed as e\n"
        "e.SHARD = 16; real = e.embed\n"
        "e.embed = lambda *a, **k: (time.sleep(0.3), real(*a, **k))[1]\n"
        "e.embed_sources(sys.argv[1], [Path(sys.argv[2])], Path(sys.argv[3]), Config(), report=Console(),"
        " precision='float32')"
    )
    words = [sys.executable, "-c", script, str(tiny_base), str(world.conversations), str(out)]
    process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    done = tmp_path / ".v.npy.embedding" / "done"
    while process.poll() is None and not (done.exists() and int(done.read_text()) >= 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = int(done.read_text())
    assert 2 <= finished < 10 and not out.exists()
    run(tiny_base, [world.conversations], out, listener)
    assert any(f"{finished * 16} of them are kept" in line for line in listener.said)
    run(tiny_base, [world.conversations], whole, listener)
    np.testing.assert_allclose(np.load(out), np.load(whole), atol=1e-6)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_what_is_no_card_beside_the_result_is_left_alone_and_blocks_nothing(
    tiny_base: Path, world: SmallWorld, tmp_path: Path, listener: Listener, strange: Callable[[Path], object]
) -> None:
    strange(tmp_path / "v.json")
    with pytest.raises(InputError, match=r"would overwrite .*v\.json"):
        run(tiny_base, [world.conversations], tmp_path / "v.npy", listener)


@pytest.mark.parametrize("mark", ["", "many", "-1", "99", "1" * 5_000, "\ufeff"])
def test_a_mark_of_finished_shards_that_cannot_be_right_is_not_believed(tmp_path: Path, mark: str) -> None:
    card = VectorsCard(
        key="k", model="m", dtype="float32", precision="float32", texts=9, dimensions=2, left_out=0, sources={}
    )
    plan = ShardPlan(card=card, shard=3, offsets=(0, 5, 9, 12))
    (tmp_path / "done").write_text(mark, encoding="utf-8")
    assert Work(tmp_path).finished_shards(plan) == 0
    (tmp_path / "done").write_text("2")
    assert Work(tmp_path).finished_shards(plan) == 2


def test_a_prompt_by_name_is_put_before_each_text_and_one_that_there_is_not_is_refused(
    tmp_path: Path, listener: Listener
) -> None:
    from dataclasses import replace

    from shoptalk.nn.tiny import tiny_product

    model = tmp_path / "model"
    replace(tiny_product(), prompts={"query": "hello "}, context_turns=3).save(model, card="")
    source, out = tmp_path / "texts.txt", tmp_path / "v.npy"
    source.write_text("card order\nrefund please\n", encoding="utf-8")
    chosen = {"report": listener, "precision": "float32"}
    embed_sources(str(model), [source], out, CONFIG, prompt="query", **chosen)
    by_hand = open_base(str(model)).embed(["hello card order", "hello refund please"])
    np.testing.assert_allclose(np.load(out), by_hand, atol=1e-6)
    assert json.loads(out.with_suffix(".json").read_text())["prompt"] == "query"
    with pytest.raises(InputError, match=r"no prompt named 'passage'\. It has: query\."):
        embed_sources(str(model), [source], tmp_path / "w.npy", CONFIG, prompt="passage", **chosen)
    with pytest.raises(StorageError, match="exists already"):
        embed_sources(str(model), [source], out, CONFIG, **chosen)
