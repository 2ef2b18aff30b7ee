"""Facts, verdicts and dose curves read back: what is published is what is read, and anything else is refused."""

import json
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from shoptalk.errors import ArtifactError
from shoptalk.report import render
from shoptalk.report.evidence_json import Moved, VectorMap
from shoptalk.report.facts_json import RunFacts
from shoptalk.report.reading import as_facts, read_dose, read_facts, read_verdict
from tests.report.report_facts import dose, facts, unlabelled

TEXT = st.text(max_size=6)
REAL = st.floats(allow_nan=False, allow_infinity=False)


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    origin, inner = get_origin(annotation), get_args(annotation)
    plain = {str: TEXT, int: st.integers(-(2**40), 2**40), float: REAL, bool: st.booleans(), type(None): st.none()}
    if annotation in plain:
        return plain[annotation]
    if annotation is JsonValue:
        return st.one_of(TEXT, st.integers(-9, 9), st.none())
    if origin is Annotated:
        return values(inner[0])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.one_of([values(one) for one in inner])
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(values(inner[0]), max_size=1).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, inner))
    if origin is dict:
        return st.dictionaries(TEXT, values(inner[1]), max_size=1)
    return records(annotation)


def records(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Any record of a kind, what may be absent included or not."""
    if model is VectorMap:
        return st.sampled_from([0, 3]).map(a_map)
    fields = {name: values(field.annotation) for name, field in model.model_fields.items()}
    if model is Moved:
        fields["quantiles"] = st.dictionaries(st.sampled_from(["0.05", "0.5", "1"]), REAL, max_size=2)
    required = {name: fields[name] for name, field in model.model_fields.items() if field.is_required()}
    optional = {name: fields[name] for name in fields if name not in required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: model(**given))


def a_map(n: int) -> VectorMap:
    return VectorMap(
        entry="x@1", method="t-SNE", n_all=n, classes=("a",), sources=("b.txt",), text=("",) * n, class_=(0,) * n,
        source=(0,) * n, before=((0.5, 0.25),) * n, after=((0.0, 1.0),) * n,
    )  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(records(RunFacts))
def test_any_facts_come_back_from_their_json_as_they_were(told: RunFacts) -> None:
    text = json.dumps(told.told(), ensure_ascii=False)
    again = read_facts(json.loads(text))
    assert again == told
    assert json.dumps(again.told(), ensure_ascii=False) == text


def places(model: type[BaseModel], value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[Any, Any, bool]]:
    """Of what is always there in a record's JSON: the path of each key, its name in a message, and whether it is null
    in some runs.
    """
    every = []
    for name, field in model.model_fields.items():
        key = field.serialization_alias or name
        if key not in value:
            continue
        here = (*path, key)
        if field.is_required():
            every.append((here, written(here), type(None) in get_args(field.annotation)))
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if is_record(one)]
        if inner and isinstance(value[key], dict):
            every += places(inner[0], value[key], here)
        elif inner and value[key]:
            every += places(inner[0], value[key][0], (*here, 0))
    return every


def is_record(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def written(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


KEYS = places(RunFacts, facts())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KEYS), st.booleans())
def test_a_key_that_is_always_there_is_missed_or_null_only_with_its_place_in_the_message(
    place: tuple[Any, str, bool], gone: bool
) -> None:
    path, name, may_be_null = place
    if name == "remarks" and gone:
        return  # earlier versions told of none
    changed: Any = facts()
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    if gone:
        del parent[path[-1]]
    else:
        parent[path[-1]] = None
    if may_be_null and not gone:
        as_facts(changed)
        return
    with pytest.raises(ArtifactError) as refused:
        render(changed)
    assert f"({name}: " in str(refused.value) and "Delete RUN/decision and run the same" in str(refused.value)


def test_the_keys_of_every_part_were_tried() -> None:
    names = {name for _, name, _ in KEYS}
    assert len(names) > 150
    assert {
        "verdict.candidates[0].gain",
        "dose.curves.labels.accuracy.base.unit",
        "map.class",
        "guards[0].value",
    } <= names


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("verdict", "gain"), "2.3", r"verdict.gain: Input should be a valid number"),
        (("verdict", "choice"), "perhaps", r"verdict.choice: Input should be 'adopt', 'keep_base' or 'inconclusive'"),
        (("verdict", "candidates", 1, "step"), 1.5, r"verdict.candidates\[1\].step: "),
        (("gains", 0, "shots"), [], r"gains\[0\].shots: "),
        (("cost", "of"), 1, r"cost.of: Extra inputs are not permitted"),
        (("map", "source"), [0], r"map: .*the columns must have one length"),
        (("map", "class"), [9] * 60, r"map: .*class must be places in a list of 3 names"),
        (("moved", "quantiles"), {"half": 1.0}, r"moved.quantiles.half: "),
        (("trace", "nodes", 0, "parents"), "corpus", r"trace.nodes\[0\].parents: "),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_place(path: tuple[Any, ...], value: Any, said: str) -> None:
    changed: Any = facts()
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    with pytest.raises(ArtifactError, match=said):
        read_facts(changed, where=Path("runs/acme/decision/facts.json"))


def test_the_message_names_the_file_and_says_what_to_do() -> None:
    path = Path("runs/acme/decision/facts.json")
    with pytest.raises(ArtifactError, match=r"^runs/acme/decision/facts\.json .*Delete runs/acme/decision and run"):
        read_facts({}, where=path)
    with pytest.raises(ArtifactError, match=r"^runs/acme/decision/verdict\.json .*Delete runs/acme/decision and run"):
        read_verdict({}, where=path.with_name("verdict.json"))
    with pytest.raises(ArtifactError, match=r"^runs/acme/dose\.json .*Delete .* and run `shoptalk dose runs/acme`"):
        read_dose({}, where=Path("runs/acme/dose.json"))


def test_facts_of_the_version_before_remarks_still_open() -> None:
    earlier = facts()
    del earlier["remarks"]
    assert read_facts(earlier).remarks == ()


def test_what_was_not_measured_is_absent_again_and_what_came_to_nothing_is_null_again() -> None:
    bare = {name: value for name, value in unlabelled().items() if name not in ("dose", "gains_note")}
    told = as_facts(bare).told()
    assert "dose" not in told and "gains_note" not in told and told["changed"] is None
    assert told == json.loads(json.dumps(as_facts(told).told()))


def test_numbers_that_are_not_finite_are_texts_in_json_and_numbers_again() -> None:
    odd = facts()
    odd["label_free"][0]["values"]["RankMe"] = float("nan")
    text = json.dumps(as_facts(odd).told(), allow_nan=False)
    assert json.loads(text)["label_free"][0]["values"]["RankMe"] == "NaN"
    assert str(read_facts(json.loads(text)).label_free[0].values["RankMe"]) == "nan"


def test_dose_curves_come_back_as_they_were() -> None:
    assert read_dose(dose()).told() == json.loads(json.dumps(dose()))
