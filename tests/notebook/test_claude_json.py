"""`--json` through the magic: asked for by schema, checked, and given as an object."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from segmind_jupyter.errors import ContentError, ReplyError

PERSON = """
from dataclasses import dataclass, field

@dataclass
class Person:
    name: str
    age: int
    tags: list[str] = field(default_factory=list)
"""

ADA = "Person(name='Ada', age=36, tags=[])"


@pytest.fixture
def ask(run, online):
    """Define `Person`, answer with a text, and run a cell."""

    def ask_cell(text: str, cell: str = "%%claude --json Person\nWho?"):
        run(PERSON)
        online.will_say(text)
        return run(cell)

    return ask_cell


def test_a_dataclass_makes_the_round_trip(shell, run, ask, online):
    """Its schema goes out, an instance comes back as the value of the cell, and in `_`."""
    cell = ask('{"name": "Ada", "age": 36, "tags": ["math"]}')
    person = shell.user_ns["Person"]
    assert cell.result == person("Ada", 36, ["math"])
    assert run("_").result == person("Ada", 36, ["math"])
    asked = online.posts[-1].json["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["name"] == "Person"
    assert asked["json_schema"]["schema"]["required"] == ["name", "age", "tags"]
    assert "31" in cell.shown  # output tokens: the usage is told


def test_a_reply_that_breaks_the_schema_is_an_error_that_keeps_the_reply(shell, run, ask):
    """It says where, it shows the reply, and assigns nothing."""
    cell = ask('{"name": "Ada", "age": "old"}', "%%claude --json Person -o who\nWho?")
    assert isinstance(cell.error, ReplyError)
    assert "at `$.age`, Input should be a valid integer" in str(cell.error)
    assert cell.error.reply.text == '{"name": "Ada", "age": "old"}'
    assert cell.error.reply.usage.output_tokens == 31
    assert "old" in cell.shown
    assert "who" not in shell.user_ns


def test_a_type_may_be_written_out(shell, run, online):
    """Its parts are looked up by their names; the options behind it are options."""
    run(PERSON + "\nshapes = [Person]; shapes_of = list[Person]")
    for shape, text, value in (
        ("list[Person]", '[{"name": "Ada", "age": 36}]', f"[{ADA}]"),
        ("dict[str,Person]", '{"a": {"name": "Ada", "age": 36}}', f"{{'a': {ADA}}}"),
        ('"dict[str, int]"', '{"a": 1}', "{'a': 1}"),
        ("Person|None", '{"value": null}', "None"),
        ("list[shapes[0]]", "[]", "[]"),
        ("Optional[int]", "1", "1"),
        ("\"Literal['a','b']\"", '"a"', "'a'"),
        ("dict", '{"a": 1}', "{'a': 1}"),
        ("float", "1.5", "1.5"),
        ("shapes_of", '{"value": []}', "[]"),  # a root must be an object; the user sees the list
    ):
        for form in (f"--json {shape}", f"--json={shape}"):
            online.will_say(text)
            assert run(f"%%claude {form} -o out\nWho?").error is None
            assert repr(shell.user_ns["out"]) == value
            assert [block["text"] for block in online.posts[-1].blocks] == ["Who?"]


def test_a_type_that_cannot_be_read_is_never_sent_as_words(run, online):
    """Nothing is evaluated; the error says how to write it."""
    run(PERSON + "\npeople = []")
    for shape, advice in (
        ("list[Persn]", "no variable has the name `Persn` (did you mean `Person`?)"),
        ("dict[str, Person]", "`--json dict[str,`: SyntaxError"),
        ("list[Person", "SyntaxError"),
        ("list[Person()]", "`Person()` is no type"),
        ("list[Person]+1", "is no type"),
        ("Person|people", "TypeError"),
        ("list[Person.__class__]", "is no type"),
        ("int[str]", "TypeError"),
        ("people[7]|None", "IndexError"),
    ):
        cell = run(f"%%claude -o out --json {shape}\nWho?")
        assert isinstance(cell.error, UsageError)
        assert advice in str(cell.error)
        assert "assign it to a variable" in str(cell.error)
    run('example = {"name": "Ada"}')
    for name, advice in (("example", "reads like an example"), ("nothing", "nothing")):
        error = run(f"%%claude --json {name}\nWho?").error
        assert isinstance(error, ContentError)
        assert advice in str(error)
    assert online.posts == []


def test_what_is_no_object_where_no_shape_was_named_says_so(run, online):
    """No schema is the user's to change then."""
    online.will_say("[1, 2]")
    cell = run("%%claude --json\nGive me JSON")
    assert isinstance(cell.error, ReplyError)
    assert "does not fit `object`: expected an object, got an array" in str(cell.error)
    assert "`--json list`" in str(cell.error)
    assert "schema" not in str(cell.error)
