"""Changes of a sentence that leave its meaning: what a reply may do with a passage and still say nothing new.

    reworded("You cannot bring 2 dogs (not even small ones).", rng)     # "You can't bring two dogs."

They are the hard negatives of training on corrupted replies: words that stand in no passage and are no mistake.
"""

import re

import numpy as np

BOTH_WAYS = (
    ("cannot", "can't"), ("do not", "don't"), ("does not", "doesn't"), ("did not", "didn't"), ("is not", "isn't"),
    ("are not", "aren't"), ("was not", "wasn't"), ("were not", "weren't"), ("will not", "won't"),
    ("would not", "wouldn't"), ("should not", "shouldn't"), ("have not", "haven't"), ("has not", "hasn't"),
    ("it is", "it's"), ("that is", "that's"), ("there is", "there's"), ("you are", "you're"), ("we are", "we're"),
    ("they are", "they're"), ("you will", "you'll"), ("we will", "we'll"), ("you have", "you've"), ("I am", "I'm"),
    ("until", "till"), ("on board", "aboard"), ("for example", "for instance"), ("buy", "purchase"),
    ("begins", "starts"), ("leaves", "departs"), ("children", "kids"), ("offers", "provides"), ("next to", "beside"),
    ("quick", "fast"), ("quickly", "fast"), ("repair", "fix"), ("each", "every"), ("free of charge", "at no cost"),
    ("at least", "no less than"), ("at most", "no more than"), ("allowed", "permitted"), ("photo", "picture"),
)  # fmt: skip
"""Ways to say the same."""
ONE_WAY = (
    ("but", "though"), ("also", "as well"), ("need to", "have to"), ("must", "have to"), ("in order to", "to"),
    ("near", "close to"), ("because", "since"), ("as soon as", "once"), ("such as", "like"),
    ("whether", "if"), ("please", "kindly"), ("very", "really"), ("extra", "additional"), ("ask for", "request"),
    ("big", "large"), ("nice", "pleasant"), ("great", "wonderful"), ("choose", "pick"), ("inform", "tell"),
    ("bring", "take along"), ("per", "for each"), ("a lot of", "many"), ("several", "a number of"),
    ("phone", "telephone"), ("really", "truly"), ("however", "still"), ("maybe", "perhaps"), ("huge", "very large"),
    ("staff", "team"), ("visit", "stay"), ("parking", "parking spaces"),
    ("amenities", "facilities"), ("guests", "visitors"), ("obtain", "get"), ("assist", "help"), ("require", "need"),
    ("requires", "needs"), ("receive", "get"), ("approximately", "about"), ("available", "on offer"),
    ("complimentary", "free"), ("located", "situated"), ("delicious", "very tasty"), ("a bit", "a little"),
)  # fmt: skip
"""Ways to say the same that would not always be so the other way round."""
FRAMES = (
    ("Yes, {}", True), ("Sure: {}", False), ("Of course. {}", False), ("According to our information, {}", True),
    ("As far as I can see, {}", True), ("Thanks for asking. {}", False), ("Good question. {}", False),
    ("{} Let me know if you need anything else.", False), ("{} I hope that helps.", False),
    ("{} Is there anything else?", False), ("Please note: {}", False), ("Here is what I found: {}", False),
    ("I can confirm that {}", True), ("Happy to help! {}", False), ("{} Have a good day!", False),
)  # fmt: skip
"""What stands around an answer and says nothing of its own; with each, whether the answer goes on in lower case."""
SPELT = dict(enumerate(re.findall(r"\w+", "zero one two three four five six seven eight nine ten eleven twelve")))
NUMBERS = {word: number for number, word in SPELT.items()}

_ASIDE = re.compile(r"\s*\([^()]{2,120}\)")
_TRAILING = re.compile(r"(?:, (?:which|so|and|as|because|since)|; |: | – | - )[^,;:]{8,}(?=[.!?]?$)")
_SMALL = re.compile(r"(?<![\d.,:/\-])\b(?:[2-9]|1[0-2])\b(?![\d.,:/\-]|\s*(?:%|am\b|pm\b))")
_OPENING = re.compile(r"^(?:[A-Z][a-zà-ž]*)(?=\s[a-zà-ž])")


def reworded(sentence: str, rng: np.random.Generator) -> str:
    """The sentence with a few such changes, each at random."""
    for change, chance in ((_without_aside, 0.3), (_without_end, 0.15), (_spelt, 0.3), (_swapped, 0.6)):
        if rng.random() < chance:
            sentence = change(sentence, rng)
    return sentence


def framed(reply: str, rng: np.random.Generator) -> str:
    """The reply in one of `FRAMES`."""
    frame, goes_on = FRAMES[int(rng.integers(len(FRAMES)))]
    if goes_on and (opening := _OPENING.match(reply)) and opening[0] != "I":
        reply = reply[0].lower() + reply[1:]
    return frame.format(reply)


def cased_like(model: str, word: str) -> str:
    """The word with the first letter's case of another; all in capitals where that is."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


_WAYS = tuple(
    (re.compile(rf"(?<![\w'’-]){re.escape(word)}(?![\w'’-])", re.I), other)
    for word, other in (*BOTH_WAYS, *((other, word) for word, other in BOTH_WAYS), *ONE_WAY)
)


def _swapped(sentence: str, rng: np.random.Generator) -> str:
    """Up to two words or phrases for others that say the same."""
    able = [(pattern, other) for pattern, other in _WAYS if pattern.search(sentence)]
    for number in rng.permutation(len(able))[:2]:
        pattern, other = able[number]
        sentence = pattern.sub(lambda found, other=other: cased_like(found[0], other), sentence, count=1)
    return sentence


def _without_aside(sentence: str, rng: np.random.Generator) -> str:
    return _ASIDE.sub("", sentence, count=1)


def _without_end(sentence: str, rng: np.random.Generator) -> str:
    shorter = _TRAILING.sub("", sentence, count=1)
    return shorter if len(shorter.split()) >= 4 else sentence


def _spelt(sentence: str, rng: np.random.Generator) -> str:
    """Small numbers in words, or words in figures."""
    if _SMALL.search(sentence):
        return _SMALL.sub(lambda found: SPELT[int(found[0])], sentence)
    words = "|".join(SPELT[number] for number in range(2, 13))
    return re.sub(rf"\b(?:{words})\b", lambda found: str(NUMBERS[found[0]]), sentence)
