"""The goal and every setting, as frozen models read from one TOML file and `--set key=value` overrides.

    config = load(Path("shoptalk.toml"), overrides=["budget=3Mtok", "objectives.simcse.lr=2e-5"])

Objectives own their hyperparameters (their `Spec`), so the section `objectives` stays a plain mapping here and is
validated by each spec when it is built.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from shoptalk.errors import ConfigError
from shoptalk.records import Frozen

F = TypeVar("F", bound=Frozen)


class Budget(Frozen):
    """How much a run may cost. Exactly one is set: wall-clock seconds of the whole run, training tokens (real ones, no
    padding), or euros, which a price per hour turns into seconds.

    `parse(str(budget), price_per_hour=...)` gives the same budget again.
    """

    seconds: float | None = None
    tokens: int | None = None
    euros: float | None = None
    price_per_hour: float | None = None
    """EUR an hour of this machine, as its user states it; None where that is not known."""

    @classmethod
    def parse(cls, text: str, *, price_per_hour: float | None = None) -> "Budget":
        """Read "10m", "90s", "1.5h" (time), "500ktok", "3Mtok" (tokens), "0.50eur", "2eur@1.20" (at EUR an hour).

        Raises:
            ConfigError: it is none of these, or it is money and there is no price, or there are two.
        """
        match = re.fullmatch(rf"{_NUMBER}\s*({'|'.join(_UNITS)})(?:@{_NUMBER})?", text.strip())
        amount = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if match is None or not 0 < amount < _MOST or (match[3] and match[2] != "eur"):
            raise ConfigError(
                f"budget = {text!r} is not a budget. Give a time such as 90s, 10m or 1.5h, a number of training tokens "
                "such as 500ktok or 3Mtok, or money such as 0.50eur with the price of an hour: --budget 0.50eur "
                "--price 1.20, or 0.50eur@1.20."
            )
        if match[2].endswith("tok"):
            return cls(tokens=max(1, round(amount)), price_per_hour=price_per_hour)
        if match[2] != "eur":
            return cls(seconds=amount, price_per_hour=price_per_hour)
        price = _one_price(text, match[3], price_per_hour)
        if not amount / price * 3600 < _MOST:
            raise ConfigError(
                f"budget = {text!r} at {price:g} EUR an hour has no end. Give less money, or the real price."
            )
        return cls(euros=amount, price_per_hour=price)

    @property
    def time(self) -> float | None:
        """The seconds that the run may take, None where it is limited by tokens; money buys hours at their price."""
        if self.euros is not None and self.price_per_hour is not None:
            return self.euros / self.price_per_hour * 3600
        return self.seconds

    def __str__(self) -> str:
        """As it is written after --budget, in the largest unit that divides it."""
        if self.euros is not None:
            return f"{_plain(self.euros)}eur@{_plain(self.price_per_hour or 0)}"
        if self.tokens is not None:
            size, unit = next(pair for pair in _TOKEN_UNITS if self.tokens % pair[0] == 0)
            return f"{self.tokens // size}{unit}"
        seconds = self.seconds or 0.0
        length, unit = next((pair for pair in _TIME_UNITS if seconds % pair[0] == 0), (1, "s"))
        return f"{_plain(seconds / length)}{unit}"


_NUMBER = r"(\d+(?:\.\d+)?)"
_TIME_UNITS = ((3600, "h"), (60, "m"), (1, "s"))
_TOKEN_UNITS = ((1_000_000, "Mtok"), (1_000, "ktok"), (1, "tok"))
_UNITS = {unit: size for size, unit in (*_TIME_UNITS, *_TOKEN_UNITS, (1, "eur"))}
_MOST = 1e15


def _one_price(text: str, inside: str | None, outside: float | None) -> float:
    """The price of an hour that a budget in euros is to be divided by."""
    if inside is None and outside is None:
        raise ConfigError(
            f"budget = {text!r} is money, and the price of an hour of this machine is not known. Expected both: add "
            f"--price 1.20 (EUR an hour; price_per_hour in shoptalk.toml), or write {text.strip()}@1.20."
        )
    price = float(inside) if inside is not None else outside
    if price is None or not price > 0:
        raise ConfigError(f"budget = {text!r}: a price of 0 EUR an hour buys no end of time. Give the real price.")
    if outside is not None and price != outside:
        raise ConfigError(
            f"budget = {text!r} states one price of an hour, and --price (price_per_hour) states {outside:g} EUR. "
            "Give one of the two."
        )
    return price


def _plain(number: float) -> str:
    """The shortest decimals that read back as the same number, never with an exponent."""
    return format(Decimal(repr(number)).normalize(), "f")


def money(euros: float) -> str:
    """1.20 EUR, 0.023 EUR: two decimals, and below that as many as show two digits that matter."""
    decimals = 2 if euros <= 0 else max(2, 1 - math.floor(math.log10(euros)))
    return f"{euros:.{decimals}f} EUR"


class Guards(Frozen):
    """What must not get worse, whatever the gain. Points are hundredths of the measure's range."""

    forgetting: float = Field(default=-1.0, le=0.0, description="largest fall in general similarity structure, points")


class CurateConfig(Frozen):
    """How sources are read."""

    text_column: str = "text"
    label_column: str = "label"
    passage_characters: int = Field(default=600, ge=80, description="long texts are cut into passages up to this size")
    near_duplicate: float = Field(default=0.8, gt=0.0, le=1.0, description="Jaccard similarity of character 5-grams")


class TrainConfig(Frozen):
    """The training loop's settings that no objective owns."""

    warmup: float = Field(default=0.1, ge=0.0, lt=1.0, description="share of the steps spent warming up")
    decay: float = Field(default=0.2, gt=0.0, le=1.0, description="share of the steps spent decaying to zero")
    weight_decay: float = Field(default=0.01, ge=0.0)
    clip: float = Field(default=1.0, gt=0.0, description="largest gradient norm")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    snapshot_seconds: float = Field(default=60.0, gt=0.0, description="at most this much work is lost to a crash")
    shard: bool = Field(
        default=False,
        description="spread parameters over the processes that torchrun starts, for a model whose weights, gradients "
        "and optimizer state (16 bytes a parameter) do not fit each; slower where they do",
    )

    curriculum_share: float = Field(
        default=0.5, gt=0.0, lt=1.0, description="share of the steps or the budget that a curriculum's first phase gets"
    )

    def of_results(self) -> dict[str, Any]:
        """The settings on which all results depend: where to keep parameters and how often to save them does not count,
        and what only curricula depend on is told with their steps.
        """
        return self.model_dump(exclude={"snapshot_seconds", "shard", "curriculum_share"})


class Config(Frozen):
    """The goal in the user's own terms, and how to reach it. `shoptalk init` writes it with comments."""

    task: Literal["intent"] = "intent"
    metric: Literal["accuracy"] = "accuracy"
    smallest_gain: float = Field(default=0.5, ge=0.0, description="the smallest gain worth having, points (delta)")
    settle_gain: float = Field(default=2.0, gt=0.0, description="the gain that `labels_needed` is computed for, points")
    shots: int = Field(default=5, ge=1, description="labels per class that the assistant will have")
    draws: int = Field(default=20, ge=5, description="k-shot label sets drawn for the verdict (R)")
    budget: str = "10m"
    price_per_hour: float | None = Field(default=None, gt=0.0, lt=1e6, description="EUR an hour of this machine")
    base: str = "minilm"
    vocabulary: int = Field(default=0, ge=0, description="most words of the corpus that the base's tokenizer learns")
    candidates: tuple[str, ...] = ("mlm", "simcse", "turns", "neighbours", "none")
    seed: int = 0
    guards: Guards = Guards()
    curate: CurateConfig = CurateConfig()
    train: TrainConfig = TrainConfig()
    objectives: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _budget_parses(self) -> "Config":
        self.limits()
        return self

    def limits(self) -> Budget:
        """The budget, with the price of an hour where one is stated."""
        return Budget.parse(self.budget, price_per_hour=self.price_per_hour)


def load(path: Path | None = None, *, overrides: Iterable[str] = (), **values: Any) -> Config:
    """The settings of a TOML file, then `--set` overrides, then keyword values that are not None; later ones win.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown (with the nearest known one) or out of range.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"Cannot read {path}: {error}. `shoptalk init` writes a valid shoptalk.toml.") from error
    for item in overrides:
        key, sign, text = item.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set {item!r} is not KEY=VALUE. Write for example --set train.clip=0.5.")
        _assign(tree, key.strip().split("."), _parse_value(text.strip()), item)
    tree.update({key: value for key, value in values.items() if value is not None})
    return validate(Config, tree)


def validate(model: type[F], tree: Mapping[str, Any], *, prefix: str = "") -> F:
    """`model` built from `tree`; pydantic's complaints become one ConfigError that suggests the nearest key."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_complaint(model, item, prefix) for item in error.errors())) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" or the list of what there is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There is: {', '.join(known)}."


def _complaint(model: type[Frozen], item: Any, prefix: str) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join([*([prefix] if prefix else []), *path])
    if item["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        known = list(owner.model_fields) if owner else []
        return f"Unknown setting {key!r}. {did_you_mean(path[-1], known)}"
    return f"{key} = {item['input']!r}: {item['msg']}."


def _model_at(model: type[Frozen], path: list[str]) -> type[Frozen] | None:
    for part in path:
        field = model.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, Frozen)):
            return None
        model = field.annotation
    return model


def _assign(tree: dict[str, Any], path: list[str], value: Any, item: str) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {item!r}: {part!r} is a single value, not a section.")
        tree = inner
    tree[path[-1]] = value


def _parse_value(text: str) -> Any:
    """A TOML value where it is one (numbers, booleans, lists), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


TEMPLATE = """\
# The goal of an adaptation, in your own terms. `shoptalk adapt ... --config shoptalk.toml` reads it.
# Every line shows its default; delete what you do not change.

task = "intent"            # what the assistant must do with a message: tell its intent
metric = "accuracy"        # in per cent, on unseen messages
smallest_gain = 0.5        # the smallest gain worth having, in points; less is not worth a new model
settle_gain = 2.0          # "how many labels would settle it?" is answered for a true gain of this size
shots = 5                  # labels per class that the assistant will be built from
draws = 20                 # random label sets of that size that the verdict averages over
budget = "10m"             # of the whole run: 90s, 10m, 1.5h; training tokens: 500ktok, 3Mtok; or money: 0.50eur
# price_per_hour = 1.20    # EUR an hour of this machine: a budget in eur needs it, and costs are then told in EUR
base = "minilm"            # the encoder to start from: minilm, a hub id, a folder, or scratch:mini (random weights)
vocabulary = 0             # most words of your own trade that the base's tokenizer learns to leave whole
candidates = ["mlm", "simcse", "turns", "neighbours", "none"]   # `shoptalk objectives` lists them
seed = 0

[guards]                   # what must not get worse, whatever the gain
forgetting = -1.0          # largest fall in general similarity structure, in points

[curate]                   # how sources are read
text_column = "text"
label_column = "label"
passage_characters = 600   # long texts are cut into passages of up to this size
near_duplicate = 0.8       # texts at least this alike (Jaccard, character 5-grams) count as one

[train]
warmup = 0.1               # share of the steps
decay = 0.2                # share of the steps
weight_decay = 0.01
clip = 1.0
precision = "auto"         # auto (timed on this machine), float32 or bfloat16
snapshot_seconds = 60.0    # at most this much work is lost to a crash
curriculum_share = 0.5     # of mlm-then-neighbours and the like: the first phase's share of the steps or the budget
shard = false              # true under torchrun only, for a model too large for one process: each then holds a part

# An objective's own settings; `shoptalk objectives` shows them all.
# [objectives.neighbours]
# lr = 6e-5
"""
