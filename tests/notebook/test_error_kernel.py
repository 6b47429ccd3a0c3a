"""`--error` and `--code` in a real kernel, whose cells have file names and next inputs."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel


def test_after_a_key_error_in_a_function_the_line_and_the_message_go_out_and_no_secret(
    kernel, recorder
):
    """The request holds the source line and the message, and not what a secret's name holds."""
    kernel.run(
        'api_key = "hunter2-abc"\n'
        "def price(order, password):\n"
        '    session_token = "tok-12345"\n'
        '    return order["price"] * order["count"]\n'
    )
    assert kernel.run('price({"cost": 3, "token": "tok-9"}, password="pw-12345")').status == "error"
    kernel.settle()
    assert kernel.run("%claude --error").status == "ok"
    (request,) = recorder.posts
    sent = request.blocks[0]["text"]
    assert "KeyError: 'price'" in sent
    assert 'return order["price"] * order["count"]' in sent
    assert "order = {'cost': 3, 'token': <hidden>}" in sent
    assert "in cell A.\n" in sent
    assert "What went wrong here" in sent
    for secret in ("hunter2-abc", "tok-12345", "tok-9", "pw-12345"):
        assert secret.encode() not in request.body


def test_a_question_that_failed_can_be_asked_again(kernel, recorder):
    """The service's error hides none of the user's."""
    kernel.run("1/0")
    kernel.settle()
    recorder.will_answer(406, {"error": "not enough credits"})
    assert "InsufficientCreditsError" in kernel.run("%claude --error").text
    kernel.settle()
    assert kernel.run("%claude --error").status == "ok"
    assert "ZeroDivisionError" in recorder.posts[-1].blocks[0]["text"]


def test_an_error_of_syntax_and_one_of_asyncio_are_told(kernel, recorder):
    """Both ways of failing have no frame of the ordinary kind."""
    kernel.run("def (")
    kernel.settle()
    kernel.run("%claude --error")
    assert "SyntaxError" in recorder.posts[-1].blocks[0]["text"]
    kernel.run("import asyncio\nasync def f():\n    raise ValueError('late')\nawait f()")
    kernel.settle()
    kernel.run("%claude --error")
    assert "ValueError: late" in recorder.posts[-1].blocks[0]["text"]


def test_code_comes_as_the_next_input_of_the_cells_own_answer(kernel, recorder):
    """So the front end inserts it below; nothing is run."""
    recorder.will_say("Try:\n\n```python\nran = True\n```")
    message_id = kernel.send("%%claude --code\nHow?")
    answer = kernel.reply(message_id, 60)
    assert answer["payload"] == [
        {"source": "set_next_input", "text": "ran = True", "replace": False}
    ]
    assert kernel.run("'ran' in globals()").text == "False"
