"""CSV, TSV and Parquet files by their path: summaries of what they hold, and what is not read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.prompt import compose, gather
from segmind_jupyter.errors import ContentError

pd = pytest.importorskip("pandas")


@pytest.fixture
def sent(tmp_path):
    """Write a file and give the part that its path becomes."""

    def of(data, name="data.csv"):
        file = tmp_path / name
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        (part,) = to_parts(file)
        return part

    return of


def test_a_csv_file_is_summarized_as_the_frame_that_it_holds(sent):
    """Shape, types, what is missing, ranges and rows, under the name of the file."""
    part = sent("n,city\n1,Oslo\n,Rome\n3,Oslo\n")
    assert part.text.startswith("data.csv: table, 3 rows × 2 columns\nColumns:\n")
    assert "- n (float64): 1 missing; 1 to 3, mean 2" in part.text
    assert "2 distinct: Oslo ×2, Rome ×1" in part.text
    assert part.text.splitlines()[-1].split() == ["2", "3", "Oslo"]
    assert part.about == "file data.csv, 3×2"


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.CSV", ";"), ("a.csv", "|"), ("a.tsv", "\t")]
)
def test_the_delimiter_is_found(sent, name, separator):
    """By the suffix or by the header."""
    text = sent(f"a{separator}b\n1{separator}2\n", name).text
    assert "- a (int64): always 1\n- b (int64): always 2" in text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_that_of_the_file(sent, encoding):
    """Spreadsheets write all of these; a guess is said to be one."""
    text = sent("city,number\nMálaga,1\nOslo,2\n".encode(encoding)).text
    assert "- city (" in text
    assert "Málaga" in text
    assert ("read as Windows-1252" in text) == (encoding == "cp1252")


@pytest.mark.parametrize("content", ["a,b\n1,2,3,4\n1\n1,2,3,4,5\n", 'a,b\n"1,2\n3,4\n'])
def test_what_is_no_table_goes_as_its_text(sent, content):
    """Ragged lines or a quote without its end: the words are still there to read."""
    assert sent(content).text == content


def columns_of(part):
    """The lines of a summary that describe its columns."""
    return [line for line in part.text.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize("end", [",", ",,", ",\r"])
def test_a_delimiter_at_the_end_of_each_row_shifts_no_column(sent, end):
    """pandas would make the first column an index, and leave the last one empty."""
    part = sent(f"year,co2\n1960,316.9{end}\n1990,354.4{end}\n")
    assert part.text.startswith("data.csv: table, 2 rows × 2 columns\n")
    assert columns_of(part) == [
        "- year (int64): 1960 to 1990, mean 1975",
        "- co2 (float64): 316.9 to 354.4, mean 335.65",
    ]
    assert part.notes == ()


def test_cells_that_the_header_does_not_name_are_sent_and_pointed_out(sent):
    """Nothing moves under another name, and both the model and the user are told."""
    part = sent("x,y\n1,2,3\n4\n")
    assert part.text.startswith("data.csv: table, 2 rows × 3 columns (the header names 2 of them)")
    assert columns_of(part)[0] == "- x (int64): 1 to 4, mean 2.5"
    (note,) = part.notes
    assert "more cells than its header" in note
    assert "index_col=0" in note


@pytest.mark.parametrize(
    ("content", "first", "above"),
    [
        ("# by X\n# unit: ppm, year\nyear,co2\n1960,3\n", "year", "# by X; # unit: ppm, year"),
        ("# by X\n\nyear;co2\n1960;3\n", "year", "# by X"),
        ("# by X\n# year,co2\n1960,3\n", "# year", "# by X"),
        ("#year,co2\n1960,3\n", "#year", ""),
        ("#year\n1960\n", "#year", ""),
        ("#name,city\nAda,London\nBob,Rome\n", "#name", ""),
        ("name,tag\n#1,x\n", "name", ""),
    ],
)
def test_comments_above_the_header_are_read_as_such(sent, content, first, above):
    """A header may be one of them, as NumPy writes it; below the header nothing is a comment."""
    part = sent(content)
    assert columns_of(part)[0].startswith(f"- {first} (")
    assert (f"(above it: {above})" in part.text) == bool(above)


def test_a_row_that_is_too_long_makes_it_text_and_the_note_says_which(sent):
    """The line is that of the file, comments counted."""
    part = sent("# by X\na,b\n1,2\n3,4,5\n")
    assert part.text == "# by X\na,b\n1,2\n3,4,5\n"
    (note,) = part.notes
    assert note.startswith("data.csv went as text: pandas reads no table in it (ParserError:")
    assert "line 4" in note
    assert "on_bad_lines" in note


def test_what_there_is_to_say_of_a_file_is_a_note_of_the_prompt(tmp_path):
    """Once, however often it is named; by any way into a prompt."""
    file = tmp_path / "data.csv"
    file.write_text("a,b\n1,2,3\n")
    for prompt in (
        compose("{file}, {file} and {files[0]}", {"file": file, "files": [file]}),
        compose("What is it?", {"file": file}, include=["file"]),
        gather(["What is it?", file]),
    ):
        assert len(prompt.notes) == 1
        assert prompt.notes[0].startswith("data.csv: its rows have more cells")


def test_a_long_file_is_read_in_part_and_says_so(sent):
    """The first hundred thousand rows are described; the others are not read."""
    text = sent("n\n" + "\n".join(map(str, range(150_000)))).text
    assert text.startswith("data.csv: table, the first 100,000 of more rows (the others are not")
    assert "- n (int64): 0 to 99999" in text


def test_a_file_without_end_takes_little_memory(tmp_path):
    """A quote that never closes makes one cell of a file: no more than a bounded part is read."""
    import tracemalloc

    file = tmp_path / "endless.csv"
    with file.open("wb") as stream:
        stream.write(b'a,b\n"')
        stream.truncate(3_000_000_000)  # sparse on disk
        stream.seek(0, os.SEEK_END)
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="neither an image"):
            to_parts(file)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


def test_without_pandas_the_text_is_sent(tmp_path):
    """A CSV file is text in any case."""
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    code = (
        "import sys, pathlib; sys.modules['pandas'] = None\n"
        "from segmind_jupyter.content.convert import to_parts\n"
        "print(to_parts(pathlib.Path('data.csv'))[0].text)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "a,b\n1,2\n\n"


def test_parquet_without_a_reader_names_what_to_install(tmp_path):
    """The message holds the command."""
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    code = (
        "import sys, pathlib; sys.modules.update(dict.fromkeys(['pyarrow', 'polars']))\n"
        "from segmind_jupyter.content.convert import to_parts\n"
        "to_parts(pathlib.Path('data.parquet'))"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ContentError: data.parquet is a Parquet file" in run.stderr
    assert "`pip install pyarrow` (or `pip install polars`)" in run.stderr


@pytest.fixture(params=["pyarrow", "polars"])
def library(request):
    """Each library that writes Parquet files, where it is installed."""
    return pytest.importorskip(request.param)


def written(library, file, n_rows):
    """Write a Parquet file of so many rows."""
    if library.__name__ == "polars":
        library.DataFrame({"n": range(n_rows)}).write_parquet(file)
    else:
        pd.DataFrame({"n": range(n_rows)}).to_parquet(file, engine="pyarrow")


@pytest.mark.parametrize("n_rows", [0, 3, 100_001])
def test_a_parquet_file_is_summarized(library, tmp_path, n_rows):
    """Of a long one the first rows, and how many there are."""
    written(library, tmp_path / "data.parquet", n_rows)
    (part,) = to_parts(tmp_path / "data.parquet")
    heads = {0: "0 rows", 3: "3 rows", 100_001: "the first 100,000 of 100,001 rows"}
    assert part.text.startswith(f"data.parquet: table, {heads[n_rows]}")
    assert "- n (" in part.text


@pytest.mark.usefixtures("library")
def test_a_damaged_parquet_file_is_refused(tmp_path):
    """With what the library says of it."""
    (tmp_path / "data.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ContentError, match=r"data\.parquet cannot be read as Parquet \("):
        to_parts(tmp_path / "data.parquet")


@given(content=st.text(st.sampled_from('ab1.,;"\n\t é')) | st.binary(max_size=80))
def test_any_content_is_a_table_a_text_or_refused(tmp_path_factory, content):
    """Whatever a file called CSV holds: nothing but a `ContentError` is raised, nothing warned."""
    file = tmp_path_factory.mktemp("files") / "any.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        (part,) = to_parts(file)
    except ContentError:
        return
    assert part.text


def test_a_file_whose_first_row_never_ends_is_sent_as_text(tmp_path):
    """A table of no rows would say that it is empty."""
    file = tmp_path / "data.csv"
    file.write_bytes(b'a,b\n1,"' + b"x" * 33_000_000)
    (part,) = to_parts(file)
    assert part.text.startswith('a,b\n1,"xxx')
