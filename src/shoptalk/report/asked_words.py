"""What came of asking a person, in sentences."""


def asked_sentence(
    *,
    choice: str,
    disagree: int,
    bank: int,
    counts: tuple[int, int, int],
    on_bank: tuple[float, float],
    interval: tuple[float, float],
    more: int | None,
    consistency: tuple[int, int] | None = None,
) -> str:
    """The whole of it.

    Args:
        choice: `adopt`, `keep_base` or `inconclusive`.
        disagree: messages of the bank on which the two differ.
        bank: messages that it holds.
        counts: answers by which the new one was right, the old one was, and neither.
        on_bank: ends of the gain on the bank's messages, in points.
        interval: and on future messages like them.
        more: about so many answers more would settle it; None where the bank's cannot.
        consistency: of so many questions asked twice, how many got the same answer; None where none was.
    """
    if not disagree:
        return (
            f"They answer alike on all {bank:,} messages: there is nothing to choose. On future messages like them the "
            f"difference is {ends(interval)} points (95 %). {conclusion(choice, 0, more, disagree=0)}"
        )
    answered = sum(counts)
    sentence = f"They differ on {disagree:,} of {bank:,} messages. "
    if not answered:
        return f"{sentence}Nothing is answered yet. {conclusion(choice, 0, more, disagree=disagree)}"
    right, wrong, neither = counts
    sentence += (
        f"Of {many(answered, 'answer')} the new one was right {times(right)} where the old was wrong, {times(wrong)} "
        f"the other way, {times(neither)} neither. On these {bank:,} messages the gain is {ends(on_bank)}; on future "
        f"messages like them {ends(interval)} points (95 %, whenever you stop). "
    )
    if consistency is not None:
        twice, same = consistency
        sentence += (
            f"Of {many(twice, 'message')} asked twice {same} got the same answer, which the interval allows for. "
        )
    return sentence + conclusion(choice, answered, more, disagree=disagree)


def conclusion(choice: str, answered: int, more: int | None, *, disagree: int) -> str:
    """What follows, as a sentence: what is settled, or how many answers would settle it."""
    if choice == "adopt":
        return (
            f"Settled by {many(answered, 'answer')}: the new one is better by more than the smallest gain worth having."
        )
    if choice == "keep_base":
        by = f"Settled by {many(answered, 'answer')}" if answered else "Settled without an answer"
        return f"{by}: the new one is not better by the smallest gain worth having."
    if more is not None:
        return f"It is open: about {more:,} more would settle it."
    if answered >= disagree:
        return "Everything is answered and it is still open: a larger bank (--bank SOURCE) can tell."
    return "It is open, and this bank may be too small to settle it: more messages (--bank SOURCE) can tell."


def ends(interval: tuple[float, float]) -> str:
    """Both ends with their signs; what is rounded to nought has none."""
    return " to ".join(f"{end:+.1f}" if round(end, 1) else "0.0" for end in interval)


def many(n: int, what: str) -> str:
    """1 answer, 48 answers."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def times(n: int) -> str:
    """Once, or a number of times."""
    return "once" if n == 1 else f"{n:,} times"


def preferred_sentence(
    *,
    choice: str,
    disagree: int,
    bank: int,
    counts: tuple[int, int, int],
    alike: tuple[int, int],
    on_bank: tuple[float, float],
    interval: tuple[float, float],
    more: int | None,
    consistency: tuple[int, int] | None = None,
) -> str:
    """The same where two systems' texts were judged: as `asked_sentence`, of prompts; `alike` are the answers that both
    are equally good, and that both are bad.
    """
    if not disagree:
        return (
            f"They write the same for all {many(bank, 'prompt')}: there is nothing to choose. On future prompts like "
            f"them the difference is {ends(interval)} points (95 %). {_chosen(choice, 0, more, disagree=0)}"
        )
    answered = sum(counts)
    sentence = f"They differ on {disagree:,} of {many(bank, 'prompt')}. "
    if not answered:
        return f"{sentence}Nothing is answered yet. {_chosen(choice, 0, more, disagree=disagree)}"
    better, worse, neither = counts
    equal, bad = alike
    untold = f", {neither - equal - bad:,} without saying which" if neither > equal + bad else ""  # a file's
    sentence += (
        f"Of {many(answered, 'answer')} the new one was better {times(better)}, the old one {times(worse)}, neither "
        f"{times(neither)} ({equal:,} equally good, {bad:,} both bad{untold}). On these {many(bank, 'prompt')} the "
        f"gain is {ends(on_bank)}; on future prompts like them {ends(interval)} points (95 %, whenever you stop), a "
        "point being a prompt in a hundred on which the new one is better, less those on which the old one is. "
    )
    if consistency is not None:
        twice, same = consistency
        sentence += (
            f"Of {many(twice, 'prompt')} asked twice {same} got the same answer, which the interval allows for. "
        )
    return sentence + _chosen(choice, answered, more, disagree=disagree)


def _chosen(choice: str, answered: int, more: int | None, *, disagree: int) -> str:
    """As `conclusion`, where more prompts are another pair of files."""
    if choice == "inconclusive" and more is None:
        if not disagree:
            return (
                "Whether they differ on others is open: if one of the two files is not the one that you meant, give "
                "the other; else more prompts, in both files, can tell."
            )
        if answered >= disagree:
            return "Everything is answered and it is still open: more prompts, in both files, can tell."
        return "It is open, and these prompts may be too few to settle it: more of them, in both files, can tell."
    return conclusion(choice, answered, more, disagree=disagree)
