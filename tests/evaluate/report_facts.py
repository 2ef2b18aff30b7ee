"""The facts of small runs, in the whole shape that `render` takes."""

from typing import Any


def entry(name: str, step: int, gain: float | None, **more: Any) -> dict[str, Any]:
    measured = None if gain is None else [gain - 1.0, gain + 1.0]
    return {
        "entry": f"{name}@{step}",
        "objective": name,
        "step": step,
        "tokens": step * 4000,
        "base": None if gain is None else 78.1,
        "adapted": None if gain is None else 78.1 + gain,
        "gain": gain,
        "interval": measured,
        "forgetting": -0.2,
        "inside_guards": True,
        "why_not": "",
        "eliminated": False,
    } | more


def curve(name: str, gains: dict[int, float], eliminated: bool) -> dict[str, Any]:
    points = [
        {
            "entry": f"{name}@{step}",
            "step": step,
            "tokens": step * 4000,
            "gain": gain,
            "low": gain - 1,
            "high": gain + 1,
        }
        for step, gain in gains.items()
    ]
    return {"objective": name, "eliminated": eliminated, "points": points}


def facts() -> dict[str, Any]:
    """The whole shape that `render` takes."""
    return {
        "run": "runs/acme",
        "created": "2026-11-22T10:00:00+00:00",
        "verdict": {
            "choice": "adopt",
            "objective": "neighbours",
            "metric": "accuracy",
            "base": 78.1,
            "adapted": 80.4,
            "gain": 2.3,
            "interval": [1.3, 3.3],
            "confidence": 0.95,
            "smallest_gain": 0.5,
            "n_examples": 2310,
            "n_draws": 20,
            "shots": 5,
            "labels_needed": None,
            "sentence": "Adopt neighbours@180, which is more than the 0.5 points worth having.",
            "spent": {
                "seconds": 520.0,
                "tokens": 812345,
                "memory_bytes": 1_900_000_000,
                "euros": 0.1733,
                "price_per_hour": 1.2,
                "forecast": {"seconds": 540.0, "tokens": 850000, "memory_bytes": 1_800_000_000, "euros": 0.18},
                "ratio": {"seconds": 0.963, "tokens": 0.956, "memory_bytes": 1.056, "euros": 0.963},
            },
            "candidates": [
                entry("neighbours", 60, 1.2),
                entry("neighbours", 180, 2.3),
                entry("simcse", 60, 0.4, eliminated=True),
                entry("mlm", 60, -2.0, eliminated=True, inside_guards=False, why_not="forgetting −1.8 points"),
            ],
        },
        "curves": [
            curve("neighbours", {60: 1.2, 180: 2.3}, False),
            curve("simcse", {60: 0.4}, True),
            curve("mlm", {60: -2.0}, True),
        ],
        "losses": [
            {"objective": "neighbours", "points": [[1, 0.41], [2, 0.39], [3, 0.36]]},
            {"objective": "mlm", "points": [[1, 3.1], [2, float("nan")]]},
        ],
        "per_class": [
            {"label": "card_lost", "n": 30, "base": 71.0, "adapted": 78.0, "gain": 7.0},
            {"label": "top_up", "n": 25, "base": 90.0, "adapted": 86.0, "gain": -4.0},
            {"label": "same", "n": 25, "base": 90.0, "adapted": 90.0, "gain": 0.0},
        ],
        "label_free": [
            {"entry": "base", "values": {"RankMe": 210.3, "alignment": 0.4, "uniformity": -3.1, "next-turn MRR": 0.31}},
            {"entry": "neighbours@180", "values": {"RankMe": 221.8, "alignment": 0.37, "next-turn MRR": None}},
        ],
        "ceiling": {"accuracy": 83.4},
        "guards": [
            {"entry": "neighbours@180", "name": "forgetting", "value": -0.2, "limit": -1.0, "inside": True},
            {"entry": "mlm@60", "name": "forgetting", "value": -1.8, "limit": -1.0, "inside": False},
        ],
        "cost": {
            "stages": [{"stage": "curate", "seconds": 1.2}, {"stage": "pretrain", "seconds": 400.0}],
            "seconds": 520.0,
            "tokens": 812345,
            "waste": 0.08,
            "tokens_per_second": 1900.0,
        },
        "drops": [
            {
                "reason": "duplicate",
                "count": 12,
                "samples": [{"id": "x.jsonl#3", "detail": "same as x.jsonl#1", "sample": "I lost my card"}],
            }
        ],
        "kept": {"documents": 100, "texts": 731},
        "reproduce": {
            "command": "shoptalk adapt ./conversations --out runs/acme",
            "versions": {"torch": "2.13.0"},
            "hardware": {"machine": "x86_64", "cores": 2},
            "seed": 0,
        },
    }


def unlabelled() -> dict[str, Any]:
    """A run without labels: gains are null, and nothing that rests on them is there."""
    changed = facts()
    changed["verdict"] |= {"choice": "inconclusive", "base": None, "adapted": None, "gain": None, "interval": None}
    changed["verdict"]["candidates"] = [entry("neighbours", 60, None), entry("simcse", 60, None)]
    return changed | {"curves": [], "per_class": [], "ceiling": None}
