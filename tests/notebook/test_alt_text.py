"""`--alt` in real shells and kernels: the cell runs as without it, its figures have words."""

from __future__ import annotations

import base64
import json
import traceback
from typing import Any

import pytest

from segmind_jupyter.described import Description
from segmind_jupyter.notebook.alt_text import figure_bundle
from segmind_jupyter.notebook.plots.formats import Pixels

INLINE = "%matplotlib inline\nimport matplotlib.pyplot as plt"
DRAW = "plt.plot([1, 3, 2]);"
REPLY = json.dumps({"en": {"alt": 'A "line" <b>', "long": "First.\n\n<script>x</script>"}})


@pytest.fixture
def kernel(shared_kernel: Any) -> Any:
    """One kernel serves all tests of this module."""
    assert shared_kernel.run(INLINE).status == "ok"
    return shared_kernel


def bundles(kernel: Any, code: str) -> list[Any]:
    """What a cell displayed, with metadata; of what changed, what it is now."""
    shown: dict[str, Any] = {}
    for message in kernel.page(code):
        content = message["content"]
        if message["msg_type"] in ("display_data", "execute_result", "update_display_data"):
            name = content.get("transient", {}).get("display_id") or str(len(shown))
            shown[name] = content
    return [content for content in shown.values() if content["data"]]


@pytest.mark.kernel
class TestCells:
    def test_the_figure_is_shown_once_as_its_plain_output_with_words(self, kernel, recorder):
        """The same pixels, size and ground; escaped words; the metadata for tomorrow."""
        for setting in ("['png']", "['retina']"):
            kernel.run(f"%config InlineBackend.figure_formats = {setting}")
            (plain,) = bundles(kernel, DRAW)
            recorder.will_say(REPLY)
            (found,) = bundles(kernel, f"# drawn\n%%claude --alt\n{DRAW}")
            assert found["data"]["image/png"] == plain["data"]["image/png"]
            html = found["data"]["text/html"]
            data = html.partition("base64,")[2].partition('"')[0]
            assert base64.b64decode(data) == base64.b64decode(plain["data"]["image/png"])
            assert 'alt="A &quot;line&quot; &lt;b&gt;"' in html
            assert "&lt;script&gt;x" in html
            assert "<script" not in html
            about = plain["metadata"].get("image/png", {})
            assert found["metadata"]["image/png"]["alt"] == 'A "line" <b>'
            for side, size in about.items():
                assert f'{side}="{size}"' in html
            assert DRAW in recorder.posts[-1].blocks[0]["text"]
            assert '"high": [1.0, 3.0]' in recorder.posts[-1].blocks[0]["text"]

    def test_the_cell_runs_as_without_it(self, kernel, recorder):
        """Its value, what it prints, awaits and assigns; a failing one asks nothing."""
        code = "%%claude --alt\nimport asyncio\nawait asyncio.sleep(0)\nprint('out')\nn = 41\nn + 1"
        output = kernel.run(code)
        assert output.status == "ok"
        assert "out\n" in output.text
        assert "The cell has shown no figure" in output.text
        assert output.data == [{"text/plain": "42"}]
        assert kernel.run("_, n").text == "(42, 41)"
        assert kernel.run("%%claude --alt\n1;").data == []
        output = kernel.run(f"%%claude --alt\n{DRAW}\n1/0")
        assert output.status == "error"
        assert "ZeroDivisionError" in output.text
        assert [each for each in output.data if "image/png" in each]
        assert recorder.posts == []
        kernel.settle()

    def test_each_figure_has_its_own_words_also_as_a_value(self, kernel, recorder):
        """`-o` keeps the descriptions; a figure that is the value of the cell is shown once."""
        for n in (1, 2):
            recorder.will_say(json.dumps({"de": {"alt": f"Nummer {n}", "long": ""}}))
        code = "fig, ax = plt.subplots()\nax.plot([1, 2])\nplt.close()\nother = plt.figure()"
        code = f"%%claude --alt --language de -o found\n{code}\nplt.plot([2, 1])\nfig"
        shown = [each["data"]["text/html"] for each in bundles(kernel, code)]
        assert ["Nummer 1" in shown[0], "Nummer 2" in shown[1], len(shown)] == [True, True, 2]
        assert kernel.run("[each.alt for each in found]").text == "['Nummer 1', 'Nummer 2']"

    def test_a_figure_whose_words_fail_is_shown_and_the_cell_fails(self, kernel, recorder):
        """With the error's words, as any `%%claude` cell."""
        recorder.will_answer(406, {"error": "Not enough credits"})
        output = kernel.run(f"%%claude --alt\n{DRAW}\nplt.show()\nplt.plot([2]);")
        assert output.status == "error"
        assert "InsufficientCreditsError" in output.text
        assert len([each for each in output.data if "image/png" in each]) == 2
        assert len(recorder.posts) == 1
        kernel.settle()
        assert "text/html" not in kernel.run(DRAW).data[0]  # the next cell is as it was

    def test_words_of_ones_own_and_of_the_plot_above(self, kernel, recorder):
        """Nothing is asked for them; a described plot changes in its place."""
        (found,) = bundles(kernel, f'%%claude --alt "It rises"\n{DRAW}')
        assert found["metadata"]["image/png"]["alt"] == "It rises"
        assert recorder.posts == []
        messages = kernel.page('%claude --alt "It falls"').of("update_display_data")
        assert messages[-1]["transient"] == found["transient"]
        assert 'alt="It falls"' in messages[-1]["data"]["text/html"]
        recorder.will_say(REPLY)
        kernel.page(DRAW)
        (below,) = bundles(kernel, "%claude --alt")
        assert "&lt;b&gt;" in below["data"]["text/html"]
        assert kernel.run("_.alt").text == repr('A "line" <b>')

    def test_describe_shows_the_figure_once(self, kernel, recorder):
        """Also as the value of the cell, and though the inline backend would show it."""
        recorder.will_say(REPLY)
        code = "from segmind_jupyter import describe\nfig, ax = plt.subplots()\nax.plot([1, 2])\n"
        (found,) = bundles(kernel, code + "describe(fig)")
        (plain,) = bundles(kernel, "fig")
        assert found["data"]["image/png"] == plain["data"]["image/png"]
        assert "ax.plot([1, 2])" in recorder.posts[-1].blocks[0]["text"]

    def test_a_raw_picture_has_no_facts_of_the_figure_before(self, kernel, recorder):
        """As plotly publishes its pictures."""
        recorder.will_say(REPLY)
        recorder.will_say(REPLY)
        raw = "display({'image/png': png}, raw=True)"
        png = "import io\nf = io.BytesIO(); fig.savefig(f); png = f.getvalue()"
        code = f"fig, ax = plt.subplots()\n{png}\ndisplay(fig)\nplt.close()\n"
        kernel.run(f"%%claude --alt\n{code}{raw}")
        texts = [post.blocks[0]["text"] for post in recorder.posts]
        assert ["Facts, from" in text for text in texts] == [True, False]

    def test_a_dry_run_shows_the_figure_and_what_would_be_sent(self, kernel, recorder):
        """And sends nothing."""
        output = kernel.run(f"%%claude --alt --dry-run\n{DRAW}")
        assert "Nothing was sent" in output.text
        assert recorder.posts == []


class TestShell:
    def test_a_line_that_cannot_work_is_refused(self, run, online):
        """Before the code below it runs."""
        for line, said in [
            ("--alt -j", "--alt takes no --job"),
            ("--alt --json", "--alt takes no --json"),
            ("--alt what is it", "in quotes"),
            ("--alt --language d!", "names no language"),
            ("--language de", "goes with --alt"),
        ]:
            cell = run(f"%%claude {line}\nran = True")
            assert said in str(cell.error), line
        assert run("ran").error is not None
        assert "No plot is there" in str(run("%claude --alt").error)
        assert online.requests == []

    def test_a_traceback_names_the_line_as_it_was_typed(self, run, online):
        """Comments may stand above."""
        cell = run("# drawn\n%%claude --alt\nn = 1\n1/0")
        assert traceback.extract_tb(cell.error.__traceback__)[-1].lineno == 4

    def test_it_may_be_called_as_a_function(self, run, online):
        """As notebooks that became scripts do."""
        assert run("get_ipython().run_cell_magic('claude', '--alt', 'a = 1')").error is None
        assert run("a").result == 1
        cell = run("get_ipython().run_cell_magic('claude', '--alt', '1/0')")
        assert isinstance(cell.error, ZeroDivisionError)

    def test_a_picture_of_pillow_is_described_without_the_inline_backend(self, run, online):
        """As it was sent, where it has no display of its own."""
        online.will_say(REPLY)
        code = "from segmind_jupyter import describe\nfrom PIL import Image\n"
        (shown,) = run(f"{code}describe(Image.new('RGB', (8, 6), 'red'))").displayed
        assert shown.data["text/plain"].startswith('A "line" <b>')
        assert shown.data["text/html"].startswith("<figure ")


def test_what_is_hostile_in_a_picture_or_its_words_stays_text():
    """Of the words, the language, the metadata and the base64."""
    words = '"><script>alert(1)</script>\n\n$x$'
    value = Description(words, words, language='"><script>')
    about = {"image/png": {"width": '1" onload="x'}, "needs_background": '"x'}
    bundle, metadata = figure_bundle(value, Pixels("aGk=\n", metadata=about))
    assert "<script" not in bundle["text/html"]
    assert "onload" not in bundle["text/html"]
    assert "\n" not in bundle["text/html"]
    assert metadata["image/png"]["width"] == '1" onload="x'
    with pytest.raises(Exception, match="no base64"):
        figure_bundle(value, Pixels('"><script>'))
    dark = figure_bundle(value, Pixels(b"x", metadata={"needs_background": "light"}))
    assert 'style="background-color:#fff"' in dark[0]["text/html"]
