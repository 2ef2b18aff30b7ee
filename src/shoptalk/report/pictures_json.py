"""What the report of a run on pictures shows of them, as a record: small JPEG files as data addresses."""

from pydantic import Field

from shoptalk.records import Published


class ShownPicture(Published):
    """A picture, small."""

    name: str
    """The end of its path."""
    data: str
    """An address that holds a JPEG file."""


class ViewsOfOne(Published):
    """A picture, and views of it as training is given them."""

    picture: ShownPicture
    """As it is."""
    views: tuple[str, ...]
    """Augmented views, as addresses."""


class Reconstructed(Published):
    """A picture of which a part was left out, and what was decoded in its place."""

    name: str
    """The end of its path."""
    masked: str
    """What the encoder read, grey elsewhere."""
    decoded: str
    """That with decoded pixels in the place of what was left out."""
    whole: str
    """The view as it was."""


class AttendedPicture(Published):
    """Where the last layer's heads look from the [CLS] token: bright is much."""

    picture: ShownPicture
    """As it is read."""
    heads: tuple[str, ...]
    """A map of each head, as addresses."""


class NearPictures(Published):
    """A picture with those that lie nearest to it."""

    picture: ShownPicture
    """The one that is asked about."""
    before: tuple[ShownPicture, ...]
    """The nearest under the base, the nearest first."""
    after: tuple[ShownPicture, ...]
    """The nearest under the challenger."""


class FoundCaption(Published):
    """A held-out picture, and the caption that is found for it first."""

    picture: ShownPicture
    """The one that is asked about."""
    captions: tuple[str, ...]
    """Those that belong to it."""
    before: str
    """What the base finds first."""
    after: str
    """What the challenger finds first."""
    right_before: bool
    """Whether that belongs to it."""
    right_after: bool
    """Whether that belongs to it."""


class Retrieval(Published):
    """How often what belongs is found first, in one direction (R@1), in per cent."""

    direction: str
    """What is measured: "R@1 image to text"."""
    asked: int
    """Held-out pictures, or captions, that are asked about."""
    among: int
    """Captions, or pictures, among which each looks for one that belongs to it."""
    chance: float
    """What a random order gives."""
    untrained: float | None = None
    """What needs no training gives, where the base's weights are random; else absent."""
    before: float
    """Of the base that the verdict compares with."""
    after: float
    """Of the challenger."""


class PicturePanels(Published):
    """All that is shown of pictures."""

    thumbnails: dict[str, str] = Field(default_factory=dict)
    """Small pictures by the names that other parts of the report call them."""
    objective: str | None = None
    """The candidate whose views and reconstructions these are."""
    views: tuple[ViewsOfOne, ...] = ()
    """Some pictures, and views of them as training is given them."""
    reconstructions: tuple[Reconstructed, ...] = ()
    """Where parts of pictures were left out and decoded."""
    decoded_after: int | None = None
    """Steps of training after which that was: the last, also where an earlier entry is the challenger."""
    attention: tuple[AttendedPicture, ...] = ()
    """Where the challenger looks; of transformers alone."""
    neighbours: tuple[NearPictures, ...] = ()
    """Nearest pictures before and after."""
    retrieval: tuple[Retrieval, ...] = ()
    """R@1 in both directions; of runs about captions alone."""
    found: tuple[FoundCaption, ...] = ()
    """Captions found for held-out pictures; of encoders of pictures and texts alone."""
