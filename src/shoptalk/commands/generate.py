"""`shoptalk generate`: a language model goes on from a prompt, or answers it, with passages where they are given."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from shoptalk.curate.messages import read_messages
from shoptalk.errors import ConfigError, InputError
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer, open_writer
from shoptalk.nn.precision import Precision
from shoptalk.text.chat import Message

STANDARD_INPUT = "-"
_SAID = {
    "end": "the model ended it",
    "stop": "a stop string ended it",
    "length": "--max-tokens ended it",
    "context": "the context is full",
    "time": "its time was over",
}


class PromptedText:
    """A text as it comes, and afterwards what it took."""

    def __init__(self, writer: Writer, request: GenerationRequest) -> None:
        self._writing = writer.begin(request)
        self._model, self._precision = writer.product.name, writer.precision
        self._begun = time.perf_counter()

    def __iter__(self) -> Iterator[str]:
        return iter(self._writing)

    def result(self) -> dict[str, Any]:
        """What --json prints."""
        generated = self._writing.result()
        seconds = time.perf_counter() - self._begun
        return {
            "model": self._model,
            "precision": self._precision,
            "text": generated.text,
            "reason": generated.reason,
            "prompt_tokens": generated.prompt_tokens,
            "tokens": len(generated.ids),
            "passes": generated.steps,
            "drafted": generated.drafted,
            "accepted": generated.accepted,
            "seconds": round(seconds, 3),
        }


def generate(
    model: str,
    prompt: str | None,
    *,
    passages: Path | None = None,
    raw: bool = False,
    max_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[str] = (),
    precision: str = "auto",
) -> PromptedText:
    """Open the model and begin to write; the text comes when the result is iterated over.

    Args:
        model: a run, a model's folder, a hub id or `smollm2`.
        prompt: text; None and `-` read standard input.
        passages: a file of texts that are put before the prompt: one a line, or JSON Lines with a `text`.
        raw: go on from the prompt as from a document's beginning, although the model has a chat template.
        max_tokens: most tokens that are written.
        temperature: 0 takes the likeliest token each time.
        top_p: the share of probability that is drawn from.
        seed: of every draw.
        stop: strings that end the text.
        precision: of the weights: float32, bfloat16, or auto, which times this machine; the two round differently, and
            may write two texts by one seed.

    Raises:
        InputError: there is no prompt, it is no UTF-8 or too long, the model is none of language, or a number is out of
            range.
    """
    question = _readable(prompt if prompt not in (None, STANDARD_INPUT) else _standard_input())
    texts = [text for text in read_messages(passages, what="passage") if text.strip()] if passages is not None else []
    numbers: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "stop": tuple(stop),
    }
    if precision not in ("auto", *get_args(Precision)):
        raise InputError(f"--precision is {precision!r}; give float32, bfloat16, or auto, which times this machine.")
    try:
        GenerationRequest((0,), **numbers)  # refuses what is out of range before a model is opened
    except ConfigError as error:
        raise ConfigError(str(error).replace("max_tokens", "--max-tokens").replace("top_p", "--top-p")) from error
    writer = open_writer(model, precision=None if precision == "auto" else cast(Precision, precision))
    whole = "\n\n".join([*texts, question])
    if writer.converses and not raw:
        return PromptedText(writer, GenerationRequest(writer.chat([Message("user", whole)]), **numbers))
    return PromptedText(writer, GenerationRequest(writer.prompt(whole), **numbers, continues=True))


def summary(result: dict[str, Any]) -> str:
    """A line about what it took."""
    speed = result["tokens"] / max(result["seconds"], 1e-9)
    guessed = f", {result['accepted']:,} of them guessed" if result["accepted"] else ""
    return (
        f"{result['tokens']:,} tokens in {result['seconds']:.1f} s ({speed:,.0f}/s{guessed}) after a prompt of "
        f"{result['prompt_tokens']:,}, in {result['precision']}; {_SAID[result['reason']]}"
    )


def _readable(prompt: str) -> str:
    if not prompt.strip():
        raise InputError("The prompt is empty. Give some text as an argument, or on standard input.")
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"The prompt is no UTF-8: its character {error.start + 1} is half of one. Send it as UTF-8."
        ) from error
    return prompt


def _standard_input() -> str:
    if sys.stdin.isatty():
        raise InputError("No prompt was given. Give one as an argument, or on standard input: echo TEXT | shoptalk ...")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"Standard input is no UTF-8: byte {error.start + 1} is {error.object[error.start]:#04x}. Convert it, for "
            "example with `iconv -t utf-8`."
        ) from error
