"""Every objective by name: the one literal dict."""

from collections.abc import Mapping
from typing import Any

from shoptalk.config import did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.objective import Spec
from shoptalk.objectives.contrastive.simcse import SimcseSpec
from shoptalk.objectives.contrastive.turns import TurnsSpec
from shoptalk.objectives.distillation.neighbours import NeighboursSpec
from shoptalk.objectives.masked.mlm import MlmSpec

OBJECTIVES: dict[str, type[Spec]] = {
    "mlm": MlmSpec,
    "simcse": SimcseSpec,
    "turns": TurnsSpec,
    "neighbours": NeighboursSpec,
}


def make_spec(name: str, settings: Mapping[str, Any]) -> Spec:
    """The spec of the objective `name`, with the settings that differ from its defaults.

    Raises:
        ConfigError: no such objective, or an unknown or impossible setting.
    """
    if name not in OBJECTIVES:
        raise ConfigError(f"No objective {name!r}. {did_you_mean(name, OBJECTIVES)}")
    return validate(OBJECTIVES[name], settings, prefix=f"objectives.{name}")
