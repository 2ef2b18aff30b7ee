"""The page's script without a browser: node runs it on a page of stubs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import shoptalk

SCRIPT = Path(shoptalk.__file__).parent / "serve" / "faces" / "static" / "live.js"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs node on the path")
STUBS = """
const vm = require("vm"), fs = require("fs");
const element = (more) => ({ dataset: {}, style: {}, value: "", addEventListener() {}, focus() {}, ...more });
const picture = { value: "data:image/jpeg;base64,AAAA" };
const parts = {
  text: element({ value: "Look" }), state: element(),
  ask: element({ action: "/say", elements: { picture, conversation: {}, key: {} } }),
};
const asked = [];
const canvas = { getContext: () => ({ fillRect() {}, drawImage() {} }), toDataURL: (kind, quality) => {
  asked.push(quality);
  return "x".repeat(Math.round(LARGE * quality));
} };
const page = {
  document: { getElementById: (id) => parts[id] || null, addEventListener() {}, createElement: () => canvas },
  location: { hash: "" }, URLSearchParams, FormData: class { *[Symbol.iterator]() {} }, setTimeout,
  createImageBitmap: async () => ({ width: 2048, height: 512 }),
  fetch: async () => ({ ok: false, status: STATUS }),
};
vm.createContext(page);
vm.runInContext(fs.readFileSync(FILE, "utf8"), page);
"""


def outcome(code: str, large: int = 0, status: int = 413) -> object:
    """What the code prints, as JSON; a picture of quality 1 is `large` long, and the server refuses with `status`."""
    program = STUBS.replace("FILE", json.dumps(str(SCRIPT))).replace("LARGE", str(large))
    program = program.replace("STATUS", str(status)) + code
    assert NODE is not None
    done = subprocess.run([NODE, "-e", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("status", "kept"), [(413, False), (422, False), (408, True), (429, True), (503, True)])
def test_a_picture_that_was_refused_for_good_does_not_go_with_the_next_message(status: int, kept: bool) -> None:
    code = "page.submit(parts.ask).then(() => console.log(JSON.stringify([picture.value !== '', parts.text.value])));"
    assert outcome(code, status=status) == [kept, "Look"]


@pytest.mark.parametrize(("large", "qualities"), [(600_000, 1), (1_000_000, 3), (9_000_000, 5)])
def test_a_picture_is_sent_in_the_best_quality_that_is_small_enough(large: int, qualities: int) -> None:
    code = "page.smaller({}).then((sent) => console.log(JSON.stringify([asked.length, sent.length])));"
    tried, size = outcome(code, large)  # type: ignore[misc]
    assert tried == qualities and (size < 700_000 or tried == 5)
