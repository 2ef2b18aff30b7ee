"""Writing from prompts: what transformers' `generate` writes, however many texts, drafts and turns there are."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import BaseModelError, ConfigError, InputError
from shoptalk.nn.decoding import agreeing
from shoptalk.nn.decoding.arithmetic import faster_weights, store_weights
from shoptalk.nn.decoding.forward import StockForward
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.int8_weights import round_matrices
from shoptalk.nn.native import library
from shoptalk.nn.precision import Precision
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.text.chat import Message
from tests.nn.decoding.models import (
    CONTEXT,
    MODELS,
    assert_same,
    by_transformers,
    compiled_size,
    greedy,
    learned_positions,
    tiny,
    writer_of,
)
from tests.tiny_lms import beginning_with

needs_kernels = pytest.mark.skipif(library() is None, reason="no C++ compiler, or SHOPTALK_NATIVE=0")
# Few letters, so that runs of them come again and drafts are right now and then.
PROMPTS = st.lists(st.integers(2, 9), min_size=1, max_size=40).map(lambda ids: (0, *ids))
HARD = settings(deadline=None, max_examples=25)


@pytest.mark.parametrize("name", MODELS)
@HARD
@given(ids=PROMPTS)
def test_greedy_tokens_are_those_of_generate(name: str, ids: tuple[int, ...]) -> None:
    product = MODELS[name]()
    (found,) = greedy(writer_of(name), [ids], 24)
    assert_same(product, ids, found.ids, by_transformers(product, ids, 24))
    whole = product.tokenizer.decode(found.ids, skip_special_tokens=True)
    assert found.text == (whole if found.reason == "end" else whole.rstrip("\ufffd"))


@pytest.mark.parametrize("name", MODELS)
@HARD
@given(prompts=st.lists(PROMPTS, min_size=2, max_size=7))
def test_texts_side_by_side_are_those_of_each_text_alone(name: str, prompts: list[tuple[int, ...]]) -> None:
    product, alone = MODELS[name](), writer_of(name, drafts=0, reuse=False)
    together = greedy(writer_of(name, slots=3), prompts, 16)
    for ids, found in zip(prompts, together, strict=True):
        (expected,) = greedy(alone, [ids], 16)
        assert_same(product, ids, found.ids, expected.ids)
        assert found.reason == expected.reason or found.ids != expected.ids


@needs_kernels
@HARD
@given(ids=PROMPTS)
def test_the_compiled_pass_writes_what_the_stock_model_writes(ids: tuple[int, ...]) -> None:
    compiled, stock = writer_of("llama"), writer_of("llama", compiled=False)
    assert compiled._compiled is not None and stock._compiled is None
    (found,), (expected,) = greedy(compiled, [ids], 24), greedy(stock, [ids], 24)
    assert_same(compiled_size(), ids, found.ids, expected.ids)


@HARD
@given(ids=PROMPTS, name=st.sampled_from(sorted(MODELS)))
def test_drafts_change_the_passes_and_not_the_text(ids: tuple[int, ...], name: str) -> None:
    (plain,), (drafted,) = greedy(writer_of(name, drafts=0), [ids], 24), greedy(writer_of(name), [ids], 24)
    assert_same(MODELS[name](), ids, drafted.ids, plain.ids)
    assert plain.drafted == 0 and drafted.steps <= plain.steps
    assert drafted.accepted <= drafted.drafted


@HARD
@given(first=PROMPTS, rest=PROMPTS, name=st.sampled_from(sorted(MODELS)))
def test_the_next_turn_begins_with_the_states_of_the_turn_before(
    first: tuple[int, ...], rest: tuple[int, ...], name: str
) -> None:
    writer, plain = Writer(MODELS[name](), slots=2), writer_of(name, reuse=False)
    (turn,) = greedy(writer, [first], 6)
    ids = (*first, *turn.ids, *rest)
    (found,), (expected,) = greedy(writer, [ids], 8), greedy(plain, [ids], 8)
    assert found.reused >= len(first) and expected.reused == 0
    assert_same(MODELS[name](), ids, found.ids, expected.ids)


def test_a_beginning_that_two_prompts_share_is_copied_and_leaves_the_first_its_own() -> None:
    writer, plain = Writer(compiled_size(), slots=3), writer_of("llama", reuse=False)
    system, one, two = (0, *range(10, 30)), tuple(range(40, 70)), tuple(range(80, 90))
    first, second = (*system, *one), (*system, *two)
    prompts = [first, second, (*first, 9), second]
    for ids, least in zip(prompts, (0, len(system), len(first), len(second) - 1), strict=True):
        (found,), (expected,) = greedy(writer, [ids], 8), greedy(plain, [ids], 8)
        assert found.reused >= least
        assert_same(compiled_size(), ids, found.ids, expected.ids)


def test_many_threads_may_ask_one_writer() -> None:
    writer = Writer(tiny(), slots=3)
    prompts = [(0, *range(2 + number, 12 + number)) for number in range(9)]
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        (found[number],) = greedy(writer, [prompts[number]], 12)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == len(prompts)
    for number, ids in enumerate(prompts):
        assert_same(tiny(), ids, found[number].ids, by_transformers(tiny(), ids, 12))


def test_a_text_that_streams_is_not_held_up_until_another_ends() -> None:
    writer = Writer(tiny(), slots=2, drafts=0)
    requests = [GenerationRequest((0, 5, 6), max_tokens=80, temperature=1.0, seed=1)]
    requests.append(GenerationRequest((0, 7), max_tokens=4, temperature=1.0, seed=4))
    alone = [Writer(tiny(), slots=1, drafts=0).write([request])[0] for request in requests]
    long, short = (writer.begin(request) for request in requests)
    pieces = iter(long)
    first = next(pieces)
    assert short.result().ids == alone[1].ids
    assert not long._row.over and long._row.pieces  # four tokens came to it, too, and none of the other 76
    assert long._row.written <= 2 + len(alone[1].ids)
    assert "".join([first, *pieces]) == alone[0].text and len(alone[0].ids) > 8


# Streaming, stopping, sampling --------------------------------------------------------------------------------------


@HARD
@given(ids=PROMPTS, seed=st.integers(0, 99))
def test_pieces_together_are_the_text(ids: tuple[int, ...], seed: int) -> None:
    writing = writer_of("tiny").begin(GenerationRequest(ids, max_tokens=20, temperature=2.0, seed=seed))
    pieces = list(writing)
    assert "".join(pieces) == writing.result().text


def test_a_text_that_is_cut_within_a_character_ends_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tiny(), slots=1)
    emoji = iter(writer.product.tokenizer("ab😀")["input_ids"])
    writing = writer.begin(GenerationRequest((0, 5, 6), max_tokens=4))
    monkeypatch.setattr(writing._row, "_choice", lambda logits: next(emoji))
    assert "".join(writing) == writing.result().text == "ab" and len(writing.result().ids) == 4


@HARD
@given(ids=PROMPTS, seed=st.integers(0, 99), begin=st.integers(0, 10), size=st.integers(1, 4))
def test_a_text_ends_before_its_stop_string_wherever_tokens_cut_it(
    ids: tuple[int, ...], seed: int, begin: int, size: int
) -> None:
    writer = writer_of("tiny")
    whole = writer.write([GenerationRequest(ids, max_tokens=20, temperature=1.0, seed=seed)])[0].text
    stop = whole[begin : begin + size]
    if not stop or "\ufffd" in stop:
        return
    writing = writer.begin(GenerationRequest(ids, max_tokens=20, temperature=1.0, seed=seed, stop=(stop, "never!")))
    pieces, result = list(writing), writing.result()
    assert "".join(pieces) == result.text == whole[: whole.index(stop)]
    assert result.reason == "stop"


def test_a_seed_draws_the_same_text_again_with_drafts_and_beside_others() -> None:
    request = GenerationRequest((0, *[5, 6, 7] * 5), max_tokens=20, temperature=1.3, top_p=0.9, seed=7)
    others = [GenerationRequest((0, 9, 8), max_tokens=9, temperature=1.0, seed=n) for n in range(3)]
    alone = writer_of("tiny", drafts=0, reuse=False).write([request])[0]
    assert writer_of("tiny").write([request, *others])[0].ids == alone.ids
    assert writer_of("tiny").write([request])[0].ids == alone.ids
    other = GenerationRequest(request.ids, max_tokens=20, temperature=1.3, top_p=0.9, seed=8)
    assert writer_of("tiny").write([other])[0].ids != alone.ids


def test_why_a_text_ended_is_told() -> None:
    writer = writer_of("tiny")

    def reason(**numbers: Any) -> str:
        request = GenerationRequest((0, 5, 6), **{"max_tokens": 200, "temperature": 1.0} | numbers)
        return str(writer.write([request])[0].reason)

    assert reason(max_tokens=3) == "length"
    assert reason(seconds=0.0) == "time"
    assert {reason(seed=seed) for seed in range(12)} == {"end", "context"}


def test_a_text_that_fills_the_context_ends_there() -> None:
    product = learned_positions()
    ids = (0, *[7] * (CONTEXT - 4))
    (found,) = greedy(writer_of("gpt2"), [ids], 50)
    assert (len(ids) + len(found.ids) == CONTEXT and found.reason == "context") or found.reason == "end"
    assert_same(product, ids, found.ids, by_transformers(product, ids, 3)[: len(found.ids)])


def test_a_text_that_nobody_waits_for_gives_its_slot_back() -> None:
    writer = Writer(tiny(), slots=1)
    left = writer.begin(GenerationRequest((0, 5, 6), max_tokens=50, temperature=1.0))
    for _ in left:
        break
    (found,) = greedy(writer, [(0, 7, 8)], 5)
    assert_same(tiny(), (0, 7, 8), found.ids, by_transformers(tiny(), (0, 7, 8), 5))
    with pytest.raises(RuntimeError, match="nobody waited"):
        left.result()


def test_a_failing_pass_is_told_to_all_whom_it_read_and_the_next_text_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = Writer(tiny(), slots=2)
    reading, other = (writer.begin(GenerationRequest((0, 5, number), max_tokens=9)) for number in (6, 7))
    for writing in (reading, other):
        writing.ask()
    writer._step()
    with monkeypatch.context() as patch:
        patch.setattr(StockForward, "__call__", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
        for writing in (reading, other):
            with pytest.raises(MemoryError, match="no room"):
                writing.result()
    (found,) = greedy(writer, [(0, 5, 6)], 5)
    assert found.reused == 0
    assert_same(tiny(), (0, 5, 6), found.ids, by_transformers(tiny(), (0, 5, 6), 5))


def test_what_one_texts_own_tokens_raise_ends_that_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tiny(), slots=2)
    good, bad = (writer.begin(GenerationRequest((0, 5, number), max_tokens=9)) for number in (6, 7))
    monkeypatch.setattr(bad._row._text, "add", lambda token: (_ for _ in ()).throw(IndexError("token 9,999")))
    for writing in (good, bad):
        writing.ask()
    assert_same(tiny(), (0, 5, 6), good.result().ids, by_transformers(tiny(), (0, 5, 6), 9))
    with pytest.raises(IndexError, match="token 9,999"):
        bad.result()


def test_a_prompt_that_cannot_be_read_fails_neither_those_who_write_nor_those_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = Writer(tiny(), slots=3, drafts=0, reuse=False)
    writings = [writer.begin(GenerationRequest((0, 5, number), max_tokens=9)) for number in (6, 7, 8)]
    forward = writer._forward

    def broken(feeds: Any) -> Any:
        if any(tuple(feed.ids)[:3] == (0, 5, 7) for feed in feeds):
            raise MemoryError("no room")
        return forward(feeds)

    monkeypatch.setattr(writer, "_forward", broken)
    writings[0].ask()
    writer._step()
    for writing in writings[1:]:
        writing.ask()
    for writing, last in ((writings[2], 8), (writings[0], 6)):
        assert_same(tiny(), (0, 5, last), writing.result().ids, by_transformers(tiny(), (0, 5, last), 9))
    with pytest.raises(MemoryError, match="no room"):
        writings[1].result()


# Waiting ------------------------------------------------------------------------------------------------------------


def test_a_text_whose_time_is_over_before_it_has_a_slot_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tiny(), slots=1, drafts=0)
    writer.ends = frozenset()
    read: list[int] = []
    forward = writer._forward
    monkeypatch.setattr(writer, "_forward", lambda feeds: read.extend(feeds[0].ids[:2]) or forward(feeds))
    holding = iter(writer.begin(GenerationRequest((0, 5, 6), max_tokens=80, temperature=1.0)))
    next(holding)
    late = writer.begin(GenerationRequest((0, 9, 9), max_tokens=9, seconds=0.01)).result()
    assert (late.reason, late.ids, late.steps) == ("time", (), 0) and late.waited > 0.01
    assert 9 not in read
    holding.close()
    (found,) = greedy(writer, [(0, 9, 9)], 3)
    assert found.reason == "length" and found.waited < 1.0


def test_a_prompt_that_is_refused_leaves_none_of_the_others_to_be_written() -> None:
    writer = Writer(tiny(), slots=1)
    good, long = GenerationRequest((0, 5), max_tokens=5), GenerationRequest(tuple([5] * CONTEXT))
    with pytest.raises(InputError, match="96 tokens"):
        writer.write([good, long])
    writer.begin(good)  # nobody ever iterates over it
    assert not writer._waiting
    (found,) = greedy(writer, [(0, 7, 8)], 5)
    assert found.steps <= 5 and not writer._waiting and not writer._rows


def test_where_one_of_several_texts_fails_none_of_the_others_is_written_on(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tiny(), slots=1)
    with monkeypatch.context() as patch:
        patch.setattr(StockForward, "__call__", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
        with pytest.raises(MemoryError, match="no room"):
            greedy(writer, [(0, 7, 8), (0, 7, 9), (0, 7, 10)], 5)
    assert not writer._waiting and not writer._rows and writer._slots.free


# What is refused ----------------------------------------------------------------------------------------------------


def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    with pytest.raises(InputError, match=r"has 96 tokens, and prompt and text together may have 96 with tiny"):
        writer_of("tiny").begin(GenerationRequest(tuple([5] * CONTEXT)))
    with pytest.raises(InputError, match="The prompt is empty"):
        writer_of("tiny").begin(GenerationRequest(()))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": ("",)}, "stop string is empty"),
    ],
)
def test_a_number_out_of_range_is_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GenerationRequest((0,), **numbers)


def test_a_model_whose_states_cannot_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreeing, "_distances", lambda *_: np.array([0.5]))
    with pytest.raises(BaseModelError, match=r"'tiny' cannot be read token by token.*logits are off by 0.5"):
        Writer(tiny())


@needs_kernels
def test_a_compiled_pass_that_is_wrong_is_not_used_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    product = compiled_size(3)
    real = agreeing.compiled_forward

    def broken(backbone: Any, cache: Any) -> Any:
        forward = real(backbone, cache)
        assert forward is not None
        with torch.inference_mode():
            forward._step.cosines[3:] *= 0.5
        return forward

    monkeypatch.setattr(agreeing, "compiled_forward", broken)
    assert Writer(product)._compiled is None
    assert "the compiled pass of this llama does not give what transformers gives" in capsys.readouterr().err


# Types, prompts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_weights_of_bfloat16_write_alike_as_far_as_logits_are_apart(compiled: bool) -> None:
    product = compiled_size(1).copy()
    exact = Writer(compiled_size(1))
    store_weights(product, "bfloat16")
    writer = Writer(product, compiled=compiled)
    assert {parameter.dtype for parameter in product.network.parameters()} == {torch.bfloat16}
    ids = (0, *range(20, 50))
    (found,), (expected,) = greedy(writer, [ids], 12), greedy(exact, [ids], 12)
    for place, (one, other) in enumerate(zip(found.ids, expected.ids, strict=False)):
        if one != other:
            with torch.inference_mode():
                given = torch.tensor([[*ids, *expected.ids[:place]]])
                logits = compiled_size(1).network.backbone(given).logits[0, -1]
            assert float(logits.max() - logits[one]) < 0.05 * float(logits.std())
            break


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_of_8_bits_are_never_given_to_a_kernel_of_another_type(precision: Precision) -> None:
    product = compiled_size(2).copy()
    round_matrices(product.network.backbone)
    store_weights(product, precision)
    writer = Writer(product)
    assert writer._compiled is None
    ids = (0, *range(20, 50))
    (found,) = greedy(writer, [ids], 12)
    if precision == "float32":
        assert_same(product, ids, found.ids, by_transformers(product, ids, 12))
    assert found.ids or found.reason == "end"


def test_the_faster_type_is_one_of_the_two() -> None:
    assert faster_weights() in {"float32", "bfloat16"}


def test_prompts_are_a_documents_beginning_or_a_conversation() -> None:
    writer = writer_of("tiny")
    decode = writer.product.tokenizer.decode
    assert decode(writer.prompt("hello")) == "<|endoftext|>hello"
    assert decode(writer.chat([Message("user", "hi<|endoftext|>")])) == "u:hi< |endoftext|><|endoftext|>\na:"


def test_a_prompt_begins_with_the_token_that_the_tokenizer_puts_before_texts() -> None:
    model = beginning_with("<|begin|>", tiny_language_model())
    assert model.tokenizer.decode(Writer(model).prompt("One.")) == "<|begin|>One."
    plain = tiny_language_model()
    assert plain.tokenizer.decode(Writer(plain).prompt("One.")) == "<|endoftext|>One."


def test_an_end_token_that_is_no_number_is_refused() -> None:
    model = tiny_language_model()
    model.network.backbone.generation_config.eos_token_id = [5, None]
    assert 5 in Writer(model).ends
    model.network.backbone.generation_config.eos_token_id = ["a", None]
    with pytest.raises(BaseModelError, match=r"names 'a' as an end token \(eos_token_id\)\. Expected a token's number"):
        Writer(model)


def saying(writer: Writer, text: str) -> Writer:
    """The writer of a model that says this and nothing else, token by token."""
    script = writer.product.tokenizer(text, add_special_tokens=False)["input_ids"]
    said = [0]

    def forward(feeds: Any) -> list[Any]:
        (feed,) = feeds
        logits = np.full((1, len(writer.product.network.table)), -9.0, dtype=np.float32)
        logits[0, script[said[0] % len(script)]], said[0] = 9.0, said[0] + 1
        return [logits] if len(feed.ids) else []

    writer._forward = forward  # type: ignore[method-assign]
    return writer


def test_a_turn_ends_where_the_chat_template_ends_it_whatever_the_tokenizers_end_is() -> None:
    model = tiny_language_model()
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace("<|endoftext|>", "<|pad|>")
    writer = saying(Writer(model, slots=1, drafts=0), "Yes.<|pad|>\nu:And now?")
    (written,) = writer.write([GenerationRequest(writer.chat([Message("user", "Hi")]), max_tokens=12)])
    assert (written.text, written.reason) == ("Yes.", "end")
    model.tokenizer.chat_template = None
    assert Writer(model).ends == {0}


def test_a_stop_string_that_is_a_special_token_ends_the_text() -> None:
    writer = saying(Writer(tiny_language_model(), slots=1, drafts=0), "Yes.<|pad|>\nu:And now?")
    for stop, text in ((("<|pad|>",), "Yes."), (("s", "<|pad|>"), "Ye"), (("<|pad",), "Yes.\nu:And")):
        saying(writer, "Yes.<|pad|>\nu:And now?")
        (written,) = writer.write([GenerationRequest((0, 5), max_tokens=11, stop=stop)])
        assert (written.text, written.reason) == (text, "length" if stop == ("<|pad",) else "stop")
