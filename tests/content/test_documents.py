"""PDFs as the pictures of their pages, notebooks as their cells: what goes, and what is said."""

from __future__ import annotations

import base64
import io
import json
import sys

import nbformat
import PIL.Image
import pytest

from segmind_jupyter.content.convert import to_blocks, to_parts
from segmind_jupyter.content.parts import Image, Limits, Text, part_of
from segmind_jupyter.content.prompt import compose
from segmind_jupyter.errors import ContentError


def png(colour):
    """A small picture, as a notebook holds it."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (60, 40), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


class TestPdf:
    """Pages that are drawn by pypdfium2."""

    @pytest.fixture
    def pdf(self, tmp_path):
        """Write a PDF of so many pages, the n-th with a red of 5 n."""
        pytest.importorskip("pypdfium2")

        def of(n_pages):
            first, *others = (
                PIL.Image.new("RGB", (85, 110), (5 * n, 0, 0)) for n in range(1, n_pages + 1)
            )
            first.save(tmp_path / "paper.pdf", save_all=True, append_images=others, quality=95)
            return tmp_path / "paper.pdf"

        return of

    def reds(self, parts, picture_in):
        """The page numbers that the pictures show."""
        images = [part for part in parts if isinstance(part, Image)]
        return [round(picture_in(image).getpixel((40, 40))[0] / 5) for image in images]

    def test_of_a_long_one_ten_pages_go_and_the_note_names_the_way_to_others(self, pdf, picture_in):
        """With their cost, before anything is sent; the others go as pypdfium2's own pages."""
        import pypdfium2

        file = pdf(22)
        prompt = compose("Sum up {paper}", {"paper": file})
        head, *pages = prompt.sent[0].parts
        assert (head.text, head.left_out) == ("[paper.pdf, pages 1-10 of 22]", "pages 1-10 of 22")
        assert self.reds(pages, picture_in) == list(range(1, 11))
        (note,) = prompt.notes
        cost = sum(page.tokens for page in pages)
        assert note.startswith(f"paper.pdf: pages 1-10 of 22 go, ≈{cost:,} tokens.")
        code = note.split("`")[1]
        assert code == "pages = list(pypdfium2.PdfDocument(path))[10:20]"
        namespace = {"pypdfium2": pypdfium2, "path": file}
        exec(code, namespace)
        parts = to_parts(namespace["pages"], name="pages")
        assert self.reds(parts, picture_in) == list(range(11, 21))
        document = pypdfium2.PdfDocument(file)
        assert self.reds(to_parts(document[21]), picture_in) == [22]
        assert to_parts(document, name="paper")[0].left_out == "pages 1-10 of 22"

    def test_pages_are_chosen_by_their_numbers(self, pdf, picture_in):
        """Counted from one, in any order; what is not there is said."""
        file = pdf(6)
        for numbers, said in [(range(5, 7), "pages 5, 6"), ([5, 2], "pages 5, 2"), ([4], "page 4")]:
            head, *pages = map(part_of, to_blocks(file, name="p", pages=numbers))
            assert head.text == f"[p, {said} of 6]"
            assert self.reds(pages, picture_in) == list(numbers)
        for numbers, said in [([7], ", and no page 7"), ([0], ", and no page 0"), ([], "; name")]:
            with pytest.raises(ContentError, match=f"^p has 6 pages{said}"):
                to_blocks(file, name="p", pages=numbers)

    def test_a_broken_one_is_refused(self, tmp_path):
        """With PDFium's reason, and the way to give a password."""
        pytest.importorskip("pypdfium2")
        (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 and no more")
        with pytest.raises(ContentError, match=r"^bad\.pdf cannot be opened .*password="):
            to_parts(tmp_path / "bad.pdf")
        for what in (tmp_path / "none.pdf", 3, "x" * 9_999):
            with pytest.raises(ContentError, match="cannot be opened as a PDF"):
                to_blocks(what, pages=[1])

    def test_without_pypdfium2_the_error_says_what_to_install(self, tmp_path, monkeypatch):
        """Nothing else draws pages here."""
        (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7")
        monkeypatch.setitem(sys.modules, "pypdfium2", None)
        with pytest.raises(ContentError, match=r"paper\.pdf is a PDF.*pip install pypdfium2"):
            to_parts(tmp_path / "paper.pdf")


class TestNotebook:
    """Cells in order: source, text outputs, pictures as pictures."""

    @pytest.fixture
    def sent(self, tmp_path):
        """Write a notebook of some cells, and give the parts that its path becomes."""

        def of(*cells, **limits):
            file = tmp_path / "n.ipynb"
            file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
            return to_parts(file, name="path", limits=Limits(**limits))

        return of

    def code(self, source, *outputs):
        return {"cell_type": "code", "source": source, "outputs": list(outputs), "metadata": {}}

    def picture(self, colour="red"):
        data = {"image/png": png(colour), "text/plain": "<Figure>"}
        return {"output_type": "display_data", "data": data}

    def test_cells_stand_in_order_with_their_outputs(self, sent, picture_in, tmp_path):
        """Text of streams, results and errors; a picture in its place; nothing in base64."""
        stream = {"output_type": "stream", "text": ["hello ", "\x1b[31mred\x1b[0m\n"]}
        table = {"text/html": "<b>", "text/plain": ["   a\n", "0  1"]}
        widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}
        parts = sent(
            {
                "cell_type": "markdown",
                "source": ["# Title\n", f"data:image/png;base64,{png('red')} and so on"],
                "attachments": {"a.png": {"image/png": png("lime")}},
            },
            self.code(
                "plot()", stream, self.picture("blue"),
                {"output_type": "execute_result", "data": table},
                {"output_type": "display_data", "data": widget},
                {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": ["…"]},
            ),
        )  # fmt: skip
        said = [part.text if isinstance(part, Text) else "PICTURE" for part in parts]
        assert said == [
            "n.ipynb: notebook, 2 cells",
            "[cell 1, markdown]\n# Title\n[data] and so on",
            "PICTURE",
            "[cell 2, code]\n```python\nplot()\n```",
            "Output:\nhello red",
            "PICTURE",
            "Output:\n   a\n0  1",
            "[application/vnd.jupyter.widget-view+json, not sent]",
            "Output:\nKeyError: 'a'",
        ]
        assert picture_in(parts[2]).getpixel((9, 9)) == (0, 255, 0)
        assert picture_in(parts[5]).getpixel((9, 9)) == (0, 0, 255)
        assert (parts[0].left_out, parts[0].notes) == ("", ())
        read = nbformat.from_dict(json.loads((tmp_path / "n.ipynb").read_text()))
        assert to_parts(read, name="read")[1:] == parts[1:]

    def test_the_last_eight_pictures_go(self, sent, picture_in):
        """And it is said that there are more."""
        colours = [(20 * n, 0, 0) for n in range(11)]
        parts = sent(*(self.code(f"plot({n})", self.picture(c)) for n, c in enumerate(colours)))
        images = [part for part in parts if isinstance(part, Image)]
        assert [picture_in(image).getpixel((9, 9)) for image in images] == colours[3:]
        assert parts[0].left_out == "the last 8 of 11 pictures"

    def test_long_outputs_are_cut_before_code_is(self, sent):
        """Of outputs a thousand characters go; where all does not fit, the last cells do not."""
        long = {"output_type": "stream", "text": "x" * 9_000}
        cells = [self.code(f"step_{n}()\n" * 20, long) for n in range(12)]
        parts = sent(*cells)
        text = "\n".join(part.text for part in parts)
        assert len(text) <= 20_000
        assert text.count("step_") == 12 * 20
        assert parts[0].left_out == "outputs up to 1,000 characters each"
        parts = sent(*cells, text_chars=2_000)
        assert sum(len(part.text) for part in parts) <= 2_100
        assert parts[-1].text.endswith("-12 of 12 are cut]")
        assert parts[0].left_out.endswith(" of 12 cells whole")
        cells = [self.code("x" * 500, *[self.picture()] * 9) for _ in range(9)]
        parts = sent(*cells, text_chars=2_000)
        assert sum(isinstance(part, Image) for part in parts) == 8
        assert parts[0].left_out == "3 of 9 cells whole, 8 of 81 pictures"

    def test_a_broken_one(self, sent, tmp_path):
        """What is no notebook is a text; a broken picture is said to be."""
        broken = {"output_type": "display_data", "data": {"image/png": "AAAA"}}
        assert sent(self.code("x", broken))[-1].text == "[picture, not sent]"
        file = tmp_path / "old.ipynb"
        file.write_text('{"cells": 3}')
        (part,) = to_parts(file)
        assert part.text == '{"cells": 3}'
