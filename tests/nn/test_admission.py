"""Folders that nobody should open: with Python of their own, pickles, or sizes that are not what they say."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shoptalk.errors import BaseModelError
from shoptalk.nn import bases
from shoptalk.nn.admission import MOST_REPEATED, MOST_SETTINGS, admit, refuse_infinite
from shoptalk.nn.bases import open_base
from tests.tiny import tiny_product

SECONDS = 20.0  # a refusal takes milliseconds; building what these folders ask for takes minutes or all memory


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny_product().save(tmp_path / "saved", card="")
    return tmp_path / "saved"


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


# ---------------------------------------------------------------------------------------------- foreign code


def with_config_code(folder: Path, mark: Path) -> None:
    code = (
        f"open({str(mark)!r}, 'w')\nfrom transformers import BertConfig\nclass X(BertConfig):\n    model_type = 'x'\n"
    )
    (folder / "configuration_x.py").write_text(code)
    edit(folder / "config.json", model_type="x", auto_map={"AutoConfig": "configuration_x.X"})


def with_model_code(folder: Path, mark: Path) -> None:
    code = f"open({str(mark)!r}, 'w')\nfrom transformers import BertModel\nclass X(BertModel): pass\n"
    (folder / "modeling_x.py").write_text(code)
    edit(folder / "config.json", auto_map={"AutoModel": "modeling_x.X"})


def with_tokenizer_code(folder: Path, mark: Path) -> None:
    code = f"open({str(mark)!r}, 'w')\nfrom transformers import BertTokenizer\nclass X(BertTokenizer): pass\n"
    (folder / "tokenization_x.py").write_text(code)
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    edit(
        folder / "tokenizer_config.json",
        tokenizer_class="X",
        auto_map={"AutoTokenizer": ["tokenization_x.X", None]},
    )


def with_module_code(folder: Path, mark: Path) -> None:
    (folder / "module_x.py").write_text(f"open({str(mark)!r}, 'w')\nclass X: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, {"idx": 3, "name": "3", "type": "module_x.X"}]))


FOREIGN: dict[str, Callable[[Path, Path], None]] = {
    "config": with_config_code,
    "model": with_model_code,
    "tokenizer": with_tokenizer_code,
    "modules": with_module_code,
}


OPENING = """
import sys
from shoptalk.errors import BaseModelError
from shoptalk.nn.bases import open_base
for folder in sys.argv[1:]:
    try:
        open_base(folder)
    except BaseModelError as error:
        sys.stderr.write(f"{error}\\n")
"""


@pytest.mark.slow
def test_python_that_comes_with_a_base_is_refused_and_nobody_is_asked(tmp_path: Path):
    marks = {place: tmp_path / f"the code of {place} has run" for place in FOREIGN}
    for place, damage in FOREIGN.items():
        tiny_product().save(tmp_path / place, card="")
        damage(tmp_path / place, marks[place])
    done = subprocess.run(
        [sys.executable, "-c", OPENING, *(str(tmp_path / place) for place in FOREIGN)],
        input="y\n" * 9,
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
    )
    assert done.returncode == 0
    assert done.stdout == ""
    complaints = done.stderr.splitlines()
    assert len(complaints) == len(FOREIGN)
    for place, complaint in zip(FOREIGN, complaints, strict=True):
        assert f"'{tmp_path / place}' needs Python code that comes with the model" in complaint
        assert not marks[place].exists()


@pytest.mark.parametrize("place", ["config", "tokenizer"])
def test_the_libraries_are_told_to_run_no_code_even_where_a_folder_was_let_in(
    saved: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    mark = saved.parent / "the code has run"
    FOREIGN[place](saved, mark)
    monkeypatch.setattr(bases, "admit", lambda folder, ref: 10**6)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(BaseModelError):
        open_base(str(saved))
    assert "[y/N]" not in capsys.readouterr().out
    assert not mark.exists()


def test_an_adapter_that_names_another_model_is_refused(saved: Path):
    (saved / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x/y", "peft_type": "LORA"}))
    with pytest.raises(BaseModelError, match="is an adapter"):
        open_base(str(saved))


@pytest.mark.parametrize("name", ["modules.json", "tokenizer_config.json", "sentence_bert_config.json"])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(saved: Path, name: str):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    with pytest.raises(BaseModelError, match="is a pipe or a device"):
        admit(saved, "ref")


def test_a_device_in_place_of_a_file_is_refused_and_not_read(saved: Path):
    (saved / "modules.json").unlink()
    (saved / "modules.json").symlink_to("/dev/zero")
    with pytest.raises(BaseModelError, match="is a pipe or a device"):
        admit(saved, "ref")


def test_attention_kernels_are_not_fetched_for_a_base(saved: Path):
    edit(saved / "config.json", attn_implementation="someone/kernel")
    with pytest.raises(BaseModelError, match="asks for the attention kernel 'someone/kernel'"):
        open_base(str(saved))


# ---------------------------------------------------------------------------------------------- pickles


def test_weights_are_never_unpickled_and_the_message_says_what_to_do(saved: Path):
    tensors = load_file(saved / "model.safetensors")
    torch.save(tensors, saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"pytorch_model\.bin, a pickle.*never does.*save_pretrained") as caught:
        open_base(str(saved))
    assert str(saved) in str(caught.value)


def test_a_pickle_beside_the_weights_is_left_alone(saved: Path):
    (saved / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert open_base(str(saved)).network.dim == 32


# ---------------------------------------------------------------------------------------------- sizes

GIANTS: dict[str, tuple[dict[str, Any], str]] = {
    "many wide layers": ({"num_hidden_layers": 100_000, "hidden_size": 65_536}, r"num_hidden_layers = 100,000"),
    "many layers": ({"num_hidden_layers": MOST_REPEATED + 1}, r"num_hidden_layers = 1,001"),
    "as many layers as can be": (
        {"num_hidden_layers": 48, "hidden_size": 65_536, "intermediate_size": 262_144},
        "describes a model of 2,",
    ),
    "wide": ({"hidden_size": 65_536}, r"describes a model of"),
    "a long vocabulary": ({"vocab_size": 10**12}, r"describes a model of"),
    "beyond all numbers": ({"vocab_size": 10**18, "hidden_size": 10**9}, "cannot be opened"),
    "many positions": ({"max_position_embeddings": 10**11}, r"describes a model of"),
    "many labels": ({"num_labels": 10**9}, r"num_labels = 1,000,000,000"),
    "many layers of a stage": ({"model_type": "resnet", "depths": [-(10**7), 10**7, 1, 1]}, r"depths = 10,000,002"),
    "layers without end": ({"num_hidden_layers": float("inf")}, r"num_hidden_layers = inf"),
}


@pytest.mark.parametrize("giant", GIANTS)
def test_a_configuration_that_asks_for_more_than_the_file_holds_is_refused_unbuilt(saved: Path, giant: str):
    changes, message = GIANTS[giant]
    edit(saved / "config.json", **changes)
    began = time.monotonic()
    with pytest.raises(BaseModelError, match=message):
        open_base(str(saved))
    assert time.monotonic() - began < SECONDS


def test_a_configuration_longer_than_any_is_not_read(saved: Path):
    with (saved / "config.json").open("r+b") as file:
        file.truncate(MOST_SETTINGS + 1)
    with pytest.raises(BaseModelError, match=r"config\.json.*has 4,194,305 bytes"):
        admit(saved, "x")


def with_header(folder: Path, change: Callable[[dict[str, Any]], None], *, length: int | None = None) -> None:
    """Write the safetensors header anew after a change, with a false length if one is given."""
    data = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text) if length is None else length) + text + data[8 + size :]
    )


NAME = "encoder.layer.1.output.dense.weight"
LIES: dict[str, tuple[Callable[[dict[str, Any]], Any], int | None]] = {
    "a shape beyond its bytes": (lambda header: header[NAME].update(shape=[10**9, 10**9]), None),
    "bytes beyond the file": (lambda header: header[NAME].update(data_offsets=[0, 10**15]), None),
    "two tensors in one place": (lambda header: header.update(twin=header[NAME]), None),
    "a negative shape": (lambda header: header[NAME].update(shape=[-32, -64]), None),
    "no shape": (lambda header: header[NAME].pop("shape"), None),
    "a tensor that is a number": (lambda header: header.update({NAME: 3}), None),
    "a header beyond the file": (lambda header: None, 2**62),
    "a header cut short": (lambda header: None, 20),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_safetensors_header_that_lies_is_refused(saved: Path, lie: str):
    change, length = LIES[lie]
    with_header(saved, change, length=length)
    began = time.monotonic()
    with pytest.raises(BaseModelError, match=r"model\.safetensors.*is damaged, or is not a safetensors file"):
        open_base(str(saved))
    assert time.monotonic() - began < SECONDS


def test_weights_in_several_files_open_and_their_index_may_name_no_file_elsewhere(saved: Path):
    tensors = load_file(saved / "model.safetensors")
    names = sorted(tensors)
    parts = {"one.safetensors": names[: len(names) // 2], "two.safetensors": names[len(names) // 2 :]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, saved / file, metadata={"format": "pt"})
    (saved / "model.safetensors").unlink()
    where = {name: file for file, held in parts.items() for name in held}
    index = saved / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert open_base(str(saved)).network.dim == 32
    index.write_text(json.dumps({"metadata": {}, "weight_map": where | {names[0]: "../one.safetensors"}}))
    with pytest.raises(BaseModelError, match=r"names the file '\.\./one\.safetensors'"):
        open_base(str(saved))


# ---------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_not_finite_are_refused_by_the_tensors_name(saved: Path, value: str):
    tensors = load_file(saved / "model.safetensors")
    tensors[NAME][3, 5] = float(value)
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match=rf"1 of the 2,048 numbers in '{NAME}' are NaN or infinite"):
        open_base(str(saved))


def test_weights_whose_sum_overflows_are_finite(saved: Path):
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.bias, 3e38)
    refuse_infinite(layer, saved, "ref")


def test_finite_weights_that_make_vectors_of_nan_are_refused(saved: Path):
    tensors = load_file(saved / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"][:2] = 3e38
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BaseModelError, match="turns plain texts into vectors with NaN"):
        open_base(str(saved))


def test_opening_leaves_the_random_state_alone(saved: Path):
    before = torch.get_rng_state()
    open_base(str(saved))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------------------- nothing to write to

BARE = """
import sys
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
print(embed(open_base(sys.argv[1]), ["hello day"]).shape)
"""


@pytest.mark.slow
def test_a_base_opens_read_only_without_a_home_or_a_compiler(saved: Path):
    for path in [*saved.rglob("*"), saved]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(saved)],
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
        cwd="/",
        env={
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PATH": "/nowhere",
            "CXX": "no-such-compiler",
            "HOME": "/nonexistent",
            "XDG_CACHE_HOME": "/proc/cache",
            "HF_HUB_OFFLINE": "1",
        },
    )
    for path in [saved, *saved.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 32)\n"
