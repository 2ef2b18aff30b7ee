"""A grounding head on disk: `grounding.safetensors` and `grounding.json`; its encoder stands beside it as an artifact.

    save(grounding, folder); load(folder, product)

`features` in `grounding.json` tells how many a head reads of each token: one of a version that did not compare words
reads the first few, and marks what it did.
"""

from pathlib import Path
from typing import Annotated

import safetensors.torch
import torch
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError

from shoptalk.artifact import write_text
from shoptalk.errors import AbsentError, ArtifactError
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.heads.grounding import Grounding, GroundingHead
from shoptalk.readback import complaint, read_bytes
from shoptalk.text.evidence_rows import FEATURES, OF_TOKENS

_ABOUT, _TENSORS = "grounding.json", "grounding.safetensors"


class _About(BaseModel):
    """What `grounding.json` must say; what a later version adds is passed over."""

    width: Annotated[int, Field(ge=1)]
    hidden: Annotated[int, Field(ge=1, le=65536)]
    features: int
    threshold: Annotated[FiniteFloat, Field(ge=0, le=1)]


def save(grounding: Grounding, folder: Path) -> None:
    """Write a head and its threshold into a folder."""
    head = grounding.head
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / _TENSORS)
    about = _About(
        width=head.states.in_features,
        hidden=head.states.out_features,
        features=head.shared.in_features,
        threshold=grounding.threshold,
    )
    write_text(folder / _ABOUT, about.model_dump_json(indent=1))


def load(folder: Path, product: TextEncoder) -> Grounding:
    """What `save` wrote, on its encoder.

    Raises:
        ArtifactError: a file is missing or damaged, or the head reads states of another width.
    """
    try:
        about = _About.model_validate_json(read_bytes(folder / _ABOUT))
        tensors = safetensors.torch.load(read_bytes(folder / _TENSORS))
        if about.width != product.dim or about.features not in (OF_TOKENS, FEATURES):
            raise ValueError(
                f"it reads states of {about.width} numbers and {about.features} features of each token, expected "
                f"{product.dim} and {FEATURES}, or {OF_TOKENS} as before words were compared"
            )
        head = GroundingHead(about.width, features=about.features, hidden=about.hidden)
        head.load_state_dict(tensors)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise ValueError("it holds numbers that are not finite")
        return Grounding(product, head.eval(), about.threshold)
    except ValidationError as error:
        reason = f"{_ABOUT} says {complaint(error)}"
    except (AbsentError, OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).rstrip(".")
    raise ArtifactError(
        f"{folder} holds no readable grounding head: {reason}. Delete it, and run the command that made it again: "
        "`shoptalk finetune MODEL SOURCE... --task ground`."
    )
