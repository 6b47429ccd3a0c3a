"""JSON of one shape: the schema that asks for it, and what is read from a reply."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import json
import pathlib
import pickle
import re
import subprocess
import typing
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import jsonschema
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from segmind_jupyter.content.json_schema import expected, extract_json
from segmind_jupyter.errors import ContentError, ReplyError


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Person:
    name: str
    born: datetime.date
    mood: Mood = Mood.GOOD
    home: Point | None = None
    tags: list[str] = field(default_factory=list)
    size: Literal["s", "m", "l"] = "m"


@dataclass
class Tree:
    value: int
    below: list[Tree] = field(default_factory=list)


class Row(TypedDict):
    name: str
    error: NotRequired[str]


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Model(pydantic.BaseModel):
    n: int = pydantic.Field(ge=1)
    point: Point | None = None


@dataclass
class Checked:
    share: Annotated[float, pydantic.Field(ge=0.1, le=0.9, description="part")]
    seed: InitVar[int] = 0

    def __post_init__(self, seed: int) -> None:
        if self.share == 0.5:
            raise LookupError("a half is not decided")


@dataclass
class Log:
    """Moments, and a path."""

    when: datetime.datetime
    at: datetime.time | None = None
    others: list[datetime.datetime] = field(default_factory=list)
    file: pathlib.Path = field(default_factory=lambda: pathlib.Path("a"))
    note: str = ""
    own: Annotated[Any, "a default that JSON has no form for"] = object()  # noqa: RUF009


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}


def schema_of(shape: object) -> dict[str, Any]:
    found: dict[str, Any] = expected(shape, "Shape").response_format["json_schema"]["schema"]
    return found


def test_the_request_has_the_form_of_the_vendors_sdk():
    """`type`, then name and schema under `json_schema` (its examples)."""
    assert expected(Point, "Point").response_format == {
        "type": "json_schema",
        "json_schema": {
            "name": "Point",
            "schema": {
                "title": "Point",
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "number", "default": 0.0}},
                "required": ["x", "y"],
            },
        },
    }


def test_every_schema_is_valid_with_an_object_at_its_root():
    """Whatever the shape: what is no object travels under a key."""
    for shape in (
        Point, Person, Checked, Model, list[Person], Mood, Point | None, int, tuple[int, str],
        Literal["a", 1], Log, Tree, Row, list[Row], dict[str, int], SCHEMA, typing.Any,
        Row | None, Pair,
    ):  # fmt: skip
        schema = schema_of(shape)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert json.loads(json.dumps(schema)) == schema
        assert schema["type"] == "object", shape


def test_what_the_model_is_told_of_a_field():
    """Bounds and defaults, keys that may be absent, moments without a time zone."""
    assert schema_of(Row)["required"] == ["name"]
    assert schema_of(Checked)["properties"]["share"] == {
        "type": "number",
        "description": "part",
        "minimum": 0.1,
        "maximum": 0.9,
    }
    fields = schema_of(Log)["properties"]
    form = "ISO 8601, such as 2025-01-31T09:30:00"
    assert fields["when"] == {"type": "string", "description": form}
    assert fields["others"]["items"] == fields["when"]
    assert fields["at"]["anyOf"][0]["description"] == "ISO 8601, such as 09:30:00"
    assert fields["note"] == {"type": "string", "default": ""}


def test_references_lead_to_the_same_place_under_the_key():
    """A list travels under a key of an object; the user's own schema stays as it was."""
    definitions = {
        "A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/B"}]},
        "B": {"type": "string"},
    }
    a_list = {"type": "array", "items": {"$ref": "#/$defs/A"}, "$defs": definitions}
    before = copy.deepcopy(a_list)
    schema = schema_of(a_list)
    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema))
    assert (found, a_list) == (["#/$defs/A", "#/$defs/B"], before)
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    for reference in found:
        Registry().resolver_with_root(resource).lookup(reference)


def test_an_expectation_is_a_value():
    """It is equal to its like, cannot be changed, and can be pickled with the user's type."""
    one = expected(Point, "Point")
    assert one.parse('{"x": 1}') == Point(1)
    assert pickle.loads(pickle.dumps(one)) == one == expected(Point, "Point")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "other"
    names = {"my type": "my_type", "shapes[0]": "shapes_0", "ß": "reply"}
    assert {label: expected(Point, label).name for label in names} == names


def test_fields_are_columns():
    """Names and types of an object's fields; what is no object of such has none."""
    for shape, fields in (
        (Point, {"x": int, "y": float}),
        (Model, {"n": int, "point": Point | None}),
        (Pair, {"left": int, "right": str}),
        (Row, {"name": str, "error": str}),
        (Checked, {"share": float}),
        (SCHEMA, {"name": str, "age": int}),
        (list[Point], {}),
        (int, {}),
        (None, {}),
    ):
        name = None if shape is None else "Shape"
        assert expected(shape, name).fields == fields


def test_the_json_is_found_wherever_it_stands():
    """Alone, in a fence, or with prose around it; of several blocks the last that fits."""
    blocks = '```json\n{"x": 2}\n```\nSo, filled in:\n```json\n{"x": 1, "y": 2}\n```\n'
    for text in (
        '  {"x": 1, "y": 2}\n',
        'Here it is:\n\n```\n{"x": 1,\n "y": 2}\n```\nDone [1].',
        'See [1] and {this}: {"x": 1, "y": 2}. Is that {enough}?',
        '{"value": {"x": 1}} is wrong, {"x": 1, "y": 2} is right',
        blocks,
        blocks + '```json\n{"z": 3}\n```',
    ):
        assert expected(Point, "Point").parse(text) == Point(1, 2.0), text
    assert expected(list[int], "list").parse("They are [3, 4], as [1] says.") == [3, 4]
    for text in ('Use {braces} or [1, 2). {"a": 1}', '{"b": oops}: {"a": 1}', '[x {"a": 1}'):
        assert expected(None, None).parse(text) == {"a": 1}, text


NOON = datetime.datetime(2025, 1, 31, 12)


def test_a_value_becomes_what_the_shape_says():
    """An instance of the user's type; plain JSON for a schema."""
    for shape, text, value in (
        (Tree, '{"value": 1, "below": [{"value": 2, "below": []}]}', Tree(1, [Tree(2)])),
        (Row, '{"name": "a"}', {"name": "a"}),
        (list[Row], '[{"name": "a", "error": "b"}]', [{"name": "a", "error": "b"}]),
        (Pair, '[1, "a"]', Pair(1, "a")),
        (Pair, '{"left": 1}', Pair(1, "r")),
        (Point, '{"x": 1, "y": 2, "z": 3}', Point(1, 2.0)),
        (Mood, '{"value": "bad"}', Mood.BAD),
        (list[Point], '{"value": [{"x": 1}]}', [Point(1)]),
        (list[Point], '[{"x": 1}]', [Point(1)]),
        (int, "```\n42\n```", 42),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
        (Point | Tree, '{"value": 1}', Tree(1)),
        (Point | None, '{"value": null}', None),
        (Model, '{"n": 2, "point": {"x": 1}}', Model(n=2, point=Point(1))),
        (Log, '{"when": "2025-01-31 12:00", "at": "12:00"}', Log(NOON, NOON.time())),
        (Log, '{"when": "2025-01-31T12:00:00Z"}', Log(NOON.replace(tzinfo=datetime.UTC))),
        (Log, '{"when": "2025-01-31"}', Log(NOON.replace(hour=0))),
        (SCHEMA, '{"name": "a", "more": 1}', {"name": "a", "more": 1}),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
    ):
        assert expected(shape, "Shape").parse(text) == value, text


def test_a_reply_that_breaks_the_schema_says_where():
    """The place, what was expected, what is there; and that the reply is kept."""
    for shape, text, trouble in (
        (Point, '{"x": "one"}', r'at `\$\.x`, .*integer.*, got "one"'),
        (Point, '{"y": 1}', r"at `\$\.x`, Field required\."),
        (Point, 'As [1] says: {"x": "wrong", "y": 2}', r"at `\$\.x`"),
        (Person, '{"name": "a", "born": "soon"}', r"at `\$\.born`"),
        (list[Point], '[{"x": 1}, {"x": null}]', r"at `\$\[1\]\.x`.*got null"),
        (Checked, '{"share": 2}', r"at `\$\.share`"),
        (Checked, '{"share": 0.5}', "LookupError: a half is not decided"),
        (Mood, '{"value": "so so"}', "'good' or 'bad', got \"so so\""),
        (Model, '{"n": 0}', r"at `\$\.n`, Input should be greater"),
        (SCHEMA, '{"name": "a", "age": -1}', r"at `\$\.age`, -1 is less than the minimum"),
        (SCHEMA, '{"age": 1}', "'name' is a required property"),
        (SCHEMA, '{"value": "x", "below": ' * 400 + "1" + "}" * 400, "does not fit"),
        (Tree, '{"value": "x", "below": ' * 400 + "1" + "}" * 400, "does not fit"),
        (None, "[1]", "does not fit `object`: expected an object, got an array"),
    ):
        with pytest.raises(ReplyError, match=trouble) as error:
            expected(shape, None if shape is None else "Shape").parse(text)
        assert "`error.reply`" in str(error.value)


def test_a_reply_without_complete_json_says_so():
    """A refusal, a reply that was cut, or nonsense: the part that came is no answer."""
    for text in (
        "",
        "I cannot do that.",
        "[" * 100_000,
        "NaN",
        '{"rows": [{"a": 1}, {"a": 2}, {"a',
        'Here it is:\n```json\n{"rows": [{"a": 1}, {"a": 2},\n```',
        '{"rows": [{"a": 1}, {"a": 2},], "n": 2}',
        '{"rows": {"a": 1} "n": {"a": 2}}',
        '{"why": "braces {} [] and so on',
    ):
        with pytest.raises(ReplyError, match="no complete JSON"):
            expected(None, None).parse(text)


def test_what_is_no_schema_is_refused_with_advice():
    """Before anything is sent, with what to give instead."""
    for shape, advice in (
        ({"name": "Ada", "age": 36}, "reads like an example"),
        ({"type": "dog", "name": "Rex"}, "an example belongs into the prompt"),
        ({"name": str, "age": int}, "a TypedDict with these fields"),
        ({"type": "object", "properties": [1]}, r"at `\$\.properties`"),
        ({"type": "string", "default": {1, 2}}, "is no JSON schema"),
        ({"$ref": "#/$defs/Missing"}, "leads to nothing"),
        ({"type": "array", "items": {"$ref": "#"}}, r"put it into `\$defs`"),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, r"at `\$\.type`"),
        ({"type": "object", "not": {"$ref": "https://example.com/s.json"}}, "nothing is fetched"),
        (Point(1), "a value of type `Point`"),
        (None, "None, and no schema"),
        (3, "of type `int`"),
        (subprocess.Popen, "cannot be made a schema"),
        (dataclasses.make_dataclass("Broken", [("a", "Nowhere")]), "Nowhere|not fully defined"),
    ):
        with pytest.raises(ContentError, match=advice):
            expected(shape, "Shape")


@given(st.text(st.sampled_from('{}[]":,1a\\n `')))
def test_looking_for_json_ends_and_raises_nothing(text):
    """Whatever a reply holds; and all that is found is JSON."""
    for value in extract_json(text):
        json.dumps(value, allow_nan=False)
