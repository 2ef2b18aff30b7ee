"""The nouns that travel between rooms: documents, drops, readings and decisions. All frozen, none knows torch."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


class Frozen(BaseModel):
    """An immutable, strictly checked record; unknown fields are errors."""

    # JSON has no NaN: as the strings "NaN" and "Infinity" such numbers survive being written and read again.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="strings")


class Published(Frozen):
    """A record that is written for others to read. Its fields' docstrings are the descriptions in its JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True, serialize_by_alias=True, validate_by_name=True)

    def told(self) -> dict[str, Any]:
        """As its JSON has it: what was not asked or measured in this run is left out."""
        tree: dict[str, Any] = json.loads(self.model_dump_json(exclude_unset=True))
        return tree


Real = Annotated[
    float,
    BeforeValidator(lambda value: float(value) if value in _NOT_FINITE else value),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": list(_NOT_FINITE)}]}),
]
"""A measured number, which may be one of those that JSON has only as texts."""


Plain = str | int | FiniteFloat | bool


class Metadata(Mapping[str, Plain]):
    """Names and plain values that never change."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Plain] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> Plain:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Metadata) else other)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Metadata({self._values!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        values = handler.generate_schema(dict[str, Plain])
        as_dict = core_schema.plain_serializer_function_ser_schema(
            lambda metadata: metadata._values, return_schema=values
        )
        return core_schema.no_info_after_validator_function(cls, values, serialization=as_dict)


class Picture(Frozen):
    """A picture by its file, and the SHA-256 of that file's bytes."""

    path: str
    sha256: str


Item = str | Picture
"""What a product reads at once."""


class Turn(Frozen):
    """One message of a conversation, or one caption of a picture."""

    role: str
    text: str


class Document(Frozen):
    """One text, one conversation, or one picture, with where it came from.

    Exactly one of `text`, `turns` and `picture` is filled, but that a picture's captions are its `turns`.
    """

    id: str
    source: str
    text: str = ""
    turns: tuple[Turn, ...] = ()
    picture: Picture | None = None
    metadata: Metadata = Metadata()
    """What its source says beside the text: the other columns of its row. A list or an object is kept as its JSON."""


class Drop(Frozen):
    """A document, passage or file left out of training, and why. Never silently lost."""

    id: str
    source: str
    reason: str
    detail: str = ""
    sample: str = ""


class Example(Frozen):
    """One labelled text or picture; `cluster` numbers what it belongs to within the labelled file: its near duplicates,
    and the examples of its groups.
    """

    id: str
    text: str
    """Of a picture, its file's name."""
    label: str
    cluster: int = 0
    groups: tuple[str, ...] = ()
    """By the file's columns, such as "customer: 17"."""
    picture: Picture | None = None

    @property
    def item(self) -> Item:
        """What a product reads: the picture where it is one, else the text."""
        return self.text if self.picture is None else self.picture


class LabelSet(Frozen):
    """One text with any number of labels; `cluster` and `groups` as in `Example`."""

    id: str
    text: str
    labels: tuple[str, ...]
    cluster: int = 0
    groups: tuple[str, ...] = ()


class Pair(Frozen):
    """A question, and where its answer stands among the passages of the sources (`Corpus.passages`)."""

    id: str
    rows: tuple[str, ...]
    """What it was read from: the rows of a file that ask this, or the agent's turn that answers it."""
    question: str
    places: tuple[tuple[int, ...], ...]
    """Each place that answers it: the numbers of passages of which any one will do."""
    cluster: int = 0
    """Questions about one document, and near duplicates of one question, share a number."""


class Reading(Frozen):
    """A number with its key, its name, its unit and its sample size, and what it was computed from.

    `outcomes` holds one value per example in a fixed order, for paired tests; `detail` holds named by-products
    (standard deviation over draws, number of classes, ...).
    """

    key: str
    """By which code and files know it; it stays the same."""
    name: str
    """By which people know it."""
    value: float
    unit: str
    n: int
    outcomes: tuple[float, ...] = ()
    detail: dict[str, Any] = {}


class Measure(Published):
    """What scores measure, and the words and units in which people are told of it.

    Scores are one number per draw and example, larger is better. A level is `scale` times a mean score, a difference
    `scale` times the difference of two.
    """

    name: str
    """Such as "accuracy"."""
    unit: str
    """Of a level, such as "%"."""
    difference: str
    """The unit of a difference, such as "points"."""
    finding: str
    """What a model does, with a place for its own level and one for the base's: "answers {adapted} of unseen messages
    correctly against {base}".
    """
    examples: str
    """What there must be more of where they cannot tell, such as "labelled examples"."""
    scale: float = 1.0
    """What a mean score of 1 is in the unit: 100 for shares in per cent."""
    most: float = 1.0
    """The most by which two models' scores of an example are taken to differ: 1 where a score is a share."""
    lower_is_better: bool = False
    """Whether people read it so, as bits per byte: scores are then its values with their sign turned."""
    decimals: int = 1
    """With which values are written."""
    one: str = "message"
    """What a model is asked about at once, such as "picture"."""
    unlabelled: str = "text"
    """What it learns from without labels, such as "pictures"."""
    trained: str = "encoder"
    """What is trained: the assistant rests on an "encoder", and a language "model" stands for itself."""
    grows: bool = True
    """Whether more examples in the sources are more that it is measured on; a language model reads 125 at most."""
    by_cluster: bool = False
    """Whether independent examples are what people count: a picture with its captions, asked in both directions, is
    one, and so are all pictures that share a caption; `examples` then says so.
    """

    @property
    def who(self) -> str:
        """Of whom people are told what it does."""
        return "the assistant" if self.trained == "encoder" else f"the {self.trained}"

    @property
    def point(self) -> float:
        """A hundredth of the most by which an example's value may differ: the unit of thresholds in settings."""
        return self.scale * self.most / 100.0

    def level(self, score: float) -> float:
        """A mean score in the unit in which people are told of it."""
        return -self.scale * score if self.lower_is_better else self.scale * score

    def shown(self, level: float) -> str:
        """A level with its unit, where it has one."""
        return f"{level:.{self.decimals}f} {self.unit}".rstrip()

    def change(self, difference: float) -> str:
        """A difference with its sign, without its unit."""
        return f"{difference:+.{self.decimals}f}"


ACCURACY = Measure(
    name="accuracy",
    unit="%",
    difference="points",
    finding="answers {adapted} of unseen messages correctly against {base}",
    examples="labelled examples",
    scale=100.0,
)
"""The share of right answers, in per cent."""


class Decision(Frozen):
    """A choice among named options: the rule, the names of the readings it rests on, and a sentence for people."""

    choice: str
    options: tuple[str, ...]
    rule: str
    readings: tuple[str, ...]
    sentence: str


class Look(Frozen):
    """A candidate's measurement as it is told while a run goes on.

    The verdict's gain of the same entry may differ: its heads are tuned, and its interval pays for every look.
    """

    candidate: str
    step: int
    tokens: int
    """Of the candidate's training so far."""
    seconds: float
    """Of training since the look before it, of measuring and saving."""
    gain: float | None
    """Over the base; None where nothing could be measured."""
    interval: tuple[float, float] | None
    """Of this gain alone, 95 %; None where there is nothing to judge by."""
    measure: str
    """What the gain is of, such as "5-shot accuracy"."""
    unit: str = "points"
    """Of the gain."""
    decimals: int = 1
    """With which it is written."""
    merge: float | None = None
    """Of an average with the base's weights, the share of the trained ones."""
    base: str | None = None
    """Of several bases the one that the gain is over, which is the one that is trained: the verdict's may be another.
    """

    @property
    def entry(self) -> str:
        """The entry's name: candidate@steps, and of an average the share of the trained weights."""
        return f"{self.candidate}@{self.step}" + ("" if self.merge is None else f"x{self.merge:g}")
