"""The goal and every setting, as frozen models read from one TOML file and `--set key=value` overrides.

    config = load(Path("shoptalk.toml"), overrides=["budget=3Mtok", "objectives.simcse.lr=2e-5"])

Objectives own their hyperparameters (their `Spec`), so the section `objectives` stays a plain mapping here and is
validated by each spec when it is built.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shoptalk.config.budget import Budget
from shoptalk.errors import ConfigError
from shoptalk.records import Frozen

F = TypeVar("F", bound=Frozen)


CANDIDATES_OF_TASK: dict[str, tuple[str, ...]] = {
    "reply": ("turns", "mosaic", "none"),
    "picture": ("simclr", "moco", "byol", "dino", "mae", "none"),
    "caption": ("clip", "none"),
    "language_model": ("clm", "none"),
    "chat": ("sft", "none"),
}
"""What is tried where nothing is named, for tasks that have a default of their own."""
BASE_OF_TASK = {
    "picture": "scratch:resnet-mini",
    "caption": "scratch:resnet-mini+minilm",
    "language_model": "smollm2",
    "chat": "smollm2",
}
"""What is adapted where no base is named, for tasks that have a default of their own."""
OTHERS_OF_TASK = {"language_model": ("cloze",)}
"""What must not get worse where nothing is named, for tasks that have such of their own."""
UNTRAINED = ("pixels", "hog")
"""Bases that join one with random weights for the task picture where no `bases` are named: what a user has without any
training. Random weights are no base that a gain over them would say much."""


def beside_young(base: str, *, began_as: str) -> tuple[str, ...]:
    """A base of pictures whose weights began at random, and those that join it; `began_as` may name the pictures' size,
    such as `scratch:resnet-mini@64`.
    """
    _, at, size = began_as.partition("@")
    return (base, *(f"{name}{at}{size}" for name in UNTRAINED))


class Guards(Frozen):
    """Limits on what may get worse, whatever the gain. A point is a hundredth of the measure's range."""

    forgetting: float = Field(default=-1.0, le=0.0, description="largest fall in general similarity structure, points")
    tasks: float = Field(default=-1.0, le=0.0, description="largest fall in each of `other_tasks`, points")
    general_bits: float = Field(
        default=-2.0, le=0.0, description="of language models: largest rise of bits per byte of general text, -% of it"
    )
    general_cloze: float = Field(
        default=-2.0,
        le=0.0,
        description="of language models: largest sure fall of the cloze on general text, points: none whose whole "
        "interval lies lower",
    )

    def sets_cloze(self) -> bool:
        """Whether the guard of the cloze is set by hand. Where it is not, runs of versions that had none go on without
        it.
        """
        return self.general_cloze != type(self)().general_cloze


class CurateConfig(Frozen):
    """How sources are read."""

    text_column: str = "text"
    label_column: str = "label"
    image_column: str = Field(
        default="image", description="of tables that name picture files, beside the table; empty where none does"
    )
    picture_folder: str = Field(
        default="",
        description="folder or zip in which the files lie that tables name; empty where they lie beside the table",
    )
    group_column: str = Field(
        default="auto",
        description="of labels, whose rows belong together and are never split: auto takes group, customer and "
        "conversation, with or without _id, where the file has them; empty for none",
    )
    held_out_files: tuple[str, ...] = Field(
        default=(), description="sources whose documents are held out, all of them and no others; by default a share is"
    )
    passage_characters: int = Field(default=600, ge=80, description="long texts are cut into passages up to this size")
    near_duplicate: float = Field(default=0.8, gt=0.0, le=1.0, description="Jaccard similarity of character 5-grams")
    near_pictures: int = Field(
        default=12,
        ge=0,
        le=15,
        description="bits of 256 in which two pictures' hashes may differ to be near duplicates; with 0 only equal "
        "pixels are duplicates, as drawings that differ in details need",
    )
    picture_megabytes: float = Field(default=50.0, gt=0.0, le=2_000.0, description="largest file of a picture")
    picture_megapixels: float = Field(
        default=50.0, gt=0.0, le=170.0, description="largest picture; decoding takes up to 14 bytes a pixel"
    )
    label_spelling: Literal["merge", "keep", "refuse"] = Field(
        default="merge",
        description="labels that differ in case, spaces and punctuation only, such as Refund and refund",
    )
    label_conflicts: Literal["drop", "keep", "refuse"] = Field(
        default="drop", description="equal texts with different labels"
    )
    rare_labels: Literal["auto", "refuse", "drop"] = Field(
        default="auto",
        description="labels with fewer than two independent examples, in files with one label a text: auto leaves them "
        "out where gains are measured, and lets heads learn them elsewhere",
    )
    file_megabytes: float = Field(default=4_000.0, gt=0.0, description="largest source file, unpacked")
    label_megabytes: float = Field(
        default=200.0, gt=0.0, description="largest labels file, unpacked and held in memory"
    )
    unpack_ratio: float = Field(
        default=200.0, ge=1.0, description="most times its size that a gzip file over 100 MB may unpack to"
    )


class Replay(Frozen):
    """General text that a language model goes on reading while it learns a domain (Ibrahim et al. 2024)."""

    sources: tuple[str, ...] = Field(default=(), description="files or folders of text as the base has read it")
    percents: tuple[int, ...] = Field(
        default=(0, 5, 25), description="of rows that are replayed: each is a candidate of the task language_model"
    )

    @field_validator("percents")
    @classmethod
    def _percents_differ(cls, percents: tuple[int, ...]) -> tuple[int, ...]:
        """Each from 0 to 99, and once."""
        if not percents or any(not 0 <= percent < 100 for percent in percents) or len(set(percents)) < len(percents):
            raise PydanticCustomError("percents", "expected different whole numbers from 0 to 99, such as 0, 5, 25")
        return percents


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
        "and optimizer state (16 bytes per parameter) do not fit into one; slower where they do",
    )

    curriculum_share: float = Field(
        default=0.5, gt=0.0, lt=1.0, description="share of the steps or the budget that a curriculum's first phase gets"
    )

    def of_results(self) -> dict[str, Any]:
        """The settings on which all results depend. Sharding and saving change no result, and the share of a
        curriculum's first phase is recorded with its steps.
        """
        return self.model_dump(exclude={"snapshot_seconds", "shard", "curriculum_share"})


class Config(Frozen):
    """The goal in the user's own terms, and how to reach it. `shoptalk init` writes it with comments."""

    task: str = Field(default="intent", description="what must gain")
    other_tasks: tuple[str, ...] = Field(default=(), description="tasks that must not lose (`guards.tasks`)")
    metric: Literal["accuracy"] = "accuracy"
    smallest_gain: float = Field(default=0.5, ge=0.0, description="the smallest gain worth having, points (delta)")
    settle_gain: float = Field(default=2.0, gt=0.0, description="the gain that `labels_needed` is computed for, points")
    shots: int = Field(default=5, ge=1, description="labels per class of the row at few labels")
    draws: int = Field(default=100, ge=5, description="80/20 splits of the labels for the verdict (R); looks take 20")
    budget: str = "10m"
    price_per_hour: float | None = Field(default=None, gt=0.0, lt=1e6, description="EUR per hour of this machine")
    base: str = "minilm"
    bases: tuple[str, ...] = Field(
        default=(), description="bases to compare; the first is adapted, the verdict is over the best"
    )
    merges: tuple[float, ...] = Field(
        default=(0.25, 0.5, 0.75), description="shares of the adapted weights in averages with the base's, each a look"
    )
    bank: float = Field(
        default=0.1, ge=0.0, le=0.5, description="share of the texts that is held out for `shoptalk ask`; 0 for none"
    )
    vocabulary: int = Field(default=0, ge=0, description="most words of the corpus that the base's tokenizer learns")
    candidates: tuple[str, ...] = ("mlm", "simcse", "turns", "neighbours", "none")
    seed: int = Field(default=0, ge=0, le=2**62)
    guards: Guards = Guards()
    curate: CurateConfig = CurateConfig()
    replay: Replay = Replay()
    train: TrainConfig = TrainConfig()
    objectives: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_task(cls, tree: Any) -> Any:
        """The candidates and bases where none are named: those of the task, where it has some of its own."""
        if not isinstance(tree, Mapping) or not isinstance(task := tree.get("task"), str):
            return tree
        changed = dict(tree)
        if task in CANDIDATES_OF_TASK:
            changed.setdefault("candidates", _replaying(CANDIDATES_OF_TASK[task], tree))
        if task in OTHERS_OF_TASK:
            changed.setdefault("other_tasks", OTHERS_OF_TASK[task])
        if task in BASE_OF_TASK and not tree.get("bases"):
            changed.setdefault("base", BASE_OF_TASK[task])
            if task == "picture" and str(changed["base"]).startswith("scratch:") and "+" not in str(changed["base"]):
                changed["bases"] = beside_young(changed["base"], began_as=changed["base"])
        return changed

    @model_validator(mode="before")
    @classmethod
    def _first_base(cls, tree: Any) -> Any:
        """`bases` says what `base` is: the first of them."""
        if not isinstance(tree, Mapping) or not (bases := tree.get("bases")) or isinstance(bases, str):
            return tree
        named = list(bases)
        if twice := sorted({name for name in named if named.count(name) > 1}, key=str):
            raise PydanticCustomError("twice", "{name} is named twice; name each base once", {"name": repr(twice[0])})
        if (base := tree.get("base", named[0])) != named[0]:
            raise PydanticCustomError(
                "two_bases",
                "base = {base} is not the first of bases, which is the one that is adapted; leave base out, or put "
                "{base} first",
                {"base": repr(base)},
            )
        return {**tree, "base": named[0]}

    @field_validator("merges")
    @classmethod
    def _merges_between(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        """Each strictly between base and adapted, and once."""
        if any(not 0 < share < 1 for share in shares) or len(set(shares)) < len(shares):
            raise PydanticCustomError("merges", "expected different shares between 0 and 1, such as 0.25, 0.5, 0.75")
        return shares

    @property
    def other_bases(self) -> tuple[str, ...]:
        """The bases beside the one that is adapted."""
        return self.bases[1:]

    @model_validator(mode="after")
    def _budget_parses(self) -> "Config":
        self.limits()
        return self

    def of_answers(self) -> dict[str, Any]:
        """The settings that a verdict depends on: without the price of an hour, those about sharding and saving, and
        where the general text lies.
        """
        return self.model_dump(
            exclude={"price_per_hour": True, "train": {"snapshot_seconds", "shard"}, "replay": {"sources"}}
        )

    def of_decision(self, *, asks_general: bool) -> dict[str, Any]:
        """The settings that a run's decision is kept with. The guard of the cloze is among them only where it is set by
        hand and general text is asked (`asks_general`), so that what versions without it decided stands.
        """
        counts = asks_general and self.guards.sets_cloze()
        return self.model_dump(exclude=None if counts else {"guards": {"general_cloze"}})

    def limits(self) -> Budget:
        """The budget, with the price of an hour where one is stated."""
        return Budget.parse(self.budget, price_per_hour=self.price_per_hour)


def _replaying(candidates: Sequence[str], tree: Mapping[str, Any]) -> tuple[str, ...]:
    """The default candidates of a task, `clm` once for each share of general text, where there is such text and its
    share is not set by hand.
    """
    replay, own = tree.get("replay"), dict(tree.get("objectives") or {}).get("clm") or {}
    if isinstance(replay, Frozen):
        replay = replay.model_dump()
    if not isinstance(replay, Mapping) or not replay.get("sources") or "replay_percent" in own:
        return tuple(candidates)
    percents = replay.get("percents", Replay().percents)
    shares = tuple(f"clm-replay-{percent}" if percent else "clm" for percent in percents)
    return tuple(one for name in candidates for one in (shares if name == "clm" else (name,)))


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
        except RecursionError:
            raise ConfigError(
                f"Cannot read {path}: its values are nested too deeply. `shoptalk init` writes a valid shoptalk.toml."
            ) from None
    for section in ("assistant", "serve"):  # of the assistant and its server, which read them themselves
        tree.pop(section, None)
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
    """ "Did you mean 'x'?", or where nothing is near, the list of known names."""
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
    if not path:  # a complaint about several settings together names them itself
        return f"{item['msg']}."
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
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
