"""What the peer scripts share. Each runs as `python benchmarks/peers/NAME.py`, in an environment without Shoptalk."""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


def read_texts(path: str) -> list[str]:
    """One JSON string a line."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def peak_mib() -> float:
    """The most resident memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def report(**facts: Any) -> None:
    """The result, as the last line of standard output."""
    print(json.dumps(facts | {"peak_rss_mib": round(peak_mib())}), flush=True)


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each optimizer step ended, and how many tokens it was given."""

    def __init__(self, calls_per_step: int = 1) -> None:
        self.calls_per_step = calls_per_step
        self.ends: list[float] = []
        self.calls: list[tuple[int, int]] = []
        """Real tokens and cells (tokens and padding) of every call of the model."""

    def watch(self, mask_of: Callable[[Any, Any], Any]) -> Callable[..., None]:
        """A forward hook that counts; `mask_of(args, kwargs)` finds the attention mask."""

        def hook(module: Any, args: Any, kwargs: Any) -> None:
            mask = mask_of(args, kwargs)
            self.calls.append((int(mask.sum()), mask.numel()))

        return hook

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())

    def result(self, losses: Sequence[float], *, warmup: int) -> dict[str, Any]:
        """Speed from the end of the last warm-up step to the end of the last step.

        Where a step calls the model more than once on the same texts, they are counted once.
        """
        steps = self.calls[:: self.calls_per_step]
        assert len(steps) == len(self.ends) == len(losses), (len(steps), len(self.ends), len(losses))
        tokens, cells = (sum(step[part] for step in steps[warmup:]) for part in (0, 1))
        seconds = self.ends[-1] - self.ends[warmup - 1]
        return {
            "real_tokens": tokens,
            "cells": cells,
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "losses": list(losses),
        }


def losses_of(trainer: Any) -> list[float]:
    """The loss of every step, as the Trainer logged it."""
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]
