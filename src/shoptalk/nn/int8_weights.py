"""Weights of 8 bits: the matrices of a decoder's layers rounded per output channel, activations left as they are.

    round_matrices(model.network.backbone)        # in place
    keep_16_bits(model.network.backbone)          # of what is not rounded, as it is written
    write_rounded(model.network.backbone, folder) # config.json and model.safetensors, 8 bits a weight
    backbone, report = open_rounded(folder, ref, held)

Of each row w of a matrix, s = max|w| / 127 and round(w / s) are kept (symmetric, Dettmers et al. 2022, "LLM.int8()",
section 2, without outliers, since activations are not rounded). Embeddings and the output table that is tied to them
stay as they are: a row is read at a time, and the table decides between neighbouring tokens.

The folder is laid out as the package compressed-tensors has it (`pack-quantized`: four weights plus 128 in a number of
32 bits), so that transformers opens it where that is installed. Such a model is read and never trained.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int8, Int32
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from shoptalk.errors import BaseModelError
from shoptalk.nn.admission import WEIGHTS, refuse_misfit
from shoptalk.readback import read_json

PACKED = ".weight_packed"
_BESIDE = (".weight_scale", ".weight_shape")
"""What stands beside a packed matrix."""
METHOD, LAYOUT = "compressed-tensors", "pack-quantized"
_MOST = 127.0
_SHIFT = 128
"""Is added to a weight where it is stored without a sign."""
_ALIGNED = 64
"""Bytes: torch's kernel is given matrices alone whose rows begin at multiples. Others ended the process (torch 2.13,
bfloat16: a matrix in the middle of a file, and rows of 33)."""
_FEW = 64
"""Rows of activations up to which the 8-bit kernel is called: more are multiplied with the matrix made whole again."""


class RoundedLinear(nn.Module):
    """A linear layer whose matrix has 8 bits a weight and a scale for each output."""

    weight: Int8[Tensor, "O I"]
    weight_scale: Float[Tensor, "O 1"]
    bias: Float[Tensor, " O"] | None

    def __init__(
        self, weight: Int8[Tensor, "O I"], scale: Float[Tensor, "O 1"], bias: Float[Tensor, " O"] | None
    ) -> None:
        super().__init__()
        # Copies begin at aligned addresses; a part of a file need not.
        self.register_buffer("weight", weight.clone(memory_format=torch.contiguous_format))
        self.register_buffer("weight_scale", scale.clone())
        self.register_buffer("bias", bias)

    def forward(self, x: Float[Tensor, "*rows I"]) -> Float[Tensor, "*rows O"]:
        """The product of the rounded matrix, in the precision of the layers around it."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        rows, scale = x.reshape(-1, x.shape[-1]).to(dtype), self.weight_scale.to(dtype)
        if len(rows) <= _FEW and self._fits_kernel:
            product = torch._weight_int8pack_mm(rows.contiguous(), self.weight, scale.flatten())
        else:
            product = rows @ (self.weight.to(dtype) * scale).T
        if self.bias is not None:
            product = product + self.bias.to(dtype)
        return product.reshape(*x.shape[:-1], -1)

    @property
    def _fits_kernel(self) -> bool:
        weight = self.weight
        aligned = weight.shape[1] % _ALIGNED == 0 and weight.data_ptr() % _ALIGNED == 0 and weight.is_contiguous()
        return weight.device.type == "cpu" and aligned


def rounded(matrix: Float[Tensor, "O I"]) -> tuple[Int8[Tensor, "O I"], Float[Tensor, "O 1"]]:
    """Whole numbers between -127 and 127, and what a row of them is to be multiplied by."""
    values = matrix.detach().float()
    scale = values.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / _MOST
    return (values / scale).round().to(torch.int8), scale


def is_rounded(backbone: nn.Module) -> bool:
    """Whether some of its matrices have 8 bits a weight."""
    return any(isinstance(part, RoundedLinear) for part in backbone.modules())


def round_matrices(backbone: nn.Module) -> int:
    """Round every linear layer but the output table, in place; how many.

    Raises:
        BaseModelError: there is none.
    """
    names = list(_matrices(backbone))
    for name in names:
        layer = backbone.get_submodule(name)
        _replace(backbone, name, RoundedLinear(*rounded(layer.weight), layer.bias))  # type: ignore[arg-type]
    if not names:
        others = sum(isinstance(part, Conv1D) for part in backbone.modules())
        if others:
            raise BaseModelError(
                f"This model keeps its matrices in {others} layers of the type Conv1D, as GPT-2 does: the other way "
                "round than linear layers, of which the 8-bit format has a scale for each row. They are not rounded. "
                "Export the model with --quantize none, or take one whose layers are linear, such as smollm2."
            )
        raise BaseModelError(
            "This model has no linear layer besides its output table, so that there is nothing to round. Export it "
            "with --quantize none."
        )
    return len(names)


def keep_16_bits(backbone: nn.Module) -> None:
    """Give what is not rounded the 16 bits that it has when it is written, in place: what is measured then is what is
    opened. It stays in float32.
    """
    with torch.no_grad():
        for name, value in backbone.state_dict().items():
            if value.is_floating_point():
                value.copy_(value.to(_kept_in(name)))


def _matrices(backbone: nn.Module) -> Iterator[str]:
    table: Any = backbone.get_output_embeddings()  # type: ignore[operator]
    for name, part in backbone.named_modules():
        if isinstance(part, nn.Linear) and part is not table:
            yield name


def _replace(backbone: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(backbone.get_submodule(parent), last, layer)


def write_rounded(backbone: nn.Module, folder: Path) -> None:
    """Write config.json, generation_config.json and the weights; those that were not rounded have 16 bits."""
    stored: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, value in backbone.state_dict().items():
        place = (value.data_ptr(), value.shape)
        if place not in seen:  # the output table is often that of the embeddings
            seen.add(place)
            if value.dtype == torch.int8:
                stored[f"{name}_packed"], stored[f"{name}_shape"] = packed(value), torch.tensor(value.shape)
            else:
                stored[name] = value.to(_kept_in(name)).contiguous()
    config: Any = backbone.config
    described = config.to_dict() | {
        "architectures": [type(backbone).__name__],
        "dtype": "bfloat16",
        "quantization_config": _described(backbone),
    }
    type(config).from_dict(described).save_pretrained(folder)
    if (decoding := getattr(backbone, "generation_config", None)) is not None:
        decoding.save_pretrained(folder)  # perhaps the only place that names the token which ends a turn
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})


def _kept_in(name: str) -> torch.dtype:
    return torch.float32 if name.endswith("weight_scale") else torch.bfloat16


def _described(backbone: nn.Module) -> Mapping[str, Any]:
    output: Any = backbone.get_output_embeddings()  # type: ignore[operator]
    table = next((name for name, part in backbone.named_modules() if part is output), "lm_head")
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    return {
        "quant_method": METHOD,
        "format": LAYOUT,
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": [table],
    }


def holds_rounded(folder: Path) -> bool:
    """Whether a folder's config.json says that its weights are rounded this way."""
    path = folder / "config.json"
    described = read_json(path, dict).get("quantization_config") if path.is_file() else None
    return isinstance(described, dict) and (described.get("quant_method"), described.get("format")) == (METHOD, LAYOUT)


def open_rounded(folder: Path, ref: str, held: int) -> tuple[Any, Mapping[str, Any]]:
    """The stock model with rounded matrices, activations in float32, and what transformers says of the weights; as
    `stock_model` for whole ones.

    Raises:
        BaseModelError: the weights are not those of 8-bit matrices.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig  # not needed where one is only measured

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    vars(config).pop("quantization_config", None)  # or transformers would ask for the package that wrote the layout
    with torch.device("meta"):
        described = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", trust_remote_code=False)
    refuse_misfit(folder, ref, asked=sum(parameter.numel() for parameter in described.parameters()), held=4 * held)
    tensors = load_file(folder / WEIGHTS)
    pairs = {
        key.removesuffix(PACKED): _matrix(tensors, key.removesuffix(PACKED), folder, ref)
        for key in tensors
        if key.endswith(PACKED)
    }
    if not pairs:
        raise BaseModelError(
            f"config.json of {ref!r} ({folder}) says that its weights have 8 bits, and none has. Export it again."
        )
    whole = {key: value.float() for key, value in tensors.items() if not key.endswith((PACKED, *_BESIDE))}
    whole |= {f"{name}.weight": weight.float() * scale.float() for name, (weight, scale) in pairs.items()}
    with torch.random.fork_rng(devices=[]):  # it begins with random weights, all of which are replaced
        backbone = AutoModelForCausalLM.from_config(
            config, attn_implementation="sdpa", dtype=torch.float32, trust_remote_code=False
        )
    lacking = set(backbone.load_state_dict(whole, strict=False).missing_keys)
    state = backbone.state_dict()
    there = {state[name].data_ptr() for name in state if name not in lacking}  # a tied output table is the embeddings'
    report = {"missing_keys": {name for name in lacking if state[name].data_ptr() not in there}}
    for name, (weight, scale) in pairs.items():
        _replace(backbone, name, RoundedLinear(weight, scale.float(), backbone.get_submodule(name).bias))
    if (folder / "generation_config.json").is_file():
        backbone.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return backbone, report


def packed(matrix: Int8[Tensor, "O I"]) -> Int32[Tensor, "O I4"]:
    """Four columns in one, the first in the lowest bits; the last is filled up."""
    missing = -matrix.shape[1] % 4
    shifted = (matrix.to(torch.int16) + _SHIFT).to(torch.uint8)
    return nn.functional.pad(shifted, (0, missing)).contiguous().view(torch.int32)


def unpacked(columns: Int32[Tensor, "O I4"], inputs: int) -> Int8[Tensor, "O I"]:
    """The matrix again."""
    return (columns.contiguous().view(torch.uint8)[:, :inputs].to(torch.int16) - _SHIFT).to(torch.int8)


def _matrix(tensors: Mapping[str, Tensor], name: str, folder: Path, ref: str) -> tuple[Tensor, Tensor]:
    """A matrix and its scales."""
    columns = tensors[name + PACKED]
    scale, shape = (tensors.get(name + part) for part in _BESIDE)
    fits = scale is not None and shape is not None and columns.dtype == torch.int32 and columns.ndim == 2
    if fits and scale is not None and shape is not None:
        outputs, inputs = shape.tolist() if shape.shape == (2,) else (0, 0)
        fits = tuple(columns.shape) == (outputs, -(-inputs // 4)) and tuple(scale.shape) == (outputs, 1)
        if fits and bool(scale.isfinite().all()):
            return unpacked(columns, inputs), scale
    raise BaseModelError(
        f"{name} of {ref!r} ({folder}) is {columns.dtype} of shape {tuple(columns.shape)}, with scales "
        f"{None if scale is None else tuple(scale.shape)} for {None if shape is None else shape.tolist()} weights. "
        "Expected four weights in each int32, and a finite scale for each output; export the model again."
    )
