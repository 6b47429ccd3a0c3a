"""Bytes and paths: images by their signature, text as text, and clear words for the rest."""

from __future__ import annotations

import io
import os
import pathlib

import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.errors import ContentError


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_image_bytes_become_an_image(red_png, kind, picture_in):
    """The signature decides, for every kind of bytes."""
    assert picture_in(to_parts(kind(red_png))[0]).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_every_image_format_is_recognised_by_its_signature(red, file_format, tmp_path, picture_in):
    """The name of a file does not matter."""
    data = io.BytesIO()
    red.save(data, file_format)
    file = tmp_path / "no-suffix"
    file.write_bytes(data.getvalue())
    for obj in (data.getvalue(), file):
        red_value, *others = picture_in(to_parts(obj)[0]).getpixel((30, 20))
        assert red_value > 240
        assert max(others) < 15


def test_other_bytes_are_text_if_they_are_utf_8():
    """Bytes that decode are sent as that text."""
    assert to_parts("naïve — text".encode())[0].text == "naïve — text"


@pytest.mark.parametrize("data", [b"\xff\xfe\xfd", b"a\x00b", b"%!PS\n%\xe2\xe3\x01\xd3"])
def test_bytes_that_are_neither_are_refused(data):
    """The error counts the bytes and says what to do."""
    with pytest.raises(ContentError, match=rf"^`d`: The {len(data)} bytes are .* Decode them"):
        to_parts(data, name="d")


def test_a_damaged_image_is_refused_and_not_sent_as_text(red_png):
    """What begins like an image is one."""
    with pytest.raises(ContentError, match="could not be decoded"):
        to_parts(red_png[:60])


def test_an_image_file_is_named_in_the_footer(red_png, tmp_path):
    """The footer tells the format and the file, not the folder."""
    file = tmp_path / "plot.png"
    file.write_bytes(red_png)
    assert to_parts(file)[0].about == "PNG file plot.png"


def test_a_text_file_is_sent_as_its_text(tmp_path):
    """Words, code and settings go as they are, with lines of their own."""
    file = tmp_path / "notes.md"
    file.write_text("a,b\n1,ü\n", encoding="utf-8")
    (part,) = to_parts(file)
    assert part.text == "a,b\n1,ü\n"
    assert part.about == "file notes.md, 9 bytes"
    assert not part.inline


def test_any_path_like_object_will_do(tmp_path):
    """`os.DirEntry` and users' own path types are paths too."""
    (tmp_path / "notes.txt").write_text("words")
    with os.scandir(tmp_path) as entries:
        (entry,) = entries
        assert to_parts(entry)[0].text == "words"

    class Place:
        def __fspath__(self):
            return os.fsencode(tmp_path / "notes.txt")

    assert to_parts(Place())[0].text == "words"


def test_the_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    """A leading tilde is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "notes.txt").write_text("words")
    assert to_parts(pathlib.Path("~/notes.txt"))[0].text == "words"


def test_a_missing_file_is_named_with_the_folder_it_was_sought_in():
    """The message gives the path and the working folder."""
    with pytest.raises(ContentError, match=r"There is no file gone\.txt.* this folder is ") as e:
        to_parts(pathlib.Path("gone.txt"))
    assert str(pathlib.Path.cwd()) in str(e.value)


def test_a_folder_is_refused(tmp_path):
    """A folder has no content to send."""
    with pytest.raises(ContentError, match="is a folder"):
        to_parts(tmp_path)


@pytest.mark.skipif(not pathlib.Path("/dev/zero").exists(), reason="a POSIX device")
def test_a_device_is_not_read():
    """Reading a device might never end."""
    with pytest.raises(ContentError, match="device or a pipe"):
        to_parts(pathlib.Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_without_permission_is_refused(tmp_path):
    """The system's reason is passed on."""
    file = tmp_path / "locked.txt"
    file.write_text("x")
    file.chmod(0)
    with pytest.raises(ContentError, match="Permission denied"):
        to_parts(file)


class Pathlike:
    """Says nowhere where it leads."""

    def __fspath__(self):
        raise LookupError("lost")


@pytest.mark.parametrize(
    "path", [pathlib.Path("~nobody-of-this-name/x.png"), pathlib.Path("x" * 5_000)]
)
def test_a_path_that_cannot_be_followed_is_named(path):
    """The error says why, and to check the name."""
    with pytest.raises(
        ContentError, match=r"^`photo`: .*(cannot be read|There is no file).*\. Check its name"
    ):
        to_parts(path, name="photo")


@pytest.mark.parametrize("path", [pathlib.Path("~nobody-of-this-name/x.png"), Pathlike()])
def test_in_a_list_such_a_path_goes_as_its_text(path):
    """What does not lead to an image is a word of the listing, whyever it does not."""
    (part,) = to_parts([path, 1])
    assert part.text.endswith(", 1]")
