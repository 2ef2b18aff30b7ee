"""How the assistant looks: its name, logo and colours from the settings, checked once when the server starts."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.errors import ConfigError
from shoptalk.serve.face_words import RIGHT_TO_LEFT, refuse_unknown_words, words_in_language

COLOURS = {
    "accent": "#0b5c7a",
    "background": "#ffffff",
    "text": "#1a1f24",
    "dark_accent": "",
    "dark_background": "#14181c",
    "dark_text": "#e8ecef",
}
"""Names that [assistant.colours] may give, and what they are otherwise; `dark_accent` is made from `accent`."""
PICTURES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
READABLE = 4.5
"""Least contrast of text, as WCAG 2.2 has it (1.4.3)."""
_LARGEST_LOGO = 200_000
_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}")


@dataclass(frozen=True)
class Logo:
    """The logo's bytes, and what kind of picture they are."""

    content: bytes
    kind: str

    @property
    def version(self) -> str:
        """Another picture has another address, so that browsers may keep it."""
        return hashlib.sha256(self.content).hexdigest()[:12]


@dataclass(frozen=True)
class Looks:
    """What pages are drawn with."""

    name: str
    tone: str
    greeting: str
    texts: Mapping[str, str]
    light: Mapping[str, str]
    dark: Mapping[str, str]
    logo: Logo | None

    @classmethod
    def of(cls, settings: AssistantSettings, folder: Path) -> "Looks":
        """The looks that the settings ask for.

        Raises:
            ConfigError: a colour is unknown or none, the logo is no picture, or a text is of no word on the pages.
        """
        light, dark = _palettes(settings.colours)
        refuse_unknown_words(settings.texts)
        return cls(
            settings.name, settings.tone, settings.greeting, settings.texts, light, dark, _logo(settings.logo, folder)
        )

    def words(self, language: str) -> dict[str, str]:
        """The words in a language, the greeting included."""
        return words_in_language(language, self.texts, greeting=self.greeting, tone=self.tone)

    def record(self, language: str, *, longest: int, pictures: bool) -> dict[str, object]:
        """All that the widget is drawn with, as JSON; `longest` is how many characters a message may have, and with
        `pictures` visitors may send some.
        """
        return {
            "name": self.name,
            "language": language,
            "direction": direction_of(language),
            "words": {key: word for key, word in self.words(language).items() if key != "greeting"},
            "greeting": self.words(language)["greeting"],
            "light": self.light,
            "dark": self.dark,
            "logo": f"/logo?v={self.logo.version}" if self.logo else None,
            "longest": longest,
            "pictures": pictures,
        }

    def stylesheet(self) -> str:
        """The colours as custom properties."""
        light, dark = (
            ";".join(f"--{name}:{value}" for name, value in palette.items()) for palette in (self.light, self.dark)
        )
        return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def direction_of(language: str) -> str:
    """`rtl` or `ltr`."""
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"


def _palettes(wishes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    for name, value in wishes.items():
        if name not in COLOURS:
            raise ConfigError(f"assistant.colours.{name} is unknown. There are: {', '.join(COLOURS)}.")
        if not _HEX.fullmatch(value):
            raise ConfigError(f"assistant.colours.{name} is {value!r}; expected a colour such as '#0b5c7a'.")
    chosen = {**COLOURS, **wishes}
    chosen["dark_accent"] = chosen["dark_accent"] or chosen["accent"]
    return (
        _palette(chosen["accent"], chosen["background"], chosen["text"]),
        _palette(chosen["dark_accent"], chosen["dark_background"], chosen["dark_text"]),
    )


def _palette(accent: str, background: str, text: str) -> dict[str, str]:
    """One scheme's colours; whatever was wished for, its texts can be read."""
    ink = readable(text, background)
    panel = mixed(ink, background, 0.06)
    strong = readable(accent, panel)
    return {
        "accent": strong,
        "on-accent": "#ffffff" if contrast("#ffffff", strong) >= contrast("#000000", strong) else "#000000",
        "background": background,
        "text": readable(ink, panel),
        "panel": panel,
        "muted": readable(mixed(ink, background, 0.65), panel),
        "line": mixed(ink, background, 0.22),
        "edge": readable(mixed(ink, background, 0.5), background, least=3.0),
    }


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21, as WCAG defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """So much of one colour, the rest of another."""
    parts = (round(share * a + (1 - share) * b) for a, b in zip(_channels(one), _channels(other), strict=True))
    return "#" + "".join(f"{part:02x}" for part in parts)


def readable(colour: str, background: str, *, least: float = READABLE) -> str:
    """The colour, moved towards black or white until it can be read on the background."""
    pole = "#000000" if contrast("#000000", background) >= contrast("#ffffff", background) else "#ffffff"
    for step in range(21):
        moved = mixed(pole, colour, step / 20)
        if contrast(moved, background) >= least:
            return moved
    return pole


def _channels(colour: str) -> tuple[int, int, int]:
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _luminance(colour: str) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _logo(wish: str | None, folder: Path) -> Logo | None:
    if not wish:
        return None
    path = folder / wish  # an absolute path stays as it is
    kind = PICTURES.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"assistant.logo is {wish!r}; expected a file that ends in {', '.join(PICTURES)}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"assistant.logo: cannot read {path} ({error.strerror}). Give a file beside the settings."
        ) from None
    if len(content) > _LARGEST_LOGO:
        raise ConfigError(f"assistant.logo: {path} has {len(content):,} bytes; the most is {_LARGEST_LOGO:,}.")
    return Logo(content, kind)
