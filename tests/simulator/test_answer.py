"""What a simulated reply says, and what it costs."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour, SimRequest


def line_plot() -> bytes:
    figure = Figure(figsize=(8, 4), dpi=100)
    figure.subplots().plot([1, 2, 3, 4])
    file = io.BytesIO()
    figure.savefig(file)
    return file.getvalue()


def test_a_line_plot_and_twelve_words_are_told_apart(caller, image_block):
    """An 8x4 inch figure is described by size, format and line; the prompt by its words."""
    words = "What trend does this show, and is it the one we expected?"
    text = caller.text([image_block(line_plot()), {"type": "text", "text": words}])
    assert text == (
        "(simulated) 1 image: 800x400 PNG, mostly white with a blue line; text of 12 words"
    )


def test_several_images_are_listed_in_order(caller, image_block):
    """Two images are counted and described one after the other, around the text."""
    red = image_block(Image.new("RGB", (30, 20), "red"))
    green = image_block(Image.new("RGB", (10, 20), "green"), media_type="image/jpeg", format="JPEG")
    text = caller.text([red, {"type": "text", "text": "or"}, green])
    assert text == (
        "(simulated) 2 images: 30x20 PNG, all red; 10x20 JPEG, all green; text of 1 word"
    )


@pytest.mark.parametrize(
    ("picture", "looks"),
    [
        (Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "all white"),
        (Image.new("LA", (9, 9), (0, 255)), "all black"),
        (Image.new("I;16", (9, 9), 32_768), "all grey"),
        (Image.new("I;16", (9, 9), 65_535), "all white"),
        (Image.new("1", (9, 9), 1), "all white"),
    ],
)
def test_unusual_modes_are_seen_as_a_viewer_shows_them(caller, image_block, picture, looks):
    """What is transparent is white, and 16-bit grey is scaled, not clipped."""
    assert caller.text([image_block(picture)]) == f"(simulated) 1 image: 9x9 PNG, {looks}"


def test_instruction_and_turns_are_mentioned(caller):
    """The instruction's words and the number of turns are said where there are any."""
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": "and the third"},
    ]
    body = {"messages": messages, "instruction": "Be brief."}
    answer = caller.post_body(json.dumps(body).encode())
    text = json.loads(answer.body)["content"][0]["text"]
    assert text == "(simulated) text of 3 words; instruction of 2 words; 3 turns"


def test_the_same_request_gets_the_same_words(caller, image_block):
    """A reply depends on the request alone."""
    content = [image_block(line_plot()), {"type": "text", "text": "why?"}]
    assert caller.text(content) == caller.text(content)


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        ("echo: **bold** <b>x</b>", "**bold** <b>x</b>"),
        ("echo:\n# Title\n", "# Title\n"),
        ("echo:  two spaces", " two spaces"),
        ("\n echo:x", "x"),
        ("echo:", ""),
        ("echo: lone \ud800 half", "lone \ud800 half"),
    ],
)
def test_echo_answers_with_the_rest_verbatim(caller, prompt, reply):
    """A prompt that begins with the word is answered with the rest, less one blank."""
    assert caller.text(prompt) == reply


def test_echo_goes_on_across_an_image(caller, image_block):
    """The text around a named object is one prompt."""
    image = image_block(Image.new("1", (2, 2)))
    before, after = {"type": "text", "text": "echo: a "}, {"type": "text", "text": "b"}
    assert caller.text([before, image, after]) == "a b"


def test_only_the_beginning_of_the_last_prompt_is_a_directive(caller):
    """The word in the middle, or in an earlier turn, is only a word."""
    assert caller.text("please echo: x").startswith("(simulated)")
    messages = [{"role": "user", "content": "fail: x"}, {"role": "user", "content": "hello"}]
    assert caller.post_body(json.dumps({"messages": messages}).encode()).status == 200


def test_a_reply_is_cut_at_max_tokens_and_says_so(caller):
    """The text is really cut, and the stop reason and the usage agree."""
    body = json.loads(caller.post("echo: " + "x" * 100, max_tokens=5).body)
    assert body["content"][0]["text"] == "x" * 20
    assert body["stop_reason"] == "max_tokens"
    assert body["usage"]["output_tokens"] == 5


def test_a_reply_of_just_max_tokens_is_whole(caller):
    """A reply that ends on the limit was not cut."""
    body = json.loads(caller.post("echo: " + "x" * 20, max_tokens=5).body)
    assert body["stop_reason"] == "end_turn"


def test_an_image_costs_one_token_a_patch(caller, image_block):
    """An image adds ceil(w/28) * ceil(h/28) tokens to the same text."""
    text = {"type": "text", "text": "hello"}
    plain = json.loads(caller.post([text]).body)["usage"]["input_tokens"]
    image = image_block(Image.new("1", (800, 400)))
    seen = json.loads(caller.post([text, image]).body)["usage"]["input_tokens"]
    assert seen - plain == math.ceil(800 / 28) * math.ceil(400 / 28)


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_more_text_never_costs_less(text, more):
    """The tokens of a request grow with its text."""

    def tokens(prompt: str) -> int:
        body = json.dumps({"messages": [{"role": "user", "content": f"about {prompt}"}]}).encode()
        headers = {"x-api-key": "k", "content-type": "application/json"}
        answer = Gateway().handle(SimRequest("POST", "/v1/claude-4-sonnet", headers, body))
        return int(json.loads(answer.body)["usage"]["input_tokens"])

    assert tokens(text) <= tokens(text + more)


@pytest.fixture
def talking(calling):
    """A gateway that goes on as a model would."""
    return calling(Gateway(Behaviour(talks=True)))


def test_a_figure_is_described_with_the_course_of_its_lines(talking, image_block):
    """From decoded pixels: the plot's line rises, another one falls, and a table says so."""
    rising = talking.text([image_block(line_plot()), {"type": "text", "text": "Describe."}])
    first, *rest = rising.split("\n\n")
    assert first.startswith("(simulated) 1 image: 800x400 PNG, mostly white with a blue line")
    assert "the blue line **rises from left to right**" in rest[0]
    assert "| 1 | 800 × 400 | mostly white with a blue line |" in rising
    figure = Figure(figsize=(8, 4), dpi=100)
    axes = figure.subplots()
    axes.plot([4, 3, 2, 1], color="C3")
    axes.plot([1, 4, 4, 1], color="C2")
    file = io.BytesIO()
    figure.savefig(file)
    text = talking.text([image_block(file.getvalue())])
    assert "red falls from left to right" in text
    assert "green rises, then falls" in text


def test_a_photo_has_no_lines_to_follow(talking, image_block):
    """Nothing is made up about what is no drawing."""
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    assert "none followed" in talking.text([image_block(noise)])


def test_code_maths_errors_and_alternative_texts_come_where_they_are_asked_for(talking):
    """Each in the form in which a model would give it, and nothing where nothing was asked."""
    traceback = "What went wrong?\n----> 3 total = price * n\nTypeError: can't multiply"
    for asked, part in (
        ("Write a Python function.", "```python\n"),
        ("Derive the formula.", "$$\\hat{b}"),
        ("Write an alt text.", "**Alternative text:**"),
        (traceback, "`total = price * n`"),
        (traceback, "**TypeError**: can't multiply"),
    ):
        text = talking.text(asked)
        assert text.startswith("(simulated) ")
        assert part in text, asked
    assert talking.text("hello there") == "(simulated) text of 2 words"
