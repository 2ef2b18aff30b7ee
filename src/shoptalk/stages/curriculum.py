"""Curricula: two trainings one after the other, such as `mlm-then-neighbours`.

A curriculum is not an objective. Its second phase is a training of its own, with a schedule of its own, that starts
from the encoder which the first one leaves and whose targets that encoder prepares: masked language modelling first
and an objective of whole texts after it is how plain language models become sentence encoders (coCondenser, Gao &
Callan 2022). Here stands what `pretrain` and `adapt` share: the phases' specs, and the step where they meet.
"""

from shoptalk.config import Budget, Config
from shoptalk.errors import ConfigError
from shoptalk.objective import Spec
from shoptalk.objectives.recipe import Recipe
from shoptalk.records import Frozen
from shoptalk.stages.own_base import pretext_for


class Phase(Frozen):
    """The finished first phase of a curriculum that `pretrain` trains."""

    objective: str
    folder: str
    """Where its own plan, log and encoder are, seen from the folder of the whole."""
    steps: int
    seconds: float
    """Since the command began, so with reading the sources."""
    tokens: int


def phase_specs(config: Config, name: str) -> tuple[Spec, ...]:
    """The hyperparameters of each phase, which are its objective's; of one phase where the name is no curriculum.

    Raises:
        ConfigError: as `Recipe.parse` and `pretext_for`; or settings are given under the curriculum's whole name.
    """
    phases = tuple(phase.name for phase in Recipe.parse(name).phases)
    if len(phases) > 1 and name in config.objectives:
        raise ConfigError(
            f"objectives.{name}: a curriculum has no settings of its own. Give those of its phases under their names "
            f"({', '.join(f'objectives.{phase}' for phase in phases)}), and how they share as train.curriculum_share."
        )
    return tuple(pretext_for(config, phase) for phase in phases)


def turn_of(name: str, steps: int, config: Config) -> int:
    """The step after which the second phase begins: its share of `steps` as the settings say, at least a step for each.

    0 where the name has only one phase.

    Raises:
        ConfigError: there is but one step for two phases.
    """
    if len(Recipe.parse(name).phases) == 1:
        return 0
    if steps < 2:
        raise ConfigError(f"{name!r} has two phases, and {steps} step is not enough for both. Give 2 or more.")
    return min(max(1, round(config.train.curriculum_share * steps)), steps - 1)


def decay_share(name: str, config: Config) -> float:
    """The share of a candidate's steps, at their end, in which the learning rate falls: of a curriculum, of the second
    phase's.
    """
    phases = len(Recipe.parse(name).phases)
    return config.train.decay * (1.0 if phases == 1 else 1.0 - config.train.curriculum_share)


def first_budget(config: Config) -> Budget:
    """The first phase's part of the settings' budget; the second may take what the first one leaves of the whole."""
    share, whole = config.train.curriculum_share, config.limits()
    if whole.tokens is not None:
        return whole.model_copy(update={"tokens": max(1, round(share * whole.tokens))})
    unit = "seconds" if whole.euros is None else "euros"
    return whole.model_copy(update={unit: share * getattr(whole, unit)})
