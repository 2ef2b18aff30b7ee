"""Base: the encoder that a run starts from where it is made from the run's own text, or from its seed.

That is a base with random weights (`scratch:mini`, whose tokenizer is trained on the curated corpus, or
`scratch:resnet-mini`), a pair of two bases with its random projections, or any base whose vocabulary is extended by the
corpus's own words (`vocabulary = N`). Each becomes the artifact `RUN/base`.
"""

import json
from dataclasses import replace

from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.nn.bases import began_as, from_seed, hush, kind_of, open_model, pieces_of
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import MAX_LENGTH, text_encoder
from shoptalk.nn.extend import extend
from shoptalk.nn.product import Product
from shoptalk.nn.scratch import scratch_product, size_of
from shoptalk.nn.scratch_lm import lm_size_of, young_language_model
from shoptalk.objective import Spec
from shoptalk.objectives import make_pretext
from shoptalk.stages.curate import Curated
from shoptalk.stages.world import World
from shoptalk.text.corpus import Corpus
from shoptalk.text.extension import find_words
from shoptalk.text.trained import train_tokenizer
from shoptalk.training import launch

YOUNG_LR = 10.0
"""An objective's default learning rate adapts a trained encoder gently; one that began with random weights gets this
many times as much."""
YOUNG_PASSES = 10.0
"""And it may go through the corpus this many times as often: what harms a trained encoder still teaches a young one."""


def base_stage(world: World, curated: Curated) -> World:
    """The world whose base can be opened: `RUN/base` where it is made from the corpus, else the same world.

    `World.base_name` stays what the user asked for. Several processes may call this together.

    Raises:
        BaseModelError: there is no such size of a base with random weights.
        ConfigError: the vocabulary of this base cannot be extended.
    """
    config = world.config
    of_the_run = size_of(config.base) is not None or lm_size_of(config.base) is not None or from_seed(config.base)
    if not of_the_run and not config.vocabulary:
        return world
    launch.shared(folder := world.run / "base", make=lambda: _make_base(world, curated), read=lambda: None)
    return replace(world, config=config.model_copy(update={"base": str(folder)}), asked_base=config.base)


def pretext_for(config: Config, name: str) -> Spec:
    """The hyperparameters of an objective that learns from text alone: the settings', and where they are silent the
    defaults, of which two are higher for an encoder that began with random weights (`YOUNG_LR`, `YOUNG_PASSES`).

    Raises:
        ConfigError: no such objective, one that needs labels, or an unknown or impossible setting.
        BaseModelError: the base cannot be found.
    """
    spec = make_pretext(name, config.objectives)
    if began_as(config.base) is None or kind_of(config.base) in ("image", "pair"):
        return spec  # what learns from pictures has the defaults of an encoder that begins with random weights
    plain, own = make_pretext(name, {}), config.objectives.get(name, {})
    young = {"lr": YOUNG_LR * plain.lr, "passes": YOUNG_PASSES * plain.passes}
    # What differs from the default was set, if only for a part of a mixture.
    silent = {key: value for key, value in young.items() if getattr(spec, key) == getattr(plain, key)}
    return make_pretext(name, config.objectives | {name: silent | own})


def _make_base(world: World, curated: Curated) -> None:
    config = world.config
    settings = {"base": config.base, "seed": config.seed, "vocabulary": config.vocabulary}
    parents = {"corpus": curated.artifact.content, "base": base_digest(config.base)}
    if open_artifact(folder := world.run / "base", key=key_of(kind="base", config=settings, parents=parents)):
        return
    product, words = _opened(world, curated.train), dict[str, int]()
    if config.vocabulary:
        words = find_words(curated.train, text_encoder(product).tokenizer, most=config.vocabulary)
        product = extend(text_encoder(product), list(words))
        such = ", such as " * bool(words) + ", ".join(list(words)[:5])
        world.report.say(f"base: {len(words)} words of this text are whole tokens now{such}")
    pieces = pieces_of(product)
    readings = ({"pieces": float(pieces)} if pieces else {}) | {"new_words": float(len(words))}
    card = f"# {config.base}, before training\n\nA base that a Shoptalk run made for itself.\n"
    with create(folder, kind="base", config=settings, parents=parents, readings=readings) as inside:
        product.save(inside, card=card)
        write_text(inside / "words.json", json.dumps(words, indent=1, ensure_ascii=False))


def _opened(world: World, corpus: Corpus) -> Product:
    """The base before its vocabulary is extended."""
    if (lm_size := lm_size_of(world.config.base)) is not None:
        hush()
        return _told(world, young_language_model(lm_size, corpus.texts, seed=world.config.seed))
    size = size_of(world.config.base)
    if size is None:
        product = open_model(world.config.base, seed=world.config.seed)
        if from_seed(world.config.base):
            random = "random weights but for the towers that are named" if product.kind == "pair" else "random weights"
            world.report.say(f"base: {world.config.base}, {random} ({_millions(product)} M parameters)")
        return product
    hush()
    tokenizer = train_tokenizer(corpus.texts, most=size.vocabulary, max_length=MAX_LENGTH)
    return _told(world, scratch_product(size, tokenizer, seed=world.config.seed, max_length=MAX_LENGTH))


def _told(world: World, young: Product) -> Product:
    world.report.say(
        f"base: {young.name}, random weights ({_millions(young)} M parameters), {pieces_of(young):,} pieces "
        f"learned from this text; learning rates and passes {YOUNG_LR:g} times the defaults"
    )
    return young


def _millions(product: Product) -> str:
    return f"{sum(parameter.numel() for parameter in product.network.parameters()) / 1e6:.1f}"
