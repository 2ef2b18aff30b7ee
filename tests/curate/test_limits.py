import gzip
import random
import time
from pathlib import Path

import pytest

from shoptalk.config import CurateConfig
from shoptalk.curate import limits
from shoptalk.curate.files import RefusedFile
from shoptalk.curate.labels import read_label_sets, read_labels
from shoptalk.curate.limits import refuse_oversized
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop


def log_lines(count: int) -> bytes:
    """A server's log, which packs well: the same words with other numbers."""
    rng = random.Random(0)
    return b"".join(
        b"2026-11-28 10:%02d:%02d INFO chat.session opened for customer, channel=web, status=200\n"
        % (i // 60 % 60, i % 60)
        for i in range(count)
    ) + b"%d\n" % rng.getrandbits(64)


def bomb(path: Path, megabytes: int) -> Path:
    with gzip.open(path, "wb") as file:
        for _ in range(megabytes):
            file.write(b"spam eggs\n" * 100_000)
    return path


@pytest.mark.timeout(60)
def test_a_gzip_bomb_is_refused_within_seconds_and_the_message_names_the_setting(tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.txt.gz", 400)
    assert (tmp_path / "bomb.txt.gz").stat().st_size < 1_100_000
    (tmp_path / "chats.txt").write_text("hello there\n")
    begun = time.process_time()
    items = list(stream_sources([tmp_path], CurateConfig()))
    assert time.process_time() - begun < 5
    assert [item.text for item in items if isinstance(item, Document)] == ["hello there"]
    (drop,) = [item for item in items if isinstance(item, Drop)]
    assert drop.reason == "too-large"
    assert "curate.unpack_ratio" in drop.detail and "200 times" in drop.detail


def test_a_bomb_given_alone_ends_the_run_with_the_setting_in_the_message(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.jsonl.gz", 300)
    with pytest.raises(SourceError, match=r"1 too-large.*raise curate\.unpack_ratio"):
        list(stream_sources([path], CurateConfig()))


def test_an_honest_log_that_packs_well_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HARMLESS", 100_000)
    text = log_lines(20_000)
    path = tmp_path / "log.txt.gz"
    path.write_bytes(gzip.compress(text))
    assert 20 < len(text) / path.stat().st_size < 120
    refuse_oversized(path, CurateConfig())
    with pytest.raises(RefusedFile, match="unpack_ratio"):
        refuse_oversized(path, CurateConfig(unpack_ratio=10))


def test_what_a_small_file_unpacks_to_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path / "small.txt.gz", 1)
    monkeypatch.setattr(limits, "_unpacks_within", lambda *_: pytest.fail("it was unpacked"))
    refuse_oversized(path, CurateConfig())


def test_a_file_over_the_limit_is_neither_read_nor_hashed(tmp_path: Path) -> None:
    (tmp_path / "chats.txt").write_text("hello there\n")
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(8_000_000_000)  # takes no room on the disk
    begun = time.process_time()
    items = list(stream_sources([tmp_path], CurateConfig()))
    name = f"{tmp_path.name}/huge.txt"
    assert source_fingerprint([tmp_path])[name] == "too-large"
    assert time.process_time() - begun < 2
    (drop,) = [item for item in items if isinstance(item, Drop)]
    assert (drop.id, drop.reason) == (name, "too-large")
    assert "8,000 MB, and curate.file_megabytes allows 4,000 MB" in drop.detail


def test_the_limit_is_a_setting_and_counts_what_a_file_unpacks_to(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(random.Random(0).randbytes(3_000_000).hex().encode()))
    refuse_oversized(path, CurateConfig(file_megabytes=6.1))
    with pytest.raises(RefusedFile, match=r"unpack to more, and curate\.file_megabytes allows 5 MB"):
        refuse_oversized(path, CurateConfig(file_megabytes=5))


@pytest.mark.parametrize("read", [read_labels, read_label_sets])
def test_a_labels_file_over_its_own_limit_is_an_error_that_names_the_setting(tmp_path: Path, read: object) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,label\n" + "hello,greet\nbye,part\n" * 100)
    assert callable(read)
    read(path, CurateConfig())
    with pytest.raises(SourceError, match=r"labels\.csv: too-large .*curate\.label_megabytes allows"):
        read(path, CurateConfig(label_megabytes=0.001))


@pytest.mark.parametrize("damage", [b"", b"not gzip at all", gzip.compress(b"x" * 10_000_000, mtime=0)[:-9]])
def test_a_damaged_file_is_left_to_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    monkeypatch.setattr(limits, "HARMLESS", 1)
    path = tmp_path / "a.txt.gz"
    path.write_bytes(damage)
    refuse_oversized(path, CurateConfig(unpack_ratio=2_000))
    refuse_oversized(tmp_path / "missing.txt", CurateConfig())
