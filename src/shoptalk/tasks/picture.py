"""Does the encoder tell the classes of pictures apart? Accuracy on labelled pictures that no head learned from.

As the task intent, of pictures: heads learn from four fifths of the labels and answer the other pictures (DESIGN,
section 5).
"""

from shoptalk.errors import InputError
from shoptalk.records import Measure
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.labelled import LabelJudge

MEASURE = Measure(
    name="accuracy",
    unit="%",
    difference="points",
    finding="names the class of {adapted} of unseen pictures correctly against {base}",
    examples="labelled pictures",
    scale=100.0,
    one="picture",
    unlabelled="pictures",
)


def picture(ground: Ground) -> LabelJudge | None:
    """The judge of classes of pictures; None without labels, and of products that read no pictures.

    Raises:
        InputError: labels are of texts, a label has too few independent examples to hold one out, or the test has none
            of the labels.
    """
    if not ground.examples or ground.kind not in ("image", "pair"):
        return None
    texts = [example for example in (*ground.examples, *ground.tests) if example.picture is None]
    if texts:
        raise InputError(
            f"The task picture is judged by labelled pictures, and {len(texts):,} of the labelled examples are texts, "
            f"such as {texts[0].id}. Give a CSV with the columns image,label, or --task intent for texts."
        )
    return LabelJudge.draw("picture", MEASURE, ground)
