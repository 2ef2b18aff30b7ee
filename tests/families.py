"""Three toy families that are no text encoders: pictures with batch norm, pairs, and a causal language model.

Their items are words that name what a product reads ("circle vmqzt" is a small drawing of a circle, other noise for
other letters), so that curation, which reads text, needs to know nothing of them. All that they prove is that the
stages, the loop, the verdict and the report know products and objectives by the contract alone.
"""

import copy
import json
import math
import zlib
from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shoptalk.nn.encoder import evaluating
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Embedder, Kind, Product, Scorer
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Probe, Spec
from shoptalk.records import ACCURACY, Measure, Reading
from shoptalk.tasks.judge import Final, Ground, Judge, Score
from shoptalk.tasks.labelled import LabelJudge
from shoptalk.text.corpus import Corpus

SIDE, ALPHABET = 8, " abcdefghijklmnopqrstuvwxyz"
SHAPES = ("circle", "cross", "frame", "stripe")


def drawing(name: str) -> Float[np.ndarray, "1 8 8"]:
    """The picture that a name stands for: its first word's shape, noise by all of its letters."""
    y, x = np.mgrid[:SIDE, :SIDE] - 3.5
    shapes = {
        "circle": abs(np.hypot(x, y) - 2.5) < 0.8,
        "cross": (abs(x) < 1) | (abs(y) < 1),
        "frame": np.maximum(abs(x), abs(y)) > 3,
        "stripe": (x + y) % 3 < 1,
    }
    ink = shapes.get(name.split(" ", maxsplit=1)[0], np.zeros((SIDE, SIDE)))
    noise = np.random.default_rng(zlib.crc32(name.encode())).normal(scale=0.6, size=(SIDE, SIDE))
    return (ink + noise).astype(np.float32)[None]


def letters(text: str, length: int = 24) -> Int[np.ndarray, "L"]:
    """A text as numbers of its letters; 0 is padding and all that is no letter."""
    codes = [max(0, ALPHABET.find(letter)) + 1 for letter in text.lower()[:length]]
    return np.array(codes + [0] * (length - len(codes)), dtype=np.int64)


class Picturing(nn.Module):
    """A convolution with batch norm, and a vector."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * SIDE * SIDE, width)
        )

    def forward(self, pictures: Float[Tensor, "n 1 H W"]) -> Float[Tensor, "n D"]:
        return nn.functional.normalize(self.layers(pictures), dim=-1)


class Wording(nn.Module):
    """A bag of letters, and a vector."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(len(ALPHABET) + 2, 32, padding_idx=0), nn.Linear(32, width)

    def forward(self, words: Int[Tensor, "n L"]) -> Float[Tensor, "n D"]:
        return nn.functional.normalize(self.out(self.bag(words)), dim=-1)


class Towers(nn.Module):
    """One for pictures and one for words."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.words = Picturing(), Wording()


class NextLetter(nn.Module):
    """A recurrent network that sees the letters so far."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.cells = nn.Embedding(len(ALPHABET) + 2, 24), nn.GRU(24, 32, batch_first=True)
        self.out = nn.Linear(32, len(ALPHABET) + 2)

    def nats(self, words: Int[Tensor, "n L"]) -> Float[Tensor, "n L1"]:
        """Of each letter given those before it; 0 for padding."""
        states, _ = self.cells(self.table(words[:, :-1]))
        logits = self.out(states).float().transpose(1, 2)
        return nn.functional.cross_entropy(logits, words[:, 1:], ignore_index=0, reduction="none")


@dataclass(frozen=True)
class Toy(Product, ABC):
    """What the three have in common: weights in one file."""

    network: nn.Module
    name: str
    precision: Precision = "float32"

    def save(self, folder: Path, *, card: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"toy": self.kind}))
        (folder / "README.md").write_text(card)

    def copy(self) -> Any:
        return type(self)(copy.deepcopy(self.network), self.name, self.precision)

    def in_precision(self, precision: Precision) -> Any:
        return type(self)(self.network, self.name, precision)

    def ready_to_train(self) -> None:
        pass


@dataclass(frozen=True)
class ToyPictures(Toy, Embedder):
    kind: ClassVar[Kind] = "image"

    @property
    def dim(self) -> int:
        return 16

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Float[np.ndarray, "N 1 H W"]:
        return np.stack([drawing(name) for name in corpus.texts])

    def units(self, items: Sequence[Any]) -> int:
        return math.ceil(len(items) * SIDE * SIDE / 256)

    def embed(
        self, items: Sequence[Any], *, precision: Precision | None = None, prompt: str | None = None
    ) -> Float[np.ndarray, "N D"]:
        if not len(items):
            return np.zeros((0, self.dim), dtype=np.float32)
        with evaluating(self.network), torch.no_grad():
            return self.network(torch.from_numpy(np.stack([drawing(name) for name in items]))).numpy()


@dataclass(frozen=True)
class ToyPairs(Toy, Embedder):
    kind: ClassVar[Kind] = "pair"

    @property
    def dim(self) -> int:
        return 16

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([drawing(name) for name in corpus.texts]), np.stack([letters(text) for text in corpus.texts])

    def units(self, items: Sequence[Any]) -> int:
        return 2 * len(items)

    def embed(
        self, items: Sequence[Any], *, precision: Precision | None = None, prompt: str | None = None
    ) -> Float[np.ndarray, "N D"]:
        """Captions begin with "a"; all else is a picture."""
        vectors = np.zeros((len(items), self.dim), dtype=np.float32)
        with evaluating(self.network), torch.no_grad():
            for i, item in enumerate(items):
                if item.startswith("a "):
                    vectors[i] = self.network.words(torch.from_numpy(letters(item)[None])).numpy()[0]
                else:
                    vectors[i] = self.network.pictures(torch.from_numpy(drawing(item)[None])).numpy()[0]
        return vectors


@dataclass(frozen=True)
class ToyLanguageModel(Toy, Scorer):
    kind: ClassVar[Kind] = "lm"

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Int[np.ndarray, "N L"]:
        return np.stack([letters(text) for text in corpus.texts])

    def units(self, items: Sequence[Any]) -> int:
        return sum(min(len(text), 24) for text in items)

    def score(self, items: Sequence[str]) -> Float[np.ndarray, "N"]:
        """Bits per letter of each text."""
        with evaluating(self.network), torch.no_grad():
            words = torch.from_numpy(np.stack([letters(text) for text in items]))
            nats = self.network.nats(words)
        return (nats.sum(1) / (words[:, 1:] > 0).sum(1).clamp(min=1)).double().numpy() / math.log(2)


PRODUCTS: dict[str, tuple[type[Any], Callable[[], nn.Module]]] = {
    "image": (ToyPictures, Picturing),
    "pair": (ToyPairs, Towers),
    "lm": (ToyLanguageModel, NextLetter),
}


def new_base(kind: str, folder: Path) -> Path:
    """A folder with random weights."""
    product, network = PRODUCTS[kind]
    torch.manual_seed(0)
    product(network(), kind).save(folder, card="# A toy\n")
    return folder


def open_toy(ref: str) -> Product:
    """What `Toy.save` wrote."""
    kind = json.loads((Path(ref) / "config.json").read_text())["toy"]
    product, network = PRODUCTS[kind]
    made = network()
    made.load_state_dict(load_file(Path(ref) / "model.safetensors"))
    return product(made, kind)  # type: ignore[no-any-return]


# --- objectives ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToyBatch:
    """Any tensors, the first of which has a row an example."""

    parts: tuple[Tensor, ...]
    tokens: int

    @property
    def cells(self) -> int:
        return self.tokens


class ToySpec(Spec):
    """Hyperparameters that all toys share."""

    lr: float = 3e-3
    batch: int = 16
    passes: float = 30.0

    def examples(self, corpus: Corpus) -> Examples:
        return range(len(corpus)) if len(corpus) >= 2 else []


def info_nce(left: Float[Tensor, "n D"], right: Float[Tensor, "n D"], scale: Float[Tensor, ""] | float) -> Tensor:
    logits, target = scale * left @ right.T, torch.arange(len(left))
    return (nn.functional.cross_entropy(logits, target) + nn.functional.cross_entropy(logits.T, target)) / 2


class TwoViewsSpec(ToySpec):
    """Two noisy views of a picture find each other."""

    kind: Literal["two_views"] = "two_views"
    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    noise: float = 0.3

    def collate(self, material: Material[ToyPictures]) -> Callable[[Sequence[int], Key], ToyBatch]:
        def collate(examples: Sequence[int], key: Key) -> ToyBatch:
            views = []
            for side in (0, 1):
                rngs = (np.random.default_rng([key.seed, key.step, example, side]) for example in examples)
                noise = np.stack([rng.normal(scale=self.noise, size=(1, SIDE, SIDE)) for rng in rngs])
                views.append(torch.from_numpy((material.inputs[list(examples)] + noise).astype(np.float32)))
            return ToyBatch(tuple(views), material.product.units(examples))

        return collate

    def build(self, product: ToyPictures) -> "TwoViews":
        return TwoViews(product)


class TwoViews(Objective[ToyPictures, ToyBatch]):
    def __init__(self, product: ToyPictures) -> None:
        super().__init__()
        self.product, self.network = product, product.network

    def forward(self, batch: ToyBatch) -> Loss:
        left, right = (self.network(view).float() for view in batch.parts)
        total = info_nce(left, right, 10.0)
        return Loss(total=total, terms={"nce": total.detach()})


class AlignSpec(ToySpec):
    """A picture finds its caption; the temperature is learned."""

    kind: Literal["align"] = "align"
    takes: ClassVar[frozenset[Kind]] = frozenset({"pair"})
    needs: ClassVar[str] = "pictures with captions"

    def examples(self, corpus: Corpus) -> Examples:
        return corpus.contexts()

    def collate(self, material: Material[ToyPairs]) -> Callable[[Sequence[int], Key], ToyBatch]:
        pictures, words = material.inputs

        def collate(examples: Sequence[int], key: Key) -> ToyBatch:
            chosen = np.asarray(examples)
            parts = torch.from_numpy(pictures[chosen]), torch.from_numpy(words[chosen + 1])
            return ToyBatch(parts, material.product.units(examples))

        return collate

    def build(self, product: ToyPairs) -> "Align":
        return Align(product)


class Align(Objective[ToyPairs, ToyBatch]):
    def __init__(self, product: ToyPairs) -> None:
        super().__init__()
        self.product, self.network = product, product.network
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def forward(self, batch: ToyBatch) -> Loss:
        pictures, words = batch.parts
        left, right = self.network.pictures(pictures).float(), self.network.words(words).float()
        total = info_nce(left, right, self.log_scale.exp())
        return Loss(total=total, terms={"nce": total.detach()})


class NextSpec(ToySpec):
    """Each letter is predicted from those before it."""

    kind: Literal["next"] = "next"
    takes: ClassVar[frozenset[Kind]] = frozenset({"lm"})

    def collate(self, material: Material[ToyLanguageModel]) -> Callable[[Sequence[int], Key], ToyBatch]:
        def collate(examples: Sequence[int], key: Key) -> ToyBatch:
            words = torch.from_numpy(material.inputs[list(examples)])
            return ToyBatch((words,), int((words > 0).sum()))

        return collate

    def build(self, product: ToyLanguageModel) -> "Next":
        return Next(product)


class Next(Objective[ToyLanguageModel, ToyBatch]):
    def __init__(self, product: ToyLanguageModel) -> None:
        super().__init__()
        self.product, self.network = product, product.network

    def forward(self, batch: ToyBatch) -> Loss:
        (words,) = batch.parts
        total = self.network.nats(words).sum() / (words[:, 1:] > 0).sum()
        return Loss(total=total, terms={"nats": total.detach()})

    def unseen(self, held_out: Sequence[Any], *, seed: int) -> Probe | None:
        def probe(product: ToyLanguageModel) -> Reading:
            bits = product.score(list(held_out))
            return Reading(key="bits", name="bits per letter", value=float(bits.mean()), unit="bits", n=len(bits))

        return probe if len(held_out) else None


SPECS: dict[str, type[Spec]] = {"two_views": TwoViewsSpec, "align": AlignSpec, "next": NextSpec}


# --- tasks --------------------------------------------------------------------------------------------------------


def shape(ground: Ground) -> LabelJudge | None:
    """Which shape a picture shows."""
    return LabelJudge.draw("shape", ACCURACY, ground) if ground.examples else None


class Captions(Judge):
    """Of each held-out picture, the reciprocal rank of its caption among all."""

    key = "toy_captions"
    measure = Measure(
        name="MRR x 100",
        unit="points",
        difference="points",
        finding="finds the caption of an unseen picture at a mean reciprocal rank of {adapted} against {base}",
        examples="pictures with captions",
        scale=100.0,
    )

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = pairs
        self.tested = np.ones((1, len(pairs)), dtype=bool)
        self.cluster = np.arange(len(pairs))

    def look(self, product: ToyPairs) -> Score:
        pictures, captions = (product.embed([pair[side] for pair in self.pairs]) for side in (0, 1))
        similarity = pictures @ captions.T
        return 1.0 / (similarity >= np.diagonal(similarity)[:, None]).sum(axis=1)[None]

    def final(self, product: ToyPairs, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        return Final(self.look(product))


def caption(ground: Ground) -> Captions | None:
    texts = ground.held_out.texts
    pairs = [(texts[int(left)], texts[int(right)]) for left, right in ground.held_out.pairs()]
    return Captions(pairs) if len(pairs) > 1 else None


class BitsPerLetter(Judge):
    """How well the next letter of unseen texts is foretold; texts are independent, and there is one draw."""

    key = "letters"
    measure = Measure(
        name="bits per letter",
        unit="bits",
        difference="bits",
        finding="needs {adapted} a letter of unseen texts against {base}",
        examples="texts",
        lower_is_better=True,
        decimals=3,
    )

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.tested = np.ones((1, len(texts)), dtype=bool)
        self.cluster = np.arange(len(texts))

    def look(self, product: ToyLanguageModel) -> Score:
        return -product.score(self.texts)[None]

    def final(self, product: ToyLanguageModel, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        return Final(self.look(product))


def next_letter(ground: Ground) -> BitsPerLetter | None:
    return BitsPerLetter(list(ground.held_out.texts)) if len(ground.held_out) else None


TASKS = {"shape": shape, "toy_captions": caption, "letters": next_letter}
