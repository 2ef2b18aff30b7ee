"""SimCLR, MoCo and BYOL as one would write them: PyTorch, a transformers backbone, kornia's augmentations on batches.

`python benchmarks/peers/picture_trainer.py --model FOLDER --pictures pictures.npy --batch 256 --steps 20 ...`; runs in
an environment without Shoptalk. FOLDER holds the backbone's config.json; weights are random.
"""

import argparse
import copy
import json
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from kornia import augmentation
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# Augmentations ----------------------------------------------------------------------------------------------------


def chain(
    size: int,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    resample: str = "bicubic",
    saturation: float = 0.4,
    blur: float = 0.0,
    solarize: float = 0.0,
) -> nn.Module:
    """From crop to normalised; by default SimCLR's for CIFAR-10 (Chen et al. 2020, appendix B.9)."""
    side, sigma = 2 * (size // 20) + 1, (0.1 * size / 224, 2.0 * size / 224)  # the papers' are for pictures of 224
    return nn.Sequential(
        augmentation.RandomResizedCrop((size, size), scale=scale, ratio=(3 / 4, 4 / 3), resample=resample),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJiggle(0.4, 0.4, saturation, 0.1, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        *([augmentation.RandomGaussianBlur((side, side), sigma, p=blur)] if blur else []),
        *([augmentation.RandomSolarize(thresholds=(0.5, 0.5), additions=(0.0, 0.0), p=solarize)] if solarize else []),
        augmentation.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )


def chains(objective: str, size: int) -> tuple[nn.Module, nn.Module]:
    """Those of the two views: MoCo's of its version 2 (Chen et al. 2020), BYOL's of table 6 (Grill et al. 2020)."""
    if objective == "byol":
        return chain(size, saturation=0.2, blur=1.0), chain(size, saturation=0.2, blur=0.1, solarize=0.2)
    both = chain(size, scale=(0.2, 1.0), resample="bilinear", blur=0.5) if objective == "moco" else chain(size)
    return both, both


# Networks ---------------------------------------------------------------------------------------------------------


class Backbone(nn.Module):
    def __init__(self, folder: str) -> None:
        super().__init__()
        config = AutoConfig.from_pretrained(folder)
        self.model = AutoModel.from_config(config).to(memory_format=torch.channels_last)
        self.width = config.hidden_sizes[-1]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixels.contiguous(memory_format=torch.channels_last)).pooler_output.flatten(1)


def follow(average: nn.Module, network: nn.Module, momentum: float) -> None:
    """The exponential moving average of the network's weights."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - momentum)


class Simclr(nn.Module):
    def __init__(self, given: argparse.Namespace) -> None:
        super().__init__()
        backbone, hidden, dimensions = Backbone(given.model), given.hidden, given.dimensions
        projector = nn.Sequential(
            nn.Linear(backbone.width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, dimensions, bias=False),
            nn.BatchNorm1d(dimensions),
        )
        self.encoder = nn.Sequential(backbone, projector)
        self.temperature = given.temperature

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        unit = functional.normalize(self.encoder(torch.cat([first, second])).float(), dim=-1)
        with torch.autocast(unit.device.type, enabled=False):
            logits = unit @ unit.T / self.temperature
        logits.fill_diagonal_(float("-inf"))
        return functional.cross_entropy(logits, torch.arange(len(unit), device=unit.device).roll(len(first)))

    def after_step(self) -> None:
        pass


class Moco(nn.Module):
    """With shuffled keys, and batch norms that see a batch in parts, as they did on several GPUs."""

    def __init__(self, given: argparse.Namespace) -> None:
        super().__init__()
        backbone = Backbone(given.model)
        head = (nn.Linear(backbone.width, given.hidden), nn.ReLU(), nn.Linear(given.hidden, given.dimensions))
        self.encoder = nn.Sequential(backbone, *head)
        self.keys = copy.deepcopy(self.encoder).requires_grad_(False)
        self.queue = functional.normalize(torch.randn(given.queue, given.dimensions), dim=-1)
        self.temperature, self.momentum, self.parts = given.temperature, given.momentum, given.parts
        self.oldest, self.newest = 0, self.queue[:0]

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        self.queue = self.queue.to(first.device)
        queries = self.in_parts(self.encoder, first)
        with torch.no_grad():
            order = torch.randperm(len(second), device=second.device)
            self.newest = self.in_parts(self.keys, second[order])[order.argsort()]
        with torch.autocast(first.device.type, enabled=False):
            logits = torch.cat([(queries * self.newest).sum(-1, keepdim=True), queries @ self.queue.T], dim=1)
        target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return functional.cross_entropy(logits / self.temperature, target)

    def in_parts(self, encoder: nn.Module, view: torch.Tensor) -> torch.Tensor:
        return functional.normalize(torch.cat([encoder(part) for part in view.chunk(self.parts)]).float(), dim=-1)

    def after_step(self) -> None:
        follow(self.keys, self.encoder, self.momentum)
        places = (self.oldest + torch.arange(len(self.newest), device=self.queue.device)) % len(self.queue)
        self.queue[places] = self.newest
        self.oldest = (self.oldest + len(self.newest)) % len(self.queue)


class Byol(nn.Module):
    def __init__(self, given: argparse.Namespace) -> None:
        super().__init__()
        backbone, dimensions = Backbone(given.model), given.dimensions

        def mlp(width: int) -> nn.Module:
            norm = nn.BatchNorm1d(given.hidden)
            return nn.Sequential(nn.Linear(width, given.hidden), norm, nn.ReLU(), nn.Linear(given.hidden, dimensions))

        self.online = nn.Sequential(backbone, mlp(backbone.width))
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.predictor = mlp(dimensions)
        self.momentum = given.momentum

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        predicted = [self.predictor(self.online(view)).float() for view in (first, second)]
        with torch.no_grad():
            targets = [self.target(view).float() for view in (second, first)]
        return sum(2 - 2 * functional.cosine_similarity(*pair).mean() for pair in zip(predicted, targets, strict=True))

    def after_step(self) -> None:
        follow(self.target, self.online, self.momentum)


MODELS = {"simclr": Simclr, "moco": Moco, "byol": Byol}


# Training ---------------------------------------------------------------------------------------------------------


def batches(count: int, batch: int, steps: int) -> Iterator[torch.Tensor]:
    order = torch.randperm(count)
    for step in range(steps):
        if (step % (count // batch)) == 0:
            order = torch.randperm(count)
        begin = step % (count // batch) * batch
        yield order[begin : begin + batch]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objective", choices=list(MODELS), default="simclr")
    parser.add_argument("--model", required=True)
    parser.add_argument("--pictures", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--temperature", type=float, help="of SimCLR and MoCo")
    parser.add_argument("--momentum", type=float, help="of the averages of MoCo and BYOL; held constant")
    parser.add_argument("--queue", type=int, help="keys of MoCo")
    parser.add_argument("--parts", type=int, help="of a batch, which MoCo's batch norms see one by one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures = torch.from_numpy(np.load(given.pictures)).permute(0, 3, 1, 2).contiguous()
    augment_first, augment_second = (part.to(device) for part in chains(given.objective, pictures.shape[-1]))
    model = MODELS[given.objective](given).to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=given.lr, weight_decay=0.01, fused=True)
    ends, losses, inputs = [], [], 0.0
    for chosen in batches(len(pictures), given.batch, given.steps):
        begun = time.perf_counter()
        with torch.no_grad():
            plain = pictures[chosen].to(device).float().div_(255)
            views = augment_first(plain), augment_second(plain)
        inputs += (time.perf_counter() - begun) if len(ends) >= given.warmup else 0.0
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=given.bf16):
            loss = model(*views)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        model.after_step()
        losses.append(loss.item())
        ends.append(time.perf_counter())
    seconds = ends[-1] - ends[given.warmup - 1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    result = {
        "pictures_per_second": (given.steps - given.warmup) * given.batch / seconds,
        "input_share": 100 * inputs / seconds,
        "losses": losses,
        "peak_rss_mib": round(peak),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
