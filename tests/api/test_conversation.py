"""A conversation: what is committed, what is sent next, and which images go with it."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.api.usage import Totals
from segmind_jupyter.conversation import (
    FIT,
    KEEP_ALL,
    Conversation,
    Draft,
    Exchange,
    ImagePolicy,
    keep_last,
)
from segmind_jupyter.errors import ContentError, SettingsError

Block = dict[str, Any]


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def image(n_bytes: int = 8) -> Block:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * n_bytes}
    return {"type": "image", "source": source}


def gone(label: str) -> Block:
    """What the model reads in the place of an image that is left out."""
    return text(f"[An image that was sent here before: {label}, is no longer attached.]")


def say(conversation: Conversation, *blocks: Block, reply: str = "Yes.", **how: Any) -> Exchange:
    return conversation.commit(conversation.draft(blocks, **how), Reply(text=reply))


def said(messages: Any) -> list[str]:
    """The texts of some messages, one after the other."""
    return [b["text"] for m in messages for b in m["content"] if b["type"] == "text"]


def images(messages: Any) -> list[Block]:
    return [b for m in messages for b in m["content"] if b["type"] == "image"]


# Turns


def test_a_draft_sends_the_conversation_and_the_new_message():
    """Roles alternate and begin and end with the user."""
    conversation = Conversation()
    say(conversation, text("one"), reply="1")
    assert conversation.draft([text("two")]).messages == (
        {"role": "user", "content": [text("one")]},
        {"role": "assistant", "content": [text("1")]},
        {"role": "user", "content": [text("two")]},
    )


def test_a_draft_alone_changes_nothing():
    """A request that failed or was stopped leaves no trace in what is sent next."""
    conversation = Conversation()
    say(conversation, text("one"))
    before = conversation.messages
    conversation.draft([text("fails"), image()], labels=["fig"])
    assert conversation.messages == before
    assert said(conversation.draft([text("two")]).messages) == ["one", "Yes.", "two"]


def test_an_exchange_keeps_what_was_asked_and_answered_and_when():
    """Whoever shows the conversation needs no more."""
    conversation = Conversation(clock=lambda: 12.5)
    prompt, reply = object(), Reply(text="1")
    draft = conversation.draft([text("one")], request=prompt)
    exchange = conversation.commit(draft, reply)
    assert conversation.turns == (exchange,)
    assert exchange.blocks == draft.blocks == (text("one"),)
    assert exchange.reply is reply
    assert exchange.request is draft.request is prompt
    assert exchange.replied_at == 12.5


def test_two_drafts_of_one_moment_are_appended_in_the_order_of_their_replies():
    """Each comes with its own question, so the roles alternate."""
    conversation = Conversation()
    first, second = conversation.draft([text("one")]), conversation.draft([text("two")])
    conversation.commit(second, Reply(text="2"))
    conversation.commit(first, Reply(text="1"))
    assert said(conversation.messages) == ["two", "2", "one", "1"]
    assert [m["role"] for m in conversation.messages] == ["user", "assistant"] * 2


def test_a_draft_from_before_a_clear_stays_out_and_was_paid():
    """Nothing that was cleared comes back, not even by a reply that was on its way."""
    conversation = Conversation()
    say(conversation, text("secret"))
    draft = conversation.draft([text("more of it")])
    conversation.clear()
    exchange = conversation.commit(draft, Reply(text="late"))
    assert exchange not in conversation.turns
    assert conversation.messages == []
    assert conversation.usage.calls == 2


def test_a_draft_from_before_drop_last_is_appended_without_what_was_dropped():
    """Taking one exchange back says nothing about another."""
    conversation = Conversation()
    say(conversation, text("one"), reply="1")
    say(conversation, text("two"), reply="2")
    draft = conversation.draft([text("three")])
    conversation.drop_last()
    conversation.commit(draft, Reply(text="3"))
    assert said(conversation.messages) == ["one", "1", "three", "3"]


def test_drop_last_returns_the_last_exchange_until_there_is_none():
    """It holds what is needed to ask again or to edit."""
    conversation = Conversation()
    exchanges = [say(conversation, text("one")), say(conversation, text("two"))]
    assert [conversation.drop_last() for _ in range(3)] == [*reversed(exchanges), None]
    assert conversation.messages == []


def test_an_exchange_that_is_asked_again_is_replaced_only_once_there_is_a_reply():
    """A failed second try leaves the first reply, which was paid for."""
    conversation = Conversation()
    say(conversation, text("one"), reply="1")
    last = say(conversation, text("two"), reply="2")
    again = conversation.draft(last.blocks, replacing=last)
    assert said(again.messages) == ["one", "1", "two"]
    assert said(conversation.messages) == ["one", "1", "two", "2"]
    conversation.commit(again, Reply(text="two!"))
    assert said(conversation.messages) == ["one", "1", "two", "two!"]


def test_replacing_what_is_gone_by_then_appends():
    """Somebody else dropped it meanwhile."""
    conversation = Conversation()
    last = say(conversation, text("one"))
    again = conversation.draft([text("two")], replacing=last)
    conversation.drop_last()
    conversation.commit(again, Reply(text="2"))
    assert said(conversation.messages) == ["two", "2"]


def test_a_draft_is_committed_once():
    """A second commit, by a callback that ran twice, gives the first exchange and costs nothing."""
    conversation = Conversation()
    draft = conversation.draft([text("one")])
    exchange = conversation.commit(draft, Reply(text="1"))
    conversation.drop_last()
    assert conversation.commit(draft, Reply(text="again")) is exchange
    assert conversation.turns == ()
    assert conversation.usage.calls == 1


def test_model_and_system_of_a_draft_are_those_of_its_moment():
    """They may be changed while a reply is on its way."""
    conversation = Conversation(model="claude-4-sonnet", system="Be brief.", name="eda")
    draft = conversation.draft([text("one")])
    conversation.model, conversation.system = "claude-3-opus", None
    assert (draft.model, draft.system) == ("claude-4-sonnet", "Be brief.")
    assert conversation.draft([text("two")]).model == "claude-3-opus"
    assert conversation.name == "eda"


def test_neither_drafts_nor_exchanges_print_what_they_send():
    """An image has megabytes of base64, and a notebook shows the repr of the last value."""
    conversation = Conversation()
    draft = conversation.draft([image(10_000)], request="x" * 10_000)
    exchange = conversation.commit(draft, Reply(text="1"))
    assert len(repr(draft)) + len(repr(exchange)) < 1_000


# What may not be sent


@pytest.mark.parametrize("blocks", [[], [text("")], [text(" \n"), text("\t")]])
def test_an_empty_message_is_refused(blocks: list[Block]):
    """Nothing that the model could read is left of it."""
    with pytest.raises(ContentError, match="empty"):
        Conversation().draft(blocks)


def test_blank_texts_are_left_out():
    """Anthropic models refuse a text block without a visible character."""
    only = image()
    draft = Conversation().draft(iter([text(" "), only, text("")]))
    assert draft.messages == ({"role": "user", "content": [only]},)
    assert draft.blocks == (only,)


@pytest.mark.parametrize("reply", ["", " \n\t"])
def test_a_reply_without_text_is_sent_back_as_a_placeholder(reply: str):
    """The exchange keeps the reply as it is."""
    conversation = Conversation()
    exchange = say(conversation, text("one"), reply=reply)
    assert said(conversation.messages) == ["one", "(no text)"]
    assert exchange.reply.text == reply


def test_half_a_surrogate_pair_in_a_reply_is_not_sent_back():
    """A server may refuse it, and with it every later request of the conversation."""
    conversation = Conversation()
    say(conversation, text("one"), reply="a\ud83d b 😀")
    assert said(conversation.messages) == ["one", "a? b 😀"]


def test_a_reply_is_sent_back_as_text_whatever_its_json_held():
    """Thinking, tools and images of an answer never come back as blocks."""
    conversation = Conversation()
    raw = {"content": [{"type": "tool_use", "name": "rm"}, text("Yes.")]}
    conversation.commit(conversation.draft([text("one")]), Reply(text="Yes.", raw=raw))
    assert conversation.messages[1] == {"role": "assistant", "content": [text("Yes.")]}


def test_changing_a_message_that_was_handed_out_changes_nothing_here():
    """The lists are made anew for everyone; the blocks are shared."""
    conversation = Conversation()
    say(conversation, text("one"))
    conversation.messages[0]["content"].clear()
    conversation.messages.clear()
    assert said(conversation.messages) == ["one", "Yes."]


def test_requests_share_the_messages_that_they_have_in_common():
    """Each reply keeps its whole request, which would take memory by the square otherwise."""
    conversation = Conversation()
    say(conversation, text("one"), image(0))
    first, second = (conversation.draft([text("and?")]).messages for _ in range(2))
    assert [a is b for a, b in zip(first, second, strict=True)] == [True, True, False]


# Usage


def paid(tokens_in: int, tokens_out: int, cost: float | None = None) -> Reply:
    return Reply(text="Yes.", usage=Usage(tokens_in, tokens_out), cost=cost)


def test_usage_counts_what_was_paid_also_after_it_was_dropped():
    """Dropping and clearing give no money back."""
    conversation = Conversation()
    for reply in (paid(10, 2, 0.5), paid(20, 3), paid(1, 1, 0.25)):
        conversation.commit(conversation.draft([text("one")]), reply)
    before = conversation.usage
    assert before == Totals(calls=3, input_tokens=31, output_tokens=6, cost=0.75)
    conversation.drop_last()
    assert conversation.usage == before
    conversation.clear()
    assert conversation.usage == before


def test_usage_counts_what_was_billed_and_is_no_turn():
    """The reply of a stopped turn that came all the same is added by hand."""
    conversation = Conversation(model="claude-4-sonnet")
    conversation.ledger.add(paid(10, 2, 0.5), model="claude-4-sonnet")
    conversation.ledger.add_unknown()
    assert conversation.usage == Totals(calls=1, input_tokens=10, output_tokens=2, cost=0.5)
    assert conversation.ledger.unknown == 1
    assert conversation.turns == ()


def test_the_ledger_knows_the_model_that_was_asked():
    """Or else the one that answered."""
    conversation = Conversation(model="claude-4-sonnet")
    say(conversation, text("one"))
    conversation.model = None
    conversation.commit(conversation.draft([text("two")]), Reply(text="2", model="claude-x"))
    say(conversation, text("three"))
    assert list(conversation.ledger.by_model()) == ["claude-4-sonnet", "claude-x", "unknown"]


# Images


def fill(conversation: Conversation, count: int, *, n_bytes: int = 8) -> list[Block]:
    """Send images 0, 1, ... in turns of one."""
    pictures = [image(n_bytes) for _ in range(count)]
    for number, picture in enumerate(pictures):
        say(conversation, picture, labels=[f"fig{number}"])
    return pictures


def test_the_same_block_objects_go_into_every_request():
    """An image is encoded once in a conversation; so is what stands in for it."""
    conversation = Conversation(images=keep_last(2))
    first, *others = fill(conversation, 3)
    drafts = [conversation.draft([text("and?")]) for _ in range(2)]
    for draft in drafts:
        assert [id(block) for block in images(draft.messages)] == [id(block) for block in others]
    stand_ins = [draft.messages[0]["content"][0] for draft in drafts]
    assert stand_ins[0] is stand_ins[1]
    assert conversation.turns[0].blocks[0] is first


def test_an_image_that_is_left_out_is_named_in_its_place():
    """The order stays, and no message becomes empty."""
    conversation = Conversation(images=keep_last(1))
    say(
        conversation,
        *(text("this"), image(), text("or this"), image(), text("?")),
        labels=["fig, 800×400 px", "photo"],
    )
    kept = conversation.turns[0].blocks[3]
    draft = conversation.draft([text("the second")])
    assert draft.messages[0]["content"] == [
        text("this"), gone("fig, 800×400 px"), text("or this"), kept, text("?")
    ]  # fmt: skip
    draft = conversation.draft([image()])
    assert draft.messages[0]["content"][3] == gone("photo")


@pytest.mark.parametrize(
    ("count", "said"), [(1, "only the last one is kept"), (2, "only the last 2 are kept")]
)
def test_a_note_counts_what_is_kept(count, said):
    """In words that fit one."""
    conversation = Conversation(images=keep_last(count))
    say(conversation, *[image() for _ in range(count)])
    assert f"({said})" in conversation.draft([image()]).notes[0]


def test_an_image_without_a_label_is_left_out_too():
    """It has no name then, in the request or in the note."""
    conversation = Conversation(images=keep_last(0))
    say(conversation, image(), image(), labels=["a\nb"])
    draft = conversation.draft([text("and?")])
    assert draft.messages[0]["content"] == [
        gone("a b"),
        text("[An image that was sent here before is no longer attached.]"),
    ]
    assert draft.notes == (
        "2 older images are no longer sent (each image is sent once): a b; 1 more. Attach again "
        "what you want to ask about.",
    )


def test_keep_all_leaves_nothing_out():
    """The server has the last word then."""
    conversation = Conversation(images=KEEP_ALL)
    first, several = fill(conversation, 1), [image(), image(), image()]
    say(conversation, *several)
    others = fill(conversation, 120)
    draft = conversation.draft([image()])
    sent = images(draft.messages)[:-1]
    assert list(map(id, sent)) == list(map(id, [*first, *several, *others]))
    assert draft.notes == ()


def test_keep_last_counts_the_new_images_first():
    """Those of the message that is being written are the newest."""
    conversation = Conversation(images=keep_last(3))
    pictures = fill(conversation, 3)
    new = [image(), image()]
    assert list(map(id, images(conversation.draft(new).messages))) == list(
        map(id, [pictures[2], *new])
    )
    assert len(images(conversation.draft([image()] * 5).messages)) == 5


def test_fit_holds_twenty_images_and_then_makes_room_for_five():
    """The beginning of what is sent changes once in five images rather than with each."""
    conversation = Conversation()
    counts, told = [], []
    for number in range(32):
        draft = conversation.draft([image()], labels=[f"fig{number}"])
        conversation.commit(draft, Reply(text="Yes."))
        counts.append(len(images(draft.messages)))
        told += [number] if draft.notes else []
    assert counts == [*range(1, 21), *range(15, 21), *range(15, 21)]
    assert told == [20, 26]


def test_what_was_left_out_stays_out():
    """So the beginning of one request is that of the next."""
    conversation = Conversation()
    fill(conversation, 21)
    beginning = conversation.draft([text("one")]).messages
    assert len(images(beginning)) == 15
    say(conversation, text("one"))
    conversation.drop_last()
    conversation.drop_last()
    after = conversation.draft([text("two")]).messages
    assert after[:40] == beginning[:40]
    assert len(images(after)) == 14


def test_what_a_failed_draft_would_have_left_out_is_sent_again():
    """Only a committed request changes what the next one sends."""
    conversation = Conversation()
    fill(conversation, 10)
    failed = conversation.draft([image()] * 12)
    assert failed.notes
    again = conversation.draft([text("without them")])
    assert len(images(again.messages)) == 10
    assert again.notes == ()


def test_a_note_tells_what_this_request_is_the_first_to_leave_out():
    """Once it is committed, the next one does not repeat it."""
    conversation = Conversation()
    fill(conversation, 20)
    for _ in range(2):
        draft = conversation.draft([image()])
        assert draft.notes == (
            "6 older images are no longer sent (a request is kept within 20 images and 20 MB): "
            "fig0; fig1; fig2; fig3; fig4; 1 more. Attach again what you want to ask about.",
        )
    conversation.commit(draft, Reply(text="Yes."))
    assert conversation.draft([text("and?")]).notes == ()


def test_fit_holds_twenty_megabytes_and_then_goes_down_to_fifteen():
    """What counts is the JSON that is sent, base64 and escapes included."""
    conversation = Conversation()
    fill(conversation, 6, n_bytes=3_000_000)
    words = "ü" * 150_000  # six bytes each in JSON that is ASCII
    say(conversation, text(words), reply=words)
    draft = conversation.draft([text("and?")])
    assert len(images(draft.messages)) == 6
    assert len(json.dumps(draft.messages)) == pytest.approx(19_800_000, rel=0.001)
    draft = conversation.draft([image(500_000)])
    assert len(images(draft.messages)) == 1 + 4
    assert len(json.dumps(draft.messages)) < 15_000_000


def test_the_images_of_the_new_message_always_go():
    """A message that is over the bounds alone is not ours to cut; all older images make room."""
    conversation = Conversation()
    fill(conversation, 3)
    draft = conversation.draft([image()] * 25)
    assert len(images(draft.messages)) == 25
    assert draft.notes[0].startswith("3 older images")
    conversation.commit(draft, Reply(text="Yes."))
    assert len(images(conversation.draft([text("and?")]).messages)) == 15


def test_the_messages_of_a_conversation_are_those_that_the_next_draft_sends():
    """The policy is applied to them too."""
    conversation = Conversation()
    fill(conversation, 8)
    say(conversation, *[image() for _ in range(25)])
    assert conversation.messages == list(conversation.draft([text("and?")]).messages[:-1])


def test_another_policy_begins_anew():
    """It can bring images back, and a draft of the former policy does not take them away."""
    conversation = Conversation(images=keep_last(1))
    fill(conversation, 3)
    late = conversation.draft([image()])
    conversation.images = KEEP_ALL
    conversation.commit(late, Reply(text="Yes."))
    assert len(images(conversation.messages)) == 4
    conversation.clear()
    assert conversation.images == KEEP_ALL
    fill(conversation, 4)
    conversation.images = "last 2"
    assert len(images(conversation.messages)) == 2


def test_the_same_policy_again_changes_nothing():
    """What was left out stays out."""
    conversation = Conversation()
    fill(conversation, 21)
    conversation.drop_last()
    conversation.images = "fit"
    assert len(images(conversation.messages)) == 14


def test_a_late_draft_brings_back_no_image():
    """It knew nothing yet of what was left out after it."""
    conversation = Conversation()
    fill(conversation, 20)
    late = conversation.draft([text("and?")])
    say(conversation, image())
    conversation.drop_last()
    conversation.commit(late, Reply(text="Yes."))
    assert len(images(conversation.messages)) == 14


def test_a_late_draft_leaves_out_no_image_that_it_did_not_know():
    """Its judgement was about the images of its own moment."""
    conversation = Conversation(images=keep_last(1))
    say(conversation, image(), image())
    late = conversation.draft([image()])
    conversation.drop_last()
    unknown = image()
    say(conversation, unknown)
    conversation.commit(late, Reply(text="Yes."))
    conversation.drop_last()
    assert [id(block) for block in images(conversation.messages)] == [id(unknown)]


def test_an_image_by_url_counts_too():
    """Its size is that of its block."""
    conversation = Conversation(images=keep_last(0))
    say(conversation, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})
    assert images(conversation.messages) == []


def test_forgotten_drafts_leave_no_memory_behind():
    """A draft holds images; nothing here keeps it once it failed or was committed."""
    conversation = Conversation()
    failed = conversation.draft([image()])
    committed = conversation.draft([image()])
    conversation.commit(committed, Reply(text="Yes."))
    left = [weakref.ref(failed), weakref.ref(committed)]
    del failed, committed
    gc.collect()
    assert [ref() for ref in left] == [None, None]


# The policy


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("fit", FIT),
        ("ALL ", KEEP_ALL),
        (3, keep_last(3)),
        ("3", keep_last(3)),
        ("last  3", keep_last(3)),
        (0, keep_last(0)),
        (FIT, FIT),
    ],
)
def test_a_policy_is_read_from_what_a_person_writes(written: Any, policy: ImagePolicy):
    """Its string reads back as itself."""
    assert ImagePolicy.of(written) == policy
    assert ImagePolicy.of(str(policy)) == policy
    assert Conversation(images=written).images == policy


@pytest.mark.parametrize("written", ["", "none", -1, True, None, 2.5, "last", "last -1", "٣"])
def test_what_is_no_policy_is_refused(written: Any):
    """The message shows it and says what may be written."""
    with pytest.raises(SettingsError, match="'fit', 'all', or how many"):
        Conversation(images=written)


def test_fewer_than_no_images_cannot_be_kept():
    """The other way to make such a policy."""
    with pytest.raises(SettingsError, match="-1"):
        keep_last(-1)


@given(
    policy=st.builds(
        ImagePolicy,
        st.just("any"),
        max_images=st.none() | st.integers(0, 8),
        max_bytes=st.none() | st.integers(0, 80),
        lowered_to=st.sampled_from([0.5, 0.75, 1.0]),
    ),
    old=st.lists(st.integers(1, 30), max_size=12),
    own_images=st.integers(0, 4),
    other_bytes=st.integers(0, 60),
)
def test_no_more_is_left_out_than_the_bounds_ask_for(
    policy: ImagePolicy, old: list[int], own_images: int, other_bytes: int
):
    """Either all is within them, or what stays is within the lower ones, with nothing to spare."""

    def within(left_out: int, share: float) -> bool:
        n_images, n_bytes = own_images + len(old) - left_out, other_bytes + sum(old[left_out:])
        return (policy.max_images is None or n_images <= policy.max_images * share) and (
            policy.max_bytes is None or n_bytes <= policy.max_bytes * share
        )

    count = policy.surplus(old, own_images=own_images, other_bytes=other_bytes)
    if within(0, 1.0):
        assert count == 0
    else:
        assert count == len(old) or within(count, policy.lowered_to)
        assert count == 0 or not within(count - 1, policy.lowered_to)


# Threads


def give_way() -> float:
    """Let another thread run in the middle of a commit, which reads the clock there."""
    time.sleep(0)
    return 0.0


def test_threads_may_share_a_conversation():
    """Whatever they do at once, each request alternates and nothing is lost or made up."""
    conversation = Conversation(images=keep_last(5), clock=give_way)
    start = threading.Barrier(6)

    def work(worker: int) -> list[Draft]:
        start.wait()
        drafts = []
        for number in range(60):
            draft = conversation.draft([text(f"{worker}/{number}"), image()])
            drafts.append(draft)
            if number % 3:
                conversation.commit(draft, Reply(text=f"re {worker}/{number}"))
            if worker == 0 and number % 20 == 19:
                conversation.drop_last()
            if worker == 1 and number % 10 == 9:
                conversation.images = "fit" if number % 20 == 9 else 5
        return drafts

    with ThreadPoolExecutor(6) as pool:
        drafts = [draft for made in pool.map(work, range(6)) for draft in made]
    for draft in drafts:
        check_alternation(draft.messages)
    check_alternation([*conversation.messages, {"role": "user", "content": [text("end")]}])
    assert len(conversation.turns) == 6 * 40 - 3
    assert conversation.usage.calls == 6 * 40
    for worker in range(6):
        mine = [t for t in said(conversation.messages) if t.startswith(f"{worker}/")]
        assert mine == sorted(mine, key=lambda t: int(t.split("/")[1]))


def check_alternation(messages: Any) -> None:
    """User and assistant in turn, ending with the user, each reply behind its own question."""
    roles = [message["role"] for message in messages]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
    assert roles[-1] == "user"
    for question, answer in zip(messages[0:-1:2], messages[1:-1:2], strict=True):
        assert answer["content"][0]["text"] == f"re {question['content'][0]['text']}"


def test_threads_that_commit_one_draft_commit_it_once():
    """A job's callback and its waiter may both deliver the reply."""
    conversation = Conversation(clock=give_way)
    draft = conversation.draft([text("one")])
    start = threading.Barrier(8)

    def commit(_: int) -> Exchange:
        start.wait()
        return conversation.commit(draft, Reply(text="1"))

    with ThreadPoolExecutor(8) as pool:
        exchanges = set(pool.map(commit, range(8)))
    assert exchanges == set(conversation.turns)
    assert len(exchanges) == 1


def test_a_draft_cannot_be_changed():
    """It is what was sent."""
    draft = Conversation().draft([text("one")])
    with pytest.raises(dataclasses.FrozenInstanceError):
        draft.request = "another"  # type: ignore[misc]
