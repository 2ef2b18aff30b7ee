"""A trained language model beside a general compressor, where its base began with random weights: a model that takes
more bits of the same texts is worth less than what needs no training, and is not adopted.
"""

from typing import Any

from shoptalk.tasks.compressor import NAME
from shoptalk.tasks.judge import Final, Judge


def behind(judge: Judge, final: Final, entry: str) -> dict[str, str]:
    """The challenger with those final scores and why it is outside its guards; empty where it takes fewer bits, or no
    compressor is asked.
    """
    row = beside(judge, final)
    if not row or row["compressor"]["inside"]:
        return {}
    rival, taken = (judge.measure.shown(row["compressor"][which]) for which in ("value", "adapted"))
    why = (
        f"{NAME}, which learns nothing, takes {rival} a byte of {row['compressor']['n_texts']} of the texts, the "
        f"trained model {taken}: keep training, give more text or time, or begin from a trained base such as smollm2"
    )
    return {entry: why}


def beside(judge: Judge, final: Final | None) -> dict[str, Any]:
    """`compressor` of `verdict.json`, by that key; empty where nothing was trained, or no compressor is asked."""
    if judge.compressor is None or final is None:
        return {}
    value, places, n_bytes, share, primed = judge.compressor
    # A score is a text's bits over the mean of all texts' bytes, and these may be longer or shorter than the others.
    adapted = judge.measure.level(float(final.scores[:, list(places)].mean())) / share
    row = {"name": NAME, "value": value, "adapted": adapted, "n_texts": len(places), "n_bytes": n_bytes}
    return {"compressor": row | {"primed_bytes": primed, "inside": adapted < value}}
