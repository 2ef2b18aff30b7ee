"""SimCLR as one would write it: PyTorch, a transformers backbone, and kornia's augmentations on whole batches.

`python benchmarks/peers/picture_trainer.py --model FOLDER --pictures pictures.npy --batch 256 --steps 20 ...`; runs in
an environment without Shoptalk. FOLDER holds the backbone's config.json; weights are random.
"""

import argparse
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


def chain(size: int) -> nn.Module:
    """SimCLR's for CIFAR-10 (Chen et al. 2020, appendix B.9)."""
    return nn.Sequential(
        augmentation.RandomResizedCrop((size, size), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), resample="bicubic"),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJiggle(0.4, 0.4, 0.4, 0.1, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        augmentation.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )


class Encoder(nn.Module):
    def __init__(self, folder: str, hidden: int, dimensions: int) -> None:
        super().__init__()
        config = AutoConfig.from_pretrained(folder)
        self.backbone = AutoModel.from_config(config).to(memory_format=torch.channels_last)
        width = config.hidden_sizes[-1]
        self.projector = nn.Sequential(
            nn.Linear(width, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, dimensions, bias=False),
            nn.BatchNorm1d(dimensions),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled = self.backbone(pixel_values=pixels.contiguous(memory_format=torch.channels_last)).pooler_output
        return self.projector(pooled.flatten(1))


def nt_xent(vectors: torch.Tensor, temperature: float) -> torch.Tensor:
    unit = functional.normalize(vectors.float(), dim=-1)
    logits = unit @ unit.T / temperature
    logits.fill_diagonal_(float("-inf"))
    count = len(unit) // 2
    return functional.cross_entropy(logits, torch.arange(2 * count, device=unit.device).roll(count))


def batches(count: int, batch: int, steps: int) -> Iterator[torch.Tensor]:
    order = torch.randperm(count)
    for step in range(steps):
        if (step % (count // batch)) == 0:
            order = torch.randperm(count)
        begin = step % (count // batch) * batch
        yield order[begin : begin + batch]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pictures", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warmup", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--temperature", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures = torch.from_numpy(np.load(given.pictures)).permute(0, 3, 1, 2).contiguous()
    augment = chain(pictures.shape[-1]).to(device)
    model = Encoder(given.model, given.hidden, given.dimensions).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.lr, weight_decay=0.01, fused=True)
    ends, losses, inputs = [], [], 0.0
    for chosen in batches(len(pictures), given.batch, given.steps):
        begun = time.perf_counter()
        with torch.no_grad():
            plain = pictures[chosen].to(device).float().div_(255)
            views = torch.cat([augment(plain), augment(plain)])
        inputs += (time.perf_counter() - begun) if len(ends) >= given.warmup else 0.0
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=given.bf16):
            projected = model(views)
        loss = nt_xent(projected, given.temperature)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
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
