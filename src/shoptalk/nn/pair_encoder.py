"""Pair encoders: pictures and texts to unit vectors of one space. In memory and on disk.

On disk a pair is a folder that `VisionTextDualEncoderModel.from_pretrained(path)` and
`VisionTextDualEncoderProcessor.from_pretrained(path)` open where Shoptalk is not installed. Its README says how the
towers' outputs are pooled there: texts by the mean of their tokens, as sentence encoders do, where that model's own
`get_text_features` would read a pooler that a sentence encoder has never trained.
"""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn

from shoptalk.artifact import usual_modes, write_text
from shoptalk.errors import ConfigError
from shoptalk.image.pixels import Pixels
from shoptalk.nn.admission import WEIGHTS
from shoptalk.nn.encoder import MODEL_CARD, Encoder, TextEncoder, evaluating, prompt_of
from shoptalk.nn.image_encoder import (
    PROCESSOR,
    ImageEncoder,
    ImageNetwork,
    decoded,
    embed_files,
    normalised,
    picture_units,
    processor_settings,
)
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import Embedder, Kind
from shoptalk.nn.scratch_pictures import MARK
from shoptalk.records import Item, Picture
from shoptalk.text.batching import TokenBatch, make_batch
from shoptalk.text.corpus import Corpus
from shoptalk.text.stored import TextsOf
from shoptalk.text.tokens import Tokenised, tokenise, tokenise_to

MODEL_TYPE = "vision-text-dual-encoder"
WIDTH = 256
"""Of the common space; CLIP's is 512, for towers that are 12 times as wide and more."""
TEMPERATURE = 0.07
"""Where the learned temperature begins (Radford et al. 2021, section 2.5)."""


class PairNetwork(nn.Module):
    """Two towers, and a projection of each into the common space."""

    def __init__(self, pictures: ImageNetwork, texts: Encoder, *, width: int = WIDTH) -> None:
        super().__init__()
        self.pictures = pictures
        self.texts = texts
        self.picture_projection = nn.Linear(pictures.dim, width, bias=False)
        self.text_projection = nn.Linear(texts.dim, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
        """The logarithm of what cosines are multiplied by: 1 / the temperature."""

    @property
    def dim(self) -> int:
        """Width of the common space."""
        return self.picture_projection.out_features

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.logit_scale.device

    def encode_pictures(self, pixels: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n D"]:
        """One unit vector per picture; with several processes, on each of them."""
        return nn.functional.normalize(self.picture_projection(self.pictures(pixels)).float(), dim=-1)

    def encode_texts(self, batch: TokenBatch) -> Float[Tensor, "n D"]:
        """One unit vector per text, in the batch's order; with several processes, on each of them."""
        return self.project_texts(self.texts(batch))

    def project_texts(self, vectors: Float[Tensor, "n W"]) -> Float[Tensor, "n D"]:
        """What the text tower gives for texts, as unit vectors of the common space."""
        return nn.functional.normalize(self.text_projection(vectors).float(), dim=-1)


@dataclass(frozen=True)
class PairInputs:
    """What batches of a corpus of pictures and captions are made from."""

    pixels: Pixels
    tokens: Tokenised
    """Row i is that of the corpus's item i; of a picture, that of an empty text."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class PairEncoder(Embedder):
    """Two towers with their processor and tokenizer, and where they came from."""

    kind: ClassVar[Kind] = "pair"

    network: PairNetwork
    tokenizer: Any
    max_length: int
    name: str
    precision: Precision = "float32"
    began_as: str | None = field(default=None)
    """The bases that its towers were; their projections had random weights."""

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self.network.dim

    @property
    def size(self) -> int:
        """The side of the pictures that it reads, in pixels."""
        return self.network.pictures.size

    def batch(self, rows: Sequence[Int[np.ndarray, " _"]]) -> TokenBatch:
        """Token ids of n texts as a batch of the shapes that the text tower reads."""
        return make_batch(rows, pad_id=self.tokenizer.pad_token_id, packed=self.network.texts.packed)

    def normalised(self, pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[Tensor, "n 3 S S"]:
        """Pictures as the picture tower reads them."""
        return normalised(pictures, self.network.pictures.mean, self.network.pictures.std)

    def texts_that_fill(self, inputs: PairInputs) -> int:
        """How many texts have as many tokens as are read, or more: which of them were cut, tokens do not say."""
        return int((inputs.tokens.lengths >= self.max_length).sum())

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> PairInputs:
        """Every picture decoded, and every text's token ids; in a folder, as `pixels` and `tokens`."""
        texts = TextsOf(corpus.items)
        pixels = decoded(corpus, folder and folder / "pixels", size=self.size)
        if folder is None:
            return PairInputs(pixels, tokenise(self.tokenizer, texts, max_length=self.max_length))
        digest = f"{corpus.digest}:texts"
        return PairInputs(
            pixels, tokenise_to(folder / "tokens", self.tokenizer, texts, max_length=self.max_length, digest=digest)
        )

    def units(self, items: Sequence[Item]) -> int:
        """Width x height / 256 of each picture, and the real tokens of the texts."""
        texts = [item for item in items if not isinstance(item, Picture)]
        tokens = tokenise(self.tokenizer, texts, max_length=self.max_length)
        return picture_units(len(items) - len(texts), self.size) + int(tokens.starts[-1])

    def embed(
        self,
        items: Sequence[Item],
        *,
        batch: int = 256,
        precision: Precision | None = None,
        prompt: str | None = None,
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of pictures and texts in their order, float32; nothing is learned.

        Raises:
            ConfigError: a prompt was given.
        """
        if prompt is not None:
            prompt_of(self, prompt)
        vectors = np.zeros((len(items), self.dim), dtype=np.float32)
        places = np.array([place for place, item in enumerate(items) if isinstance(item, Picture)], dtype=np.int64)
        pictures = [items[place] for place in places.tolist()]
        embed = partial(self.embed_pixels, precision=precision)
        vectors[places] = embed_files(pictures, self.size, self.dim, embed, batch=batch)
        others = np.setdiff1d(np.arange(len(items)), places)
        vectors[others] = self._embed_texts([str(items[place]) for place in others.tolist()], batch, precision)
        return vectors

    def embed_pixels(
        self, pictures: UInt8[np.ndarray, "n S S 3"], *, batch: int = 256, precision: Precision | None = None
    ) -> Float[np.ndarray, "n D"]:
        """Unit vectors of pictures in memory."""
        vectors = np.zeros((len(pictures), self.dim), dtype=np.float32)
        layers = autocast(precision or self.precision, self.network.device)
        with evaluating(self.network), torch.inference_mode(), layers:
            for begin in range(0, len(pictures), batch):
                part = self.network.encode_pictures(self.normalised(pictures[begin : begin + batch]))
                vectors[begin : begin + batch] = part.cpu().numpy()
        return vectors

    def _embed_texts(self, texts: Sequence[str], batch: int, precision: Precision | None) -> Float[np.ndarray, "N D"]:
        tokens = tokenise(self.tokenizer, texts, max_length=self.max_length)
        order = np.argsort(tokens.lengths, kind="stable")
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        layers = autocast(precision or self.precision, self.network.device)
        with evaluating(self.network), torch.inference_mode(), layers:
            for begin in range(0, len(order), batch):
                part = order[begin : begin + batch]
                vectors[part] = self.network.encode_texts(self.batch([tokens[i] for i in part])).cpu().numpy()
        return vectors

    def save(self, folder: Path, *, card: str) -> None:
        """Write a folder of `VisionTextDualEncoderModel` with float32 safetensors; `card` becomes its model card."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_tensors(self.network), folder / WEIGHTS, metadata={"format": "pt"})
        write_text(folder / "config.json", json.dumps(_settings(self), indent=2))
        write_text(folder / PROCESSOR, json.dumps(processor_settings(self.network.pictures), indent=2))
        self.tokenizer.save_pretrained(folder)
        # As sentence-transformers writes them, and `open_base` reads them.
        pooling = {
            "pooling_mode_cls_token": self.network.texts.pooling == "cls",
            "pooling_mode_mean_tokens": self.network.texts.pooling == "mean",
        }
        (folder / "1_Pooling").mkdir(exist_ok=True)
        write_text(folder / "1_Pooling" / "config.json", json.dumps(pooling, indent=2))
        write_text(folder / "sentence_bert_config.json", json.dumps({"max_seq_length": self.max_length}, indent=2))
        write_text(folder / MODEL_CARD, card)
        usual_modes(folder)

    def copy(self) -> "PairEncoder":
        """The same with weights of its own."""
        return replace(self, network=copy.deepcopy(self.network))

    def in_precision(self, precision: Precision) -> "PairEncoder":
        """The same network, read in another precision."""
        return replace(self, precision=precision)

    def ready_to_train(self) -> None:
        """Let the word embeddings' gradient hold only the rows that a batch reads."""
        self.network.texts.read_rows(sparse=True)


def paired(pictures: ImageEncoder, texts: TextEncoder, *, name: str, began_as: str, seed: int = 0) -> PairEncoder:
    """Two encoders as the towers of a pair, in evaluation mode, with random projections from the seed.

    Raises:
        ConfigError: the text encoder puts prompts before texts, which a pair does not.
    """
    if texts.prompts:
        raise ConfigError(
            f"{texts.name!r} puts prompts before its texts ({', '.join(texts.prompts)}), which a pair of encoders does "
            "not. Give another text encoder, such as minilm."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PairNetwork(pictures.network, texts.network)
    return PairEncoder(network.eval(), texts.tokenizer, texts.max_length, name=name, began_as=began_as)


def _tensors(network: PairNetwork) -> dict[str, Tensor]:
    """The weights by the names that VisionTextDualEncoderModel has for them."""
    named = {
        "vision_model.": network.pictures.backbone,
        "text_model.": network.texts.backbone,
        "visual_projection.": network.picture_projection,
        "text_projection.": network.text_projection,
    }
    tensors = {prefix + name: tensor for prefix, part in named.items() for name, tensor in part.state_dict().items()}
    tensors["logit_scale"] = network.logit_scale
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _settings(product: PairEncoder) -> dict[str, Any]:
    vision: Any = product.network.pictures.backbone.config
    text: Any = product.network.texts.backbone.config
    return {
        "model_type": MODEL_TYPE,
        "architectures": ["VisionTextDualEncoderModel"],
        "projection_dim": product.dim,
        "vision_config": vision.to_dict() | {"hidden_size": product.network.pictures.dim},
        "text_config": text.to_dict(),
        **({MARK: product.began_as} if product.began_as else {}),
    }
