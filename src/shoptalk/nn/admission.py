"""What is checked of a base's folder before any library opens it.

A folder may come from anyone. It is refused where it names Python of its own or another model, where its weights would
have to be unpickled, where an entry is a pipe or a device, where a file is too large to be what it says it is, and
where the safetensors headers or the configuration promise sizes that the files do not have. Nothing here runs anything
from the folder, and nothing of the promised sizes is allocated: headers and JSON are read, and files are measured.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shoptalk.errors import BaseModelError

WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_ADAPTER = "adapter_config.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

MOST_SETTINGS = 4 * 2**20
"""Bytes of a configuration; those of real models have a few thousand."""
MOST_VOCABULARY = 128 * 2**20
"""Bytes of a tokenizer's file; the largest vocabularies in use need some 40 million."""
_MOST_HEADER = 100_000_000  # bytes: safetensors' own limit

MOST_REPEATED = 1_000
"""Layers, experts and the like: each is built as an object of its own, and no encoder has as many."""
MOST_COUNTED = 1_000_000
"""Any other number of things in a configuration, such as labels."""
_REPEATED = ("layer", "expert", "block", "group", "stage")
_DEPTHS = ("depth", "block_sizes")
"""In the names of lists that say of each stage of a network how many layers it has."""

SLACK = 2.0
"""A configuration that asks for more than this many times the parameters in the file is refused before anything is
built. A smaller excess is noticed when the weights are loaded, and costs little memory."""
_SPARE = 2**24  # parameters that a tiny model may ask for beyond that

_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


def admit(folder: Path, ref: str) -> int:
    """How many numbers the folder's weights hold, after all of the checks above.

    Raises:
        BaseModelError: a check failed, and the folder must not be opened.
    """
    for path in sorted(folder.iterdir()):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise BaseModelError(
                f"{path} of {ref!r} is a pipe or a device, reading which may never end; expected a file. Delete it, or "
                "fetch or write the model again."
            )
        most = MOST_SETTINGS if path.name in _SETTINGS else MOST_VOCABULARY
        if path.suffix in {".json", ".txt", ".model"} and path.is_file() and path.stat().st_size > most:
            raise BaseModelError(
                f"{path} of {ref!r} has {path.stat().st_size:,} bytes; such files have less than {most:,}. This is not "
                "a model's file: fetch or write the model again."
            )
    _refuse_code(folder, ref)
    _refuse_counts(folder, ref)
    return sum(_numbers(path, ref) for path in weight_files(folder, ref))


_SETTINGS = (
    "config.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json", "special_tokens_map.json",
)  # fmt: skip


# --- foreign code -------------------------------------------------------------------------------------------------


def _refuse_code(folder: Path, ref: str) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        for key, value in _entries(_read(folder / name)):
            if key == "auto_map":
                raise _foreign(folder / name, ref, f"has `auto_map` {json.dumps(value)}")
            # Such a name is fetched from the hub and run where the package `kernels` is installed.
            if key in {"attn_implementation", "_attn_implementation"} and "/" in str(value):
                raise _foreign(folder / name, ref, f"asks for the attention kernel {value!r}")
    if (folder / _ADAPTER).is_file():  # where the package `peft` is installed, it names the model that is opened
        raise BaseModelError(
            f"{ref!r} ({folder}) is an adapter: its {_ADAPTER} names another model, which has not been checked. "
            "Expected a whole encoder. Merge the two (`merge_and_unload` of peft), save the result, and give that."
        )
    modules = _read(folder / "modules.json")
    for row in modules if isinstance(modules, list) else []:
        kind = row.get("type") if isinstance(row, dict) else row
        if not str(kind).startswith("sentence_transformers."):
            raise _foreign(folder / "modules.json", ref, f"names the class {kind!r}")


def _foreign(path: Path, ref: str, what: str) -> BaseModelError:
    return BaseModelError(
        f"{ref!r} needs Python code that comes with the model: {path} {what}. Shoptalk never runs such code. Expected "
        "an encoder that transformers knows by itself, such as BERT, RoBERTa or MPNet. Give another base, or, if you "
        "know that the code is not needed, a copy of the folder without that entry."
    )


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a JSON value with what it holds, at any depth."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part.items()
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


# --- sizes --------------------------------------------------------------------------------------------------------


def _refuse_counts(folder: Path, ref: str) -> None:
    """Counts for which a library would build that many objects before it looks at a single weight."""
    for key, count, most in _counts(_read(folder / "config.json")):
        if not -1 <= count <= most:  # NaN and infinity too
            raise BaseModelError(
                f"config.json of {ref!r} ({folder}) says {key} = {count:,}; at most {most:,} is expected. Nothing was "
                "opened. Fetch or write the model again."
            )


def _counts(tree: Any) -> Iterator[tuple[str, int | float, int]]:
    """Each count of a configuration by its name, and the most that is expected of it."""
    for key, value in _entries(tree):
        if isinstance(value, list) and any(word in key for word in _DEPTHS):
            yield key, sum(max(0, part) for part in value if isinstance(part, int | float)), MOST_REPEATED
            continue
        counted = key.startswith(("num_", "n_")) or key.endswith("_layers")
        if counted and isinstance(value, int | float) and not isinstance(value, bool):
            yield key, value, MOST_REPEATED if any(word in key for word in _REPEATED) else MOST_COUNTED


def refuse_misfit(folder: Path, ref: str, *, asked: int, held: int) -> None:
    """Compare the parameters of the model that config.json describes with the numbers that the files hold.

    Raises:
        BaseModelError: it describes a model of another size altogether.
    """
    if asked > SLACK * held + _SPARE:
        raise BaseModelError(
            f"config.json of {ref!r} ({folder}) describes a model of {asked:,} parameters, and its weights are "
            f"{held:,} numbers. Nothing was opened. Expected the two to belong together; fetch or write the model "
            "again."
        )


# --- weights ------------------------------------------------------------------------------------------------------


def weight_files(folder: Path, ref: str) -> list[Path]:
    """The safetensors files that hold the weights: one, or those that the index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = _read(folder / _INDEX)
    table = index.get("weight_map") if isinstance(index, dict) else None
    if isinstance(table, dict):
        names = sorted({str(name) for name in table.values()})
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise BaseModelError(
                    f"{_INDEX} of {ref!r} ({folder}) names the file {name!r}, which is not in that folder. Fetch or "
                    "write the model again."
                )
        return [folder / name for name in names]
    pickled = next((path.name for path in sorted(folder.iterdir()) if path.suffix in _PICKLED), None)
    if pickled is not None:
        raise BaseModelError(
            f"The weights of {ref!r} are in {folder / pickled}, a pickle. Opening a pickle may run any code that is in "
            f"it, so Shoptalk never does. Expected {WEIGHTS}. Fetch a version of the model that has it; or, if you "
            'trust the file, convert it: `python -c "from transformers import AutoModel; '
            "AutoModel.from_pretrained('OLD').save_pretrained('NEW')\"`, and copy the tokenizer's files to NEW."
        )
    raise BaseModelError(
        f"{ref!r} ({folder}) has no weights: expected {WEIGHTS} beside config.json. Fetch or write the model again."
    )


def _numbers(path: Path, ref: str) -> int:
    """How many numbers a safetensors file holds, by its header, which must describe the file's bytes exactly."""
    total, end = 0, 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, _MOST_HEADER):
                raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
            header = json.loads(file.read(length))
        tensors = {name: about for name, about in header.items() if name != "__metadata__"}
        for name, about in sorted(tensors.items(), key=lambda entry: entry[1]["data_offsets"]):
            begin, stop = about["data_offsets"]
            count = math.prod(about["shape"])
            wide = _BYTES.get(about["dtype"])
            if (
                begin != end
                or min(about["shape"], default=0) < 0
                or (wide is not None and stop - begin != wide * count)
            ):
                raise ValueError(f"tensor {name!r} of shape {about['shape']} in bytes {begin:,} to {stop:,}")
            total, end = total + count, stop
        if end != size - 8 - length:
            raise ValueError(f"{end:,} bytes of tensors in a file that has {size - 8 - length:,}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise BaseModelError(
            f"{path} of {ref!r} is damaged, or is not a safetensors file: its header says {error}. Fetch or write the "
            "model again."
        ) from error
    return total


def refuse_infinite(module: torch.nn.Module, folder: Path, ref: str) -> None:
    """Refuse weights that are not finite numbers.

    Raises:
        BaseModelError: a tensor holds NaN or infinity.
    """
    for name, parameter in module.named_parameters():
        values = parameter.detach()
        # One pass: a sum over anything that is not finite is not finite. Large numbers may overflow it, so look again.
        if not bool(values.sum().isfinite()) and not bool((finite := values.isfinite()).all()):
            raise BaseModelError(
                f"The weights of {ref!r} ({folder}) cannot be used: {int((~finite).sum()):,} of the "
                f"{values.numel():,} numbers in {name!r} are NaN or infinite. The training that wrote them diverged, "
                "or the file is damaged: fetch or write the model again."
            )


_TRIALS = ("hello", "where is my parcel? " * 100)
"""A short text and one that must be cut: their batch needs padding, and every position."""


def refuse_unable(embed: Callable[[Sequence[str]], Float[np.ndarray, "n D"]], folder: Path, ref: str) -> None:
    """Refuse an encoder that cannot embed two sample texts, or whose vectors are not finite.

    Raises:
        BaseModelError: tokenizer and weights do not belong together, or a setting makes reading impossible.
    """
    try:
        finite = bool(np.isfinite(embed(_TRIALS)).all())
    except Exception as error:  # tokenizers raises nothing more special
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot read even a short text: {error}. Expected a tokenizer and weights that belong "
            "together; fetch or write the model again."
        ) from error
    if not finite:
        raise BaseModelError(
            f"{ref!r} ({folder}) turns plain texts into vectors with NaN or infinity, though its weights are finite. "
            "Expected a config.json that belongs to the weights; fetch or write the model again."
        )


def _read(path: Path) -> Mapping[str, Any] | list[Any]:
    """A JSON file; empty where there is none, or none that can be read, which whoever needs it reports."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict | list) else {}
