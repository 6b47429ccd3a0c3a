"""Replies of every shape that was seen or reported."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import CodeBlock, Reply, Usage, parse_reply, request_body
from segmind_jupyter.errors import ReplyError

HELLO = [{"role": "user", "content": "Hello"}]
ANTHROPIC = {
    "id": "msg_1",
    "content": [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Hello "},
        {"type": "text", "text": "there"},
    ],
    "model": "claude-4-sonnet",
    "stop_reason": "max_tokens",
    "usage": {"input_tokens": 5, "output_tokens": 3},
}
OPENAI = {
    "choices": [{"message": {"content": "Hello there"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}
GEMINI = {
    "candidates": [
        {
            "content": {"parts": [{"text": "Hello "}, {"text": "there"}]},
            "finishReason": "MAX_TOKENS",
        }
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3},
}


@pytest.mark.parametrize("body", [ANTHROPIC, OPENAI, GEMINI], ids=["anthropic", "openai", "gemini"])
def test_every_providers_shape_is_the_same_reply(body):
    """Text, tokens and the cut flag, from wherever the provider puts them."""
    reply = parse_reply(body)
    assert reply.text == "Hello there"
    assert reply.usage == Usage(5, 3)
    assert reply.usage.total_tokens == 8
    assert reply.cut
    assert reply.raw is body


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("just words", "just words"),
        ({"content": "a string"}, "a string"),
        ({"content": []}, ""),
        ({"content": [{"type": "text", "text": ""}]}, ""),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}]}, "a"),
        ({"content": [{"type": "text", "text": None}, {"type": "text"}, 7, "x"]}, ""),
    ],
)
def test_unusual_places_for_the_text(body, text):
    """An empty answer is an answer: the model may have nothing to say."""
    assert parse_reply(body).text == text


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (json.dumps(ANTHROPIC), "Hello there"),
        (ANTHROPIC, "Hello there"),
        (json.dumps(OPENAI), "Hello there"),
        ("just words", "just words"),
        ("7", "7"),
        ("[1, 2]", "[1, 2]"),
        ("{broken", "{broken"),
        ('"quoted"', '"quoted"'),
    ],
)
def test_the_result_of_a_v2_job_is_the_same_reply(output, text):
    """`output` is the model's JSON in a string, the JSON itself, or the text."""
    metrics = {"inference_time": 13.06, "cost": 0.02, "remaining_credits": 4.2}
    reply = parse_reply({"status": "COMPLETED", "output": output, "metrics": metrics})
    assert (reply.text, reply.cost, reply.remaining_credits) == (text, 0.02, 4.2)


def test_the_result_of_a_v2_job_without_output_is_the_answer():
    """The vendor's SDK takes the body itself then."""
    assert parse_reply({"status": "COMPLETED", **ANTHROPIC}).text == "Hello there"


def test_replies_can_be_hashed_and_compared():
    """They go into sets and dictionaries, as frozen things do."""
    assert len({parse_reply(ANTHROPIC), parse_reply(ANTHROPIC), parse_reply(OPENAI)}) == 2


@pytest.mark.parametrize(
    "body", [None, [], 7, True, {}, {"error": "x"}, {"choices": []}, {"content": {}}]
)
def test_a_body_without_text_is_an_error_that_names_what_is_there(body):
    """Never a reply that is empty for want of understanding."""
    with pytest.raises(ReplyError, match=r"keys|JSON"):
        parse_reply(body)


@pytest.mark.parametrize(
    "usage", [None, [], "5", {"input_tokens": "x"}, {"input_tokens": -1}, {"input_tokens": True}]
)
def test_odd_usage_is_unknown_usage(usage):
    """A figure that makes no sense is not shown."""
    assert parse_reply({"content": "x", "usage": usage}).usage.input_tokens is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["content", "text", "type", "choices", "message", "usage", "candidates"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_reply_or_a_reply_error(body):
    """Nothing that a server can say crashes the parser."""
    try:
        reply = parse_reply(body)
    except ReplyError:
        return
    assert isinstance(reply.text, str)
    assert isinstance(reply.usage.total_tokens, int | None)


def test_code_blocks_follow_commonmark():
    """Indented fences, tildes, fences in lists; an open fence runs to the end."""
    text = "Do:\n```Python title=x\na = 1\n```\n- item\n  ~~~\n  b\n  ~~~\n```\nopen"
    assert Reply(text=text).code_blocks == [
        CodeBlock("python", "a = 1\n"),
        CodeBlock("", "b\n"),
        CodeBlock("", "open"),
    ]


@given(
    st.lists(st.sampled_from(["```", "````", "~~~", "```py", "``` `", " ~~~~", "    ```", "a", ""]))
)
def test_a_long_text_is_read_for_its_fences_alone(lines: list[str]):
    """Those are the same as where Markdown is read whole, as long as they stand by themselves."""
    text = "\n".join(lines)
    short, long = Reply(text=text), Reply(text="words\n\n" * 30_000 + text)
    assert [b.code.strip() for b in long.code_blocks] == [b.code.strip() for b in short.code_blocks]


def test_no_text_takes_the_code_blocks_for_ever():
    """Each took the parser from seconds to hours."""
    for text in (
        "[" * 50_000,
        "[" * 1_000_000,
        "<a\n" * 300_000,
        "-\n" * 300_000,
        "```a\n" * 100_000,
    ):
        assert len(Reply(text=text + "\n\n~~~\nx\n").code_blocks) == 1


@pytest.mark.parametrize(
    "text",
    ['{"a": [1]}', 'Here:\n```json\n{"a": [1]}\n```\nDone.', '```\nno\n```\n```\n{"a": [1]}\n```'],
)
def test_json_alone_or_in_a_fence(text):
    """Prose around a fenced block does not hinder."""
    assert Reply(text=text).json() == {"a": [1]}


def test_a_reply_that_is_no_json_keeps_its_text():
    """The error quotes it and says where the text is."""
    with pytest.raises(ReplyError, match=r"reply\.text"):
        Reply(text="Sorry, no.").json()


def test_a_reply_reads_as_its_text():
    """`print(reply)` and f-strings show the answer; the repr hides the raw body."""
    reply = parse_reply(ANTHROPIC)
    assert f"{reply}" == "Hello there"
    assert "thinking" not in repr(reply)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_parameters_are_forwarded_as_they_are(params):
    """Whatever the model takes, none of it is renamed or dropped."""
    params.pop("messages", None)
    params.pop("instruction", None)
    params.pop("stream", None)
    body = json.loads(json.dumps(request_body(HELLO, **params)))
    assert body == {**params, "messages": HELLO}
