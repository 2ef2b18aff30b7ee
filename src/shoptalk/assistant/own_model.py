"""A language model of one's own that words answers, in this process: no endpoint, no key, no text leaves the machine.

    [assistant.generator]
    model = "runs/company"          # a run, a model's folder, or smollm2; without a base_url

It reads the question and the passages as an endpoint's model does, and its words go through the same gate. Visitors
who ask at the same time are answered together. What takes longer than `timeout` is cut after its last whole sentence.
"""

from collections.abc import Sequence

from shoptalk.assistant.assistant_settings import GeneratorSettings
from shoptalk.assistant.generator import NO_ANSWER, WordsAnswers, instructions, question_with
from shoptalk.assistant.ground import whole_sentences
from shoptalk.assistant.retrieve import Found
from shoptalk.errors import ConfigError
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer, open_writer
from shoptalk.text.chat import Message


class OwnModel(WordsAnswers):
    """Asks the model; many threads may do so at once.

    Raises:
        BaseModelError, InputError: the model cannot be opened, or is no language model.
        ConfigError: it has no chat template, or one that takes no instructions.
    """

    def __init__(self, settings: GeneratorSettings, *, name: str, sentences: int, writer: Writer | None = None) -> None:
        super().__init__(settings)
        self._system = instructions(name, sentences)
        self._writer = writer or open_writer(settings.model)
        room = self._writer.context - len(self._ids("?", ())) - settings.most_tokens
        if room < 1:
            raise ConfigError(
                f"generator.model {settings.model!r} reads {self._writer.context:,} tokens at once, and the "
                f"instructions with most_tokens = {settings.most_tokens} leave no room for a passage. Give a smaller "
                "most_tokens, or a model with a longer context, such as smollm2."
            )

    def words(self, question: str, found: Sequence[Found]) -> str | None:
        """What the model says; None where it fails, rests after failures, or says that the passages do not answer."""
        if self.breaker.resting:
            return None
        try:
            ids = self._fitting(question, found)
        except ConfigError:  # its template changes what it is asked
            self.breaker.count(failed=True)
            return None
        if ids is None:
            return None
        request = GenerationRequest(
            ids,
            max_tokens=self._settings.most_tokens,
            temperature=self._settings.temperature,
            seconds=self._settings.timeout,
        )
        try:
            (generated,) = self._writer.write([request])
        except Exception:  # models raise anything
            self.breaker.count(failed=True)
            return None
        text = generated.text.strip()
        if generated.reason in ("time", "length", "context"):
            text = whole_sentences(text)
        late = generated.reason == "time" and not text
        if not late or 2 * generated.waited < self._settings.timeout:  # else others had most of its time
            self.breaker.count(failed=late)
        return None if not text or text.upper().startswith(NO_ANSWER) else text

    def _ids(self, question: str, found: Sequence[Found]) -> tuple[int, ...]:
        return self._writer.chat([Message("system", self._system), Message("user", question_with(question, found))])

    def _fitting(self, question: str, found: Sequence[Found]) -> tuple[int, ...] | None:
        """The prompt with as many of the best passages as there is room for; None where there is none for any."""
        room = self._writer.context - self._settings.most_tokens
        for count in range(len(found), 0, -1):
            ids = self._ids(question, found[:count])
            if len(ids) <= room:
                return ids
        return None
