"""`--alt`, of cells and files: figures have words, and nothing else changes."""

from __future__ import annotations

import base64
import difflib
import io
import json
import traceback
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from segmind_jupyter.__main__ import main
from segmind_jupyter.described import Description
from segmind_jupyter.notebook.alt_text import figure_bundle, figures_of
from segmind_jupyter.notebook.plots.formats import Pixels
from segmind_jupyter.session import session
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

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
        """Its value, what it prints, awaits, assigns; a failing one and a dry run ask nothing."""
        code = "%%claude --alt\nimport asyncio\nawait asyncio.sleep(0)\nprint('out')\nn = 41\nn + 1"
        output = kernel.run(code)
        assert output.status == "ok"
        assert "out\n" in output.text
        assert "The cell has shown no figure" in output.text
        assert output.data == [{"text/plain": "42"}]
        assert kernel.run("_, n").text == "(42, 41)"
        assert kernel.run("%%claude --alt\n1;").data == []
        assert "Nothing was sent" in kernel.run(f"%%claude --alt --dry-run\n{DRAW}").text
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

    def test_the_code_keeps_its_lines_and_may_come_from_a_function(self, run, online):
        """In tracebacks; and as notebooks that became scripts call it."""
        cell = run("# drawn\n%%claude --alt\nn = 1\n1/0")
        assert traceback.extract_tb(cell.error.__traceback__)[-1].lineno == 4
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
    assert "<script" not in figure_bundle(value, Pixels('"><script>aa'))[0]["text/html"]
    dark = figure_bundle(value, Pixels(b"x", metadata={"needs_background": "light"}))
    assert 'style="background-color:#fff"' in dark[0]["text/html"]


# Of files

V4 = nbformat.v4

SVG = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><path d='M0 0H5V5'/></svg>"

ATTACHED = "![](attachment:a.png) ![x.PNG](attachment:b.png)"

THIRTY = 30


def png(colour: str, size: int = 48) -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, size), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


RED = {"image/png": png("red")}


def code(source: str, *data: dict, **metadata) -> dict:
    outputs = [V4.new_output("display_data", data=each, metadata=metadata) for each in data]
    return V4.new_code_cell(source, outputs=outputs)


def attached(source: str, **files: str) -> dict:
    cell = V4.new_markdown_cell(source)
    cell["attachments"] = {f"{name}.png": {"image/png": data} for name, data in files.items()}
    return cell


@pytest.fixture
def alt(restart, monkeypatch, tmp_path, capsys):
    """Run the command on cells, and give its exit code, what it said, and the file."""
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    monkeypatch.chdir(tmp_path)

    def run(*cells: dict, options: str = "", name: str = "n.ipynb") -> tuple[int, str, str]:
        if cells:
            nbformat.write(V4.new_notebook(cells=list(cells)), name)
        status = main(["alt", name, *options.split()])
        said = capsys.readouterr()
        return status, said.out + said.err, Path(name).read_text(encoding="utf-8")

    return run


def plain() -> list[dict]:
    """A notebook whose figures have no words, in all the ways in which there are some."""
    size = {"image/png": {"width": 32, "height": 24}}
    return [
        V4.new_markdown_cell("# Rain\nÄ\u2028ö"),
        code("plot()", {"image/png": png("red"), "text/plain": "<Figure>"}, **size),
        code("again()", *({"image/png": png(c) + "\n", "text/plain": ""} for c in ("red", "blue"))),
        attached(ATTACHED, a=png("green"), b=png("tan")),
        code("table", {"text/html": "<table></table>", "text/plain": "1.0"}),
    ]


def test_every_figure_gets_words_and_nothing_else_changes(alt):
    """A diff shows them alone, as nbformat writes them; another run costs nothing."""
    cells = plain()
    nbformat.write(V4.new_notebook(cells=cells), "before.ipynb")
    status, said, after = alt(*cells)
    assert (status, "5 figures were described" in said, "4 of 4 done" in said) == (0, True, True)
    document = nbformat.reads(after, as_version=4)
    nbformat.validate(document)
    first, second = document.cells[1].outputs[0], document.cells[2].outputs[1]
    assert first.metadata["image/png"]["alt"].startswith("(simulated) A picture of 64 by 48")
    assert 'width="32"' in first.data["text/html"]
    assert "all blue" in second.data["text/html"]
    assert "all green.](attachment:a.png)" in document.cells[3].source
    lines = Path("before.ipynb").read_text(encoding="utf-8").splitlines(), after.splitlines()
    old = [line[1:].strip() for line in difflib.ndiff(*lines) if line[0] == "-"]
    assert old == ['"metadata": {},', '"metadata": {},', f'"{ATTACHED}"']
    assert nbformat.writes(document) + "\n" == after
    status, said, again = alt()
    assert (status, again == after, "done" in said) == (0, True, False)
    said = alt(name="before.ipynb", options="--out o.ipynb")[1]
    assert "4 of 4 done (4 from the journal)" in said
    assert Path("o.ipynb").read_text(encoding="utf-8") == after
    assert alt(options="--check")[:2] == (0, "n.ipynb: 5 of 5 figures have words.\n")


def test_a_file_of_any_style_keeps_it(alt):
    """Indented by anything or not at all, its line ends as they are; an odder one is refused."""
    notebook = V4.new_notebook(cells=plain(), metadata={"x": 0.5})
    for indent, end in ((2, "\r\n"), ("\t", "\n"), (None, "")):
        text = json.dumps(notebook, indent=indent, ensure_ascii=False).replace("\n", end) + end
        Path("n.ipynb").write_bytes(text.encode())
        assert alt()[0] == 0
        after = Path("n.ipynb").read_bytes().decode()
        written = json.dumps(json.loads(after), indent=indent, ensure_ascii=False)
        assert written.replace("\n", end) + end == after
    for odd in (json.dumps(notebook), text.replace("0.5", "5.0E-1")):
        Path("n.ipynb").write_text(odd, encoding="utf-8")
        status, said, after = alt()
        assert (status, "--inplace n.ipynb" in said, after == odd) == (2, True, True)


def test_formats_are_those_of_their_readers(alt):
    """What has words in one of them has words."""
    for how, holds in [
        ("metadata", lambda cell: cell.outputs[0].metadata["image/png"]["alt"]),
        ("myst", lambda cell: cell.metadata["mystnb"]["image"]["alt"]),
        ("quarto", lambda cell: cell.source.partition("#| fig-alt: ")[2]),
    ]:
        status, _, text = alt(code("plot()", RED), options=f"--format {how}")
        (cell,) = nbformat.reads(text, as_version=4).cells
        assert "(simulated)" in holds(cell), how
        assert (status, "text/html" in text) == (0, False)
        assert alt(options="--check")[0] == 0
    text = alt(code("plot()", RED, RED), options="--format quarto")[2]
    (cell,) = nbformat.reads(text, as_version=4).cells
    assert cell.source.startswith('#| fig-alt: ["(simulated) ')
    assert cell.source.endswith("\nplot()")
    text = alt(code("plot()", RED), options="--language de,fr")[2]
    assert all(f"Description ({tag})" in text for tag in ("de", "fr"))


def test_a_check_needs_no_key_and_lists_what_has_no_words(alt, monkeypatch):
    """And exits with 1; what cannot have any says why."""
    monkeypatch.delenv("SEGMIND_API_KEY")
    monkeypatch.setenv("SEGMIND_BASE_URL", "https://api.segmind.com")
    cells = [code("a", RED), code("b", {"application/vnd.plotly.v1+json": {"data": []}})]
    for page in (
        "<img src='data:image/png;base64,aGk=' alt='words'>",
        "<img src='https://x.example/a.png'>",
        f"<img src='data:image/png;base64,{png('red')}'>",
        "<video src='x'></video>",
    ):
        cells.append(code("c", {"text/html": page}))
    cells.append(attached("![](attachment:gone.png) ![a b](attachment:gone.png)"))
    status, said, _ = alt(*cells, options="--check")
    assert (status, "n.ipynb: 2 of 7 figures have words." in said) == (1, True)
    lines = [line for line in said.splitlines() if line.startswith("  cell ")]
    whys = ("without words", "as a PNG", "as a PNG", "as a PNG", "not there")
    for n, why, line in zip((1, 2, 4, 5, 7), whys, lines, strict=True):
        assert (f"cell {n}:" in line, why in line) == (True, True), line
    assert alt()[0] == 2  # to ask takes a key


def test_a_dry_run_and_a_budget_send_no_more(alt):
    """The first says what it takes; what the second stops goes on later."""
    cells = [code(str(n), {"image/png": png("red", 10 + n)}) for n in range(4)]
    status, said, text = alt(*cells, options="--dry-run --budget 3")
    assert (status, "4 requests" in said, "text/html" in text) == (0, True, False)
    status, said, text = alt(options="--budget 0")
    assert (status, "pass the budget of 0 credits" in said, "text/html" in text) == (2, True, False)
    assert alt(options="--budget -1")[0] == 2
    assert alt(options="--budget 5")[0] == 0


def test_hostile_files_are_told_in_words(alt):
    """Broken JSON, base64, structure and SVG; nothing is fetched; a reply stays text."""
    svg = "<svg width='9' height='9'><image href='https://x.example/'/></svg>"
    for broken, said in [
        ("{", "its JSON is broken"),
        ("[" * 100_000, "its JSON is broken"),
        ("[]", "It is no notebook"),
        ('{"nbformat": 4, "cells": [1]}', "It is no notebook"),
        ('{"nbformat": 3, "worksheets": []}', "another version"),
    ]:
        Path("n.ipynb").write_text(broken)
        assert (alt()[0], said in alt()[1]) == (2, True), broken[:20]
    broken, drawn = code("a", {"image/png": "!!!"}), code("b", {"image/svg+xml": svg})
    status, said, text = alt(broken, drawn, code("c", RED))
    assert status == 1
    assert "cell 1: The image is not" in said
    assert "cell 2: SVG went as its source: to draw it something would be fetched" in said
    assert text.count("<figure") == 1
    assert main(["alt", "gone.ipynb"]) == 2


def test_hostile_words_take_no_time():
    """Marks that open and never close are looked at once, not once for each of them."""
    many = 100_000
    for html, markdown in [
        ("<img " * many, "![" * many),
        (f'<img alt="{"x" * many}', f"![{' ' * many}x](attachment:a)"),
        (f"<img{' alt=' * many}", f"![{'a.' * many}x](attachment:a)"),
    ]:
        cells = [code("a", {"image/png": png("red"), "text/html": html}), attached(markdown)]
        figures_of(V4.new_notebook(cells=cells))


def test_a_file_that_was_saved_meanwhile_stays(alt):
    """What its owner did while the models wrote is not undone; the answers are kept."""
    alt(code("a", RED), options="--dry-run")

    def save(_):
        Path("n.ipynb").write_text(Path("n.ipynb").read_text().replace('"a"', '"mine"'))

    session().batch_shows.append(save)
    status, said, text = alt()
    assert (status, "text/html" in text, '"mine"' in text) == (2, False, True)
    assert "saved elsewhere meanwhile" in said


def test_where_nothing_can_be_written_nothing_is_asked(alt):
    """A folder, and one that is not there."""
    Path("folder").mkdir()
    for out in ("folder", "gone/o.ipynb"):
        status, said, _ = alt(code("a", RED), options=f"--out {out}")
        assert (status, "so nothing was asked" in said) == (2, True)
    assert [each.name for each in Path.cwd().iterdir() if "folder" in each.name] == ["folder"]


def test_an_svg_is_drawn_and_stays_an_svg(alt):
    """Where something that draws it is installed."""
    pytest.importorskip("vl_convert")
    status, _, text = alt(code("a", {"image/svg+xml": SVG, "text/plain": "ü"}))
    (output,) = nbformat.reads(text, as_version=4).cells[0].outputs
    assert (status, 'src="data:image/svg+xml;base64,' in output.data["text/html"]) == (0, True)
    assert output.metadata["image/svg+xml"]["alt"].startswith("(simulated)")


def test_a_text_between_brackets_is_no_markup(alt, recorder, monkeypatch):
    """Whatever the model says."""
    words = {"en": {"alt": "a](https://x.example) <img onerror=x> $y$ `z`", "long": ""}}
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    recorder.will_answer(200, {"request_id": "r1", "status": "QUEUED"})
    recorder.will_answer(200, {"request_id": "r1", "status": "COMPLETED"})
    message = {"content": [{"type": "text", "text": json.dumps(words)}]}
    done = {"request_id": "r1", "status": "COMPLETED", "output": json.dumps(message)}
    recorder.will_answer(200, done)
    status, _, text = alt(attached("![](attachment:a.png)", a=png("red")))
    source = nbformat.reads(text, as_version=4).cells[0].source
    assert status == 0
    assert source.count("](") == 1
    assert not set("<>$`") & set(source)


def test_a_killed_run_is_continued_and_pays_nothing_twice(alt, program, monkeypatch):
    """Killed by itself at the twelfth reply; of what it was sending, nobody knows."""
    cells = [code(f"draw({n})", {"image/png": png("red", 10 + n)}) for n in range(THIRTY)]
    nbformat.write(V4.new_notebook(cells=cells), "n.ipynb")
    before = Path("n.ipynb").read_bytes()
    Path("copy.ipynb").write_bytes(before)
    gateway = Gateway(Behaviour(credits=1e6, work_s=0.1))
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        run = program(
            """
            import os
            from segmind_jupyter.__main__ import main
            from segmind_jupyter.session import session

            def die(batch):
                if batch.progress.done >= 12:
                    os.kill(os.getpid(), 9)

            session().batch_shows.append(lambda batch: batch.on_change(die))
            main(["alt", "n.ipynb"])
            """
        )
        run.communicate(timeout=100)
        assert run.returncode == -9
        assert Path("n.ipynb").read_bytes() == before
        status, said, text = alt()
        lost = said.count("may have been billed")
        assert int(said.partition(" from the journal")[0].rpartition("(")[2]) >= 12
        assert status == (1 if lost else 0)
        assert text.count("<figure") == THIRTY - lost >= 20
        assert gateway.billed <= THIRTY
        assert f"({THIRTY - lost} from the journal)" in alt(name="copy.ipynb")[1]


def test_nbconvert_warns_no_more(alt, caplog):
    """Of alternative texts that are missing; the picture is there once."""
    from nbconvert import HTMLExporter

    alt(*plain())
    page, _ = HTMLExporter().from_filename("n.ipynb")
    assert "Alternative text is missing" not in caplog.text
    assert page.count(png("blue")) == 1
    assert "(simulated) A picture of 64 by 48 pixels, all blue." in page
