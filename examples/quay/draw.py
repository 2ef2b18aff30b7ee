"""Draws this world anew: `python examples/quay/draw.py`, with nothing but Pillow, gives the same pictures.

Every picture is 32 x 32 pixels of what a visitor of a harbour might photograph. Its subject is what `labels.csv` asks
for; colours, sky, size and place are drawn at random, so that no pixel by itself tells the subject.
"""

import csv
import random
import zipfile
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SIDE, FINE = 32, 4
"""Pixels of a picture, and how many times finer it is drawn before it is made smaller."""
LABELLED, OTHERS = 30, 600
"""Pictures of each subject that have a label, and pictures of all subjects that have captions."""
COLOURS = {
    "red": (196, 52, 48),
    "orange": (226, 132, 44),
    "yellow": (232, 202, 70),
    "green": (62, 140, 84),
    "blue": (50, 92, 172),
    "purple": (126, 76, 150),
    "white": (238, 238, 232),
    "brown": (122, 84, 56),
}
SKIES = {
    "by day": ((150, 200, 236), (58, 122, 164)),
    "at dusk": ((236, 164, 122), (96, 84, 128)),
    "at night": ((28, 34, 66), (16, 28, 50)),
    "in fog": ((196, 200, 202), (160, 168, 172)),
}
PLACES = {"on the left": 0.34, "in the middle": 0.5, "on the right": 0.66}
SIZES = {"small": 0.62, "large": 0.94}
Colour = tuple[int, int, int]


class Pen:
    """Draws around a place, in units of half the subject's height; x goes to the right and y down."""

    def __init__(self, image: Image.Image, x: float, y: float, unit: float, mirrored: bool) -> None:
        self._draw, self._x, self._y, self._unit = ImageDraw.Draw(image), x, y, unit
        self._sign = -1 if mirrored else 1

    def _at(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(self._x + self._sign * self._unit * x, self._y + self._unit * y) for x, y in points]

    def shape(self, colour: Colour, *points: tuple[float, float]) -> None:
        """A filled polygon."""
        self._draw.polygon(self._at(list(points)), fill=colour)

    def disc(self, colour: Colour, x: float, y: float, radius: float) -> None:
        """A filled circle."""
        ((cx, cy),) = self._at([(x, y)])
        r = self._unit * radius
        self._draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour)

    def stroke(self, colour: Colour, width: float, *points: tuple[float, float]) -> None:
        """A line of that width."""
        self._draw.line(self._at(list(points)), fill=colour, width=max(1, round(self._unit * width)))


def darker(colour: Colour, share: float = 0.6) -> Colour:
    """The same colour in shade."""
    return tuple(int(share * part) for part in colour)  # type: ignore[return-value]


def ferry(pen: Pen, colour: Colour, rng: random.Random) -> None:
    """A hull with a ramp, two decks with windows, a funnel."""
    pale = (236, 236, 230)
    pen.shape(pale, (-0.8, -0.05), (-0.7, -0.4), (0.62, -0.4), (0.7, -0.05))
    pen.shape(darker(pale, 0.85), (-0.35, -0.4), (-0.3, -0.68), (0.4, -0.68), (0.42, -0.4))
    pen.shape(colour, (0.05, -0.68), (0.05, -1.0), (0.28, -1.0), (0.28, -0.68))
    for x in (-0.55, -0.25, 0.05, 0.35):
        pen.shape((54, 66, 84), (x, -0.3), (x, -0.14), (x + 0.15, -0.14), (x + 0.15, -0.3))
    pen.shape(colour, (-1.1, -0.05), (1.15, -0.05), (0.9, 0.5), (-0.9, 0.5))
    for _ in range(rng.randrange(3)):
        pen.disc((180, 180, 180), rng.uniform(-0.5, 0.3), rng.uniform(-1.35, -1.1), 0.14)


def sailing_boat(pen: Pen, colour: Colour, rng: random.Random) -> None:
    """A mast with a mainsail and a jib above a small hull."""
    pen.shape((246, 244, 232), (0.06, -1.1), (0.06, 0.1), (0.8, 0.1))
    pen.shape(colour, (-0.06, -0.9), (-0.06, 0.1), (-0.6, 0.1))
    pen.stroke((70, 54, 40), 0.09, (0, -1.15), (0, 0.25))
    pen.shape((112, 74, 48), (-0.75, 0.2), (0.85, 0.2), (0.55, 0.55), (-0.5, 0.55))
    if rng.random() < 0.5:
        pen.shape(colour, (0, -1.15), (0, -0.98), (0.28, -1.06))


def lighthouse(pen: Pen, colour: Colour, rng: random.Random) -> None:
    """A tapered tower with bands and a lamp, on a rock."""
    pen.shape((96, 92, 88), (-0.85, 0.65), (-0.5, 0.3), (0.1, 0.2), (0.6, 0.35), (0.9, 0.65))
    pen.shape((240, 238, 230), (-0.3, 0.35), (-0.2, -0.75), (0.2, -0.75), (0.3, 0.35))
    for top, bottom in ((-0.75, -0.5), (-0.2, 0.08)):
        pen.shape(colour, (-0.26, bottom), (-0.22, top), (0.22, top), (0.26, bottom))
    pen.shape((52, 52, 58), (-0.3, -0.75), (-0.3, -0.82), (0.3, -0.82), (0.3, -0.75))
    pen.shape((250, 224, 120), (-0.15, -0.82), (-0.15, -1.02), (0.15, -1.02), (0.15, -0.82))
    pen.shape(darker(colour), (-0.24, -1.02), (0, -1.22), (0.24, -1.02))
    if rng.random() < 0.6:
        pen.shape((250, 236, 160), (0.15, -0.92), (1.3, -1.15), (1.3, -0.72))


def buoy(pen: Pen, colour: Colour, rng: random.Random) -> None:
    """A float with a cage and a top mark, leaning in the waves."""
    lean = rng.uniform(-0.22, 0.22)
    pen.shape(colour, (-0.5 + lean, 0.05), (-0.18 + 2 * lean, -0.75), (0.18 + 2 * lean, -0.75), (0.5 + lean, 0.05))
    pen.shape(darker(colour, 0.75), (-0.66, 0.1), (0.66, 0.1), (0.5, 0.55), (-0.5, 0.55))
    pen.stroke((240, 240, 236), 0.14, (-0.34 + lean, -0.28), (0.34 + lean, -0.28))
    pen.stroke((44, 44, 48), 0.1, (2 * lean, -0.75), (2.4 * lean, -0.98))
    pen.disc((44, 44, 48), 2.5 * lean, -1.05, 0.17)


def ticket(pen: Pen, colour: Colour, rng: random.Random) -> None:
    """A paper card held up, with a coloured head, lines of print and a bar code."""
    tilt = rng.uniform(-0.25, 0.25)

    def corner(x: float, y: float) -> tuple[float, float]:
        return x - tilt * y, y + tilt * x

    pen.shape((250, 246, 236), *(corner(*at) for at in ((-0.95, -0.55), (0.95, -0.55), (0.95, 0.5), (-0.95, 0.5))))
    pen.shape(colour, *(corner(*at) for at in ((-0.95, -0.55), (0.95, -0.55), (0.95, -0.25), (-0.95, -0.25))))
    for y in (-0.08, 0.12, 0.32):
        pen.stroke((120, 118, 112), 0.07, corner(-0.8, y), corner(rng.uniform(-0.2, 0.15), y))
    for place in range(5):
        x = 0.34 + 0.11 * place
        pen.stroke((40, 40, 44), rng.choice((0.04, 0.07)), corner(x, -0.12), corner(x, 0.38))


def sign(pen: Pen, colour: Colour, rng: random.Random) -> None:
    """A board on a post, with an arrow or an i."""
    pen.stroke((110, 112, 116), 0.16, (0, -0.3), (0, 0.75))
    pen.shape((240, 240, 236), (-0.68, -1.08), (0.68, -1.08), (0.68, -0.12), (-0.68, -0.12))
    pen.shape(colour, (-0.6, -1.0), (0.6, -1.0), (0.6, -0.2), (-0.6, -0.2))
    pale = (30, 30, 34) if sum(colour) > 560 else (248, 248, 244)
    if rng.random() < 0.5:
        pen.stroke(pale, 0.14, (-0.4, -0.6), (0.2, -0.6))
        pen.shape(pale, (0.12, -0.84), (0.12, -0.36), (0.48, -0.6))
    else:
        pen.disc(pale, 0, -0.86, 0.1)
        pen.stroke(pale, 0.16, (0, -0.68), (0, -0.3))


SUBJECTS = {
    "ferry": ferry,
    "sailing boat": sailing_boat,
    "lighthouse": lighthouse,
    "buoy": buoy,
    "ticket": ticket,
    "sign": sign,
}


def background(sky: str, rng: random.Random) -> Image.Image:
    """Sky and sea, with a sun, clouds or waves here and there."""
    above, below = SKIES[sky]
    side = SIDE * FINE
    image = Image.new("RGB", (side, side), above)
    draw = ImageDraw.Draw(image)
    horizon = int(side * rng.uniform(0.45, 0.75))
    if rng.random() < 0.5 and sky != "in fog":
        x, r = rng.uniform(0.1, 0.9) * side, side * rng.uniform(0.05, 0.1)
        y = rng.uniform(0.1, 0.35) * side
        light = (236, 236, 214) if sky == "at night" else (250, 226, 140)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=light)
    for _ in range(rng.randrange(3)):
        x, y, w = rng.uniform(-0.1, 0.8) * side, rng.uniform(0.05, 0.4) * side, side * rng.uniform(0.2, 0.4)
        draw.ellipse((x, y, x + w, y + w / 3), fill=tuple((3 * part + 255) // 4 for part in above))
    draw.rectangle((0, horizon, side, side), fill=below)
    for _ in range(rng.randrange(2, 6)):
        x, y = rng.uniform(0, 0.8) * side, rng.uniform(horizon, side)
        draw.line((x, y, x + side * rng.uniform(0.1, 0.3), y), fill=tuple((5 * part + 255) // 6 for part in below), width=FINE)
    return image


def drawing(subject: str, rng: random.Random) -> tuple[Image.Image, list[str]]:
    """A picture of a subject, and one caption or two."""
    colour, sky, place, size = (rng.choice(list(table)) for table in (COLOURS, SKIES, PLACES, SIZES))
    image, side = background(sky, rng), SIDE * FINE
    unit = side * SIZES[size] * rng.uniform(0.32, 0.38)
    x = side * (PLACES[place] + rng.uniform(-0.04, 0.04))
    pen = Pen(image, x, side * rng.uniform(0.55, 0.68), unit, mirrored=rng.random() < 0.5)
    shade = tuple(max(0, min(255, part + rng.randrange(-18, 19))) for part in COLOURS[colour])
    SUBJECTS[subject](pen, shade, rng)  # type: ignore[arg-type]
    captions = [f"a {size} {colour} {subject} {place} {sky}"]
    if rng.random() < 0.25:
        captions.append(f"{sky}, {place}: one {subject}, {size} and {colour}")
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).quantize(24, dither=Image.Dither.NONE), captions


def main() -> None:
    """Write the archive and both tables."""
    rng = random.Random(1884)
    subjects = [subject for subject in SUBJECTS for _ in range(LABELLED)]
    subjects += [rng.choice(list(SUBJECTS)) for _ in range(OTHERS)]
    numbers = list(range(len(subjects)))
    rng.shuffle(numbers)  # so that no name tells what is in a picture
    labels: list[tuple[str, str]] = []
    captioned: list[tuple[str, str]] = []
    with zipfile.ZipFile(HERE / "pictures.zip", "w", zipfile.ZIP_STORED) as archive:
        for place, subject in enumerate(subjects):
            image, captions = drawing(subject, rng)
            name = f"{numbers[place]:04}.png"
            data = BytesIO()
            image.save(data, "PNG", optimize=True)
            archive.writestr(zipfile.ZipInfo(name), data.getvalue())
            path = f"pictures.zip/{name}"
            if place < LABELLED * len(SUBJECTS):
                labels.append((path, subject))
            else:
                captioned += [(path, caption) for caption in captions]
    for file, columns, rows in (("labels.csv", ("image", "label"), labels), ("captions.csv", ("image", "text"), captioned)):
        with (HERE / file).open("w", encoding="utf-8", newline="") as table:
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(sorted(rows))


if __name__ == "__main__":
    main()
