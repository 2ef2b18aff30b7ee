"""The server's settings: the section [serve] of RUN/assistant.toml, or of the file given with --config."""

from pathlib import Path

from pydantic import Field

from shoptalk.assistant.assistant_settings import FILE, settings_section
from shoptalk.config.settings import validate
from shoptalk.records import Frozen

# The upper bounds are far above what anybody needs. Beyond them times and dates cannot be reckoned with.
_YEAR = 366 * 24 * 60.0  # minutes
_MOST_A_MINUTE = 1_000_000_000


class ServeSettings(Frozen):
    """Times, limits and what may be reached."""

    turn_seconds: float = Field(default=2.0, ge=0.0, le=30.0, description="messages that follow so fast are one turn")
    handover_minutes: float = Field(
        default=15.0, gt=0.0, le=_YEAR, description="until a hand-over that nobody took comes back"
    )
    most_waiting: int = Field(
        default=64, ge=1, le=1_000_000, description="messages being answered at once; more are told to wait"
    )
    threads: int = Field(default=4, ge=1, le=64, description="replies that are worked out at once")
    longest_message: int = Field(default=8_000, ge=100, description="characters")
    largest_body: int = Field(default=1_000_000, ge=10_000, description="bytes of a request")
    body_seconds: float = Field(default=10.0, gt=0.0, le=3_600.0, description="in which a request must have arrived")
    per_key: int = Field(default=6_000, ge=1, le=_MOST_A_MINUTE, description="requests a minute")
    per_visitor: int = Field(default=60, ge=1, le=_MOST_A_MINUTE, description="requests a minute")
    per_address: int = Field(
        default=600, ge=1, le=_MOST_A_MINUTE, description="requests a minute of visitors at one address"
    )
    token_minutes: float = Field(default=15.0, gt=0.0, le=_YEAR, description="that a visitor's token is valid")
    resume_days: float = Field(
        default=30.0, gt=0.0, le=3_660.0, description="in which a visitor may come back to a conversation"
    )
    private_targets: tuple[str, ...] = Field(
        default=(), description="hosts inside your own network that webhooks and knowledge may reach"
    )


def load_serve_settings(run: Path, path: Path | None = None) -> ServeSettings:
    """The section [serve] of `path`, else of `RUN/assistant.toml`; else the defaults.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of range.
    """
    file = path or run / FILE
    if path is None and not file.exists():
        return ServeSettings()
    return validate(ServeSettings, settings_section(file, "serve"), prefix="serve")
