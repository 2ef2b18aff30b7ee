"""The settings of a finished run, for commands that go on from it."""

from pathlib import Path

from pydantic import ValidationError

from shoptalk.artifact import Artifact
from shoptalk.config import Config
from shoptalk.errors import ArtifactError


def settings_of(run: Path, decision: Artifact) -> Config:
    """What a run was made with; `decision` is its artifact of that name.

    Raises:
        ArtifactError: this version has no such settings.
    """
    try:
        return Config.model_validate({k: v for k, v in decision.config.items() if k != "accept_unproven"})
    except ValidationError as error:
        raise ArtifactError(
            f"{run} was made by a version of Shoptalk with other settings ({error.errors()[0]['msg']}). Run the same "
            "`shoptalk adapt` again, then this."
        ) from error
