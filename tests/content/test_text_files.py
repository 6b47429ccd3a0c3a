"""Text files by their path: encodings, and what is sent of a long one."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits
from segmind_jupyter.errors import ContentError

ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16": b"",
    "utf-32": b"",
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.fixture
def sent(tmp_path):
    """Write a file and give the part that its path becomes."""

    def of(data, *, name="notes.txt", **limits):
        file = tmp_path / name
        file.write_bytes(data)
        (part,) = to_parts(file, name="path", limits=Limits(**limits))
        return part

    return of


def numbered(count):
    """A log of so many lines."""
    return "".join(f"line {n} of the log\n" for n in range(1, count + 1))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unicode_is_read_by_its_byte_order_mark(sent, encoding):
    """With a mark UTF-8, UTF-16 and UTF-32 in both orders; without one UTF-8."""
    part = sent(ENCODINGS[encoding] + "naïve 語 😀\n".encode(encoding))
    assert part.text == "naïve 語 😀\n"


def test_western_text_of_old_windows_is_read_and_said_to_be(sent):
    """A file that is no UTF-8 and reads as Windows-1252 is sent, with a note on the guess."""
    part = sent("Très bien, señor: 5 € for the café\n".encode("cp1252"))
    assert part.text == (
        "[notes.txt is not UTF-8; it is read as Windows-1252]\nTrès bien, señor: 5 € for the café\n"
    )


@pytest.mark.parametrize(
    "data",
    [
        "Привет, мир".encode("cp1251"),
        "こんにちは。日本語".encode("shift_jis"),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3" + b"words " * 100,
        b"words\x00words",
        b"abc\x01\xe9" + b"words " * 100,
        codecs.BOM_UTF16_LE + b"\x00\xd8a\x00",
    ],
    ids=["Cyrillic", "Japanese", "PDF", "NUL", "control", "half a surrogate pair"],
)
def test_what_is_no_known_text_is_refused_with_advice(sent, data):
    """Nothing is guessed at; the message says how such a file can be named."""
    with pytest.raises(ContentError, match=r"neither an image .*read_text\(encoding=\.\.\.\)"):
        sent(data)


@pytest.mark.parametrize(
    ("name", "reader"),
    [("book.xlsx", "read_excel"), ("x.NPY", r"numpy\.load"), ("d.csv.gz", "read_csv")],
)
def test_a_binary_file_of_a_known_kind_names_what_opens_it(sent, name, reader):
    """The suffix tells the library."""
    with pytest.raises(ContentError, match=reader):
        sent(b"\x93\x00\xff", name=name)


def test_an_empty_file_is_said_to_be_empty(sent):
    """A blank block would be dropped from the request, and the question would hang in the air."""
    assert sent(b"").text == "[notes.txt is empty]\n"


@pytest.mark.parametrize("n_lines", [300, 40_000])
def test_a_long_file_shows_its_beginning_and_its_end_in_whole_lines(sent, n_lines):
    """The note between them counts the lines that are not shown."""
    text = sent(numbered(n_lines).encode(), text_chars=2_000).text
    head, _, rest = text.partition("\n[cut: lines ")
    note, _, tail = rest.partition(" not shown]\n")
    first, last = (int(n.replace(",", "")) for n in note.partition(" of ")[0].split("-"))
    assert note.endswith(f" of {n_lines:,}")
    assert head.splitlines() == numbered(first - 1).splitlines()
    assert tail.splitlines() == numbered(n_lines).splitlines()[last:]
    assert len(head) > len(tail) > 300
    assert len(text) <= 2_000


def test_a_file_of_one_long_line_counts_bytes(sent):
    """Where no line ends, the cut is inside the line."""
    text = sent(b"a" * 50_000 + b"z" * 50_000, text_chars=1_000).text
    head, note, tail = text.split("\n")
    assert set(head), set(tail) == ({"a"}, {"z"})
    assert note == f"[cut: {100_000 - len(head) - len(tail):,} of 100,000 bytes not shown]"


def test_a_long_text_in_sixteen_bits_is_cut_between_characters(sent):
    """Also beside characters that take two units."""
    text = sent(("😀" * 5_000 + "ü" * 5_001).encode("utf-16"), text_chars=1_000).text
    assert "\ufffd" not in text
    assert text.endswith("ü" * 200)


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
    | st.lists(st.sampled_from(["ab\n", "é", "語\r\n", "😀"]), min_size=1, max_size=600).map(
        "".join
    ),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    text_chars=st.integers(250, 700),
)
def test_any_text_is_whole_or_has_its_two_ends(tmp_path_factory, text, encoding, text_chars):
    """Whatever it holds: inside the limit, nothing invented, and no half characters."""
    file = tmp_path_factory.mktemp("files") / "any.txt"
    file.write_bytes(ENCODINGS[encoding] + text.encode(encoding))
    (part,) = to_parts(file, limits=Limits(text_chars=text_chars))
    assert len(part.text) <= text_chars
    if len(text) <= text_chars and not text.startswith("\ufeff"):
        assert part.text == text
    elif "[cut: " in part.text:
        head, _, rest = part.text.partition("\n[cut: ")
        assert text.lstrip("\ufeff").startswith(head.lstrip("\ufeff"))
        assert text.endswith(rest.partition(" not shown]\n")[2])
