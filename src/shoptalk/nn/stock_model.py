"""A model as transformers has it, from a folder whose weights are what its configuration asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from shoptalk.errors import BaseModelError
from shoptalk.nn.admission import refuse_misfit


def stock_model(
    folder: Path, ref: str, held: int, *, of: Any = AutoModel, attention: str = "eager"
) -> tuple[Any, Mapping[str, Any]]:
    """The stock model in float32, and what transformers says of the weights.

    It is built without memory first, to see that its size is that of the `held` numbers in the file.

    Args:
        folder: config.json and safetensors.
        ref: how the user named it.
        held: numbers in the safetensors.
        of: the auto class that opens it.
        attention: its own, plain matmuls, train faster than the fused kernel on CPUs where texts are short.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        described = of.from_config(config, attn_implementation=attention, trust_remote_code=False)
    refuse_misfit(folder, ref, asked=sum(parameter.numel() for parameter in described.parameters()), held=held)
    backbone, report = of.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        dtype=torch.float32,
        attn_implementation=attention,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    return backbone, report


def refuse_lacking(report: Mapping[str, Any], folder: Path, ref: str) -> None:
    """Refuse weights that are fewer than the configuration asks for; `report` is what transformers said of them.

    Raises:
        BaseModelError: some are missing.
    """
    if lacking := sorted(report["missing_keys"]):
        raise BaseModelError(
            f"model.safetensors of {ref!r} ({folder}) lacks {len(lacking)} of the weights that its config.json asks "
            f"for, {lacking[0]!r} among them. Expected the two to belong together; fetch or write the model again."
        )
