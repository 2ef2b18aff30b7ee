"""The assistant's settings: a TOML file with the section [assistant], or `RUN/assistant.toml`.

settings = load_settings(run)                       # RUN/assistant.toml, else the defaults
settings = load_settings(run, Path("shoptalk.toml"))
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from shoptalk.assistant.phrases import PHRASES
from shoptalk.config.settings import Config, did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.records import Frozen

FILE = "assistant.toml"
SECTIONS = ("assistant", "serve")
"""Of a settings file: the assistant's, and its server's."""
FACE = "face."
"""With this begin the names of words on pages, which the server knows; the others are sentences of the assistant's."""
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class GeneratorSettings(Frozen):
    """A language model that words answers: behind any OpenAI-compatible endpoint, or in this process; never needed."""

    model: str = Field(
        description="its name at the endpoint; without base_url a run, a folder (relative to this file) or smollm2"
    )
    base_url: str | None = None
    key_env: str = Field(default="", description="environment variable that holds the key; none is sent without one")

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise ValueError("expected an address such as 'http://localhost:8000/v1'")
        return address

    timeout: float = Field(default=8.0, gt=0.0, le=120.0, description="seconds for one attempt")
    retries: int = Field(default=1, ge=0, le=5)
    failures: int = Field(default=3, ge=1, description="failures in a row after which it is not asked for a while")
    pause: float = Field(default=30.0, gt=0.0, description="seconds for which it is then not asked")
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    most_tokens: int = Field(default=300, ge=16, le=4096)


class AssistantSettings(Frozen):
    """Name, looks, thresholds, rules, hours and the optional generator."""

    name: str = "Assistant"
    greeting: str = ""
    tone: Literal["plain", "friendly", "formal"] = "plain"
    logo: str | None = Field(default=None, description="picture file, relative to this file")
    colours: dict[str, str] = Field(default_factory=dict, description="names of the page's colours and their values")
    rules: str | None = Field(default=None, description="file of business rules, relative to this file")
    pictures: str | None = Field(
        default=None, description="run of pictures that visitors' pictures are looked up in, relative to this file"
    )
    canned: dict[str, str] = Field(default_factory=dict, description="intent = the answer that is always given to it")
    canned_confidence: float = Field(default=0.8, ge=0.0, le=1.0, description="least probability of such an intent")
    person_intents: tuple[str, ...] = Field(default=(), description="intents that are handed to a person")
    threshold: float | None = Field(
        default=None, ge=0.0, le=1.0, description="least confidence of an answer; else the calibrated one, else 0.5"
    )
    clarify: float = Field(default=0.3, ge=0.0, le=1.0, description="least confidence at which it asks back")
    most_sentences: int = Field(default=3, ge=1, le=10, description="of an extractive answer")
    passages: int = Field(default=8, ge=1, le=50, description="read for a reply")
    texts: dict[str, str] = Field(default_factory=dict, description="own wording, such as escalate = '...'")
    hours: dict[str, str] = Field(default_factory=dict, description="monday = '09:00-17:00'; no day: always open")
    timezone: str = "UTC"
    generator: GeneratorSettings | None = None

    @field_validator("hours")
    @classmethod
    def _hours_parse(cls, hours: dict[str, str]) -> dict[str, str]:
        for day, span in hours.items():
            if day not in DAYS:
                raise ValueError(f"{day!r} is no weekday; give {', '.join(DAYS)}")
            hours_match = _HOURS.fullmatch(span)
            if span != "closed" and (hours_match is None or span[:5] >= span[6:]):
                raise ValueError(
                    f"{day} = {span!r}; expected 'HH:MM-HH:MM', the earlier first, at most 24:00, or 'closed'"
                )
        return hours

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {name!r}; give one such as 'Europe/Vienna'") from error
        return name


def load_settings(run: Path, path: Path | None = None) -> AssistantSettings:
    """The settings in `path`, else in `RUN/assistant.toml`, else the defaults. `rules`, `logo`,
    `pictures` and the folder of a generator become absolute paths.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of range.
    """
    file = path or run / FILE
    if path is None and not file.exists():
        return AssistantSettings()
    tree = settings_section(file, "assistant")
    for key in ("rules", "logo", "pictures"):
        if isinstance(tree.get(key), str) and tree[key]:
            tree[key] = str((file.parent / tree[key]).resolve())
    generator = tree.get("generator")
    if isinstance(generator, dict) and generator.get("base_url") is None and isinstance(generator.get("model"), str):
        folder = (file.parent / generator["model"]).resolve()
        tree["generator"] = generator | ({"model": str(folder)} if folder.is_dir() else {})
    settings = validate(AssistantSettings, tree, prefix="assistant")
    replaced = {key: text for key, text in settings.texts.items() if not key.startswith(FACE)}
    refuse_unknown_texts(replaced, PHRASES["en"], PHRASES)
    return settings


def refuse_unknown_texts(texts: Mapping[str, str], known: Iterable[str], languages: Iterable[str]) -> None:
    """Names of sentences that nobody would ever say.

    Raises:
        ConfigError: one is neither the name of a sentence, nor such a name with a language.
    """
    known, languages = list(known), list(languages)
    for name in texts:
        key, _, language = (name, "", "") if name in known else name.rpartition(".")
        if key not in known:
            raise ConfigError(f"assistant.texts has {name!r}, which is no sentence. {did_you_mean(name, known)}")
        if language and language not in languages:
            raise ConfigError(
                f"assistant.texts has {name!r}; expected one of the languages {', '.join(languages)}, "
                f"or {key!r} alone, for all of them."
            )


def settings_section(file: Path, name: str, *, strict: bool = True) -> dict[str, Any]:
    """One section of a settings file; empty where the file lacks it. Unless `strict`, what else is in the file may have
    any names.

    Raises:
        ConfigError: the file cannot be read, what has this name is no section, or the file has something of a name that
            nothing reads, such as a section whose name is misspelt.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Cannot read {file}: {error}. Expected a TOML file with a section [{name}].") from error
    except RecursionError:
        raise ConfigError(
            f"Cannot read {file}: its values are nested too deeply. Expected a TOML file with a section [{name}]."
        ) from None
    if strict:
        _refuse_unknown_names(file, tree)
    section = tree.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{file}: `{name}` is a single value; expected a section [{name}].")
    return dict(section)


def _refuse_unknown_names(file: Path, tree: Mapping[str, Any]) -> None:
    """The file may be a `shoptalk.toml`, which has a run's settings beside the sections of assistant and server."""
    for name in tree:
        if name in SECTIONS or name in Config.model_fields:
            continue
        if name in AssistantSettings.model_fields:
            advice = "Write it below [assistant]."
        elif get_close_matches(name, known := [*SECTIONS, *Config.model_fields], n=1):
            advice = did_you_mean(name, known)
        else:
            advice = f"There is: {', '.join(f'[{section}]' for section in SECTIONS)}."
        raise ConfigError(f"{file} has {name!r}, which nothing reads. {advice}")
