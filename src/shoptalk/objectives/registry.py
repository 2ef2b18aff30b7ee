"""Every objective by name: the one literal dict."""

from collections.abc import Mapping
from typing import Any

from shoptalk.config import did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.nn.product import Kind
from shoptalk.objective import Spec
from shoptalk.objectives.alignment.clip import ClipSpec
from shoptalk.objectives.autoregressive.causal import CausalSpec
from shoptalk.objectives.autoregressive.clm import ClmSpec
from shoptalk.objectives.autoregressive.sft import SftSpec
from shoptalk.objectives.contrastive.moco import MocoSpec
from shoptalk.objectives.contrastive.simclr import SimclrSpec
from shoptalk.objectives.contrastive.simcse import SimcseSpec
from shoptalk.objectives.contrastive.turns import TurnsSpec
from shoptalk.objectives.distillation.dino import DinoSpec
from shoptalk.objectives.distillation.distil import DistilSpec
from shoptalk.objectives.distillation.neighbours import NeighboursSpec
from shoptalk.objectives.masked.bow import BowSpec
from shoptalk.objectives.masked.data2vec import Data2vecSpec
from shoptalk.objectives.masked.mae import MaeSpec
from shoptalk.objectives.masked.mlm import MlmSpec
from shoptalk.objectives.masked.nsp import NspSpec
from shoptalk.objectives.masked.sop import SopSpec
from shoptalk.objectives.masked.span import SpanSpec
from shoptalk.objectives.masked.tsdae import TsdaeSpec
from shoptalk.objectives.mixture import MixtureSpec, Part
from shoptalk.objectives.noncontrastive.byol import ByolSpec
from shoptalk.objectives.noncontrastive.byol_text import ByolTextSpec
from shoptalk.objectives.recipe import PhaseRecipe
from shoptalk.objectives.supervised import needs_labels
from shoptalk.objectives.supervised.classify import ClassifySpec
from shoptalk.objectives.supervised.ground_tokens import GroundSpec
from shoptalk.objectives.supervised.setfit import SetfitSpec
from shoptalk.objectives.supervised.translate import TranslateSpec

OBJECTIVES: dict[str, type[Spec]] = {
    "mlm": MlmSpec,
    "simcse": SimcseSpec,
    "turns": TurnsSpec,
    "neighbours": NeighboursSpec,
    "tsdae": TsdaeSpec,
    "bow": BowSpec,
    "nsp": NspSpec,
    "sop": SopSpec,
    "byol_text": ByolTextSpec,
    "data2vec": Data2vecSpec,
    "distil": DistilSpec,
    "causal": CausalSpec,
    "clm": ClmSpec,
    "sft": SftSpec,
    "span": SpanSpec,
    "simclr": SimclrSpec,
    "moco": MocoSpec,
    "byol": ByolSpec,
    "dino": DinoSpec,
    "mae": MaeSpec,
    "clip": ClipSpec,
    "classify": ClassifySpec,
    "setfit": SetfitSpec,
    "ground": GroundSpec,
    "translate": TranslateSpec,
}

PREFERENCE = ("neighbours", "turns", "mlm", "simcse")
"""Who is tried where not all can be, and who is trained where there are neither labels nor conversations to compare on.
`neighbours` gained on both labelled sets in benchmarks/README.md; the pilots of `mlm` and `simcse` lost there, in this
order; `turns`, which those sets cannot train, stands second by judgement."""


def preference(name: str) -> int:
    """A candidate's place in `PREFERENCE`; the others come after all of these, in the order they were given."""
    return PREFERENCE.index(name) if name in PREFERENCE else len(PREFERENCE)


def pretexts_for(kind: Kind) -> tuple[str, ...]:
    """The objectives that learn from items alone and train products of a kind, those of `PREFERENCE` first."""
    order = dict.fromkeys([*PREFERENCE, *OBJECTIVES])
    return tuple(name for name in order if kind in OBJECTIVES[name].takes and not OBJECTIVES[name].supervised)


def make_spec(name: str, settings: Mapping[str, Any]) -> Spec:
    """The spec of the objective `name`, with the settings that differ from its defaults.

    Raises:
        ConfigError: no such objective, or an unknown or impossible setting.
    """
    return spec_for(name, {name: settings})


def spec_for(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Spec:
    """The spec of an objective, or of a mixture of several such as "0.2*mlm+neighbours" (`objectives/mixture.py`).

    Args:
        name: a key of `OBJECTIVES`, or several joined by `+`, each with `weight*` before it or none.
        settings: every objective's settings by its name. A mixture's parts have those of their own names; `lr`,
            `batch` and `passes` of the mixture may be given under its whole name, and so may all settings of an
            objective that replays general text, which else are that objective's.

    Raises:
        ConfigError: no such objective, an unknown or impossible setting, or a part of a mixture learns from labels.
    """
    recipe = PhaseRecipe.parse(name)
    weights = recipe.weights
    for part in weights:
        if part not in OBJECTIVES:
            raise ConfigError(f"No objective {part!r}. {did_you_mean(part, OBJECTIVES)}")
    if recipe.replay_percent:
        return _replaying(recipe, settings)
    specs = {part: validate(OBJECTIVES[part], settings.get(part, {}), prefix=f"objectives.{part}") for part in weights}
    if name in OBJECTIVES:
        return specs[name]
    for part, spec in specs.items():
        if spec.supervised:
            raise ConfigError(f"In {name!r}: {needs_labels(part)}")
    parts = [Part(name=part, weight=weight, spec=specs[part]) for part, weight in weights.items()]
    merged = MixtureSpec.defaults(parts) | dict(settings.get(name, {})) | {"parts": parts}
    return validate(MixtureSpec, merged, prefix=f"objectives.{name}")


def _replaying(recipe: PhaseRecipe, settings: Mapping[str, Mapping[str, Any]]) -> Spec:
    """The spec of one objective that replays general text."""
    (part,) = recipe.weights
    if "replay_percent" not in OBJECTIVES[part].model_fields:
        able = ", ".join(name for name, spec in OBJECTIVES.items() if "replay_percent" in spec.model_fields)
        raise ConfigError(f"{recipe.name!r}: {part} replays no general text. What can: {able}.")
    own = {**settings.get(part, {}), **settings.get(recipe.name, {}), "replay_percent": recipe.replay_percent}
    return validate(OBJECTIVES[part], own, prefix=f"objectives.{recipe.name}")


def make_pretext(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Spec:
    """As `spec_for`, of an objective that learns from text alone.

    Raises:
        ConfigError: as `spec_for`; or the objective needs labels.
    """
    spec = spec_for(name, settings)
    if spec.supervised:
        raise ConfigError(needs_labels(name))
    return spec
