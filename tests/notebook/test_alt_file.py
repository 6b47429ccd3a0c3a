"""`python -m segmind_jupyter alt`: a notebook's file is described, and the rest of it stays."""

from __future__ import annotations

import base64
import difflib
import io
import json
import logging
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from PIL import Image

from segmind_jupyter.__main__ import main
from segmind_jupyter.notebook.alt_text import figures_of
from segmind_jupyter.session import session
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

V4 = nbformat.v4


SVG = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><path d='M0 0H5V5'/></svg>"

ATTACHED = "![](attachment:a.png) ![x.PNG](attachment:b.png)"


def png(colour: str, size: int = 48) -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, size), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def code(source: str, *data: dict, **metadata) -> dict:
    outputs = [V4.new_output("display_data", data=each, metadata=metadata) for each in data]
    return V4.new_code_cell(source, outputs=outputs)


def attached(source: str, **files: str) -> dict:
    cell = V4.new_markdown_cell(source)
    cell["attachments"] = {f"{name}.png": {"image/png": data} for name, data in files.items()}
    return cell


@pytest.fixture
def on_simulator(restart, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    monkeypatch.chdir(tmp_path)
    return restart


@pytest.fixture
def alt(on_simulator, capsys):
    """Run the command on cells, and give its exit code, what it said, and the file."""

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
    changes = [line for line in difflib.ndiff(*lines) if line[0] in "-+"]
    old = [line[1:].strip() for line in changes if line[0] == "-"]
    assert old == ['"metadata": {},', '"metadata": {},', f'"{ATTACHED}"']
    assert nbformat.writes(document) + "\n" == after
    status, said, again = alt()
    assert (status, again == after, "done" in said) == (0, True, False)
    assert (
        "4 of 4 done (4 from the journal)" in alt(name="before.ipynb", options="--out o.ipynb")[1]
    )
    assert Path("o.ipynb").read_text(encoding="utf-8") == after
    assert alt(options="--check")[:2] == (0, "n.ipynb: 5 of 5 figures have words.\n")


def test_a_file_of_any_style_keeps_it(alt):
    """Indented by anything or not at all, its line ends as they are; an odder one is refused."""
    notebook = V4.new_notebook(cells=plain(), metadata={"x": 0.5})
    for style in (
        {"indent": 2}, {"indent": "\t", "ensure_ascii": False}, {"separators": (",", ":")}, {},
    ):  # fmt: skip
        end = "\r\n" if "indent" in style else ""
        text = json.dumps(notebook, **style).replace("\n", end) + end
        Path("n.ipynb").write_bytes(text.encode())
        assert alt()[0] == 0
        after = Path("n.ipynb").read_bytes().decode()
        assert after.isascii() == text.isascii()
        assert json.dumps(json.loads(after), **style).replace("\n", end) + end == after
    Path("n.ipynb").write_text(text.replace("0.5", "5.0E-1"))
    status, said, after = alt()
    assert (status, "--inplace n.ipynb" in said, "5.0E-1" in after) == (2, True, True)


def test_formats_are_those_of_their_readers(alt):
    """What has words in one of them has words."""
    red, blue = {"image/png": png("red")}, {"image/png": png("blue")}
    for how, holds in [
        ("metadata", lambda cell: cell.outputs[0].metadata["image/png"]["alt"]),
        ("myst", lambda cell: cell.metadata["mystnb"]["image"]["alt"]),
        ("quarto", lambda cell: cell.source.partition("#| fig-alt: ")[2]),
    ]:
        status, _, text = alt(code("plot()", red), options=f"--format {how}")
        (cell,) = nbformat.reads(text, as_version=4).cells
        assert "(simulated)" in holds(cell), how
        assert (status, "text/html" in text) == (0, False)
        assert alt(options="--check")[0] == 0
    text = alt(code("plot()", red, blue), options="--format quarto --language de")[2]
    (cell,) = nbformat.reads(text, as_version=4).cells
    assert cell.source.startswith('#| fig-alt:\n#|   - "(simulated) ')
    assert cell.source.endswith("\nplot()")
    text = alt(code("plot()", red), options="--language de,fr")[2]
    assert all(f"Description ({tag})" in text for tag in ("de", "fr"))


def test_a_check_needs_no_key_and_lists_what_has_no_words(alt, monkeypatch):
    """And exits with 1; what cannot have any says why."""
    monkeypatch.delenv("SEGMIND_API_KEY")
    monkeypatch.setenv("SEGMIND_BASE_URL", "https://api.segmind.com")
    told = {"text/html": "<img src='data:image/png;base64,aGk=' alt='words'>"}
    status, said, _ = alt(
        code("a", {"image/png": png("red")}),
        code("b", told),
        code("c", {"text/html": "<img src='https://x.example/a.png'>"}),
        code("d", {"application/vnd.plotly.v1+json": {"data": []}}),
        code("e", {"text/html": f"<img src='data:image/png;base64,{png('red')}'>"}),
        code("f", {"text/html": "<video src='x'></video>"}),
        attached("![](attachment:gone.png) ![a b](attachment:gone.png)"),
        options="--check",
    )
    lines = said.splitlines()
    assert status == 1
    assert lines[0] == "n.ipynb: 2 of 7 figures have words."
    assert [line.partition(":")[0] for line in lines[1:]] == [
        f"  cell {n}" for n in (1, 3, 4, 5, 7)
    ]
    assert "the page fetches" in lines[2]
    assert "plotly" in lines[3]
    assert "not there" in lines[5]
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
    hostile = {
        "image/svg+xml": "<svg width='9' height='9'><image href='https://x.example/'/></svg>"
    }
    for broken, said in [
        ("{", "its JSON is broken"),
        ("[" * 100_000, "its JSON is broken"),
        ("[]", "It is no notebook"),
        ('{"nbformat": 4, "cells": [1]}', "It is no notebook"),
        ('{"nbformat": 3, "worksheets": []}', "another version"),
    ]:
        Path("n.ipynb").write_text(broken)
        assert (alt()[0], said in alt()[1]) == (2, True), broken[:20]
    status, said, text = alt(
        code("a", {"image/png": "!!!"}), code("b", hostile), code("c", {"image/png": png("red")})
    )
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
    alt(code("a", {"image/png": png("red")}), options="--dry-run")

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
        status, said, _ = alt(code("a", {"image/png": png("red")}), options=f"--out {out}")
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


THIRTY = 30


def drawn() -> list[dict]:
    """A figure a cell, as matplotlib, pandas, seaborn and plotly (as PNG) leave them."""
    import pandas as pd

    seaborn = find_spec("seaborn") and import_module("seaborn")
    plt.switch_backend("agg")
    cells = []
    for n in range(THIRTY):
        if n % 3 == 0:
            plt.subplots()[1].plot([n, 3, n + 1])
        elif n % 3 == 1:
            pd.Series([n, 2, 5]).plot.bar()
        else:
            seaborn.histplot([1, 2, 2, n]) if seaborn else plt.hist([1, 2, 2, n])
        file = io.BytesIO()
        plt.savefig(file, dpi=40)
        plt.close("all")
        data = base64.b64encode(file.getvalue()).decode()
        cells.append(code(f"draw({n})", {"image/png": data, "text/plain": "<Figure>"}))
    return cells


def test_a_killed_run_is_continued_and_pays_nothing_twice(alt, program, monkeypatch):
    """Killed by itself at the twelfth reply; of what it was sending, nobody knows."""
    nbformat.write(V4.new_notebook(cells=drawn()), "n.ipynb")
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

    pages = []
    nbformat.write(V4.new_notebook(cells=plain()), "n.ipynb")
    for missing in (True, False):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            pages.append(HTMLExporter().from_filename("n.ipynb")[0])
        assert ("Alternative text is missing" in caplog.text) is missing
        alt()
    assert [page.count(png("blue")) for page in pages] == [1, 1]
    assert "(simulated) A picture of 64 by 48 pixels, all blue." in pages[1]
