"""Pictures in the report: what training saw, where the encoder looks, what lies near, which captions are found."""

from shoptalk.report import wording
from shoptalk.report.figures import Fact, fig, named, told
from shoptalk.report.markup import Child, Html, el, join, note, table


def thumbnail(facts: Fact, name: str) -> Html | None:
    """The small copy of a picture by its name, where there is one."""
    if not facts.pictures or not (data := facts.pictures.thumbnails.value.get(name)):
        return None
    return image(data, name)


def image(data: str, name: str, *, class_: str = "shown") -> Html:
    """A picture of the report."""
    return el("img", src=data, alt=name, class_=class_, width=64, height=64)


def training(facts: Fact) -> Html | None:
    """Views of pictures as training is given them, and what it decoded in the place of left out parts."""
    panels = facts.pictures
    if not panels or not (panels.views or panels.reconstructions):
        return None
    parts: list[Child] = []
    if panels.views:
        rows: list[Child] = [
            el(
                "div",
                _of(row.picture),
                el("div", *(_plain(view, "a view of it") for view in row.views), class_="strip"),
            )
            for row in panels.views
        ]
        parts += [
            el(
                "p",
                "Some pictures, and views of them as ",
                named(panels.objective),
                " is given them: another of each at every step that draws the picture.",
            ),
            el("div", *rows, class_="strips"),
        ]
    if panels.reconstructions:
        steps: list[Child] = []
        if panels.decoded_after:
            steps = [", after ", fig(wording.count, panels.decoded_after), " steps"]
        cells = [
            el(
                "figure",
                _plain(row.masked, "with parts left out"),
                _plain(row.decoded, "with what was decoded"),
                _plain(row.whole, "whole"),
                el("figcaption", told(row.name)),
                class_="triple",
            )
            for row in panels.reconstructions
        ]
        parts += [
            el(
                "p",
                "What the encoder read of a picture, what the decoder made of the rest, and the picture itself",
                *steps,
                ".",
            ),
            el("div", *cells, class_="strip"),
        ]
    return join(*parts)


def looks(facts: Fact) -> Html | None:
    """Where the heads of the last layer look, and the nearest pictures before and after."""
    panels = facts.pictures
    if not panels or not (panels.attention or panels.neighbours):
        return None
    parts: list[Child] = []
    if panels.neighbours:
        rows = [[_of(row.picture), _strip(row.before), _strip(row.after)] for row in panels.neighbours]
        parts.append(table("The nearest pictures", ["Picture", "Before", "After"], rows, words={1, 2}))
    if panels.attention:
        rows = [
            [
                _of(row.picture),
                el(
                    "div", *(_plain(head, f"head {number}") for number, head in enumerate(row.heads, 1)), class_="strip"
                ),
            ]
            for row in panels.attention
        ]
        parts += [
            table(
                "Where the heads of the last layer look", ["Picture", "From [CLS], a map of each head"], rows, words={1}
            ),
            note("Bright is much. Maps show what a vector is made from, not why a class is told."),
        ]
    return join(*parts)


def captions(facts: Fact) -> Html | None:
    """How often what belongs is found first, and the captions that are found for some held-out pictures."""
    panels = facts.pictures
    if not panels or not (panels.found or panels.retrieval):
        return None
    return join(_retrieval(panels.retrieval), _examples(panels.found))


def _retrieval(rows: Fact) -> Html | None:
    """R@1 in both directions, before and after."""
    if not rows:
        return None
    rival = any(row.untrained.value is not None for row in rows)
    head: list[Child] = ["Direction", "Asked", "Among", "By chance", *(["No training"] if rival else [])]
    cells: list[list[Child]] = [
        [
            named(row.direction),
            fig(wording.count, row.asked),
            fig(wording.count, row.among),
            fig(wording.percent, row.chance),
            *([fig(wording.percent, row.untrained)] if rival else []),
            fig(wording.percent, row.before),
            fig(wording.percent, row.after),
        ]
        for row in rows
    ]
    return join(
        table("How often what belongs is found first", [*head, "Before", "After"], cells),
        note("Of the held-out pictures and captions that the verdict is about."),
        note("No training: a caption is held against those of the training pictures that look most like a picture.")
        if rival
        else None,
    )


def _examples(found: Fact) -> Html | None:
    if not found:
        return None
    rows: list[list[Child]] = [
        [
            _of(row.picture),
            join(*(el("div", told(text)) for text in row.captions)),
            _answer(row.before, row.right_before),
            _answer(row.after, row.right_after),
        ]
        for row in found
    ]
    return join(
        table("Captions found first", ["Picture", "Its captions", "Before", "After"], rows, words={1, 2, 3}),
        note("Held-out pictures; those on which the two differ come first."),
    )


def _answer(text: Fact, right: Fact) -> Html:
    sign = el("span", "✓ " if right.value else "✗ ", class_="yes" if right.value else "no")
    return join(sign, told(text))


def _of(picture: Fact) -> Html:
    return image(str(picture.data.value), str(picture.name.value))


def _plain(data: Fact, name: str) -> Html:
    return image(str(data.value), name)


def _strip(pictures: Fact) -> Html:
    return el("div", *(_of(picture) for picture in pictures), class_="strip")
