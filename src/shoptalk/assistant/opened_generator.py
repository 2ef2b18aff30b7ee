"""The generator that the settings name, if they name one: an endpoint's model, or one in this process."""

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.generator import Generator, WordsAnswers
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
