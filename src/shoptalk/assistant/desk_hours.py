"""When people are at the desk: the section [assistant.hours] of the settings."""

from datetime import datetime, time, timedelta

from shoptalk.assistant.assistant_settings import DAYS, AssistantSettings


def is_open(settings: AssistantSettings, moment: datetime) -> bool:
    """Whether people are at the desk; always where no hours are given."""
    if not settings.hours:
        return True
    span = settings.hours.get(DAYS[moment.weekday()], "closed")
    return span != "closed" and span[:5] <= f"{moment:%H:%M}" < span[6:]


def opens_at(settings: AssistantSettings, moment: datetime) -> datetime:
    """When people are at the desk from `moment` on: at once where they are there, or never are."""
    if is_open(settings, moment):
        return moment
    for days in range(8):
        day = moment.date() + timedelta(days=days)
        span = settings.hours.get(DAYS[day.weekday()], "closed")
        if span == "closed":
            continue
        opening = datetime.combine(day, time.fromisoformat(span[:5]), moment.tzinfo)
        if opening > moment:
            return opening
    return moment
