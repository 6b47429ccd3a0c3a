"""How the options of a cell are read together: optional values, and what contradicts itself."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from segmind_jupyter.notebook.line import parse
from segmind_jupyter.notebook.magics import ClaudeMagics, values
from segmind_jupyter.notebook.namespace import names_at

PARSER = ClaudeMagics.claude.parser


@pytest.fixture
def read(shell):
    """Parse a line as the magic does, where `Point` is a class of the user's."""
    shell.run_cell("class Point: ...\nshapes = [Point]")

    def parsed(line):
        args, words = parse(PARSER, line, values=values(names_at(shell, None)))
        return args.plot, args.json, words

    return parsed


@pytest.mark.parametrize(
    ("line", "plots", "words"),
    [
        ("--plot", 1, ""),
        ("-p", 1, ""),
        ("-p 3", 3, ""),
        ("-p3", 3, ""),
        ("--plot=3", 3, ""),
        ("--plot 3 What are these?", 3, "What are these?"),
        ("--plot What is this?", 1, "What is this?"),
        ("--plot -- 3 lines are there?", 1, "3 lines are there?"),
        ("--plot -m a", 1, ""),
        ("What is this?", None, "What is this?"),
    ],
)
def test_the_number_of_plots_may_be_left_out(read, line, plots, words):
    """What is no number is the question; `--` keeps a number in it."""
    assert read(line) == (plots, None, words)


@pytest.mark.parametrize(
    ("line", "name", "words"),
    [
        ("--json", "", ""),
        ("--json Point", "Point", ""),
        ("--json Point -o p", "Point", ""),
        ("--json shapes[0] Where is it?", "shapes[0]", "Where is it?"),
        ("--json Point Where is it?", "Point", "Where is it?"),
        ("--json Piont", "Piont", ""),
        ("--json Where is it?", "", "Where is it?"),
        ("--json -- Point", "", "Point"),
        ("--json=Piont Where is it?", "Piont", "Where is it?"),
        ("--json list[Point] -o p Where?", "list[Point]", "Where?"),
        ("--json Point|None Where is it?", "Point|None", "Where is it?"),
        ("--json dict[str, Point] Where?", "dict[str,", "Point] Where?"),
        ('--json "dict[str, Point]" Where?', "dict[str, Point]", "Where?"),
        ("--json list[Piont] Where?", "list[Piont]", "Where?"),
        ("--json int How many?", "int", "How many?"),
        ("--json list", "list", ""),
        ("--json list -o p", "list", ""),
        ("--json list three colours", "", "list three colours"),
        ("--json What's there?", "", "What's there?"),
        ('--json "Where" is it?', "", '"Where" is it?'),
    ],
)
def test_the_name_of_a_schema_may_be_left_out(read, line, name, words):
    """A name is one of the user's, or stands where no prose follows; the rest is the question."""
    assert read(line) == (None, name, words)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("--json Tred Which is it?", r"Did you mean `--json Trend`\?.*`--json -- Tred`"),
        ("--json trend Which is it?", "Did you mean `--json Trend`"),
        ("--json Trens Which are there?", "Did you mean `--json Trends`"),
        ("--json Trend | None Which is it?", r"`--json Trend \|`.*without spaces"),
    ],
)
def test_a_mistyped_shape_is_no_question(shell, read, line, advice):
    """It would be sent as words, with the options behind it, and paid for."""
    shell.run_cell(
        "from typing import TypedDict\nclass Trend(TypedDict): ...\nTrends = list[Trend]"
    )
    with pytest.raises(UsageError, match=advice):
        read(line)


@pytest.mark.parametrize("line", ["--plot=x", "--plot=0", "-p 0", "--plot=-1"])
def test_a_number_that_is_none_is_refused(read, line):
    """With the option and the value."""
    with pytest.raises(UsageError, match="whole number above 0"):
        read(line)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-c --chat x", "-c or --chat"),
        ("--code --json", "--code or --json"),
        ("--code -j", "Leave -j out"),
        ("--json --param response_format=1", "sets `response_format`"),
        ("--chat ' '", "--chat takes a name"),
    ],
)
def test_options_that_contradict_each_other_are_refused(run, online, options, message):
    """Before anything is sent."""
    cell = run(f"%%claude {options}\nHi")
    assert isinstance(cell.error, UsageError)
    assert message in str(cell.error)
    assert online.requests == []


def test_a_job_may_ask_for_json(run, online):
    """`job.wait().parsed` is the object then; the format is in the request."""
    looked = run("%%claude -j --json --dry-run\nHi").result
    assert looked.body["response_format"]["type"] == "json_schema"
    assert looked.path.startswith("/v2/")


def test_a_reply_without_a_shape_has_no_object(run, online):
    """The error says what gives one."""
    from segmind_jupyter.errors import ReplyError

    reply = run("%%claude\nHi").result
    with pytest.raises(ReplyError, match="--json NAME"):
        _ = reply.parsed


def test_a_plot_alone_is_a_question(run, online):
    """As an included object alone is; without one, the error says what to run."""
    cell = run("%claude --plot")
    assert "No plot is there to send" in str(cell.error)
