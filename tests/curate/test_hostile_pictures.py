"""2,000 picture files as nobody should send them: each is a document or a drop with its reason, in little memory."""

import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from tests.image.hostile import data_of, write_hostile

COUNT = 2_000
MOST_MEGABYTES = 1_500
LARGE = ("red", "green", "blue")

SCRIPT = """
import json, sys
from collections import Counter
from pathlib import Path
from shoptalk.artifact import create
from shoptalk.config import CurateConfig
from shoptalk.curate.curation import curate, open_corpora, read_drops, write_corpus
from shoptalk.curate.sources import stream_sources
from shoptalk.image.pixels import decode_to

source, out = map(Path, sys.argv[1:])
config = CurateConfig()
read = Counter()
def counted(items):
    for item in items:
        read[item.id] += 1
        yield item
with create(out / "corpus", kind="corpus", config={}, parents={}) as inside:
    kept = curate(counted(stream_sources([source], config)), reserved=(), config=config)
    written = write_corpus(inside, kept, passage_characters=600, held_out=lambda document: False)
train, _ = open_corpora(out / "corpus", digest="")
pixels = decode_to(out / "pixels", train.items, size=32, digest="d")
drops = list(read_drops(out / "corpus"))
print(json.dumps({
    "read": sum(read.values()), "distinct": len(read), "kept": written.documents, "dropped": len(drops),
    "pixels": len(pixels), "reasons": Counter(drop.reason for drop in drops),
    "unexplained": [drop.id for drop in drops if not drop.reason or not drop.detail],
    "megabytes": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024,
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="its peak is read from Linux's /proc")
def test_of_two_thousand_hostile_files_each_is_kept_or_dropped_with_its_reason_in_little_memory(tmp_path: Path) -> None:
    expected = write_hostile(tmp_path / "in", COUNT, seed=0) + len(LARGE)
    with zipfile.ZipFile(tmp_path / "in" / "large.zip", "w") as archive:
        for colour in LARGE:  # as large as is allowed, and several are decoded at once
            archive.writestr(f"{colour}.png", data_of(Image.new("RGBA", (7_000, 7_000), colour)))
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["read"] == told["distinct"] == expected == told["kept"] + told["dropped"]
    assert told["pixels"] == told["kept"] > COUNT // 5
    assert told["unexplained"] == []
    assert told["megabytes"] < MOST_MEGABYTES, told
    reasons = Counter(told["reasons"])
    assert set(reasons) >= {
        "damaged", "duplicate", "empty", "link", "nested-zip", "not-a-picture", "too-large", "too-many-pixels",
        "unreadable", "unsafe-name",
    }  # fmt: skip
