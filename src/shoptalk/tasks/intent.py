"""Does the assistant tell its visitors' intents apart? Accuracy on labelled messages that no head learned from.

Heads learn from four fifths of the labels and answer the other messages (DESIGN, section 5).
"""

from shoptalk.errors import InputError
from shoptalk.records import ACCURACY
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.labelled import LabelJudge


def intent(ground: Ground) -> LabelJudge | None:
    """The judge of intents; None without labels, and of language models, which give no vectors.

    Raises:
        InputError: labels are of pictures, a label has too few independent examples to hold one out, or the test has
            none of the labels.
    """
    if not ground.examples or ground.kind == "lm":
        return None
    if pictures := [example for example in (*ground.examples, *ground.tests) if example.picture is not None]:
        raise InputError(
            f"The task intent is judged by labelled texts, and {len(pictures):,} of the labelled examples are "
            f"pictures, such as {pictures[0].id}. Give --task picture for them."
        )
    return LabelJudge.draw("intent", ACCURACY, ground)
