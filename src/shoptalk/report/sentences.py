"""What the report says in words of its own: verdicts, and what its terms mean."""

from collections.abc import Mapping
from typing import Any

NEED_NO_TRAINING = ("pixels", "hog")
"""What a base of pictures may stand beside: `UNTRAINED` of the settings."""
VERDICTS = {
    "adopt": "Adopt the adapted model",
    "keep_base": "Keep the base model",
    "inconclusive": "Inconclusive: keep the base model for now",
}
UNPROVEN = {
    "keep_base": "The evidence says to keep the base model; the challenger is served all the same",
    "inconclusive": "Inconclusive: the challenger is served unproven",
}
"""Of a challenger that is served because a person asks for it (--accept-unproven), by what was decided."""
NEITHER = (
    "neither is worth serving yet: the base's weights are random, and what was trained is not adopted. Training "
    "longer, more in the sources, or a base that has been trained before would change that."
)
BEHIND = (
    "neither is worth serving yet: a general compressor, which learns nothing, takes fewer bits than what was trained, "
    "and the base takes more than that. Training longer, more in the sources, or a base that was trained on more would "
    "change that."
)
YOUNG = (
    "the base stays as it was, and this run does not say whether it is worth serving: its weights, or some of them, "
    "began at random. Training longer, more in the sources, or a base that was trained on more may bring more."
)
UNMEASURED = (
    "neither is known to be worth serving: weights of the base began at random, and what was trained could not be "
    "measured."
)
UNTRAINED = "there is nothing worth serving yet: the base's weights are random, and nothing was trained."
INTERVAL = (
    "The interval is the range of gains that these {examples} leave plausible; it is widened for every candidate and "
    "checkpoint that was looked at, so choosing the best of them is already paid for."
)
AT_ONCE = (
    "The intervals of these steps hold for all of them at once; so that of training may be wider here than the "
    "verdict's, which is about training alone. The level of a head that was chosen is cross-fitted here, and may "
    "differ a little from the verdict's base and adapted."
)
INTERVAL_ON_TEST = (
    "The interval is the range of gains that the supplied test set leaves plausible; the entry was chosen on the "
    "labels, so the test set was read for it alone."
)
LABEL_FREE = "They describe the encoder; none of them shows that an assistant answers better."
LABEL_FREE_LM = "They describe the model; none of them shows that it writes what your documents say."
GUARD = (
    "A guard is a limit on what may get worse in exchange for a gain, or on how far an entry may be behind what needs "
    "no training; an entry outside one is never adopted."
)
FORGETTING = (
    "Forgetting is the change in how well the encoder still ranks everyday sentence pairs by meaning, in points; "
    "below zero means that something was lost."
)
FORGETTING_LM = (
    "Forgetting is the change in the bits per byte that the model needs for everyday sentences, in per cent of what "
    "the base needs; below zero means that it needs more."
)
FORGETTING_CLOZE = (
    "The best challenger was also asked for the names and numbers in such sentences: forgetting (cloze) is the change "
    "in how probable it holds the right one of five, in points. It is outside only where its whole interval lies below "
    "the guard; so the limit stands as far below that guard as the interval reaches above the change."
)
CEILING = (
    "The ceiling is what the training targets of neighbours reach when they are read directly, with the index at hand: "
    "training towards them is not expected to go further."
)
ENTRY = "An entry is one candidate at one checkpoint; the menu of entries was fixed before training."
ROWS = "These intervals describe one row at a time; the verdict rests on its own, which pays for every choice."
BASES = (
    "Gains are over the first base. The time is that of embedding one {one} alone on this machine; weights count "
    "in float32. An adapted encoder takes what its base takes."
)
SAME_HEAD = (
    "These gains are measured with the same plain head on both encoders; the verdict's gain may differ, since there "
    "each encoder has the head that serves it best."
)
SHORT_LOOKS = (
    "While training goes on, a short piece of each document is read, for which there is little before it to go by; the "
    "verdict's values are those of longer pieces, of which each byte takes fewer bits. So this table compares its "
    "entries with each other, and not with the verdict."
)
DOSES_LOOKED = (
    " Points are read as at every look during training, which takes less than what the verdict rests on: the verdict's "
    "gain may differ from that of the last point."
)
DOSES_SHORT = (
    " Points are read as at every look during training, on a short piece of each document, whose bytes take more bits "
    "than those of the longer pieces that the verdict reads: compare points with each other, and not with its gain."
)
FORECAST = (
    "The forecast was made before training, from a few timed steps. It assumes that training goes on to its last "
    "planned step and that each candidate is as likely to win as the next; a run that stops early takes less. Memory "
    "is the peak."
)
REPLACES = (
    "A command with --force answers another question in the same folder: its verdict and report take the place of "
    "these. Copy the folder first, or give another with --out, to keep both."
)
WASTE = "Waste is the share of the computation that went into padding."
BITS = (
    "Bits per byte say how hard each byte of a text is for the model to foretell: 8 is blind guessing, and less is "
    "better. Models with different tokenizers can be compared by them."
)
NO_JUDGE = "There was nothing to measure a gain on."
# Looked up by the end of a measure's name, whatever its case: "next-turn MRR" finds "mrr".
MEASURES = {
    "general similarity": "General similarity is how well the encoder ranks everyday sentence pairs by meaning; its "
    "change is what the forgetting guard reads.",
    "rankme": "RankMe counts the dimensions that the encoder really uses; a steep fall is a sign of collapse.",
    "alignment": "Alignment is the distance between texts that belong together; lower is better.",
    "uniformity": "Uniformity tells how evenly all items spread over the space; lower is better.",
    "mrr": "MRR (mean reciprocal rank, times 100) is 100 where the right answer always comes first, 50 where it comes "
    "second; higher is better.",
    "label-free score": "The label-free score guesses the gain in points from whose neighbours stay who they are. "
    "It is no measurement: benchmarks/README.md says how often it was right on public sets.",
    "bits per byte": BITS,
    "bits per byte of replies": BITS,
    "bits per byte of general text": BITS,
    "bits per masked token": "Bits per masked token are the bits needed to guess a hidden word; lower is better.",
}


def headline(choice: str, *, unproven: bool) -> str:
    """What was decided, and whether something else is served all the same (`unproven`)."""
    return (UNPROVEN if unproven else VERDICTS).get(choice, VERDICTS[choice])


def keeps_random_weights(choice: str, base_model: str | None, gain: float | None) -> bool:
    """Whether the random weights of a base are kept, for what was trained and measured beside them is not adopted."""
    return gain is not None and choice != "adopt" and (base_model or "").startswith("scratch:")


def of_kept_base(verdict: Mapping[str, Any]) -> str:
    """What is said of a base that is kept and that is not known to be good, for its weights are random or were once;
    empty of all others. `verdict` is what `verdict.json` holds.
    """
    gain, named = verdict.get("gain"), str(verdict.get("base_model") or "")
    random = named.startswith("scratch:")
    if verdict["choice"] == "adopt" or not (random or verdict.get("base_began_as")):
        return ""
    if gain is None:
        return UNMEASURED if verdict.get("objective") else UNTRAINED if random else YOUNG
    if random:
        return NEITHER
    rival = verdict.get("compressor")
    if rival and not rival["inside"] and gain > 0:
        return BEHIND
    beaten = any(row["base"].partition("@")[0] in NEED_NO_TRAINING for row in verdict.get("bases") or ())
    return "" if beaten else YOUNG


def standing(verdict: Mapping[str, Any]) -> str:
    """What the product that is handed out is: "safe to serve" where it was adopted or is a base that is known to be
    good. `verdict` is what `verdict.json` holds.
    """
    if verdict.get("served_unproven"):
        return "served, unproven"
    return "handed out" if of_kept_base(verdict) else "safe to serve"
