"""Warm-up, stable, decay (Hu et al. 2024, MiniCPM): every checkpoint of the stable phase can be decayed and shipped."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Schedule:
    """Learning-rate factor by step: rises over `warmup` steps, stays 1, then falls linearly over the last `decay`."""

    steps: int
    warmup: int
    decay: int

    @classmethod
    def plan(cls, steps: int, *, warmup: float, decay: float) -> "Schedule":
        """A schedule of `steps` steps from shares of them."""
        return cls(steps=steps, warmup=round(warmup * steps), decay=max(1, round(decay * steps)))

    def factor(self, step: int) -> float:
        """The factor of step `step`, counted from 0; above 0 until the last step."""
        rising = (step + 1) / (self.warmup + 1) if step < self.warmup else 1.0
        falling = (self.steps - step) / (self.decay + 1)
        return min(rising, falling, 1.0)

    def progress(self, steps: int) -> float:
        """How far the first `steps` steps get: the sum of their factors."""
        return sum(self.factor(step) for step in range(steps))

    def stopped_at(self, step: int) -> "Schedule":
        """The schedule whose last step was `step`."""
        return replace(self, steps=step)

    def decaying_from(self, step: int) -> "Schedule":
        """The schedule with its decay begun at `step`, if that is earlier; the decay keeps its share of the steps."""
        if step >= self.steps - self.decay:
            return self
        share = self.decay / self.steps
        decay = max(1, round(step * share / (1 - share)))
        return replace(self, steps=step + decay, decay=decay)
