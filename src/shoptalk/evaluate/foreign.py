"""Text of a domain that has nothing to do with customers: what the wrong-domain control trains on.

Sentences about the garden, the night sky, the kitchen, the mountains and the orchestra, put together from parts, so
that there are enough of them to train on. They share nothing with the sentence pairs by which the forgetting guard
judges (`probes/general.jsonl`): a control that trained on those would train for its own guard.

Language models read documents, and as much text as the sources have: for them the sentences stand one after the other
in documents, all of them again and again, in another order each time.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

_SUBJECTS = {
    "garden": (
        "the pear tree by the south wall", "a row of late carrots", "the compost heap behind the shed",
        "an old climbing rose", "the bed of broad beans", "a tray of lettuce seedlings", "the gooseberry hedge",
        "the greenhouse door", "a clump of snowdrops", "the rhubarb under its upturned bucket",
    ),
    "sky": (
        "the third moon of Saturn", "a comet with a faint green tail", "the shadow on the lunar crater",
        "a double star in Lyra", "the dust between the spiral arms", "an eclipse near the horizon",
        "the telescope's second mirror", "a meteor shower in August", "the light of a dying red giant",
        "the orbit of a small asteroid",
    ),
    "kitchen": (
        "the sourdough in its basket", "a pan of browning onions", "the stock from yesterday's bones",
        "a jar of pickled plums", "the custard on low heat", "a handful of toasted cumin", "the rolled-out pastry",
        "the cast-iron skillet", "a bowl of soaked lentils", "the lemon curd in the larder",
    ),
    "mountain": (
        "the glacier above the hut", "a ridge of broken granite", "the path to the upper saddle",
        "an eagle over the gorge", "the last patch of old snow", "a cairn at the fork", "the limestone cave",
        "the river below the moraine", "a herd of ibex on the scree", "the fog in the valley",
    ),
    "orchestra": (
        "the second bassoon", "a slow movement in D minor", "the timpani before the coda",
        "an open string on the viola", "the conductor's left hand", "a choir behind the curtain",
        "the harp in the adagio", "the oboe's long solo", "a cracked bow", "the fugue in the finale",
    ),
}  # fmt: skip
_VERBS = {
    "garden": ("needs water before noon", "was cut back in February", "has grown past the fence", "shelters a wren",
               "wilted in the dry week", "will flower again in September", "smells of rain", "stands in half shade"),
    "sky": ("is visible only from the southern hemisphere", "was first drawn in 1781", "moves against the fixed stars",
            "grows dimmer every eleven years", "lies far beyond Neptune", "can be seen without glass",
            "took four hours to cross the field", "was hidden by thin cloud"),
    "kitchen": ("should rest for an hour", "turns golden at the edges", "tastes of smoke and salt",
                "was stirred until it thickened", "keeps for a week in the cold", "wants a little more butter",
                "boiled over on the stove", "goes well with dark bread"),
    "mountain": ("has retreated since the war", "turns red in the evening", "was closed by a rockfall",
                 "leads down to the lake", "holds the night's cold", "echoes for a long time",
                 "lies above the tree line", "froze before the first of October"),
    "orchestra": ("enters half a bar late", "was written for a larger hall", "carries the melody alone",
                  "fades before the strings come in", "sounded flat in the rehearsal", "repeats the opening theme",
                  "rests for forty bars", "answers the trumpets"),
}  # fmt: skip
_SETTINGS = (
    "", " this year", " after the storm", ", as it always does", " while nobody was looking", " in the grey morning",
    ", or so my grandmother wrote", " for the first time in years", " and nobody minded", ", which surprised us all",
)  # fmt: skip


ALL = sum(len(subjects) * len(_VERBS[field]) for field, subjects in _SUBJECTS.items()) * len(_SETTINGS)
"""How many sentences there are."""
MOST_TIMES = 50
"""How often each may stand in the documents: some 12 MB of text, three million tokens."""
_IN_A_PARAGRAPH, _PARAGRAPHS = 6, 4


def foreign_sentences(most: int = 2_000, *, seed: int = 0) -> list[str]:
    """At most so many different sentences, shuffled, each of one of five fields."""
    sentences = [
        f"{subject[0].upper()}{subject[1:]} {verb}{setting}."
        for field, subjects in _SUBJECTS.items()
        for subject, verb, setting in itertools.product(subjects, _VERBS[field], _SETTINGS)
    ]
    order = np.random.default_rng(seed).permutation(len(sentences))[:most]
    return [sentences[i] for i in order]


def foreign_documents(characters: int, *, seed: int = 0) -> Iterator[str]:
    """Documents of these sentences, in paragraphs, of about so many characters in all, but no more than `MOST_TIMES`
    times all sentences; a document at least.
    """
    each = _IN_A_PARAGRAPH * _PARAGRAPHS
    for time in range(MOST_TIMES):
        sentences = foreign_sentences(ALL, seed=seed + time)
        for begin in range(0, ALL, each):
            part = sentences[begin : begin + each]
            paragraphs = (part[i : i + _IN_A_PARAGRAPH] for i in range(0, len(part), _IN_A_PARAGRAPH))
            document = "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)
            yield document
            characters -= len(document)
            if characters <= 0:
                return


def times_repeated(documents: int) -> int:
    """How often each sentence stands in so many of the documents, at most."""
    return math.ceil(documents / math.ceil(ALL / (_IN_A_PARAGRAPH * _PARAGRAPHS)))
