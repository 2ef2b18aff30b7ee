"""The generator that the settings name, if they name one: an endpoint's model, or one in this process."""

from pathlib import Path

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.generator import Generator, WordsAnswers
from shoptalk.assistant.marker import FOLDER
from shoptalk.errors import BaseModelError, ConfigError


def opened_generator(settings: AssistantSettings) -> WordsAnswers | None:
    """What words answers from passages; None where nothing does.

    Raises:
        ConfigError: the endpoint's key is missing, or there is no such model, or it cannot converse.
        InputError: the model is none of language.
    """
    chosen = settings.generator
    if chosen is None:
        return None
    if chosen.base_url is not None:
        return Generator(chosen, name=settings.name, sentences=settings.most_sentences)
    from shoptalk.assistant.own_model import OwnModel  # the libraries of language models, which few assistants need

    try:
        return OwnModel(chosen, name=settings.name, sentences=settings.most_sentences)
    except BaseModelError as error:
        raise ConfigError(
            f"generator.model {chosen.model!r} has no base_url, so it is opened in this process, which fails: {error} "
            "For a model behind an endpoint, give its base_url, such as 'http://localhost:8000/v1'."
        ) from error


def about_generator(run: Path, settings: AssistantSettings, *, marked: bool) -> tuple[str, ...]:
    """What the owner should know of what words answers, and of the grounding head that reads them, which is there where
    they are `marked`.
    """
    folder, chosen = run / FOLDER, settings.generator
    if chosen is None:
        unused = (
            f"The folder {FOLDER} of the run is not used: no generator is set, and answers are the documents' own "
            "sentences."
        )
        return (unused,) if folder.is_dir() else ()
    # Anybody may read /readyz: no address, and no folder of this machine.
    where = "behind the endpoint of the settings" if chosen.base_url is not None else "in this process"
    head = (
        f"Grounding head: loaded from {FOLDER} of the run."
        if marked
        else (
            f"Grounding head: none, so what the generator says is checked by rules alone. `shoptalk finetune MODEL "
            f"SOURCE... --task ground --out RUN/{FOLDER}` makes one."
        )
    )
    return (
        f"Generator: {chosen.model.rpartition('/')[2]}, {where}. Of its sentences only those are said that the "
        "documents say; where there are none, or it fails, the answer is the documents' own sentences.",
        head,
    )
