"""Does the assistant tell its visitors' intents apart? Accuracy on labelled messages that no head learned from.

Heads learn from four fifths of the labels and answer the other messages (DESIGN, section 5).
"""

from shoptalk.records import ACCURACY
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.labelled import LabelJudge


def intent(ground: Ground) -> LabelJudge | None:
    """The judge of intents; None without labels, and of language models, which give no vectors.

    Raises:
        InputError: a label has too few independent examples to hold one out, or the test has none of the labels.
    """
    if not ground.examples or ground.kind == "lm":
        return None
    return LabelJudge.draw("intent", ACCURACY, ground)
