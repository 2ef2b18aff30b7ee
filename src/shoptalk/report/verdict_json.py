"""`verdict.json` as a record: the decision of a run, what it rests on, and what it cost (DESIGN, section 8)."""

from typing import Literal

from pydantic import Field

from shoptalk.quantities import Spending
from shoptalk.records import Measure, Published, Real

Choice = Literal["adopt", "keep_base", "inconclusive"]
Interval = tuple[float | None, float | None]
"""Lower and upper end, in the units of the gain."""
Ends = tuple[float, float]
"""Lower and upper end of an interval, both known."""


class ChosenHeads(Published):
    """The kinds of heads that serve base and challenger best, and the gain with a plain head on both."""

    base: str
    """The kind of head that serves the base best on all labels."""
    adapted: str
    """The kind of head that serves the challenger best on all labels."""
    plain_gain: float
    """The gain, in points, with plain logistic regression on both."""
    sentence: str
    """The same for people."""


class LadderStep(Published):
    """A measured step from the plain base towards what is shipped."""

    step: str
    """What the model has here that it had not a step before, such as "labels' names"."""
    value: float
    """Its value of the metric, in the measure's unit. Where halves of the examples disagree which head is best, each is
    answered by the head that is best on the other."""
    unit: str
    """Of the value."""
    gain: float | None
    """Over the step before, as `Verdict.gain`; null for the first step."""
    interval: Ends | None
    """Of that gain; the intervals hold for all steps at once. Null for the first step."""


class InAll(Published):
    """What is adopted of the ladder, against its first step."""

    step: str
    """The step up to which is counted; those after it were measured and not adopted."""
    gain: float | None
    """Over the first step, as `Verdict.gain`; null where nothing above it is counted."""
    interval: Ends | None
    """Of that gain; it holds at once with those of the steps."""


class BaseRow(Published):
    """One of several bases, as it is and as it would be shipped, and what using it takes."""

    base: str
    """The base's name; the first is the one that is adapted."""
    head: str | None
    """The kind of head that serves it best; null where there is but one."""
    value: float
    """Its value of the metric, in the measure's unit."""
    gain: float | None
    """Over the first base, as `Verdict.gain`; null for that one."""
    interval: Ends | None
    """Of that gain; it pays for every base and entry that was looked at. Null for the first base."""
    best: bool
    """Whether it is the one that the adapted model is compared with."""
    ms_per_message: float | None
    """Milliseconds that embedding one message alone takes, the median on this machine; an adapted encoder takes what
    its base takes. Null where nothing is embedded."""
    megabytes: float | None
    """Millions of bytes of its weights in float32; an adapted encoder has as many as its base."""
    threads: int | None
    """That were used for a message."""


class CandidateRow(Published):
    """An entry of the menu: a candidate after some steps. Values and gains are of the plain head."""

    entry: str
    """The entry's name: candidate@steps."""
    objective: str
    """The candidate: an objective, a sum of them or a curriculum."""
    step: int
    """Training steps up to this entry."""
    tokens: int
    """Tokens trained on up to this entry, without padding."""
    merge: float | None = None
    """Of an average with the base's weights, the share of the trained ones; absent where it is none."""
    base: float | None
    """The base's value of the metric; null without labels."""
    adapted: float | None
    """The entry's value of the metric; null without labels."""
    gain: float | None
    """How much better than the base, as `Verdict.gain`; null where nothing was judged."""
    interval: Interval | None
    """Of the gain; it pays for every entry of the menu."""
    forgetting: Real | None
    """Change of general similarity, in points; of a language model of the bits that general text takes, in per cent,
    with the sign turned. Below zero something was lost. Null where nothing could be.
    """
    inside_guards: bool
    """Whether it stayed within every guard."""
    why_not: str
    """Which guard it left, in words; empty where it left none."""
    seconds: float
    """Training since the entry before it, measuring and saving."""
    over_fitting: str | None
    """What the alarm for over-fitting says; null where it was not asked."""
    eliminated: bool
    """Whether the candidate's training was ended before its time."""
    readings: dict[str, Real]
    """What the probes and the judges read, by keys that stay the same."""


class Share(Published):
    """What a part of the run cost."""

    seconds: float
    """Wall-clock seconds."""
    tokens: int
    """Tokens trained on, without padding."""
    share: float
    """Of the whole run's time, between 0 and 1."""


class CandidateShare(Share):
    """What a candidate cost: preparing its targets, timing and training it, measuring and saving its entries."""

    objective: str
    """The candidate."""
    went_on: bool
    """Whether it was trained beyond the pilots; the others are losers."""


class Expected(Spending):
    """What was forecast before training."""

    euros: float | None
    """Null where an hour has no price."""


class Spent(Spending):
    """What the run took, beside what was forecast."""

    euros: float | None
    """Null where an hour has no price."""
    price_per_hour: float | None
    """Euros; null where no price was given."""
    forecast: Expected | None
    """Null where nothing was trained."""
    ratio: dict[str, float | None] | None
    """Fact divided by forecast, by name; null where the forecast is nothing or unknown."""
    candidates: tuple[CandidateShare, ...]
    """What each candidate cost."""
    losers: Share
    """What all candidates that did not go on cost together."""
    stages: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds of each stage up to the verdict, of the process that reached it; absent in earlier runs."""


class OtherTask(Published):
    """A task beside the one that must gain, read once more of the base and of the challenger."""

    task: str
    """Such as "cloze"."""
    metric: str
    """What base, adapted and gain are values of."""
    base: float
    """The base's value, in the metric's unit."""
    adapted: float
    """The challenger's value, in the same unit."""
    gain: float
    """How much better the challenger is, in the metric's units."""
    interval: Ends
    """Of the gain, 95 %. The challenger was chosen among entries whose looks at the same examples stayed within the
    task's guard, for which it does not pay: the gain leans upward, of the cloze less, whose looks ask other gaps."""
    n_examples: int
    """What it was measured on: of the cloze, documents."""
    sentence: str
    """The same for people."""


class GeneralChange(Published):
    """How probable a language model holds names and numbers in everyday sentences, before its training and after it."""

    metric: str
    """What base, adapted and gain are values of."""
    base: float
    """Of the model that was trained, in per cent, as it was before."""
    adapted: float
    """The challenger's, in per cent."""
    gain: float
    """How much better the challenger is, in points; below zero something was forgotten."""
    interval: Ends
    """Of the gain, 95 %, over the texts."""
    n_examples: int
    """Texts, each a pair of sentences."""
    n_gaps: int
    """Names and numbers that were asked for in them."""
    limit: Real
    """The guard: the interval must not lie below it as a whole."""
    inside: bool
    """Whether it does not."""
    sentence: str
    """The same for people."""


class CompressorBeside(Published):
    """A general compressor, which learns nothing, on some of the texts that a trained language model is judged by."""

    name: str
    """Of the compressor."""
    value: float
    """Bits that it takes per byte of the texts, with the training documents before them."""
    adapted: float
    """Bits that the challenger takes of the same."""
    n_texts: int
    """How many of the texts both read here."""
    n_bytes: int
    """Of these."""
    primed_bytes: int
    """Of the training documents before them."""
    inside: bool
    """Whether the challenger takes fewer."""


class PeopleAnswered(Published):
    """What a person's answers say, where the two systems were told apart by asking (`shoptalk ask`)."""

    systems: tuple[str, str]
    """The two that were told apart, the present one first."""
    choice: Choice
    """What follows from the answers, and from the guards."""
    before: Choice
    """What was decided without them."""
    gain: float | None
    """Of the new one on the bank's messages, in points, estimated from the answers; null before the first."""
    interval: Ends
    """Of the gain on future messages like them, 95 %, whenever one stops."""
    on_bank: Ends
    """And on these messages alone."""
    asked: int
    """Messages that were answered."""
    right: int
    """Of them, those where the new one was right and the old one wrong."""
    wrong: int
    """Those where it was the other way."""
    neither: int
    """Those where neither was right."""
    disagree: int
    """Messages of the bank on which the two differ."""
    bank: int
    """Messages that both have answered."""
    twice: int
    """Messages that were asked twice, to see how consistent the answers are."""
    same: int
    """Of those, how many got the same answer."""
    more: int | None
    """About so many more answers would settle it; null where the bank's would not, 0 where it is settled."""
    guarded: str = ""
    """Why the new one may not be adopted whatever is answered; empty where it may."""
    answered_by: tuple[str, ...] = ()
    """Who has answered."""
    sentence: str
    """The same for people."""


class Verdict(Published):
    """The decision about an adaptation. Numbers of the measure are null where nothing could be judged."""

    choice: Choice
    """What to do: ship the adapted model, keep the base, or find out more before anything changes."""
    served_unproven: bool = False
    """Whether the challenger is served although it was not adopted, as --accept-unproven asks; else false or absent."""
    objective: str | None
    """Of the best challenger; null where nothing was trained."""
    entry: str | None
    """The best challenger: candidate@steps; null where nothing was trained."""
    task: str | None = None
    """What the verdict is about; absent in earlier runs, whose task is "intent"."""
    base_model: str | None = None
    """The base that was compared with; absent in earlier runs."""
    base_began_as: str | None = None
    """Of a base whose weights, or some, began at random, what it began as, such as "scratch:gpt-nano", however long it
    has been trained since; absent of all others, and in earlier runs."""
    metric: str | None
    """What base, adapted and gain are values of."""
    measure: Measure | None = None
    """The units and the words of those values; absent where nothing was judged, and in earlier runs, whose values are
    accuracies."""
    ranking: tuple[str, ...] = ()
    """Without labels, the entries by the measures that need none, best first."""
    bases: tuple[BaseRow, ...] = ()
    """Where several bases are compared, each of them; absent where there is one."""
    other_tasks: tuple[OtherTask, ...] = ()
    """What changes at tasks that must not lose, where reading them takes no heads; absent where there are none."""
    general_cloze: GeneralChange | None = None
    """What a language model has forgotten of everyday names and numbers; absent where nothing was trained or judged,
    of other models, of random weights, and in earlier runs."""
    compressor: CompressorBeside | None = None
    """What a language model that began with random weights must take fewer bits than; absent where nothing was trained
    or judged, of all other models, and in earlier runs."""
    base: float | None
    """The base's value, in the measure's unit: accuracies in per cent."""
    adapted: float | None
    """The challenger's value, in the same unit."""
    gain: float | None
    """How much better the challenger is, whatever was decided, in the measure's units: of accuracies in points."""
    interval: Interval | None
    """Of the gain; it pays for everything that was looked at to choose the challenger."""
    confidence: float | None
    """Of the interval, between 0 and 1."""
    ladder: tuple[LadderStep, ...] = ()
    """What each step from the plain base brings, those that were measured, on the labels also where there is a test;
    absent where nothing was judged, and in earlier runs."""
    in_all: InAll | None = None
    """What the steps that are adopted bring together; absent where there is no ladder."""
    n_examples: int
    """Labelled messages, or those of the test, that the gain was measured on; of another task what `measure.examples`
    names, of captions pictures, those that share a caption counted as one."""
    n_draws: int
    """Random splits of the labels, of which four fifths teach and a fifth is tested, that the gain is a mean over."""
    shots: int | None
    """Labels per class in each label set of an earlier run; null where heads learn from all labels but those tested."""
    labels_needed: int | None
    """About how many labels, or other examples, in all would settle an open question; null where it is settled."""
    bank: int | None = None
    """Messages that were held out to ask a person about; absent where none were, and in earlier runs."""
    answers_needed: int | None = None
    """About how many answers of a person would settle it (`shoptalk ask`), by how often the two differ on messages that
    were held out; null where hardly any number would, absent where none were held out, and in earlier runs."""
    bank_needed: int | None = None
    """How many messages there must be to ask about for that; more than were held out where those would not do."""
    asked: PeopleAnswered | None = None
    """Where a person was asked, what came of it: `choice` is then what both pieces of evidence say; else absent."""
    sentence: str
    """The verdict and its reason, for people."""
    rule: str
    """The rule that decided."""
    smallest_gain: float | None = None
    """The smallest gain worth having, in the same units; absent where nothing was judged."""
    heads: ChosenHeads | None = None
    """Absent without labels, null where nothing was trained."""
    on_test: bool = False
    """Whether the gain was measured on a supplied test; absent without labels."""
    candidates: tuple[CandidateRow, ...]
    """The menu: every entry that was measured, in order."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Candidates that came to no entry or not to their end, and why: they diverged, or cannot train here. Absent where
    there are none."""
    spent: Spent
    """What the run took, beside what was forecast."""

    @property
    def labelled(self) -> bool:
        """Whether what is compared are heads that learned from labels."""
        return self.heads is not None or self.shots is not None
