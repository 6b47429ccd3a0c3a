"""Files by their path: tables as what they say, texts with both ends, and names that are words."""

from __future__ import annotations

import codecs
import pathlib
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits
from segmind_jupyter.errors import ContentError

pd = pytest.importorskip("pandas")


@pytest.fixture
def sent(tmp_path):
    """Write a file and give the part that its path becomes."""

    def of(data, name="data.csv", **limits):
        file = tmp_path / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        (part,) = to_parts(file, name="path", limits=Limits(**limits))
        return part

    return of


def columns_of(part):
    """The lines of a summary that describe its columns."""
    return [line for line in part.text.splitlines() if line.startswith("- ")]


class TestDelimited:
    """CSV and TSV files: what they say, and what is not read."""

    def test_a_file_is_summarized_as_the_frame_that_it_holds(self, sent):
        """Shape, types, what is missing, ranges and rows, under the name of the file."""
        part = sent("n,city\n1,Oslo\n,Rome\n3,Oslo\n")
        assert part.text.startswith("data.csv: table, 3 rows × 2 columns\nColumns:\n")
        assert "- n (float64): 1 missing; 1 to 3, mean 2" in part.text
        assert "2 distinct: Oslo ×2, Rome ×1" in part.text
        assert part.text.splitlines()[-1].split() == ["2", "3", "Oslo"]
        assert (part.about, part.left_out) == ("file data.csv, 3×2", "")

    def test_what_is_no_plain_number_stays_text(self, sent):
        """Ids, telephone numbers, words for nothing: empty cells alone are missing."""
        for cells, facts in [
            (["01234", "00501"], "2 distinct"),
            (["+4912345", "+4912346"], "2 distinct"),
            (["NA", "None", "NA"], "2 distinct: NA ×2, None ×1"),
            (["12345678901234567", "", "12345678901234569"], "1 missing; 2 distinct"),
            (["1234567890123456", "1"], "2 distinct"),
            (["12E4", "0x10", "1_000"], "3 distinct"),
            (["1,5", "2,5"], "2 distinct"),
            (["TRUE", "FALSE", "TRUE"], "2 distinct: TRUE ×2, FALSE ×1"),
            (["NA", "1.5", "1\n2"], "3 distinct"),
        ]:
            lines = "\n".join(f'{n},"{text}"' for n, text in enumerate(cells))
            part = sent(f"n,x\n{lines}\n")
            assert columns_of(part)[1] in (f"- x (str): {facts}", f"- x (object): {facts}")
            assert all(text.replace("\n", "\\n") in part.text for text in cells)

    def test_plain_numbers_are_numbers(self, sent):
        """As far as a type of number holds them."""
        for cells, facts in [
            (["123456789012345", "1"], "(int64): 1 to 123456789012345"),
            (["-1", "0", " 2"], "(int64): -1 to 2"),
            (["1.5", "-.5", "1e-05", "2.", "1.0E10"], "(float64): -0.5 to 10000000000"),
            (["", ""], "(float64): all 2 missing"),
            (["inf", "1"], "(float64): 1 to inf"),
            (["0.25", "10.0", "3"], "(float64): 0.25 to 10"),
            (["1.9", "1.10"], "(str"),  # versions
        ]:
            lines = "\n".join(f"{n},{text}" for n, text in enumerate(cells))
            assert columns_of(sent(f"n,x\n{lines}\n"))[1].startswith(f"- x {facts}")

    def test_the_delimiter_is_found(self, sent):
        """By the suffix or by the header; the line that tells it to Excel is no row."""
        for name, separator in (("a.csv", ","), ("a.CSV", ";"), ("a.csv", "|"), ("a.tsv", "\t")):
            part = sent(f"a{separator}b\r\n1{separator}2\r\n", name)
            assert columns_of(part) == ["- a (int64): always 1", "- b (int64): always 2"]
            assert part.notes == ()
        assert sent("sep=;\na;b\n1,5;2\n").text.endswith("1,5  2")
        names = sent('sep=;\nlast, first;n\n"a, b";1\n')
        assert columns_of(names)[1] == "- n (int64): always 1"
        assert columns_of(sent("sep=x,b\n1,2\n"))[0].startswith("- sep=x ")

    def test_the_encoding_is_that_of_the_file(self, sent):
        """Spreadsheets write all of these; a guess is said to be one."""
        for encoding in ("utf-8-sig", "utf-16", "cp1252"):
            text = sent("city,number\nMálaga,1\nOslo,2\n".encode(encoding)).text
            assert "- city (" in text
            assert "Málaga" in text
            assert ("read as Windows-1252" in text) == (encoding == "cp1252")

    def test_what_is_no_table_goes_as_its_text(self, sent):
        """Ragged lines or a quote without its end: the words are there, the note says why."""
        for content, why in [
            ("a,b\n1,2\n3,4,5\n", "Expected 2 fields in line 3, saw 3"),
            ("# by X\nyear,co2\n1960,3\n", "its rows have more cells than its header"),
            ('a,b\n"1,2\n3,4\n', "EOF inside string"),
        ]:
            part = sent(content)
            assert part.text == content
            assert re.match(rf"data\.csv went as text, not as a table \(.*{why}", part.notes[0])

    def test_large_files_are_read_in_part_and_say_so(self, sent, tmp_path):
        """So many rows and cells; the others are not looked at, and wide ones are refused."""
        part = sent("n\n" + "\n".join(map(str, range(100_001))))
        assert part.text.startswith("data.csv: table, the first 100,000 of more rows (the others")
        assert "- n (int64): 0 to 99999" in part.text
        assert part.left_out == "the first 100,000 of more rows read"
        with (tmp_path / "data.csv").open("r+b") as file:
            file.truncate(100_000_001)
        with pytest.raises(ContentError, match=r"larger than 100 MB.*pd\.read_csv\(path, nrows"):
            to_parts(tmp_path / "data.csv")
        wide = ",".join(map(str, range(6_000)))
        with pytest.raises(ContentError, match=r"data\.csv has 6,000 columns; 5,000 are read"):
            sent(f"{wide}\n{wide}\n")

    @given(content=st.text(st.sampled_from('ab1.,;"\n\t é')) | st.binary(max_size=80))
    def test_any_content_is_a_table_a_text_or_refused(self, tmp_path_factory, content):
        """Nothing but a `ContentError` is raised, nothing warned."""
        file = tmp_path_factory.mktemp("files") / "any.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            (part,) = to_parts(file)
        except ContentError:
            return
        assert part.text


def test_a_parquet_file_is_summarized(tmp_path, monkeypatch):
    """Of a large one a part, and how much there is; a damaged one is refused."""
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("segmind_jupyter.content.files._MAX_ROWS", 100)
    path = tmp_path / "data.parquet"
    for n_rows, said, left_out in [
        (0, "0 rows × 1 column", ""),
        (3, "3 rows × 1 column", ""),
        (101, "the first 100 of 101 rows", "the first 100 of 101 rows read"),
    ]:
        pd.DataFrame({"n": range(n_rows)}).to_parquet(path)
        (part,) = to_parts(path)
        assert part.text.startswith(f"data.parquet: table, {said}")
        assert "- n (" in part.text
        assert part.left_out.startswith(left_out)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ContentError, match=r"data\.parquet cannot be read as Parquet \("):
        to_parts(path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ContentError, match="pip install pyarrow"):
        to_parts(path)


class TestTexts:
    """Texts: encodings, and what is sent of a long one."""

    def test_what_is_no_known_text_is_refused_with_advice(self, sent):
        """Nothing is guessed at; the message says how such a file can be named."""
        advice = r"neither an image .* `pandas\.read_excel.*read_text\(encoding="
        for data in (
            "Привет, мир".encode("cp1251"), "こんにちは。日本語".encode("shift_jis"),
            "words in thirty-two bits".encode("utf-32"), b"words\x00words",
            b"abc\x01\xe9" + b"words " * 100,
            codecs.BOM_UTF16_LE + b"\x00\xd8a\x00",  # half a surrogate pair
        ):  # fmt: skip
            with pytest.raises(ContentError, match=advice):
                sent(data, "notes.txt")

    def test_of_a_long_file_both_ends_go_and_the_rest_is_counted(self, sent):
        """As of the same text in a variable."""
        text = "".join(f"line {n} of the article\n" for n in range(2_500))[:60_189]
        part = sent(text, "article.md")
        assert part.text == to_parts(text)[0].text
        assert (part.text[:500], part.text[-500:]) == (text[:500], text[-500:])
        assert part.left_out == "20,000 of 60,189 characters"
        assert part.about == "file article.md, 60,189 bytes"


def test_every_image_format_is_recognised_by_its_signature(red, tmp_path, picture_in):
    """The name of a file does not matter."""
    file = tmp_path / "no-suffix"
    for file_format in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"):
        red.save(file, file_format)
        for obj in (file.read_bytes(), file):
            red_value, *others = picture_in(to_parts(obj)[0]).getpixel((30, 20))
            assert red_value > 240
            assert max(others) < 15


def test_a_path_that_leads_to_no_content_is_refused(tmp_path):
    """By its name as the user wrote it, with what to do; a device might never end."""
    for path, said in (
        ("gone.txt", r"There is no file gone\.txt\. Check its name; this folder is"),
        (tmp_path, "is a folder"),
        ("/dev/zero", "is a device or a pipe"),
        ("~nobody-of-this-name/x.png", r"(cannot be read|There is no file).*\. Check its name"),
        ("x" * 5_000, r"(cannot be read|There is no file).*\. Check its name"),
    ):
        with pytest.raises(ContentError, match=f"^`photo`: .*{said}"):
            to_parts(pathlib.Path(path), name="photo")
