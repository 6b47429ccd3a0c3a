"""Texts that name a file go as words, with a note for whoever meant the file."""

from __future__ import annotations

import pytest

from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.content.prompt import compose, gather


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a few files."""
    for name in ("a.csv", "A.PNG", "run.exe", "notes.txt"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("text", ["a.csv", "A.PNG", "./a.csv", "notes.txt"])
def test_the_name_of_a_file_goes_as_words_and_is_pointed_out(text):
    """By whichever way it comes into a prompt."""
    prompt = compose("What is in {p}?", {"p": text})
    assert [block["text"] for block in prompt.blocks()] == [f"What is in {text}?"]
    said = f"`p` ('{text}') is sent as words; `Path(p)` sends the file of that name."
    assert prompt.notes == (said,)
    (note,) = compose("What?", {"cfg": {"p": text}}, include=["cfg['p']"]).notes
    assert "`Path(cfg['p'])`" in note
    (note,) = gather(["What is in", text]).notes
    assert f"`Path('{text}')` sends the file" in note
    (note,) = PromptTemplate("What is in it?", [text, "b.csv"]).notes
    assert f"`Path('{text}')`" in note


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "text",
    ["b.csv", "run.exe", "folder.csv", "a", ".csv", "", "a\n.csv", "a.csv\n", "\0.csv",
     "~nobody_of_that_name/a.csv", "/" * 4096 + "a.csv", "x" * 300 + ".csv", "Look at a.csv"],
    ids=range(13),
)  # fmt: skip
def test_other_words_are_no_file(text):
    """What is not there, cannot be sent, or is more than a name."""
    assert compose("{p} x", {"p": text}).notes == ()
    assert gather(["x", text]).notes == ()
    assert PromptTemplate("x", [text]).notes == ()
