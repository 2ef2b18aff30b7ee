"""The facts of small runs, in the whole shape that `render` takes."""

import hashlib
import math
from typing import Any

from shoptalk.records import ACCURACY


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
        "seconds": 12.5,
        "over_fitting": None,
        "eliminated": False,
        "readings": {"RankMe": 210.3},
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


def gains() -> list[dict[str, Any]]:
    """The gain per task and number of labels."""

    def row(task: str, shots: int | str | None, base: float, gain: float, measure: str = "accuracy") -> dict[str, Any]:
        return {
            "task": task,
            "measure": measure,
            "unit": "%" if measure == "accuracy" else "points",
            "shots": shots,
            "head": "linear" if shots else None,
            "base": base,
            "adapted": base + gain,
            "gain": gain,
            "interval": [gain - 0.9, gain + 0.9],
            "n": 2310,
            "draws": 20 if shots else None,
        }

    return [
        row("intent", 1, 54.0, 4.2),
        row("intent", 5, 78.1, 2.3),
        row("intent", 10, 84.9, 1.1),
        row("intent", "full", 91.3, 0.2),
        row("next-turn retrieval", None, 31.0, -0.4, "MRR x 100"),
    ]


def changed() -> dict[str, Any]:
    """Texts that changed sides."""

    def near(text: str, label: str | None, cosine: float) -> dict[str, Any]:
        return {"text": text, "label": label, "cosine": cosine}

    def row(place: int, text: str, label: str, base: str, adapted: str) -> dict[str, Any]:
        right = adapted == label
        return {
            "id": f"labels#{place}",
            "text": text,
            "label": label,
            "base": base,
            "adapted": adapted,
            "base_share": 0.1 if right else 0.95,
            "adapted_share": 0.9 if right else 0.25,
            "before": [
                near("My top-up failed", "top_up", 0.81),
                near("I lost my bag", None, 0.78),
                near("Card gone", label, 0.7),
            ],
            "after": [
                near("Card gone", label, 0.88),
                near("Somebody took my card", label, 0.86),
                near("I lost my bag", None, 0.61),
            ],
        }

    return {
        "entry": "neighbours@180",
        "head": "smoothed",
        "base_head": "linear",
        "draws": 20,
        "n_gained": 41,
        "n_lost": 17,
        "gained": [
            row(n, f"It vanished {n} days ago & I can't pay", "card_lost", "top_up", "card_lost") for n in range(5)
        ],
        "lost": [row(9, "Top it up, 20 please", "top_up", "top_up", "card_lost")],
    }


def the_map(n: int = 60) -> dict[str, Any]:
    """Points on two spirals that the adapted encoder pulls apart."""
    turns = [4 * math.pi * i / n for i in range(n)]
    before = [[0.5 + 0.3 * t / 13 * math.cos(t), 0.5 + 0.3 * t / 13 * math.sin(t)] for t in turns]
    after = [[0.3 + 0.4 * (i % 2) + 0.1 * math.cos(t), 0.5 + 0.3 * math.sin(t)] for i, t in enumerate(turns)]
    return {
        "entry": "neighbours@180",
        "method": "Both encoders' vectors of the same texts, the first 2 principal components, turned to agree.",
        "n_all": 731,
        "classes": ["card_lost", "top_up", "same"],
        "sources": ["conversations.jsonl", "documents/tariffs.md"],
        "text": [f"{'lost card' if i % 2 else 'top up'} number {i}" for i in range(n)],
        "class": [None if i % 5 == 0 else i % 2 for i in range(n)],
        "source": [int(i > 50) for i in range(n)],
        "before": [[round(x, 4), round(y, 4)] for x, y in before],
        "after": [[round(x, 4), round(y, 4)] for x, y in after],
    }


def nodes() -> list[dict[str, Any]]:
    """The artifacts of the run, each with what it was made from."""
    made: list[tuple[str, str, str | None, list[str], float | None, str]] = [
        ("source:conversations.jsonl", "source", None, [], None, "80 conversations"),
        ("source:documents", "source", None, [], None, "20 documents"),
        ("source:intents.csv", "source", None, [], None, "2,310 labelled messages"),
        ("base", "base", None, [], None, "minilm"),
        (
            "corpus",
            "corpus",
            "corpus",
            ["source:conversations.jsonl", "source:documents", "source:intents.csv"],
            1.2,
            "731 texts",
        ),
        ("baseline", "baseline", "baseline", ["corpus", "base"], 14.0, "the base's readings"),
        ("targets:neighbours", "targets", "targets/neighbours", ["corpus", "base"], 21.5, "neighbours of 731 texts"),
        ("entry:neighbours@180", "entry", "menu/neighbours@180", ["targets:neighbours"], 190.0, "180 steps"),
        ("candidate", "encoder", "candidate/encoder", ["entry:neighbours@180"], 0.4, "the best challenger"),
        ("encoder", "encoder", "encoder", ["entry:neighbours@180"], 0.4, "what is served"),
        ("head", "head", "head", ["encoder", "corpus"], 3.0, "3 classes"),
        ("decision", "decision", "decision", ["entry:neighbours@180", "baseline"], 520.0, "adopt"),
    ]
    return [
        {
            "id": name,
            "kind": kind,
            "folder": folder,
            "hash": hashlib.sha256(name.encode()).hexdigest(),
            "parents": parents,
            "seconds": seconds,
            "says": says,
        }
        for name, kind, folder, parents, seconds, says in made
    ]


def dose() -> dict[str, Any]:
    """Dose curves, as `commands/dose.py` writes them."""

    def one(unit: str, gains: dict[int, float], said: str, of: str = "gain") -> dict[str, Any]:
        largest, last = max(gains.items())
        points = [
            {"dose": n, "base": 78.1, "adapted": 78.1 + gain, "gain": gain, "interval": [gain - 0.7, gain + 0.7]}
            for n, gain in gains.items()
        ]
        return {
            "unit": unit,
            "points": points,
            "law": "power",
            "asymptote": 3.1,
            "checks": [],
            "saturation": [],
            "twice": {"dose": 2 * largest, "change": 0.3, "interval": [-0.1, 0.6]},
            "why_not": "",
            "sentence": f"The {of} is {last:+.1f} with {largest} {unit}{said}",
        }

    labels = one("labels per class", {1: 4.2, 2: 3.5, 5: 2.3, 10: 1.1}, "; more labels make it smaller.")
    accuracy = {
        "base": one("labels per class", {1: 54.0, 2: 66.0, 5: 78.1, 10: 84.9}, ".", "accuracy"),
        "adapted": one("labels per class", {1: 58.2, 2: 69.5, 5: 80.4, 10: 86.0}, ".", "accuracy"),
    }
    return {
        "objective": "neighbours",
        "entry": "neighbours@180",
        "shots": 5,
        "seed": 0,
        "of": "86ae35d5" * 8,
        "curves": {
            "tokens": one(
                "tokens of self-supervision", {240000: 1.2, 720000: 2.3}, "; twice as many might add -0.1 to 0.6."
            ),
            "texts": one("unlabelled texts", {91: 0.8, 182: 1.4, 365: 1.9, 731: 2.3}, ".")
            | {"left_out": ["12.5%"], "steps": 180},
            "labels": labels | {"accuracy": accuracy},
        },
    }


def shares() -> list[dict[str, Any]]:
    """What each candidate took."""
    return [
        {"objective": "neighbours", "seconds": 300.0, "tokens": 720000, "share": 0.5769, "went_on": True},
        {"objective": "simcse", "seconds": 61.0, "tokens": 52345, "share": 0.1173, "went_on": False},
        {"objective": "mlm", "seconds": 58.0, "tokens": 40000, "share": 0.1115, "went_on": False},
    ]


def ladder() -> list[dict[str, Any]]:
    """What each step brings, from the plain base to the adapted encoder."""
    values = {"plain head": 61.5, "labels' names": 73.0, "unlabelled text": 78.1, "adapted encoder": 80.4}
    steps: list[dict[str, Any]] = []
    for step, value in values.items():
        gain = round(value - steps[-1]["value"], 1) if steps else None
        interval = None if gain is None else [gain - 1.2, gain + 1.2]
        steps.append({"step": step, "value": value, "unit": "%", "gain": gain, "interval": interval})
    return steps


def earlier() -> dict[str, Any]:
    """A run of a version that measured no ladder."""
    old = facts()
    for key in ("task", "base_model", "measure", "ladder", "in_all"):
        del old["verdict"][key]
    return old


def facts() -> dict[str, Any]:
    """The whole shape that `render` takes."""
    return {
        "run": "runs/acme",
        "created": "2026-11-22T10:00:00+00:00",
        "verdict": {
            "choice": "adopt",
            "objective": "neighbours",
            "entry": "neighbours@180",
            "task": "intent",
            "base_model": "minilm",
            "metric": "accuracy",
            "measure": ACCURACY.told(),
            "base": 78.1,
            "adapted": 80.4,
            "gain": 2.3,
            "interval": [1.3, 3.3],
            "confidence": 0.95,
            "smallest_gain": 0.5,
            "ladder": ladder(),
            "in_all": {"step": "adapted encoder", "gain": 18.9, "interval": [17.0, 20.8]},
            "n_examples": 2310,
            "n_draws": 20,
            "shots": 5,
            "labels_needed": None,
            "sentence": "Adopt neighbours@180, which is more than the 0.5 points worth having.",
            "rule": "adopt if the interval lies above 0",
            "on_test": False,
            "spent": {
                "seconds": 520.0,
                "tokens": 812345,
                "memory_bytes": 1_900_000_000,
                "euros": 0.1733,
                "price_per_hour": 1.2,
                "forecast": {"seconds": 540.0, "tokens": 850000, "memory_bytes": 1_800_000_000, "euros": 0.18},
                "ratio": {"seconds": 0.963, "tokens": 0.956, "memory_bytes": 1.056, "euros": 0.963},
                "candidates": shares(),
                "losers": {"seconds": 119.0, "tokens": 92345, "share": 0.2288},
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
            {"entry": "neighbours@180", "values": {"RankMe": 221.8, "alignment": 0.37}},
        ],
        "ceiling": {"accuracy": 83.4, "base": 78.1},
        "guards": [
            {"entry": "neighbours@180", "name": "forgetting", "value": -0.2, "limit": -1.0, "inside": True},
            {"entry": "mlm@60", "name": "forgetting", "value": -1.8, "limit": -1.0, "inside": False},
        ],
        "cost": {
            "stages": [
                {"stage": "curate", "seconds": 1.2},
                {
                    "stage": "pretrain",
                    "seconds": 400.0,
                    "parts": [{"part": "training", "seconds": 350.0}, {"part": "looks", "seconds": 30.0}],
                },
            ],
            "seconds": 520.0,
            "tokens": 812345,
            "waste": 0.08,
            "tokens_per_second": 1900.0,
            "candidates": shares(),
            "losers": {"seconds": 119.0, "tokens": 92345, "share": 0.2288},
        },
        "skipped": {"turns": "it needs conversations"},
        "remarks": ["chats.csv is not UTF-8 and is read as Windows-1252 (Western European). <b>So</b>."],
        "gains": gains(),
        "changed": changed(),
        "map": the_map(),
        "layers": [
            {"name": "embeddings", "change": 0.0021},
            *({"name": f"layer {n}", "change": 0.004 + 0.0043 * n} for n in range(1, 7)),
        ],
        "traffic": {
            "texts": 900,
            "fitting": 810,
            "kind": "visitors' first turns",
            "accuracy": 82.0,
            "distance": 0.16,
            "differs": True,
            "classes": [
                {"label": "card_lost", "labels": 0.05, "traffic": 0.21, "interval": [0.17, 0.25]},
                {"label": "top_up", "labels": 0.2, "traffic": 0.12, "interval": [0.1, 0.14]},
            ],
            "gain": 1.1,
            "interval": [-0.2, 2.4],
            "sentence": "Your labels hold 5 % card_lost where your traffic has about 21 % (17 to 25).",
        },
        "moved": {
            "n": 731,
            "mean": 0.93,
            "quantiles": {"0.05": 0.81, "0.25": 0.912, "0.5": 0.948, "0.75": 0.967, "0.95": 0.985},
        },
        "sources": [
            {
                "source": "conversations.jsonl",
                "documents": 80,
                "texts": 660,
                "dropped": 12,
                "share": 0.9029,
                "samples": ["I lost my card on the 9:15 ferry", "Where is parcel 4711?"],
            },
            {
                "source": "documents/tariffs.md",
                "documents": 20,
                "texts": 71,
                "dropped": 0,
                "share": 0.0971,
                "samples": [],
            },
        ],
        "trace": {"nodes": nodes()},
        "next": [
            {"say": "Label about 400 more messages of the 3 classes that lost.", "command": None},
            {"say": "See how much more training would bring.", "command": "shoptalk dose runs/acme"},
        ],
        "dose": dose(),
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
    bare = facts()
    bare["verdict"] |= {"choice": "inconclusive", "base": None, "adapted": None, "gain": None, "interval": None}
    bare["verdict"]["entry"] = "neighbours@60"
    for key in ("measure", "ladder", "in_all"):
        del bare["verdict"][key]
    bare["verdict"]["candidates"] = [entry("neighbours", 60, None), entry("simcse", 60, None)]
    return bare | {
        "curves": [],
        "per_class": [],
        "ceiling": None,
        "gains": [],
        "changed": None,
        "traffic": None,
        "dose": None,
    }
