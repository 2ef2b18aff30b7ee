import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from shoptalk.artifact import file_digest
from shoptalk.errors import BaseModelError
from shoptalk.nn import bases
from shoptalk.nn.bases import BASES, KnownBase, open_base, resolve
from shoptalk.nn.encoder import Encoder, TextEncoder, embed
from tests.tiny import tiny_product


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_product().save(tmp_path / "saved", card="")
    return tmp_path / "saved"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


# ---------------------------------------------------------------------------------------------- references


@pytest.mark.parametrize("ref", ["minlm", "", "~nobody-here/model", "./nowhere", "a/b/c", "/nowhere"])
def test_an_unknown_reference_lists_the_choices(ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaseModelError) as caught:
        resolve(ref)
    assert "minilm" in str(caught.value) or "expected config.json" in str(caught.value)


def test_a_hub_id_that_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BaseModelError, match=r"'some/model'.*HF_HUB_OFFLINE is set.*minilm"):
        resolve("some/model")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(bases, "_hub", lambda hub_id, *, local_files_only: None)
    with pytest.raises(
        BaseModelError, match=r"'some/model' is neither in the local cache nor can it be fetched.*hub\. "
    ):
        resolve("some/model")


def test_a_folder_without_a_model_says_what_is_expected(tmp_path: Path):
    with pytest.raises(BaseModelError, match=r"holds no model: expected config\.json and model\.safetensors"):
        resolve(str(tmp_path))


def test_a_run_folder_stands_for_the_encoder_inside(saved: Path):
    (saved.parent / "run").mkdir()
    saved.rename(saved.parent / "run" / "encoder")
    assert resolve(str(saved.parent / "run")) == saved.parent / "run" / "encoder"


# ---------------------------------------------------------------------------------------------- damage


def edit(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tree = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**tree, **values}))

    return change


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "weights cut short": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:999]),
    "weights garbage": lambda f: (f / "model.safetensors").write_bytes(b"x" * 999),
    "weights empty": lambda f: (f / "model.safetensors").write_bytes(b""),
    "weights gone": lambda f: (f / "model.safetensors").unlink(),
    "weights of something else": lambda f: save_file(
        {"x": torch.zeros(3)}, f / "model.safetensors", metadata={"format": "pt"}
    ),
    "more layers than weights": edit("config.json", num_hidden_layers=3),
    "other shapes": edit("config.json", hidden_size=16),
    "unknown kind": edit("config.json", model_type="zzz"),
    "another kind": edit("config.json", model_type="distilbert"),
    "config garbage": lambda f: (f / "config.json").write_text("{"),
    "config a list": lambda f: (f / "config.json").write_text("[]"),
    "config empty": lambda f: (f / "config.json").write_text("{}"),
    "tokenizer garbage": lambda f: (f / "tokenizer.json").write_text("{"),
    "tokenizer empty": lambda f: (f / "tokenizer.json").write_text("{}"),
    "tokenizer gone": lambda f: (f / "tokenizer.json").unlink(),
    "width a word": edit("config.json", hidden_size="wide"),
    "no width": edit("config.json", hidden_size=0),
    "padding past the vocabulary": edit("config.json", pad_token_id=10**6),
    "longest text negative": edit("sentence_bert_config.json", max_seq_length=-1),
    "longest text a fraction": edit("sentence_bert_config.json", max_seq_length=1.5),
    "tokenizer's limit negative": edit("tokenizer_config.json", model_max_length=-1),
    "padding token unknown": edit("tokenizer_config.json", pad_token="zzz"),
    "normalisation by NaN": edit("config.json", layer_norm_eps=float("nan")),
    "tokenizer's pattern broken": edit(
        "tokenizer.json",
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "((("}, "behavior": "Isolated", "invert": False},
    ),
    "tokenizer without a model": edit("tokenizer.json", model=None),
    "pooling garbage": lambda f: (f / "1_Pooling" / "config.json").write_text("{"),
    "pooling a list": lambda f: (f / "1_Pooling" / "config.json").write_text("[]"),
}


@pytest.mark.filterwarnings("ignore")  # transformers may complain in its own way first
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_by_name(saved: Path, damage: str):
    DAMAGES[damage](saved)
    with pytest.raises(BaseModelError, match=re.escape(str(saved))):
        open_base(str(saved))


def test_a_base_whose_tokenizer_has_no_vocabulary_is_refused(saved: Path):
    (saved / "tokenizer.json").unlink()
    edit("tokenizer_config.json", tokenizer_class="BertTokenizer")(saved)  # transformers makes up an empty one
    with pytest.raises(BaseModelError, match="has no vocabulary"):
        open_base(str(saved))


def test_weights_are_never_made_up(saved: Path):
    edit("config.json", num_hidden_layers=3)(saved)
    with pytest.raises(BaseModelError, match=r"lacks 16 of the weights.*encoder\.layer\.2"):
        open_base(str(saved))


def test_a_pooler_that_nothing_uses_may_be_missing(tmp_path: Path):
    product = tiny_product()
    backbone = BertModel(product.network.backbone.config, add_pooling_layer=False)
    TextEncoder(Encoder(backbone).eval(), product.tokenizer, 64, "x").save(tmp_path, card="")
    assert_array_equal(
        embed(open_base(str(tmp_path)), ["hello"]),
        embed(TextEncoder(Encoder(backbone).eval(), product.tokenizer, 64, "x"), ["hello"]),
    )


def test_a_tokenizer_without_padding_is_refused(saved: Path):
    tree = json.loads((saved / "tokenizer_config.json").read_text())
    del tree["pad_token"]
    (saved / "tokenizer_config.json").write_text(json.dumps(tree))
    with pytest.raises(BaseModelError, match="has no padding token"):
        open_base(str(saved))


# ---------------------------------------------------------------------------------------------- pooling, length


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        (None, "mean"),
    ],
)
def test_pooling_is_what_the_folder_says(saved: Path, config: dict[str, Any] | None, pooling: str):
    path = saved / "1_Pooling" / "config.json"
    path.unlink() if config is None else path.write_text(json.dumps(config))
    assert open_base(str(saved)).network.pooling == pooling


@pytest.mark.parametrize("config", [{"pooling_mode_max_tokens": True}, {"pooling_mode": "lasttoken"}, {}])
def test_another_pooling_is_refused(saved: Path, config: dict[str, Any]):
    (saved / "1_Pooling" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BaseModelError, match="asks for a pooling other than mean or cls"):
        open_base(str(saved))


@pytest.mark.parametrize(
    ("positions", "asked", "length"), [(50, 128, 48), (64, 128, 64), (200, 128, 128), (64, 20, 20)]
)
def test_no_text_is_padded_past_the_models_last_position(tmp_path: Path, positions: int, asked: int, length: int):
    tokenizer = tiny_product().tokenizer
    tokenizer.model_max_length = 10**30  # what transformers says where nobody said anything
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    backbone = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=positions, **sizes))
    TextEncoder(Encoder(backbone), tokenizer, 512, "x").save(tmp_path, card="")
    product = open_base(str(tmp_path), max_length=asked)
    assert product.max_length == length
    assert np.isfinite(embed(product, [" ".join(["day"] * 300)])).all()


def test_the_tokenizers_own_limit_counts(saved: Path):
    edit("tokenizer_config.json", model_max_length=12)(saved)
    assert open_base(str(saved)).max_length == 12


# ---------------------------------------------------------------------------------------------- known bases


def known(folder: Path, *, sha256: str | None = None, module: str = "no_such_package") -> KnownBase:
    return KnownBase(
        name="tiny",
        hub_id="someone/tiny",
        sha256=sha256 or file_digest(folder / "model.safetensors"),
        package="tiny-package",
        module=module,
        about="",
    )


def test_a_known_base_comes_from_its_package_without_importing_it(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "path" / "tiny_carrier"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    saved.rename(package / "model")
    monkeypatch.syspath_prepend(tmp_path / "path")
    monkeypatch.setitem(BASES, "tiny", known(package / "model", module="tiny_carrier"))
    product = open_base("tiny")
    assert product.name == "tiny"
    assert_array_equal(embed(product, ["hello"]), embed(tiny_product(), ["hello"]))


def test_weights_with_another_hash_are_refused(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(BASES, "tiny", known(saved, sha256="0" * 64))
    monkeypatch.setattr(bases, "_package", lambda base: saved)
    found = file_digest(saved / "model.safetensors")
    with pytest.raises(BaseModelError, match=rf"0{{64}}.*has sha256 {found}.*`pip install tiny-package`"):
        resolve("tiny")


def test_a_known_base_that_is_nowhere_says_how_to_get_it(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(BASES, "tiny", known(saved))
    monkeypatch.setattr(bases, "_hub", lambda hub_id, *, local_files_only: None)
    with pytest.raises(BaseModelError, match="`pip install tiny-package`"):
        resolve("tiny")


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ({"cache"}, ["cache"]),
        ({"hub"}, ["cache", "hub"]),
        ({"package"}, ["cache", "hub", "package"]),
        ({"hub", "package"}, ["cache", "hub"]),
        ({"cache", "hub", "package"}, ["cache"]),
    ],
)
def test_the_cache_comes_before_the_hub_and_the_hub_before_the_package(
    saved: Path, monkeypatch: pytest.MonkeyPatch, there: set[str], asked: list[str]
):
    log: list[str] = []

    def source(name: str) -> Path | None:
        log.append(name)
        return saved if name in there else None

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setitem(BASES, "tiny", known(saved))
    monkeypatch.setattr(bases, "_hub", lambda hub_id, *, local_files_only: source(["hub", "cache"][local_files_only]))
    monkeypatch.setattr(bases, "_package", lambda base: source("package"))
    assert resolve("tiny") == saved
    assert log == asked


def test_a_damaged_copy_does_not_hide_a_good_one(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_product(seed=1).save(tmp_path / "other", card="")
    monkeypatch.setitem(BASES, "tiny", known(saved))
    monkeypatch.setattr(bases, "_hub", lambda hub_id, *, local_files_only: tmp_path / "other")
    monkeypatch.setattr(bases, "_package", lambda base: saved)
    assert resolve("tiny") == saved


def test_the_hub_is_left_alone_when_offline_is_set(saved: Path, monkeypatch: pytest.MonkeyPatch):
    def only_local(hub_id: str, *, local_files_only: bool) -> None:
        assert local_files_only

    monkeypatch.setitem(BASES, "tiny", known(saved))
    monkeypatch.setattr(bases, "_hub", only_local)
    for ref in ("tiny", "some/model"):
        with pytest.raises(BaseModelError):
            resolve(ref)


def test_a_folder_that_happens_to_be_here_does_not_shadow_a_known_base(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    tiny_product(seed=1).save(tmp_path / "tiny", card="")
    monkeypatch.setitem(BASES, "tiny", known(saved))
    monkeypatch.setattr(bases, "_package", lambda base: saved)
    assert resolve("tiny") == saved
    assert resolve("./tiny") == Path("tiny")


# ---------------------------------------------------------------------------------------------- the hub

COMMIT = "c0ffee" + "0" * 34
FETCH = """
import sys
from pathlib import Path
from shoptalk.nn.bases import open_base, resolve
from shoptalk.nn.encoder import embed
import numpy as np
for number in (1, 2):
    np.save(sys.argv[1], embed(open_base("someone/tiny"), ["hello day"]))
    print("opened", sorted(path.name for path in resolve("someone/tiny").iterdir()), flush=True)
"""


@contextmanager
def hub_of(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that answers as the hub does for one repository, `someone/tiny`; yields its address and its log."""
    log: list[str] = []
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tree = [
        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in files.items()
    ]
    answers: dict[str, Any] = {
        "/api/models/someone/tiny/revision/main": {
            "id": "someone/tiny",
            "modelId": "someone/tiny",
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "siblings": [{"rfilename": name} for name in files],
        },
        f"/api/models/someone/tiny/tree/{COMMIT}": tree,
    }

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            path = unquote(urlparse(self.path).path)
            log.append(f"{self.command} {path}")
            name = path.removeprefix(f"/someone/tiny/resolve/{COMMIT}/")
            data = json.dumps(answers[path]).encode() if path in answers else files.get(name)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("X-Repo-Commit", COMMIT)
            if data is not None and path not in answers:
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.end_headers()
            return data or b""

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_hub_id_is_fetched_once_and_then_comes_from_the_cache(saved: Path, tmp_path: Path):
    (saved / "pytorch_model.bin").write_bytes(b"a pickle that nobody asked for")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with hub_of(saved) as (address, log):
        done = subprocess.run(
            [sys.executable, "-c", FETCH, str(tmp_path / "vectors.npy")],
            capture_output=True,
            check=False,
            text=True,
            timeout=200,
            env={
                **{name: value for name, value in environment.items() if "proxy" not in name.lower()},
                "HF_ENDPOINT": address,
                "HF_HOME": str(tmp_path / "hub"),
            },
        )
    assert done.returncode == 0, (done.stderr, log)
    assert done.stdout.count("opened") == 2
    assert_array_equal(np.load(tmp_path / "vectors.npy"), embed(tiny_product(), ["hello day"]))
    weights = [line for line in log if line.startswith("GET") and line.endswith("model.safetensors")]
    assert len(weights) == 1
    assert not any("pytorch_model.bin" in line for line in log)
