"""Gaps in the knowledge: questions about which it has nothing, grouped, with what people answered."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from sqlalchemy import select
from sqlalchemy.orm import Session

from shoptalk.assistant.assistant import AGAIN
from shoptalk.serve.rows import GapRow

_ROWS = 5_000
MOST = 200
"""Groups that are given, and compared by meaning: reading so many questions takes a fraction of a second."""


def gaps_by_words(session: Session, site: str) -> list[dict[str, Any]]:
    """Questions of the same words as one, those asked most often first."""
    groups: dict[str, dict[str, Any]] = {}
    rows = session.scalars(select(GapRow).where(GapRow.site_id == site).order_by(GapRow.at.desc()).limit(_ROWS))
    for row in rows:
        group = groups.setdefault(row.grouping, {"question": row.question, "asked": 0, "last": row.at, "answers": []})
        group["asked"] += 1
        if row.human_answer and row.human_answer not in group["answers"]:
            group["answers"].append(row.human_answer)
    return sorted(groups.values(), key=lambda group: -group["asked"])[:MOST]


def gaps_by_meaning(
    groups: Sequence[dict[str, Any]], embed: Callable[[Sequence[str]], Float[np.ndarray, "N D"]]
) -> list[dict[str, Any]]:
    """The same where each joins the first, which is asked most often, that means the same as it."""
    if not groups:
        return []
    vectors = embed([group["question"] for group in groups])
    kept: list[int] = []
    for number, group in enumerate(groups):
        first = next((other for other in kept if float(vectors[other] @ vectors[number]) >= AGAIN), None)
        if first is None:
            kept.append(number)
            continue
        joined = groups[first]
        joined["asked"] += group["asked"]
        joined["last"] = max(joined["last"], group["last"])
        joined["answers"] += [answer for answer in group["answers"] if answer not in joined["answers"]]
    return sorted((groups[number] for number in kept), key=lambda group: -group["asked"])
