"""What a person does with the widget of a chat, and what it shows: words, files, errors."""

from __future__ import annotations

import base64
import io
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.utils.capture import capture_output
from PIL import Image
from segmind_jupyter.notebook.chat.composer import MAX_FILE_BYTES, uploaded

from segmind_jupyter.chat import Chat
from segmind_jupyter.notebook.chat.panel import ChatDisplay
from segmind_jupyter.notebook.live.outputs import LiveOutputs
from segmind_jupyter.session import session

# What ipywidgets 7 uses of a later ipykernel is not this package's affair.
pytestmark = pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning")

VIEW = "application/vnd.jupyter.widget-view+json"
LONG_S = 60


def registry() -> dict[str, Any]:
    """All widgets of this process that are open, in ipywidgets 7 and 8."""
    from ipywidgets.widgets import widget

    known: dict[str, Any] = (
        widget._instances if hasattr(widget, "_instances") else widget.Widget.widgets
    )
    return known


def open_ids() -> set[str]:
    return {widget.model_id for widget in registry().values()}


def every(box: Any) -> Iterator[Any]:
    """The widgets on the page, from top to bottom."""
    yield box
    for child in getattr(box, "children", ()):
        yield from every(child)


class Front:
    """A person before the widget of a chat: types, presses buttons and reads."""

    def __init__(self, chat: Chat, shell: Any) -> None:
        from segmind_jupyter.notebook.chat.panel import ChatPanel

        self.chat, self.live = chat, LiveOutputs(shell)
        self.panel = ChatPanel(chat, shell=shell, live=self.live)
        with capture_output() as self.captured:
            self.panel.show()
        model_id = self.outputs[0][VIEW]["model_id"]
        self.box = next(w for w in registry().values() if w.model_id == model_id)

    @property
    def outputs(self) -> list[Any]:
        """What the page was sent by its outputs, also later."""
        return [output.data for output in self.captured.outputs]

    def widgets(self, kind: str) -> list[Any]:
        return [w for w in every(self.box) if type(w).__name__ == kind]

    @property
    def words(self) -> Any:
        return self.widgets("Textarea")[0]

    @property
    def model(self) -> Any:
        return self.widgets("Combobox")[0]

    def button(self, name: str) -> Any:
        return next(b for b in self.widgets("Button") if b.description.startswith(name))

    def press(self, name: str) -> None:
        button = self.button(name)
        assert not button.disabled, name
        button.click()

    def send(self, words: str) -> None:
        self.words.value = words
        self.press("Send")

    def settle(self) -> None:
        """Wait until no turn is under way and all is drawn."""
        for turn in self.chat.turns:
            ended = threading.Event()
            turn.on_done(lambda _, ended=ended: ended.set())
            assert ended.wait(LONG_S)
        self.live.settle()

    def ask(self, words: str) -> str:
        self.send(words)
        self.settle()
        return self.read()

    def read(self) -> str:
        """What the page shows as HTML, without its tags."""
        pages = " ".join(widget.value for widget in self.widgets("HTML"))
        return re.sub("<[^>]*>", " ", pages)


@pytest.fixture
def front(shell: Any, online: Any) -> Iterator[Front]:
    """The widget of a chat by v1, over a loopback server."""
    front = Front(Chat(mode="v1"), shell)
    yield front
    front.chat.close()


@pytest.fixture
def names(shell: Any) -> dict[str, Any]:
    """The user's variables."""
    space: dict[str, Any] = shell.user_ns
    return space


# What is said.


def test_words_go_out_and_the_reply_is_read(front, online):
    """The box is empty again, and the footer tells what it took."""
    online.will_say("A **rising** line.")
    shown = front.ask("What is this?")
    assert online.posts[0].blocks == [{"type": "text", "text": "What is this?"}]
    assert "rising" in shown
    assert "56 tokens in, 31 out" in shown
    assert "1 reply · 56 tokens in, 31 out" in shown
    assert front.words.value == ""


def test_a_name_among_the_words_stands_for_its_value(front, online, names):
    """As in a cell."""
    names["n"] = 42
    front.ask("Is {n} even?")
    assert online.posts[0].blocks == [{"type": "text", "text": "Is 42 even?"}]


def test_an_empty_message_is_not_sent(front, online):
    """Nor is anything said about it: it was a second click."""
    front.send("  ")
    assert front.chat.turns == ()
    assert online.posts == []


def test_what_is_attached_goes_before_the_words(front, online, names):
    """Chosen from the list, shown as a chip, and gone from the box once it is sent."""
    names["photo"] = Image.new("RGB", (60, 30), "navy")
    front.press("Attach")
    front.press("photo · Image 60×30")
    assert front.button("photo  ✕")
    shown = front.ask("What is it?")
    assert [block["type"] for block in online.posts[0].blocks] == ["image", "text"]
    assert "photo · PIL RGB 60×30" in shown
    assert "photo  ✕" not in [button.description for button in front.widgets("Button")]


def test_an_attachment_is_sent_without_words(front, online, names):
    """A picture can be the whole message."""
    names["photo"] = Image.new("RGB", (60, 30))
    front.press("Attach")
    front.press("photo")
    front.press("Send")
    front.settle()
    assert [block["type"] for block in online.posts[0].blocks] == ["image"]


def test_a_chip_takes_its_attachment_back(front, online, names):
    """One click; the others stay."""
    names.update(a=[1, 2], b=[3, 4])
    front.press("Attach")
    front.press("a ·")
    front.press("b ·")
    front.press("a  ✕")
    front.ask("Sum?")
    assert "[3, 4]" in online.posts[0].body.decode()
    assert "[1, 2]" not in online.posts[0].body.decode()


def test_an_attached_variable_is_read_when_it_is_sent(front, online, names):
    """As a name among the words is."""
    names["n"] = "before"
    front.press("Attach")
    front.press("n ·")
    names["n"] = "after"
    front.ask("Hm?")
    assert "after" in online.posts[0].body.decode()


def test_a_variable_that_is_gone_is_told_and_nothing_is_sent(front, online, names):
    """The words stay in the box."""
    names["n"] = "there"
    front.press("Attach")
    front.press("n ·")
    del names["n"]
    front.send("Hm?")
    assert "There is no variable n any more" in re.sub(" +", " ", front.read())
    assert front.words.value == "Hm?"
    assert online.posts == []
    assert front.chat.turns == ()


# What can be attached.


def test_the_list_is_bounded_and_says_so(front, names):
    """A button each."""
    names.update({f"v{n}": n for n in range(100)})
    front.press("Attach")
    offered = [b for b in front.widgets("Button") if " · int" in b.description]
    assert len(offered) == 40
    assert "60 older ones are not listed" in front.read()


def test_the_list_is_made_anew_when_it_is_opened_and_the_old_one_closed(front, names):
    """No button is left behind."""
    names["a"] = 1
    front.press("Attach")
    front.press("Attach")
    count = len(registry())
    names["b"] = 1
    del names["a"]
    front.press("Attach")
    assert front.button("b ·")
    assert len(registry()) == count
    with pytest.raises(StopIteration):
        front.button("a ·")


@pytest.mark.heavy
def test_variables_may_come_and_go_while_they_are_listed(front, names):
    """A button may run beside a cell."""
    names.update({f"v{n}": n for n in range(2_000)})
    over = threading.Event()

    def meddle() -> None:
        while not over.is_set():
            for number in range(200):
                names[f"extra{number}"] = number
            for number in range(200):
                del names[f"extra{number}"]

    meddler = threading.Thread(target=meddle)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        meddler.start()
        for _ in range(20):
            front.press("Attach")
            assert "Error" not in front.read()
    finally:
        over.set()
        meddler.join()
        sys.setswitchinterval(before)


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


def show(shell: Any, code: str) -> str:
    """Run a cell whose output is on the page, and give its number there."""
    number = "\nNUMBER = get_ipython().displayhook.prompt_count"
    assert shell.run_cell(code + number, store_history=True).success
    return str(shell.user_ns["NUMBER"])


def test_the_last_plot_is_attached_and_its_chip_names_its_cell(front, online, shell, names):
    """As it was shown; a plot that comes later is another one."""
    names["red"], names["blue"] = png(40, 20), png(20, 40)
    number = show(shell, "display({'image/png': red}, raw=True)")
    front.press("Attach")
    front.press("Last plot")
    assert front.button(f"plot of [{number}]  ✕")
    show(shell, "display({'image/png': blue}, raw=True)")
    shown = front.ask("What is it?")
    image, _ = online.posts[0].blocks
    assert base64.b64decode(image["source"]["data"]) == names["red"]
    assert f"plot of [{number}] · as shown" in shown
    front.press("Attach")
    front.press("Last plot")
    front.press("Send")
    front.settle()
    assert base64.b64decode(online.posts[1].blocks[0]["source"]["data"]) == names["blue"]


def test_the_same_plot_is_attached_once(front, shell, names):
    """Each click on the button asks for the same."""
    names["red"] = png(40, 20)
    show(shell, "display({'image/png': red}, raw=True)")
    front.press("Attach")
    front.press("Last plot")
    front.press("Last plot")
    chips = [b for b in front.widgets("Button") if b.description.startswith("plot of")]
    assert len(chips) == 1


def test_without_a_plot_the_button_cannot_be_pressed(front, shell, names):
    """Until there is one, when the panel is opened."""
    front.press("Attach")
    assert front.button("Last plot").disabled
    front.press("Attach")
    names["red"] = png(40, 20)
    show(shell, "display({'image/png': red}, raw=True)")
    front.press("Attach")
    assert not front.button("Last plot").disabled


def test_the_last_plot_is_known_after_the_extension_was_loaded_anew(front, shell, names):
    """By a panel from before."""
    names["red"], names["blue"] = png(40, 20), png(20, 40)
    show(shell, "display({'image/png': red}, raw=True)")
    shell.run_line_magic("reload_ext", "segmind_jupyter")
    number = show(shell, "display({'image/png': blue}, raw=True)")
    front.press("Attach")
    front.press("Last plot")
    assert front.button(f"plot of [{number}]  ✕")


def test_a_plot_that_cannot_be_attached_is_told(front, shell):
    """With the step to take, in the panel; nothing is attached in its place."""
    show(shell, "display({'application/vnd.plotly.v1+json': {}}, raw=True)")
    front.press("Attach")
    front.press("Last plot")
    assert "pip install -U kaleido" in front.read()
    assert not [b for b in front.widgets("Button") if "✕" in b.description]


def test_a_plot_that_was_cleared_meanwhile_is_told(front, shell, names):
    """The panel was opened before."""
    names["red"] = png(40, 20)
    show(shell, "h = display({'image/png': red}, raw=True, display_id=True)")
    front.press("Attach")
    show(shell, "h.update('gone')")
    front.press("Last plot")
    assert "No plot is there" in front.read()


def upload(front: Front, *files: tuple[str, bytes]) -> None:
    """Give files to the widget as the browser's half does, in the form of each version."""
    widget = front.widgets("FileUpload")[0]
    about = [{"name": name, "type": "", "size": len(data)} for name, data in files]
    contents = [memoryview(data) for _, data in files]
    if isinstance(widget.value, dict):  # ipywidgets 7
        widget.set_state({"metadata": about, "data": contents, "_counter": widget._counter + 1})
    else:
        each = zip(about, contents, strict=True)
        value = [{**facts, "last_modified": 0, "content": content} for facts, content in each]
        widget.set_state({"value": value})


def test_files_are_attached(front, online):
    """Images and text; the model is told which file a text is from."""
    front.press("Attach")
    upload(front, ("sun.png", png(40, 20)), ("notes.txt", b"rain\nthen sun"))
    shown = front.ask("Compare.")
    image, text = online.posts[0].blocks
    assert image["type"] == "image"
    assert text["text"].split() == ["notes.txt:", "rain", "then", "sun", "Compare."]
    assert "sun.png" in shown


def test_a_file_that_cannot_be_sent_is_told_and_the_others_are_attached(front):
    """By its name."""
    front.press("Attach")
    upload(front, ("a.bin", b"\x80\x81\x82"), ("empty.txt", b""), ("b.txt", b"good"))
    assert "a.bin: The 3 bytes are neither an image nor UTF-8 text" in front.read()
    assert front.button("b.txt  ✕")


def test_a_file_beyond_the_bound_is_told_with_the_bound(front):
    """And what to do instead."""
    front.press("Attach")
    upload(front, ("big.txt", b"x" * (MAX_FILE_BYTES + 1)))
    assert "big.txt has 8.0 MB; a chat takes files up to 8 MB" in front.read()


def test_the_panel_says_what_to_do_with_a_file_that_does_not_arrive(front):
    """The kernel hears nothing of it; so what was said of another one is gone by then."""
    front.press("Attach")
    upload(front, ("a.bin", b"\x80\x81\x82"))
    front.press("Attach")
    front.press("Attach")
    assert "a.bin" not in front.read()
    assert "A larger one does not arrive" in front.read()
    assert "path = Path(&quot;file&quot;)" in front.read()


def test_the_name_of_a_file_is_data(front):
    """It reaches the page as text, on one short line."""
    front.press("Attach")
    upload(front, ("<img src=x onerror=alert(1)>\n" + "x" * 900, b"words"))
    front.press("Send")
    front.settle()
    pages = " ".join(widget.value for widget in front.widgets("HTML"))
    assert "<img src=x" not in pages
    assert "&lt;img src=x onerror=alert(1)&gt;" in pages
    assert "x" * 100 not in pages


def test_the_widget_does_not_keep_what_was_uploaded(front):
    """The message does, until it is sent."""
    front.press("Attach")
    upload(front, ("a.txt", b"words"))
    widget = front.widgets("FileUpload")[0]
    assert not widget.value
    assert not getattr(widget, "data", ())


def test_both_forms_of_an_upload_are_read():
    """That of ipywidgets 8, and that of 7."""
    new = ({"name": "a", "type": "", "size": 1, "content": memoryview(b"x")},)
    old = {"a": {"metadata": {"name": "a", "type": "", "size": 1}, "content": b"x"}}
    assert list(uploaded(new)) == list(uploaded(old)) == [("a", b"x")]


# What goes wrong.


def test_an_error_shows_in_its_bubble_and_the_words_come_back(front, online):
    """Send works again, and what is sent next holds only what was answered."""
    online.will_answer(406, {"error": "Insufficient credits"})
    shown = front.ask("First try")
    assert "InsufficientCreditsError" in shown
    assert "Your words are back in the box" in shown
    assert front.words.value == "First try"
    front.press("Send")
    front.settle()
    assert "A sunset." in front.read()
    assert [message["role"] for message in online.posts[1].json["messages"]] == ["user"]


def test_an_error_in_the_middle_leaves_a_conversation_whole(front, online):
    """What failed is no part of what is sent next, where the roles take turns."""
    front.ask("First")
    online.will_answer(400, {"error": "Bad"})
    assert "BadRequestError" in front.ask("Second")
    front.ask("Third")
    sent = online.posts[-1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert [message["content"][0]["text"] for message in sent] == ["First", "A sunset.", "Third"]


class Late(Chat):
    """A chat in which something happens right after its turns were read."""

    then: Any = None

    @property
    def turns(self) -> Any:
        read = super().turns
        then, self.then = self.then, None
        if then is not None:
            then()
        return read


def test_a_turn_that_fails_while_others_are_drawn_gives_its_words_back(shell, online):
    """The drawing knows nothing of it yet."""
    chat = Late(mode="v1")
    front = Front(chat, shell)
    online.will_answer(406, {"error": "Insufficient credits"})

    def send() -> None:
        front.send("First try")
        ended = threading.Event()
        chat.turns[-1].on_done(lambda _: ended.set())
        assert ended.wait(LONG_S)

    chat.then = send
    front.live.drawn(front.panel)
    front.live.settle()
    assert front.words.value == "First try"
    chat.close()


def test_attachments_come_back_with_the_words(front, online, names):
    """So that one click sends all of it once more."""
    names["photo"] = Image.new("RGB", (60, 30))
    front.press("Attach")
    front.press("photo")
    online.will_answer(406, {"error": "Insufficient credits"})
    front.ask("What is it?")
    front.press("Send")
    front.settle()
    assert online.posts[1].blocks == online.posts[0].blocks


def test_words_that_were_typed_meanwhile_are_not_overwritten(front, online):
    """The others are one click away."""
    online.will_hang()
    online.will_answer(406, {"error": "Insufficient credits"})
    front.send("First")
    assert online.asked.wait(LONG_S)
    front.send("Second")
    front.words.value = "Third, not sent"
    online.release.set()
    front.settle()
    assert front.words.value == "Third, not sent"
    assert "“Edit” takes your words back" in front.read()
    front.press("Edit")
    assert front.words.value == "Second\n\nThird, not sent"
    assert [turn.text for turn in front.chat.turns] == ["First"]


def test_stop_gives_the_turn_up_and_the_words_back(front, online):
    """It can be pressed only while there is something to stop."""
    assert front.button("Stop").disabled
    online.will_hang()
    front.send("Take your time")
    assert online.asked.wait(LONG_S)
    front.press("Stop")
    front.settle()
    assert "may still be billed" in front.read()
    assert front.words.value == "Take your time"
    assert front.button("Stop").disabled


def test_what_is_no_model_name_is_told_and_not_asked(front, online):
    """Neither when it is typed nor when the message is sent."""
    front.model.value = "Not A Model!"
    assert "is no model name" in front.read()
    front.send("Hi")
    assert "is no model name" in front.read()
    assert front.words.value == "Hi"
    assert online.posts == []
    front.model.value = "claude-3-opus"
    front.press("Send")
    front.settle()
    assert online.posts[0].path == "/v1/claude-3-opus"


def test_a_model_that_is_set_from_code_shows_in_the_box(front):
    """And showing it chooses nothing."""
    front.chat.model = "claude-3-haiku"
    front.live.settle()
    assert front.model.value == "claude-3-haiku"


def test_a_model_that_another_chat_of_the_name_sets_shows_in_the_box(shell, online):
    """What it is given holds for all of that name."""
    front = Front(Chat(name="notes"), shell)
    Chat(name="notes", model="claude-3-opus")
    front.live.settle()
    assert front.model.value == "claude-3-opus"
    front.chat.close()


def test_the_default_model_goes_on_to_follow_the_configuration(front, online, shell):
    """The box names a model that nobody chose in it."""
    shell.run_line_magic("config", "ClaudeMagics.model = 'claude-3-opus'")
    front.ask("Hi")
    assert online.posts[0].path == "/v1/claude-3-opus"


def test_an_object_that_cannot_be_sent_is_told(front, online, names):
    """With the words of its own error, and the message stays in the box."""

    class Broken:
        def _repr_claude_(self) -> str:
            raise RuntimeError("no <b>luck</b>")

    names["thing"] = Broken()
    front.send("What is {thing}?")
    assert "no &lt;b&gt;luck&lt;/b&gt;" in front.read()
    assert front.words.value == "What is {thing}?"


class Faulty(Chat):
    """A chat with a hole."""

    def say(self, prompt: Any) -> Any:
        raise ZeroDivisionError("a hole of ours")


def test_an_unforeseen_error_in_a_handler_shows(shell, online, caplog):
    """On the page, and in the log; the widget goes on."""
    front = Front(Faulty(mode="v1"), shell)
    front.send("Hi")
    assert "ZeroDivisionError: a hole of ours" in front.read()
    assert "a hole of ours" in caplog.text
    front.live.settle()
    assert front.button("Stop").disabled
    front.chat.close()


# What the other buttons do.


def test_again_asks_the_last_message_once_more(front, online):
    """The old answer goes when the new one is there."""
    online.will_say("Old.")
    online.will_say("New.")
    front.ask("Hi")
    front.press("Again")
    front.settle()
    assert "New." in front.read()
    assert "Old." not in front.read()
    assert online.posts[0].json["messages"] == online.posts[1].json["messages"]


def test_a_second_click_on_again_asks_nothing_more(front, online):
    """Nor is anything said about it, which would stay below the reply."""
    front.ask("Hi")
    online.will_hang()
    front.press("Again")
    assert online.asked.wait(LONG_S)
    front.button("Again").click()  # before the page has heard that it cannot be pressed
    online.release.set()
    front.settle()
    assert "Error" not in front.read()
    assert len(online.posts) == 2


def test_again_after_an_error_takes_the_words_out_of_the_box(front, online):
    """They are on their way."""
    online.will_answer(406, {"error": "Insufficient credits"})
    front.ask("Hi")
    assert front.words.value == "Hi"
    front.press("Again")
    front.settle()
    assert front.words.value == ""
    assert len(front.chat.turns) == 1


def test_what_was_asked_again_in_vain_is_not_given_back_beside_its_answer(front, online):
    """Sent once more, it would be said twice; Edit takes it back as a whole."""
    front.ask("Hi")
    online.will_answer(400, {"error": "malformed"})
    front.press("Again")
    front.settle()
    assert front.words.value == ""
    assert "takes your words back" in front.read()
    front.press("Edit")
    assert front.words.value == "Hi"
    assert front.chat.messages == []


def test_edit_takes_the_last_message_back(front, online, names):
    """Words and attachments, as they were typed; the conversation is as before it."""
    names["photo"] = Image.new("RGB", (60, 30))
    front.ask("First")
    front.press("Attach")
    front.press("photo")
    front.ask("Second {photo}")
    front.press("Edit")
    front.live.settle()
    assert front.words.value == "Second {photo}"
    assert front.button("photo  ✕")
    assert "Second" not in front.read()
    assert [turn.text for turn in front.chat.turns] == ["First"]


def test_a_second_click_on_edit_takes_nothing_more(front, online):
    """The message before it has a reply, which would be lost; with an empty box it is meant."""
    front.ask("First")
    front.ask("Second")
    front.press("Edit")
    front.press("Edit")
    assert front.words.value == "Second"
    assert "in the box already" in front.read()
    assert [turn.text for turn in front.chat.turns] == ["First"]
    front.words.value = ""
    front.press("Edit")
    assert front.words.value == "First"


def test_words_that_were_given_back_are_not_doubled_by_edit(front, online, names):
    """Also where something was added to them meanwhile."""
    names["photo"] = Image.new("RGB", (60, 30))
    online.will_answer(406, {"error": "Insufficient credits"})
    front.ask("Does it rise?")
    front.press("Attach")
    front.press("photo")
    front.words.value = "Does it rise? Or fall?"
    front.press("Edit")
    assert front.words.value == "Does it rise? Or fall?"
    assert front.button("photo  ✕")


def test_edit_of_what_was_said_from_code_attaches_its_objects(front, online):
    """They have no name, and go as they went."""
    front.chat.send("What?", Image.new("RGB", (60, 30))).wait()
    front.live.settle()
    front.press("Edit")
    assert front.words.value == "What?"
    front.press("Send")
    front.settle()
    assert sorted(b["type"] for b in online.posts[1].blocks) == ["image", "text"]


def test_copy_shows_the_last_reply_as_text(front, online):
    """As it was written, to be selected; a second click folds it away."""
    online.will_say("A **rising** line & <b>more</b>.")
    front.ask("Hi")
    front.press("Copy")
    pages = [widget.value for widget in front.widgets("HTML")]
    assert any("A **rising** line &amp; &lt;b&gt;more&lt;/b&gt;.</pre>" in page for page in pages)
    front.press("Copy")
    assert "**rising**" not in front.read()


def test_code_shows_the_first_block_of_code(front, online):
    """And can be pressed only where there seems to be one."""
    front.ask("Hi")
    assert front.button("Code").disabled
    online.will_say("Do:\n\n```python\nx = 1\ny = 2\n```\n\n```\nz\n```")
    front.ask("Code, please")
    front.press("Code")
    pages = [widget.value for widget in front.widgets("HTML")]
    assert any("x = 1\ny = 2\n</pre>" in page for page in pages)


def test_save_writes_the_transcript_and_never_over_another(front, tmp_path, monkeypatch):
    """Beside the notebook; the page says where."""
    monkeypatch.chdir(tmp_path)
    front.ask("Hi")
    for _ in range(3):
        front.press("Save")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert {file.read_text("utf-8") for file in files} == {front.chat.to_markdown()}
    assert any(file.name in front.read() for file in files)


def test_saving_where_nothing_can_be_written_is_told(front, tmp_path, monkeypatch):
    """With what to do."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    front.ask("Hi")
    front.press("Save")
    assert "Error" in front.read()


def test_the_name_of_a_chat_leads_a_file_nowhere_else(shell, online, tmp_path, monkeypatch):
    """Whatever it holds."""
    monkeypatch.chdir(tmp_path)
    front = Front(Chat(name="../../sales: 2024?", mode="v1"), shell)
    front.ask("Hi")
    front.press("Save")
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"sales-2024-\d{8}-\d{6}\.md", file.name)
    front.chat.close()


def test_clear_begins_anew(front, online):
    """Nothing is left on the page, nor in what is sent; what it took still counts."""
    front.ask("First")
    front.press("Clear")
    front.press("Forget 1 turn")
    front.live.settle()
    assert "First" not in front.read()
    assert "1 reply" in front.read()
    front.ask("Second")
    assert len(online.posts[1].json["messages"]) == 1


def test_clear_asks_first_and_a_double_click_forgets_nothing(front):
    """The question is gone with a second click, or with what it is about."""
    front.ask("First")
    front.press("Clear")
    front.press("Clear")
    assert "Forget" not in str([button.description for button in front.widgets("Button")])
    assert "First" in front.read()
    front.press("Clear")
    front.chat.clear()
    front.live.settle()
    assert "Forget" not in str([button.description for button in front.widgets("Button")])


def test_clear_takes_with_it_what_it_stops(front, online):
    """Its words do not come back into the box, at whatever moment the page is drawn."""
    front.chat.on_change(lambda _: front.live.settle())
    online.will_hang()
    front.send("Take your time")
    assert online.asked.wait(LONG_S)
    front.press("Clear")
    front.press("Forget")
    front.live.settle()
    assert front.words.value == ""
    assert "Take your time" not in front.read()
    assert "back in the box" not in front.read()


@pytest.mark.parametrize("press", [["Clear", "Forget"], ["Edit"], ["Again"]])
def test_a_copied_reply_goes_with_its_reply(front, online, press):
    """Whatever takes that out; what is open otherwise stays."""
    online.will_say("A **rising** line.")
    front.ask("Hi")
    front.press("Copy")
    for name in press:
        front.press(name)
    front.settle()
    assert "**rising**" not in front.read()
    front.press("Attach")
    front.ask("Hi again")
    front.press("Attach")
    front.press("Edit")
    front.live.settle()
    assert front.button("Last plot")


# What is on the page.


def test_the_page_of_an_ended_turn_is_never_sent_again(front, online):
    """New turns are added; what was there keeps its widgets and their values."""
    front.ask("First")
    before = {widget.model_id: widget.value for widget in front.widgets("HTML")}
    front.ask("Second")
    after = {widget.model_id: widget.value for widget in front.widgets("HTML")}
    same = [model_id for model_id, value in before.items() if after.get(model_id) == value]
    assert len(same) >= len(before) - 2  # the notice, and the line of what it all took
    assert before.keys() <= after.keys()


def test_turns_from_code_and_from_cells_show_too(front, online):
    """In the order in which the conversation holds them."""
    front.ask("Typed")
    front.chat.send("From code").wait()
    front.live.settle()
    shown = front.read()
    assert shown.index("Typed") < shown.index("From code")


def test_a_chat_has_one_tree_of_widgets(shell, online):
    """However often it is shown; so every place shows the same."""
    front = Front(Chat(mode="v1"), shell)
    with capture_output() as captured:
        front.panel.show()
    again = captured.outputs[0].data
    assert again[VIEW] == front.outputs[0][VIEW]
    front.chat.close()


def test_a_cell_that_is_run_again_and_again_does_not_pile_up_widgets(shell, online):
    """The oldest of one conversation give way to their transcripts; other chats stay."""
    display = ChatDisplay(shell)
    other = Chat(mode="v1")
    chats = [Chat(name="notes", mode="v1") for _ in range(11)]
    with capture_output() as captured:
        for chat in (other, *chats):
            display.show(chat)
    shown = [output.data[VIEW]["model_id"] for output in captured.outputs if VIEW in output.data]
    assert [model_id in open_ids() for model_id in shown] == [True] + 3 * [False] + 8 * [True]
    with capture_output():
        display.show(chats[0])  # it gets a widget anew
    for chat in (other, *chats):
        chat.close()
    assert not open_ids() & set(shown)


def test_closing_frees_everything(shell, online, names):
    """Every widget, every callback; the transcript stays in the outputs."""
    before = set(registry())
    chat = Chat(mode="v1")
    front = Front(chat, shell)
    names["photo"] = Image.new("RGB", (8, 4))
    front.press("Attach")
    front.press("photo")
    front.ask("Hi")
    front.press("Copy")
    front.press("Attach")
    chat.on_close(lambda _: front.panel.close())
    chat.close()
    assert set(registry()) == before
    outputs = len(front.outputs)
    chat.send("Later").wait()
    front.live.settle()
    assert set(registry()) == before
    assert len(front.outputs) == outputs


def test_closing_stops_what_is_under_way_and_keeps_that(shell, online):
    """The kept transcript says that it was stopped."""
    chat = Chat(mode="v1")
    front = Front(chat, shell)
    chat.on_close(lambda _: front.panel.close())
    online.will_hang()
    front.send("Hi")
    assert online.asked.wait(LONG_S)
    chat.close()
    assert "may still be billed" in front.outputs[-1]["text/html"]


def test_the_service_is_not_left_with_turns(front, online):
    """What ended is not waited for."""
    front.ask("Hi")
    assert session().pending == ()
