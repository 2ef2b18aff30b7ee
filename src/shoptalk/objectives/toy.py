"""A toy to run any objective on by itself: random weights, made-up conversations or pictures, a few dozen steps."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from shoptalk.image.pixels import Pixels
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.pair_encoder import PairInputs
from shoptalk.nn.product import Product
from shoptalk.nn.tiny import WORDS, tiny_product
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.nn.tiny_pictures import tiny_image_encoder, tiny_pair_encoder
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.objective import Key, Material, Spec, Targets
from shoptalk.records import Item, Picture
from shoptalk.text.corpus import Corpus
from shoptalk.text.stored import TextsOf
from shoptalk.text.tokens import tokenise


def toy_corpus(conversations: int = 24, turns: int = 4, *, seed: int = 0) -> Corpus:
    """Conversations whose turns share a topic word, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(conversations):
        topic = list(rng.choice(WORDS, 3, replace=False))
        texts += [" ".join([*topic, *rng.choice(WORDS, rng.integers(2, 8))]) for _ in range(turns)]
    return Corpus(
        items=tuple(texts),
        conversation=np.repeat(np.arange(conversations), turns),
        turn=np.tile(np.arange(turns), conversations),
        digest=f"toy-{conversations}-{turns}-{seed}",
    )


def toy_dialogues(conversations: int = 64, *, seed: int = 0) -> Corpus:
    """A greeting and a thank-you each, about one of two things: easy to put in order and to tell apart."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(conversations):
        topic = ("card", "ticket")[number % 2]
        texts += [f"{word} {topic} {topic} {topic} {rng.choice(WORDS)}" for word in ("hello", "thanks")]
    return Corpus(
        items=tuple(texts),
        conversation=np.repeat(np.arange(conversations), 2),
        turn=np.tile(np.arange(2), conversations),
        digest=f"dialogues-{conversations}-{seed}",
    )


def toy_labels(corpus: Corpus) -> Targets:
    """Every other conversation's texts have another label; one-hot targets [N, 2]."""
    return {"targets": np.eye(2, dtype=np.float32)[corpus.conversation % 2]}


def toy_pictures(n: int = 96, *, size: int = 16, seed: int = 0) -> tuple[Corpus, Pixels]:
    """Drawings of a disc, a square, a cross or stripes in one of three colours, somewhere on a ground of another: the
    corpus of the pictures, whose files do not exist, and their pixels. Of picture i the shape is i modulo 4.
    """
    rng = np.random.default_rng([seed, size])
    drawings = [_drawing(i % len(SHAPES), i // len(SHAPES) % 3, size, rng) for i in range(n)]
    corpus = Corpus(
        items=tuple(Picture(path=f"toy/{i}.png", sha256=f"{seed}-{size}-{i}") for i in range(n)),
        conversation=np.arange(n),
        turn=np.full(n, -1),
        digest=f"pictures-{n}-{size}-{seed}",
    )
    return corpus, Pixels(np.stack(drawings), np.arange(n, dtype=np.int32), size)


def toy_captions(n: int = 96, *, size: int = 16, seed: int = 0) -> tuple[Corpus, Pixels]:
    """The toy pictures with two captions each, which name shape and colour: the corpus, and the pictures' pixels."""
    pictures, pixels = toy_pictures(n, size=size, seed=seed)
    items: list[Item] = []
    for i, picture in enumerate(pictures.items):
        shape, colour = SHAPE_WORDS[i % len(SHAPES)], COLOUR_WORDS[i // len(SHAPES) % 3]
        items += [picture, f"{colour} {shape}", f"a {shape} that is {colour}"]
    corpus = Corpus(
        items=tuple(items),
        conversation=np.repeat(np.arange(n), 3),
        turn=np.tile(np.arange(-1, 2), n),
        digest=f"captions-{n}-{size}-{seed}",
    )
    rows = np.full(3 * n, -1, dtype=np.int32)
    rows[::3] = np.arange(n)
    return corpus, Pixels(pixels.array, rows, size)


SHAPE_WORDS, COLOUR_WORDS = ("bag", "box", "cross", "track"), ("hot", "good", "cold")
"""In toy captions, of the shapes and of the colours red, green and blue: words that the tiny tokenizer knows."""
SHAPES = ("disc", "square", "cross", "stripes")


def _drawing(shape: int, hue: int, size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
    y, x = np.mgrid[:size, :size] / size
    (middle_y, middle_x), radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.2, 0.35)
    away_y, away_x = np.abs(y - middle_y), np.abs(x - middle_x)
    inside = (
        away_y**2 + away_x**2 < radius**2,
        np.maximum(away_y, away_x) < radius * 0.9,
        (np.minimum(away_y, away_x) < radius / 3) & (np.maximum(away_y, away_x) < radius),
        (y * 4 + rng.random()) % 1 < 0.5,
    )[shape]
    colour = np.full(3, 40.0) + rng.uniform(0, 60, 3)
    colour[hue] = rng.uniform(180, 240)
    ground = rng.uniform(60, 200) * np.ones(3)
    picture = np.where(inside[:, :, None], colour, ground) + rng.normal(0, 8, (size, size, 3))
    return picture.clip(0, 255).astype(np.uint8)


def toy_material(
    spec: Spec, *, corpus: Corpus | None = None, image_encoder: ImageEncoder | None = None
) -> Material[Any]:
    """A tiny product of the spec's kind, its corpus and its inputs; without the targets of an objective that prepares
    some.

    Args:
        spec: what is to be trained.
        corpus: of texts, in place of `toy_corpus`.
        image_encoder: for objectives on pictures, in place of a tiny residual network.
    """
    product: Product
    if spec.accepts("image"):
        product = image_encoder or tiny_image_encoder()
        pictures, pixels = toy_pictures(size=product.network.size)
        return Material(pictures, product, pixels, None)
    if spec.accepts("pair"):
        pair = tiny_pair_encoder()
        captions, pixels = toy_captions(size=pair.size)
        tokens = tokenise(pair.tokenizer, TextsOf(captions.items), max_length=pair.max_length)
        return Material(captions, pair, PairInputs(pixels, tokens), None)
    corpus = corpus if corpus is not None else toy_corpus()
    if spec.accepts("seq2seq"):
        product = tiny_encoder_decoder()
    else:
        product = tiny_language_model() if spec.accepts("lm") else tiny_product()
    return Material(corpus, product, product.inputs(corpus), toy_labels(corpus) if spec.supervised else None)


def run(
    spec: Spec, *, steps: int = 40, corpus: Corpus | None = None, image_encoder: ImageEncoder | None = None
) -> list[float]:
    """Train on the toy (`toy_material`) and print the loss five times; returns the losses."""
    torch.manual_seed(0)
    material = toy_material(spec, corpus=corpus, image_encoder=image_encoder)
    data = spec.drawn_from(material)
    if not spec.supervised:
        material = replace(material, targets=spec.prepare(material.corpus, material.product))
    collate = spec.collate(material)
    objective = spec.build(material.product).train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=2e-3)
    losses = []
    for step in range(steps):
        chosen = np.random.default_rng([0, step]).choice(len(data), min(spec.batch, len(data)), replace=False)
        loss = objective(collate([data[i] for i in chosen], Key(seed=0, step=step)))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        with torch.no_grad():
            objective.after_step((step + 1) / steps, loss.outputs)
        losses.append(loss.total.item())
        if step % (steps // 4) == 0 or step == steps - 1:
            sys.stdout.write(f"step {step:3d}  loss {losses[-1]:.4f}\n")
    return losses
