"""Everything a training of one objective needs, on the toy: for tests of objectives and of the loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shoptalk.nn.tiny_pictures import tiny_image_encoder
from shoptalk.objective import Objective, Spec, Targets
from shoptalk.objectives import spec_for
from shoptalk.objectives.recipe import PhaseRecipe
from shoptalk.objectives.toy import toy_material
from shoptalk.text.corpus import Corpus

OF_PATCHES = ("dino", "mae")
"""Objectives whose toy is a ViT; of others on pictures it is a residual network with batch norms."""


@dataclass(frozen=True)
class ToyWorld:
    """One objective, built on a fresh tiny product, with the toy corpus collated for it."""

    spec: Spec
    product: Any
    corpus: Corpus
    tokens: Any
    """Of pictures, their pixels."""
    targets: Targets | None
    data: Sequence[int]
    collate: Callable[..., Any]
    objective: Objective[Any, Any]


def toy_world(spec: Spec, *, corpus: Corpus | None = None) -> ToyWorld:
    kind = getattr(spec, "kind", "")
    image_encoder = tiny_image_encoder("vit" if kind in OF_PATCHES else "resnet")
    material = toy_material(spec, corpus=corpus, image_encoder=image_encoder)
    if not spec.supervised:
        material = replace(material, targets=spec.prepare(material.corpus, material.product))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        objective = spec.build(material.product)
    return ToyWorld(
        spec=spec,
        product=material.product,
        corpus=material.corpus,
        tokens=material.inputs,
        targets=material.targets,
        data=spec.drawn_from(material),
        collate=spec.collate(material),
        objective=objective,
    )


MIXTURE = "0.3*mlm+neighbours+byol_text"
"""Parts of every kind: one that reads the whole vocabulary, one with targets, one with a teacher."""


def small_spec(name: str, batch: int = 8) -> Spec:
    return spec_for(name, {part: {"batch": batch} for part in PhaseRecipe.parse(name).weights})
