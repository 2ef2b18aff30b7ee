"""CLIP (Radford et al. 2021, section 2.3 and figure 3): a picture must identify its caption, and a caption its picture.

Two towers give n pictures the unit vectors I, and one caption of each the unit vectors T:

    logits = e^t I Tᵀ
    L = 1/2 [ cross-entropy of the rows of logits + cross-entropy of its columns ],    the labels being 1..n

t is learned with the towers; e^t begins at 1 / 0.07 and is never above 100. With `frozen` one tower stays as it is and
only its projection learns: LiT (Zhai et al. 2022), there the picture's tower, here either. The default, `text`, lets a
picture tower with random weights learn the space of a sentence encoder such as `minilm`, so that it may understand
names that it has never seen; an empty `frozen` is CLIP, for two towers that both begin with random weights.

What differs from the papers: a picture's captions, and equal captions, are taken out of each other's negatives, because
a caption of two pictures is wrong for neither; of several captions one is drawn at every visit; pictures are augmented
by more than CLIP's crop, which a few thousand of them need and 400 million do not (`FEW_PICTURES`; never mirrored,
because captions say left and right), and views are cut from the picture as it was decoded at the encoder's size (the
centre square), not from the original; LiT's locked tower has no projection, and here it keeps one; t and the towers
have one learning rate and constant weight decay (t has none).

Run alone on a toy: python -m shoptalk.objectives.alignment.clip
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from shoptalk.image.augment import Chain
from shoptalk.image.batches import Views
from shoptalk.nn.encoder import TextEncoder, evaluating
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.losses import info_nce
from shoptalk.nn.pair_encoder import PairEncoder
from shoptalk.nn.product import Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec, Targets
from shoptalk.objectives.views import views_of
from shoptalk.text.batching import TokenBatch
from shoptalk.text.corpus import Corpus, plain_wording, wording_of

Tower = Literal["", "picture", "text"]
MOST_SCALE = 100.0
"""What cosines are multiplied by, at most (section 2.5)."""
FEW_PICTURES = Chain(scale=(0.5, 1.0), resize="bicubic", flip=0.0, hue=0.05, gray=0.1, blur=0.3)
"""A crop of at least half of the picture, colours, and some blur: what is drawn stays what its caption says."""


@dataclass(frozen=True)
class CaptionedViews(Views):
    """One view of each of n pictures, and a caption of each: its tokens, or what a frozen tower gave for it."""

    captions: TokenBatch | Float[Tensor, "n W"]
    related: Bool[Tensor, "n n"]
    """Which captions are no negatives: related[i, j] says so of caption j and picture i."""

    @property
    def tokens(self) -> int:
        """The pictures' share of a budget, and the real tokens of captions that are read."""
        read = self.captions.tokens if isinstance(self.captions, TokenBatch) else 0
        return Views(self.views).tokens + read

    @property
    def cells(self) -> int:
        """The same with the captions' padding."""
        read = self.captions.cells if isinstance(self.captions, TokenBatch) else 0
        return Views(self.views).cells + read


class ClipSpec(Spec):
    """CLIP: pictures and captions identify each other; with a frozen tower, LiT."""

    kind: Literal["clip"] = "clip"
    takes: ClassVar[frozenset[Kind]] = frozenset({"pair"})
    needs: ClassVar[str] = "at least two pictures with captions"
    head_rate: ClassVar[float | None] = 1.0
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=128, ge=2)
    passes: float = Field(default=200.0, gt=0)
    frozen: Tower = Field(
        default="text", description="the tower that stays as it is: text or picture (LiT), or empty for none (CLIP)"
    )
    chain: Chain = FEW_PICTURES

    def examples(self, corpus: Corpus) -> Examples:
        """The pictures that have captions, if there are at least two."""
        captioned = Captions(corpus).captioned()
        return captioned if len(captioned) > 1 else []

    @property
    def prepares(self) -> bool:
        """Whether the text tower is frozen: captions are then read once, and not at every visit."""
        return self.frozen == "text"

    def prepare(self, corpus: Corpus, product: PairEncoder) -> Targets | None:
        """The frozen text tower's vector of each different caption [C, W], and which of them is each item's [N]: -1 of
        pictures.
        """
        if not self.prepares:
            return None
        texts = [(place, item) for place, item in enumerate(corpus.items) if isinstance(item, str)]
        different = list(dict.fromkeys(item for _, item in texts))
        numbers = {text: number for number, text in enumerate(different)}
        rows = np.full(len(corpus), -1, dtype=np.int32)
        for place, text in texts:
            rows[place] = numbers[text]
        tower = TextEncoder(product.network.texts, product.tokenizer, product.max_length, product.name)
        return {"vectors": tower.embed(different), "rows": rows}

    def collate(self, material: Material[PairEncoder]) -> Callable[[Sequence[int], Key], CaptionedViews]:
        """A view of each picture, and one of its captions, drawn by seed, step and picture."""
        product, inputs, captions = material.product, material.inputs, Captions(material.corpus)
        tower = ImageEncoder(product.network.pictures, name=product.name)
        augmented = views_of(Material(material.corpus, tower, inputs.pixels, None), [self.chain])

        def read(chosen: Sequence[int]) -> TokenBatch | Float[Tensor, "n W"]:
            if material.targets is None:
                return product.batch([inputs.tokens[caption] for caption in chosen])
            return torch.from_numpy(material.targets["vectors"][material.targets["rows"][chosen]])

        def collate(examples: Sequence[int], key: Key) -> CaptionedViews:
            chosen = captions.drawn(examples, key)
            return CaptionedViews(
                views=augmented(examples, key).views,
                captions=read(chosen),
                related=torch.from_numpy(captions.related(examples, chosen)),
            )

        return collate

    def build(self, product: PairEncoder) -> "Clip":
        """Both towers with their projections and temperature; the frozen one's weights get no gradients any more."""
        return Clip(product, frozen=self.frozen)


class Captions:
    """Which texts of a corpus are captions of which pictures: those of the same document."""

    def __init__(self, corpus: Corpus) -> None:
        self._conversation = np.asarray(corpus.conversation)
        self._shown = np.asarray(corpus.pictures, dtype=np.int64)
        texts = np.ones(len(corpus), dtype=bool)
        texts[self._shown] = False
        self._texts = np.flatnonzero(texts)
        self._of_texts = self._conversation[self._texts]
        self._items = corpus.items

    @cached_property
    def _wording(self) -> Int[np.ndarray, " N"]:
        """A hash of each caption, equal for those that are worded alike, as the task that judges counts them."""
        wording = np.zeros(len(self._items), dtype=np.int64)
        for place in self._texts.tolist():
            wording[place] = wording_of(plain_wording(str(self._items[place])).encode("utf-8"))
        return wording

    def of(self, picture: int) -> Int[np.ndarray, " c"]:
        """The positions of the captions of the picture at a position, in order."""
        captions, _ = self._of([picture])
        return captions

    def _of(self, pictures: Sequence[int]) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " n_plus_1"]]:
        """The captions of n pictures, one picture after the other, and where each picture's begin and end."""
        documents = self._conversation[np.asarray(pictures, dtype=np.int64)]
        begins, ends = (np.searchsorted(self._of_texts, bound) for bound in (documents, documents + 1))
        starts = np.concatenate([[0], np.cumsum(ends - begins)])
        places = np.arange(starts[-1]) + np.repeat(begins - starts[:-1], ends - begins)
        return self._texts[places], starts

    def captioned(self) -> list[int]:
        """The positions of the pictures that have captions."""
        places: list[int] = self._shown[np.isin(self._conversation[self._shown], self._of_texts)].tolist()
        return places

    def drawn(self, pictures: Sequence[int], key: Key) -> list[int]:
        """One caption of each of n captioned pictures, at random by seed, step and picture."""
        captions, starts = self._of(pictures)
        counts = np.diff(starts).tolist()
        numbers = [
            int(np.random.default_rng([key.seed, key.step, picture]).integers(count)) if count > 1 else 0
            for picture, count in zip(pictures, counts, strict=True)
        ]
        chosen: list[int] = captions[starts[:-1] + numbers].tolist()
        return chosen

    def related(self, pictures: Sequence[int], chosen: Sequence[int]) -> Bool[np.ndarray, "n n"]:
        """Whether caption j is worded as any caption of picture i, of n captioned pictures; case and white space do not
        count.
        """
        captions, starts = self._of(pictures)
        equal = self._wording[captions][:, None] == self._wording[np.asarray(chosen, dtype=np.int64)]
        related: Bool[np.ndarray, "n n"] = np.logical_or.reduceat(equal, starts[:-1], axis=0)
        return related


class Clip(Objective[PairEncoder, CaptionedViews]):
    """Symmetric InfoNCE between pictures and captions, with a learned temperature."""

    def __init__(self, product: PairEncoder, *, frozen: Tower) -> None:
        super().__init__()
        self.product = product
        self.network = product.network
        towers: dict[Tower, nn.Module] = {"picture": product.network.pictures, "text": product.network.texts}
        self.frozen = [towers[frozen].requires_grad_(False)] if frozen else []

    def forward(self, batch: CaptionedViews) -> Loss:
        """Mean of the two directions' InfoNCE."""
        with evaluating(nn.ModuleList(self.frozen)):  # no dropout, and no update of running statistics
            pictures = self.network.encode_pictures(batch.views[0])
            captions = self._told(batch.captions)
        related = sent(batch.related, pictures.device)
        temperature = torch.exp(-self.network.logit_scale)
        forwards = info_nce(pictures, captions, temperature=temperature, excluded=related)
        backwards = info_nce(captions, pictures, temperature=temperature, excluded=related.T)
        terms = {
            "picture_to_text": forwards.detach(),
            "text_to_picture": backwards.detach(),
            "temperature": temperature.detach(),
        }
        return Loss(total=(forwards + backwards) / 2, terms=terms)

    def _told(self, captions: TokenBatch | Float[Tensor, "n W"]) -> Float[Tensor, "n D"]:
        if isinstance(captions, TokenBatch):
            return self.network.encode_texts(captions)
        return self.network.project_texts(sent(captions, self.network.device))

    def after_step(self, progress: float, outputs: Any) -> None:
        """Keep the logits' scale at most at its limit."""
        self.network.logit_scale.clamp_(max=math.log(MOST_SCALE))


if __name__ == "__main__":
    from shoptalk.objectives.toy import run

    run(ClipSpec(batch=16))
