"""DINO (Caron et al. 2021, section 3): self-distillation without labels, by cross-entropy between views of a picture.

A student g_θ = h ∘ f and a teacher g_ξ, an exponential moving average of it, give each view of a picture K logits. The
teacher sees the two global views, the student all of them, the small local ones too:

    P_s(x) = softmax( g_θ(x) / τ_s ),    P_t(x) = softmax( (g_ξ(x) - c) / τ_t )
    min_θ  mean over global x and other views x' ≠ x of  H( P_t(x), P_s(x') ),    H(a, b) = - sum_k a_k log b_k     (3)

    after each step  ξ ← λ ξ + (1 - λ) θ,    λ from `momentum` to 1 along half a cosine
                     c ← m c + (1 - m) mean over the batch's global views of g_ξ(x)                                 (4)

Two things keep the outputs from collapsing, and one without the other does not (section 5.3): centring, the subtracted
c, keeps one dimension from dominating; sharpening, τ_t below τ_s, keeps them from becoming uniform. τ_t grows along a
line from `first_teacher_temperature` to `teacher_temperature` in the first `warmup` of the training. The head h is an
MLP to a narrow layer of unit length and K directions of unit length (a weight-normalised layer without bias); the
directions stay as they are drawn for the first `frozen` of the training.

What differs from the paper: sizes are for pictures of 32 to 96 pixels and 10^4 of them (K of 2,048, not 65,536; local
views are 3/7 of the picture's side, as 96 is of 224, to the nearest whole number of patches; 4 of them, not 8 or 10);
the centre begins at the first batch's mean, not at zero, which takes tens of steps to forget; weight decay is constant,
and the loop's. Views are cut from the picture as it was decoded at the encoder's size (the centre square), not from the
original. The chains of the global views and the local ones are the official code's.

Run alone on a toy: python -m shoptalk.objectives.distillation.dino
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from shoptalk.image.augment import DINO_GLOBAL, DINO_LOCAL, DINO_SECOND, Chain
from shoptalk.image.batches import Views
from shoptalk.nn.image_encoder import ImageEncoder, ImageNetwork
from shoptalk.nn.losses import spread
from shoptalk.nn.product import Kind
from shoptalk.nn.teacher import Teacher, cosine_momentum
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.views import views_of
from shoptalk.text.corpus import Corpus

GLOBAL_VIEWS = 2
_LOCAL_SIDE = 96 / 224
"""Of a local view, relative to a global one."""
_UNIT = 8
"""Sides of local views are multiples of this where the encoder has no patches."""


class DinoSpec(Spec):
    """DINO: a centred and sharpened teacher's distribution of one view, predicted from others."""

    kind: Literal["dino"] = "dino"
    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    needs: ClassVar[str] = "at least two pictures"
    head_rate: ClassVar[float | None] = 1.0
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=128, ge=2)
    passes: float = Field(default=200.0, gt=0)
    local_views: int = Field(default=4, ge=0, le=16, description="small views of each picture, beside the two large")
    dimensions: int = Field(default=2048, ge=2, description="K, of the distributions that are compared")
    hidden: int = Field(default=1024, ge=1, description="width of the head's two hidden layers")
    narrow: int = Field(default=256, ge=1, description="width of the head's layer of unit length")
    student_temperature: float = Field(default=0.1, gt=0)
    first_teacher_temperature: float = Field(default=0.04, gt=0)
    teacher_temperature: float = Field(default=0.07, gt=0, description="of the teacher, after the warm-up")
    warmup: float = Field(default=0.3, ge=0, le=1, description="share of the steps until that temperature is reached")
    centring: bool = Field(default=True, description="subtract the centre; without it the outputs collapse")
    centre_momentum: float = Field(default=0.9, ge=0, lt=1)
    momentum: float = Field(default=0.996, ge=0, le=1, description="of the teacher, at the start")
    frozen: float = Field(default=0.01, ge=0, lt=1, description="share of the steps that leave the last layer alone")
    first_chain: Chain = DINO_GLOBAL
    second_chain: Chain = DINO_SECOND
    local_chain: Chain = DINO_LOCAL

    def examples(self, corpus: Corpus) -> Examples:
        """Every picture, if there are at least two."""
        return corpus.pictures if len(corpus.pictures) > 1 else []

    def collate(self, material: Material[ImageEncoder]) -> Callable[[Sequence[int], Key], Views]:
        """The two global views of each picture, then the local ones."""
        network = material.product.network
        chains = [self.first_chain, self.second_chain, *[self.local_chain] * self.local_views]
        sizes = [network.size] * GLOBAL_VIEWS + [local_side(network)] * self.local_views
        return views_of(material, chains, sizes=sizes)

    def build(self, product: ImageEncoder) -> "Dino":
        """The encoder with a head of random weights, and the average of both."""
        head = DinoHead(product.dim, hidden=self.hidden, narrow=self.narrow, dimensions=self.dimensions)
        return Dino(
            product,
            head,
            student_temperature=self.student_temperature,
            teacher_temperatures=(self.first_teacher_temperature, self.teacher_temperature),
            warmup=self.warmup,
            frozen=self.frozen,
            momentum=self.momentum,
            centre_momentum=self.centre_momentum if self.centring else None,
        )


def local_side(network: ImageNetwork) -> int:
    """The side of a local view: about 3/7 of a picture's, in whole patches."""
    unit = network.patch or _UNIT
    return max(1, round(network.size * _LOCAL_SIDE / unit)) * unit


class DinoHead(nn.Module):
    """h: an MLP to a narrow layer of unit length, and its cosines with K directions."""

    def __init__(self, width: int, *, hidden: int, narrow: int, dimensions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, narrow)
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.directions = nn.Parameter(torch.randn(dimensions, narrow))
        """Read as directions alone: a weight normalisation whose lengths are fixed at 1."""

    def forward(self, features: Float[Tensor, "n D"], learning: Float[Tensor, ""]) -> Float[Tensor, "n K"]:
        """The logits, in float32. The gradient of the directions is multiplied by `learning`, 0 or 1."""
        narrow = nn.functional.normalize(self.layers(features).float(), dim=-1)
        unit = nn.functional.normalize(self.directions, dim=-1)
        # Zeros rather than no gradient: processes that train together wait for one of every parameter.
        unit = unit.detach() + learning * (unit - unit.detach())
        # A cosine rounded to bfloat16 and divided by a temperature is off by a tenth.
        with torch.autocast(narrow.device.type, enabled=False):
            return narrow @ unit.T


class DinoNetwork(nn.Module):
    """g = h ∘ f, of views of several sizes."""

    def __init__(self, encoder: ImageNetwork, head: DinoHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, views: Sequence[Float[Tensor, "n 3 _ _"]], learning: Float[Tensor, ""]) -> Float[Tensor, "V n K"]:
        """The logits of each view; views of one size go through the encoder together."""
        logits: list[Tensor] = []
        for begin, end in _runs([view.shape[-1] for view in views]):
            together = torch.cat([sent(view, self.encoder.device) for view in views[begin:end]])
            together = self.head(self.encoder(together), learning)
            logits += together.chunk(end - begin)
        return torch.stack(logits)


def _runs(sides: Sequence[int]) -> list[tuple[int, int]]:
    """Where equal neighbours begin and end."""
    cuts = [0, *(i for i in range(1, len(sides)) if sides[i] != sides[i - 1]), len(sides)]
    return list(pairwise(cuts))


class Dino(Objective[ImageEncoder, Views]):
    """Student, teacher and centre."""

    centre: Tensor
    teacher_temperature: Tensor
    learning: Tensor

    def __init__(
        self,
        product: ImageEncoder,
        head: DinoHead,
        *,
        student_temperature: float,
        teacher_temperatures: tuple[float, float],
        warmup: float,
        frozen: float,
        momentum: float,
        centre_momentum: float | None,
    ) -> None:
        """Without `centre_momentum` the centre stays at zero."""
        super().__init__()
        self.product = product
        self.student = DinoNetwork(product.network, head)
        self.teacher = Teacher(self.student, batch_statistics=True)
        self.student_temperature, self.teacher_temperatures = student_temperature, teacher_temperatures
        self.warmup, self.frozen = warmup, frozen
        self.momentum, self.centre_momentum = momentum, centre_momentum
        # What the next step needs; snapshots save buffers, so that a resumed run is exact.
        self.register_buffer("centre", torch.zeros(len(head.directions)))
        self.register_buffer("teacher_temperature", torch.tensor(self._temperature_at(0.0)))
        self.register_buffer("learning", torch.tensor(float(frozen == 0)))

    def forward(self, batch: Views) -> Loss:
        """Equation 3, averaged over the pictures and the pairs of views."""
        students = self.student(batch.views, self.learning)
        teachers = self.teacher(batch.views[:GLOBAL_VIEWS], self.learning)
        mean = teachers.mean((0, 1))
        targets = ((teachers - self._centre_for(mean)) / self.teacher_temperature).softmax(-1)
        total = cross_entropy_of_views(targets, (students / self.student_temperature).log_softmax(-1))
        # The two ways to collapse: the entropy goes to 0 where one dimension dominates, to log K where none does. In
        # both of them all pictures have one distribution.
        entropy = -(targets * targets.clamp(min=1e-30).log()).sum(-1).mean()
        return Loss(total=total, terms={"entropy": entropy, "spread": spread(targets[0])}, outputs=mean)

    def after_step(self, progress: float, outputs: Float[Tensor, " K"]) -> None:
        """Update teacher and centre, and set the temperature and the last layer's freedom for the next step."""
        self.teacher.follow(self.student, momentum=cosine_momentum(progress, start=self.momentum))
        if self.centre_momentum is not None:
            self.centre.copy_(torch.lerp(self._centre_for(outputs), outputs, 1 - self.centre_momentum))
        self.teacher_temperature.fill_(self._temperature_at(progress))
        self.learning.fill_(float(progress >= self.frozen))

    def _centre_for(self, mean: Float[Tensor, " K"]) -> Float[Tensor, " K"]:
        """The centre; before there is one, the batch's mean."""
        if self.centre_momentum is None:
            return self.centre
        return torch.where(self.centre.any(), self.centre, mean)

    def _temperature_at(self, progress: float) -> float:
        first, last = self.teacher_temperatures
        return last if progress >= self.warmup else first + (last - first) * progress / self.warmup


def cross_entropy_of_views(targets: Float[Tensor, "T n K"], predicted: Float[Tensor, "V n K"]) -> Float[Tensor, ""]:
    """Equation 3: the mean of - sum_k targets_k predicted_k over pictures and pairs of different views.

    `predicted` are log-probabilities; the first T of the V views are those of `targets`.
    """
    pairs = -torch.einsum("tnk,vnk->tv", targets, predicted) / targets.shape[1]
    same = torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(same, 0.0).sum() / (~same).sum()


if __name__ == "__main__":
    from shoptalk.nn.tiny_pictures import tiny_image_encoder
    from shoptalk.objectives.toy import run

    small = DinoSpec(batch=16, dimensions=64, hidden=64, narrow=32, local_views=2, teacher_temperature=0.04)
    run(small, image_encoder=tiny_image_encoder("vit"))
