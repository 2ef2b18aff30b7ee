"""What is wrong with a request, in words: what is there, what is expected. Texts that were sent are not repeated."""

from collections.abc import Mapping, Sequence
from typing import Any

_MOST = 5
_NUMBERS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_KINDS = {
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "dict_type": "an object with fields",
    "model_type": "an object with fields",
    "model_attributes_type": "an object with fields",
}


def complaint_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for whoever sent the request. The errors are pydantic's."""
    problems = [_problem(item) for item in errors[:_MOST]]
    if len(errors) > _MOST:
        problems.append(f"and {len(errors) - _MOST} more")
    sentence = f"{'; '.join(problems)}. Correct this and send it again; /openapi.json describes every field."
    return sentence.encode("utf-8", "replace").decode("utf-8")


def _problem(item: Mapping[str, Any]) -> str:
    kind, details = item["type"], item.get("ctx", {})
    place = _place(item["loc"], named_by_sender=kind == "extra_forbidden")
    given = item.get("input")
    if kind == "json_invalid":
        return 'the body is no JSON; expected an object such as {"text": "…"}'
    if kind == "missing":
        return "the body is missing" if place == "the body" else f"{place} is missing"
    if kind == "extra_forbidden":
        return f"{place} is no field of this request; leave it out"
    if kind in _KINDS:
        return f"{place} is {_kind_of(given)}; expected {_KINDS[kind]}"
    if kind in _NUMBERS:
        words, name = _NUMBERS[kind]
        return f"{place} is {given}; expected {words} {details.get(name)}"
    if kind in ("string_too_short", "string_too_long", "too_short", "too_long"):
        limit, bound = ("at least", "min_length") if kind.endswith("short") else ("at most", "max_length")
        what = "characters" if kind.startswith("string") else "entries"
        length = len(given) if isinstance(given, str | list) else 0
        return f"{place} has {length:,} {what}; expected {limit} {details.get(bound):,}"
    if kind in ("literal_error", "enum"):
        return f"{place} is not one of {details.get('expected')}"
    if kind == "string_pattern_mismatch":
        return f"{place} has characters that are not allowed there; expected the form {details.get('pattern')}"
    if kind == "value_error":
        return f"{place} cannot be used: {details.get('error', item['msg'])}"
    return f"{place}: {str(item['msg'])[:200]}"


def _place(location: Sequence[Any], *, named_by_sender: bool = False) -> str:
    where, *path = location or ("body",)
    # Where a field may be of several kinds, pydantic puts its own name for the kind after the field's, such as
    # "function-after[_readable(), constrained-str]". The last part is the sender's own word where nobody knows it.
    ours, theirs = (path[:-1], path[-1:]) if named_by_sender else (path, [])
    path = [*(part for part in ours if not (isinstance(part, str) and ("[" in part or "(" in part))), *theirs]
    name = ".".join(map(str, path))[:120]
    if not path or (where == "body" and isinstance(path[-1], int) and len(path) == 1):
        return f"the {where}"
    return {
        "header": f"the header {name!r}",
        "query": f"{name!r} in the address",
        "path": f"{name!r} in the address",
    }.get(str(where), repr(name))


def _kind_of(given: Any) -> str:
    if given is None:
        return "null"
    if isinstance(given, bool):
        return "true or false"
    for kinds, words in (((int, float), "a number"), (str, "a text"), (bytes, "no object"), (list, "a list")):
        if isinstance(given, kinds):
            return words
    return "an object"
