import os
import shutil
from pathlib import Path

import pytest

from shoptalk.artifact import MANIFEST, create
from shoptalk.commands.verify import verify
from shoptalk.errors import SourceError
from tests.attacks import deep_folders, replaced
from tests.conftest import Listener


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("encoder", "menu/mlm-3"):
        with create(tmp_path / name, kind="encoder", config={}, parents={}) as inside:
            (inside / "deep").mkdir()
            (inside / "deep" / "weights").write_bytes(bytes(range(200)))
            (inside / "card.md").write_text("a card")
    return tmp_path


def test_whole_artifacts_are_said_to_be_whole(run: Path, listener: Listener) -> None:
    result = verify(run, report=listener)
    assert (result["artifacts"], result["sound"], result["files"], result["bytes"]) == (2, 2, 4, 412)
    assert result["damaged"] == []
    assert listener.said == ["verify: encoder", "verify: menu/mlm-3"]


def test_a_file_that_changed_without_changing_its_size_is_named(run: Path, listener: Listener) -> None:
    (run / "menu/mlm-3/deep/weights").write_bytes(bytes(200))
    result = verify(run, report=listener)
    assert result["damaged"] == [
        {"path": "menu/mlm-3/deep/weights", "problem": "has a changed 'deep/weights': its hash is not the manifest's"}
    ]
    assert result["sound"] == 1


def test_missing_and_cut_files_and_broken_manifests_are_named(run: Path, listener: Listener) -> None:
    (run / "encoder/card.md").unlink()
    (run / "encoder/deep/weights").write_bytes(b"1")
    manifest = run / "menu/mlm-3/manifest.json"
    manifest.write_text(manifest.read_text().replace('"content": "', '"content": "0'))
    rows = {row["path"]: row["problem"] for row in verify(run, report=listener)["damaged"]}
    assert set(rows) == {"encoder/card.md", "encoder/deep/weights", "menu/mlm-3"}
    assert "lacks" in rows["encoder/card.md"] and "1 bytes, where its manifest says 200" in rows["encoder/deep/weights"]
    assert "content hash" in rows["menu/mlm-3"]


def test_a_manifest_cannot_send_the_check_outside_its_folder(run: Path, listener: Listener) -> None:
    (run / "secret").write_text("secret")
    (run / "encoder/card.md").unlink()
    (run / "encoder/card.md").symlink_to(run / "secret")
    (row,) = verify(run, report=listener)["damaged"]
    assert "link that leaves the folder" in row["problem"]


def test_a_copied_verdict_that_was_edited_is_found(run: Path, listener: Listener) -> None:
    with create(run / "decision", kind="decision", config={}, parents={}) as inside:
        (inside / "verdict.json").write_text('{"choice": "keep_base"}')
    (run / "verdict.json").write_text('{"choice": "adopt"}')
    assert verify(run, report=listener)["damaged"] == [
        {"path": "verdict.json", "problem": "differs from decision/verdict.json"}
    ]


def test_a_head_of_another_encoder_and_a_run_without_its_encoder_are_found(run: Path, listener: Listener) -> None:
    with create(run / "head", kind="head", config={}, parents={"encoder": "0" * 64}) as inside:
        (inside / "head.json").write_text("{}")
    assert [row["path"] for row in verify(run, report=listener)["damaged"]] == ["head"]
    with create(run / "decision", kind="decision", config={}, parents={}) as inside:
        (inside / "facts.json").write_text("{}")
    shutil.rmtree(run / "encoder")
    (row,) = verify(run, report=listener)["damaged"]
    assert row["path"] == "encoder" and "is missing" in row["problem"]


def test_a_folder_without_artifacts_has_nothing_to_verify(tmp_path: Path, listener: Listener) -> None:
    with pytest.raises(SourceError, match="nothing to verify"):
        verify(tmp_path, report=listener)


def test_a_manifest_that_is_a_pipe_or_a_link_to_nothing_is_damage(run: Path, listener: Listener) -> None:
    replaced(run / "encoder" / MANIFEST, os.mkfifo)
    replaced(run / "menu/mlm-3" / MANIFEST, lambda path: path.symlink_to(path.with_name("gone")))
    rows = {row["path"]: row["problem"] for row in verify(run, report=listener)["damaged"]}
    assert "a folder, a pipe or a device" in rows["encoder"] and "link to nothing" in rows["menu/mlm-3"]


def test_a_manifest_a_thousand_folders_deep_is_found(run: Path, listener: Listener) -> None:
    with deep_folders(run, depth=1_200, file_at=900, name=MANIFEST):
        (row,) = verify(run, report=listener)["damaged"]
    assert row["path"].startswith("abc/abc/") and "is damaged" in row["problem"]
