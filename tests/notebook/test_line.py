"""How a magic's line is read: options, words, and what contradicts itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from segmind_jupyter.notebook.line import parse
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.namespace import names_at

PARSER = ClaudeMagics.claude.parser


@given(st.text(alphabet="-msio t'\"\\=1x\n\t—“", max_size=40) | st.text(max_size=40))
def test_any_line_is_read_or_a_usage_error(line):
    """No line makes the parser raise anything else, or leave the process."""
    try:
        _, rest = parse(PARSER, line)
    except UsageError:
        return
    assert rest in line  # apostrophes, quotes, backslashes and all


def test_options_end_where_the_words_begin():
    """In every form in which options are written."""
    for line, rest in (
        ("-m a b c", "b c"),
        ("-ma b", "b"),
        ("--model=a b", "b"),
        ("-q -m a What's up?", "What's up?"),
        ("-- -5 is cold", "-5 is cold"),
        ("-- explain this -q", "explain this -q"),
        ("What does -m do in git commit?", "What does -m do in git commit?"),
        ("What does --amend do", "What does --amend do"),
        ("What is 5 -3", "What is 5 -3"),
        ("- a list", "- a list"),
        ("-t 1 x", "x"),
        ("", ""),
    ):
        assert parse(PARSER, line)[1] == rest


def test_what_cannot_be_meant_is_asked_about():
    """As nothing of it is sent, to type it right is all that is left to do."""
    for line, advice in (
        ("--modle a", "did you mean `--model`"),
        ("--parm=a=1 b", "did you mean `--param`"),
        ("-z b", "unrecognized"),
        ("--plot=x", "whole number above 0"),
        ("-p0", "whole number above 0"),
        ("--param stop=[END] x", "broken JSON"),
        ("--param a={'b': 1} x", "broken JSON"),
        ("—plot What?", "Did you mean `--plot`"),
        ("–m claude-4-sonnet What?", "Did you mean `-m`"),
        ("‑‑dry-run What?", "Did you mean `--dry-run`"),
        ("-dry-run What?", "did you mean `--dry-run`"),
        ("--system=be brief", 'in quotes: `-s "be brief'),
        ("What is it? —plot", "Did you mean `--plot`"),
        ("-s “be brief” What?", "straight"),
        ("-s be brief", 'in quotes: `-s "be brief'),
        ("-s Short What is it?", "in quotes"),
        ("what does grep do with -c", "part of the question"),
        ("What is this? -m claude-3.5-sonnet", "options before the words"),
        ("Sum up {df} please --dry-run -q", "options before the words"),
        ("explain this -q", "part of the question"),
    ):
        with pytest.raises(UsageError) as failure:
            parse(PARSER, line)
        assert advice in str(failure.value)


def test_a_comment_behind_the_options_is_dropped():
    """In a line too, which a cell without a body is."""
    assert parse(PARSER, "-m x  # the cheap one")[1] == ""
    assert parse(PARSER, "-m x #1 of the list")[1] == "#1 of the list"
    assert parse(PARSER, "-- # a heading?")[1] == "# a heading?"


@pytest.fixture
def read(shell):
    """Parse a line as the magic does, where `Point` is a class of the user's."""
    shell.run_cell("class Point: ...\nshapes = [Point]")

    def parsed(line):
        args, words = parse(PARSER, line, names=names_at(shell, None))
        return args.plot, args.json, words

    return parsed


def test_the_number_of_plots_may_be_left_out(read):
    """What is no number is the question; `--` keeps a number in it."""
    for line, plots, words in (
        ("--plot", 1, ""),
        ("-p 3", 3, ""),
        ("-p3", 3, ""),
        ("--plot=3", 3, ""),
        ("--plot 3 What are these?", 3, "What are these?"),
        ("--plot What is this?", 1, "What is this?"),
        ("--plot -- 3 lines are there?", 1, "3 lines are there?"),
        ("--plot -- -m a", 1, "-m a"),
        ("What is this?", None, "What is this?"),
    ):
        assert read(line) == (plots, None, words), line


def test_the_name_of_a_type_may_be_left_out(read):
    """A name is one of the user's, or stands where no prose follows; the rest is the question."""
    for line, name, words in (
        ("--json", "", ""),
        ("--json Point -o p", "Point", ""),
        ("--json shapes[0] Where is it?", "shapes[0]", "Where is it?"),
        ("--json Piont", "Piont", ""),
        ("--json Where is it?", "", "Where is it?"),
        ("--json -- Point", "", "Point"),
        ("--json=Piont Where is it?", "Piont", "Where is it?"),
        ("--json list[Point] -o p Where?", "list[Point]", "Where?"),
        ("--json Point|None Where is it?", "Point|None", "Where is it?"),
        ("--json dict[str, Point] Where?", "dict[str,", "Point] Where?"),
        ('--json "dict[str, Point]" Where?', "dict[str, Point]", "Where?"),
        ("--json Literal['a','b'] Which?", "Literal['a','b']", "Which?"),
        ("--json list[Piont] Where?", "list[Piont]", "Where?"),
        ("--json int How many?", "int", "How many?"),
        ("--json list -o p", "list", ""),
        ("--json list three colours", "", "list three colours"),
        ("--json What's there?", "", "What's there?"),
        ('--json "Where" is it?', "", '"Where" is it?'),
    ):
        assert read(line) == (None, name, words), line


def test_a_mistyped_shape_is_no_question(shell, read):
    """It would be sent as words, with the options behind it, and paid for."""
    shell.run_cell(
        "from typing import TypedDict\nclass Trend(TypedDict): ...\nTrends = list[Trend]"
    )
    for line, advice in (
        ("--json Tred Which is it?", r"Did you mean `--json Trend`\?.*`--json -- Tred`"),
        ("--json trend Which is it?", "Did you mean `--json Trend`"),
        ("--json Trens Which are there?", "Did you mean `--json Trends`"),
        ("--json Trend | None Which is it?", r"`--json Trend \|`.*without spaces"),
    ):
        with pytest.raises(UsageError, match=advice):
            read(line)


def test_options_that_contradict_each_other_are_refused(run, online):
    """Before anything is sent."""
    for options, message in (
        ("-c --chat x", "-c or --chat"),
        ("--code --json", "--code or --json"),
        ("--code -j", "Leave -j out"),
        ("--json --param response_format=1", "sets `response_format`"),
        ("--chat ' '", "--chat takes a name"),
    ):
        cell = run(f"%%claude {options}\nHi")
        assert isinstance(cell.error, UsageError)
        assert message in str(cell.error)
    assert online.requests == []
