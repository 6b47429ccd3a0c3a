"""Replies of every shape that was seen or reported, and the sums over calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import CodeBlock, Ledger, Reply, Usage, parse_reply
from segmind_jupyter.errors import ReplyError

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


def test_a_reply_is_its_text_with_what_it_took():
    """The parts that are text in one piece; it prints as that, and equal ones are one in a set."""
    reply = parse_reply(ANTHROPIC)
    assert f"{reply}" == reply.text == "Hello there"
    assert (reply.usage, reply.usage.total_tokens) == (Usage(5, 3), 8)
    assert reply.cut
    assert reply.raw is ANTHROPIC
    assert "thinking" not in repr(reply)
    assert len({reply, parse_reply(ANTHROPIC), parse_reply("Hi")}) == 2


def test_a_body_without_text_is_an_error_that_names_what_is_there():
    """Never a reply that is empty for want of understanding."""
    for body in (None, [], 7, True, {}, {"error": "x"}, {"choices": []}, {"content": {}}):
        with pytest.raises(ReplyError, match=r"keys|JSON"):
            parse_reply(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "text", "type", "choices", "message", "candidates"]),
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


def test_code_blocks():
    """Indented fences, tildes, fences in lists; an open fence runs to the end."""
    text = "Do:\n```Python title=x\na = 1\n```\n- item\n  ~~~\n  b\n  ~~~\n```\nopen"
    assert Reply(text=text).code_blocks == [
        CodeBlock("python", "a = 1\n"),
        CodeBlock("", "b\n"),
        CodeBlock("", "open"),
    ]


def test_no_text_takes_the_code_blocks_for_ever():
    """A parser of Markdown takes from seconds to hours for these."""
    for text in (
        "[" * 50_000,
        "[" * 1_000_000,
        "<a\n" * 300_000,
        "-\n" * 300_000,
        "```a\n" * 99_999,
    ):
        assert len(Reply(text=text + "\n\n~~~\nx\n").code_blocks) == 1


def test_json_alone_or_in_a_fence():
    """Prose around a fenced block does not hinder; where there is none, the text is at hand."""
    fenced = 'Here:\n```json\n{"a": [1]}\n```\nDone.'
    for text in ('{"a": [1]}', fenced, '```\nno\n```\n```\n{"a": [1]}\n```'):
        assert Reply(text=text).json() == {"a": [1]}
    with pytest.raises(ReplyError, match=r"reply\.text"):
        Reply(text="Sorry, no.").json()


COUNTS = st.none() | st.integers(0, 10**6)
#: Sixteenths, whose sums are exact.
COSTS = st.none() | st.integers(0, 1000).map(lambda n: n / 16)
REPLIES = st.builds(
    lambda come, go, cached, cost: Reply(text="", usage=Usage(come, go, cached), cost=cost),
    COUNTS, COUNTS, COUNTS, COSTS,
)  # fmt: skip


class TestLedger:
    """Sums over the calls of a kernel, and the calls themselves."""

    @given(st.lists(st.tuples(st.sampled_from("abc"), REPLIES)))
    def test_sums_are_those_of_the_calls_by_model_in_order_of_first_use(self, calls):
        """What the server did not say counts as nothing, and an untold cost stays untold."""
        ledger = Ledger()
        for model, reply in calls:
            ledger.add(reply, model=model)
        assert list(ledger.by_model()) == list(dict.fromkeys(model for model, _ in calls))
        for sums, replies in [
            (ledger.total(), [reply for _, reply in calls]),
            *(
                (sums, [r for m, r in calls if m == name])
                for name, sums in ledger.by_model().items()
            ),
        ]:
            costs = [reply.cost for reply in replies if reply.cost is not None]
            assert (sums.calls, sums.cost) == (len(replies), sum(costs) if costs else None)
            for name in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
                told = sum(getattr(reply.usage, name) or 0 for reply in replies)
                assert getattr(sums, name) == told

    def test_figures_that_no_call_has_are_unknown(self):
        """A table of 64-bit numbers would break on them, and sums for the rest of the session."""
        for n in (2**63, 10**50, -1, -(2**63), float("inf"), float("nan"), "x", None, True, 1e300):
            usage = dict.fromkeys(("input_tokens", "output_tokens", "cache_read_input_tokens"), n)
            reply = parse_reply({"content": "Hi", "usage": usage}, headers={"x-cost": str(n)})
            assert reply.usage == Usage()
            assert abs(reply.cost or 0) < 1e9
        for odd in (None, [], "5"):
            assert parse_reply({"content": "x", "usage": odd}).usage == Usage()
