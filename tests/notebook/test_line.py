"""How a magic's line is split into options and words."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from segmind_jupyter.notebook.line import parse
from segmind_jupyter.notebook.magics import ClaudeMagics

PARSER = ClaudeMagics.claude.parser
WORDS = st.text(min_size=1).map(str.strip).filter(bool)


@given(WORDS.filter(lambda words: not words.startswith("-")))
def test_words_come_back_as_they_were_typed(words):
    """Apostrophes, quotes, backslashes and all."""
    args, rest = parse(PARSER, words)
    assert rest == words
    assert args.model is None


@given(
    st.text(max_size=30).filter(lambda value: not value.startswith("-")),
    WORDS.filter(lambda words: not words.startswith("-")),
)
def test_a_quoted_value_is_one_value(value, words):
    """Quoted as a shell would, whatever it holds."""
    args, rest = parse(PARSER, f"-s {shlex.quote(value + ' ')} {words}")
    assert (args.system, rest) == (value + " ", words)


@given(st.text(alphabet="-msio t'\"\\=1x\n\t", max_size=40) | st.text(max_size=40))
def test_any_line_is_read_or_a_usage_error(line):
    """No line makes the parser raise anything else, or leave the process."""
    try:
        _, rest = parse(PARSER, line)
    except UsageError:
        return
    assert rest in line


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("-m a b c", "b c"),
        ("-ma b", "b"),
        ("--model=a b", "b"),
        ("-q -m a What's up?", "What's up?"),
        ("-- -5 is cold", "-5 is cold"),
        ("- a list", "- a list"),
        ("-t 1 x", "x"),
        ("", ""),
    ],
)
def test_options_end_where_the_words_begin(line, rest):
    """In every form in which options are written."""
    assert parse(PARSER, line)[1] == rest


def test_values_have_their_types():
    """Numbers, JSON and repeated options."""
    args, _ = parse(PARSER, "--max-tokens 5 -t 0.5 -i a -i b --param n=[1] --param s=x=y")
    assert (args.max_tokens, args.temperature, args.include) == (5, 0.5, ["a", "b"])
    assert args.param == [("n", [1]), ("s", "x=y")]


@pytest.mark.parametrize(
    ("line", "near"), [("--modle a", "`--model`"), ("--parm=a=1 b", "`--param`"), ("-z b", "")]
)
def test_a_mistyped_option_is_asked_about(line, near):
    """As nothing of it is sent, to type it right is all that is left to do."""
    with pytest.raises(UsageError) as failure:
        parse(PARSER, line)
    assert ("did you mean" in str(failure.value)) is bool(near)
    assert near in str(failure.value)
