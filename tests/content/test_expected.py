"""JSON of one shape: the schema that asks for it, and what is read from a reply."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import pathlib
import pickle
import re
import subprocess
import sys
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import attrs
import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from segmind_jupyter.content.json_schema import expected, is_strict, json_values, sendable
from segmind_jupyter.errors import ContentError, ReplyError


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Point:
    """A place on the map."""

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


@attrs.define
class Box:
    width: int
    things: list[str] = attrs.Factory(list)


@dataclass
class Checked:
    share: Annotated[float, msgspec.Meta(ge=0, le=1, description="from 0 to 1")]

    def __post_init__(self) -> None:
        if self.share == 0.5:
            raise LookupError("a half is not decided")


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
}


def schema_of(shape: object) -> dict[str, Any]:
    asked = expected(shape, "Shape").response_format["json_schema"]
    found: dict[str, Any] = asked["schema"]
    return found


# What is asked for


def test_the_request_has_the_form_of_the_vendors_sdk():
    """`type`, then name, strictness and schema under `json_schema` (its examples)."""
    asked = expected(Point, "Point").response_format
    assert asked == {
        "type": "json_schema",
        "json_schema": {
            "name": "Point",
            "strict": True,
            "schema": {
                "title": "Point",
                "description": "A place on the map.",
                "type": "object",
                "properties": {
                    "x": {"type": "integer"},
                    "y": {"type": "number", "description": "(default: 0.0)"},
                },
                "required": ["x", "y"],
                "additionalProperties": False,
            },
        },
    }


@pytest.mark.parametrize(
    "shape",
    [
        Point, Person, Tree, Row, Pair, Box, Checked, Mood, list[Point], dict[str, int],
        Point | None, int, tuple[int, str], SCHEMA,
    ],
)  # fmt: skip
def test_every_schema_is_valid_json_with_an_object_at_its_root(shape):
    """A server refuses any other root, whatever the user's type is."""
    schema = schema_of(shape)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["type"] == "object"


@pytest.mark.parametrize("shape", [Point, Person, Pair, Box, Checked, list[Person], Mood])
def test_a_schema_that_leaves_nothing_open_is_asked_for_strictly(shape):
    """Each object is closed, each property required, and bounds are in words."""
    assert expected(shape, "Shape").response_format["json_schema"]["strict"] is True
    assert is_strict(schema_of(shape))


@pytest.mark.parametrize("shape", [Tree, Row, dict[str, int], SCHEMA, typing.Any])
def test_a_schema_that_strict_servers_refuse_is_not_called_strict(shape):
    """Recursion, keys that may be absent, and open objects are no part of strict modes."""
    assert "strict" not in expected(shape, "Shape").response_format["json_schema"]


def test_a_key_that_may_be_absent_is_not_required():
    """The model would have to make something up."""
    assert schema_of(Row)["required"] == ["name"]


def test_bounds_are_told_in_words():
    """Servers refuse `minimum` and the like; the description keeps them for the model."""
    share = schema_of(Checked)["properties"]["share"]
    assert share == {"type": "number", "description": "from 0 to 1 (minimum: 0, maximum: 1)"}


def test_the_users_schema_is_left_as_it_was():
    """What is changed for the server is a copy."""
    before = json.dumps(SCHEMA)
    schema_of(SCHEMA)
    assert json.dumps(SCHEMA) == before


@pytest.mark.parametrize(
    ("schema", "references", "strict"),
    [
        (
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#"}]}},
            ["#/properties/value"],
            False,
        ),
        (
            {"type": "array", "items": {"type": "integer"}, "contains": {"$ref": "#/items"}},
            ["#/properties/value/items"],
            False,
        ),
        (
            {
                "$id": "https://example.com/list",
                "type": "array",
                "items": {"$ref": "#/$defs/A"},
                "$defs": {
                    "A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/B"}]},
                    "B": {"type": "string"},
                },
            },
            ["#/$defs/A", "#/$defs/B"],
            True,
        ),
        (
            {
                "type": "array",
                "items": {"$ref": "#/definitions/A"},
                "definitions": {"A": {"anyOf": [{"$ref": "#"}]}},
            },
            ["#/definitions/A", "#/properties/value"],
            False,
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}},
            },
            ["#/properties/a"],
            False,
        ),
    ],
)
def test_references_lead_to_the_same_place_under_the_key(schema, references, strict):
    """A list travels under a key of an object; strict servers know definitions alone."""
    before = json.dumps(schema)
    asked = expected(schema, "Shape").response_format["json_schema"]
    found = re.findall(r'"\$ref": "([^"]+)"', json.dumps(asked["schema"]))
    assert found == references
    resource = Resource.from_contents(asked["schema"], default_specification=DRAFT202012)
    for reference in found:
        Registry().resolver_with_root(resource).lookup(reference)
    assert asked.get("strict", False) is strict
    assert json.dumps(schema) == before


def test_a_reference_has_no_neighbours():
    """OpenAI's strict mode refuses what stands beside `$ref`."""
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A", "description": "The first."}},
        "$defs": {"A": {"type": "string"}},
    }
    assert schema_of(schema)["properties"]["a"] == {
        "description": "The first.",
        "anyOf": [{"$ref": "#/$defs/A"}],
    }


def test_one_of_becomes_any_of():
    """`oneOf` is unknown to servers with structured outputs."""
    schema = {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}]}}}
    assert schema_of(schema)["properties"]["a"] == {"anyOf": [{"type": "string"}]}


def test_properties_with_the_names_of_rules_stay():
    """A field may be called `default`, `minimum` or `oneOf`."""
    names = {name: {"type": "string"} for name in ("default", "minimum", "oneOf", "$ref", "items")}
    schema = {"type": "object", "properties": names}
    assert schema_of(schema)["properties"] == names


def test_without_a_name_any_object_is_asked_for():
    """`--json` alone."""
    anything = expected(None, None)
    assert anything.response_format["json_schema"] == {
        "name": "object",
        "schema": {"type": "object"},
    }
    assert anything.read('{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    ("label", "name"), [("my type", "my_type"), ("shapes[0]", "shapes_0"), ("ß", "reply")]
)
def test_the_name_of_a_schema_is_one_that_servers_take(label, name):
    """Letters, digits, hyphens and underscores, 64 at most."""
    assert expected(Point, label).name == name


def test_an_expectation_is_a_value():
    """It is equal to its like, cannot be changed, and can be pickled with the user's type."""
    one = expected(Point, "Point")
    assert one == expected(Point, "Point")
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "other"


# What is read


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 1, "y": 2}',
        '  {"x": 1, "y": 2}\n',
        '```json\n{"x": 1, "y": 2}\n```',
        'Here it is:\n\n```\n{"x": 1,\n "y": 2}\n```\nDone [1].',
        'See [1] and {this}: {"x": 1, "y": 2}. Is that {enough}?',
        '{"value": {"x": 1}} is wrong, {"x": 1, "y": 2} is right',
    ],
)
def test_the_json_is_found_wherever_it_stands(text):
    """Alone, in a fence, or with prose around it, other brackets included."""
    assert expected(Point, "Point").read(text) == Point(1, 2.0)


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Tree, '{"value": 1, "below": [{"value": 2, "below": []}]}', Tree(1, [Tree(2)])),
        (Row, '{"name": "a"}', {"name": "a"}),
        (Pair, '{"left": 1, "right": "a"}', Pair(1, "a")),
        (Pair, '{"left": 1}', Pair(1, "r")),
        (Box, '{"width": 1, "things": ["a"]}', Box(1, ["a"])),
        (Point, '{"x": 1, "y": 2, "z": 3}', Point(1, 2.0)),
        (Mood, '{"value": "bad"}', Mood.BAD),
        (Mood, '"bad"', Mood.BAD),
        (list[Point], '{"value": [{"x": 1}]}', [Point(1)]),
        (list[Point], '[{"x": 1}]', [Point(1)]),
        (int, "```\n42\n```", 42),
        (dict[int, str], '{"1": "a"}', {1: "a"}),
        (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
        (Point | None, '{"value": null}', None),
        (SCHEMA, '{"name": "a", "more": 1}', {"name": "a", "more": 1}),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
    ],
)
def test_a_value_becomes_what_the_shape_says(shape, text, value):
    """An instance of the user's type; plain JSON for a schema."""
    assert expected(shape, "Shape").read(text) == value


@pytest.mark.parametrize(
    ("shape", "text", "trouble"),
    [
        (Point, '{"x": "one"}', r"at `\$\.x`, expected `int`, got `str`"),
        (Point, '{"y": 1}', "missing required field `x`"),
        (Person, '{"name": "a", "born": "soon"}', r"at `\$\.born`"),
        (Checked, '{"share": 2}', r"at `\$\.share`"),
        (Checked, '{"share": 0.5}', "LookupError: a half is not decided"),
        (Mood, '{"value": "so so"}', "enum value 'so so'"),
        (SCHEMA, '{"name": "a", "age": -1}', r"at `\$\.age`, -1 is less than the minimum"),
        (SCHEMA, '{"age": 1}', "'name' is a required property"),
        (SCHEMA, "[1]", "is not of type 'object'"),
    ],
)
def test_a_reply_that_breaks_the_schema_says_where(shape, text, trouble):
    """The place, what was expected, what is there; and that the reply is kept."""
    with pytest.raises(ReplyError, match=trouble) as error:
        expected(shape, "Shape").read(text)
    assert "`error.reply`" in str(error.value)


def test_the_longest_misfit_is_the_one_that_is_told():
    """A footnote's number is not what was meant."""
    with pytest.raises(ReplyError, match=r"at `\$\.x`"):
        expected(Point, "Point").read('As [1] says: {"x": "wrong", "y": 2}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        '{"x": 1, "y": 2',
        pytest.param("[" * 100_000, marks=pytest.mark.heavy),
        "NaN",
    ],
)
def test_a_reply_without_json_says_so(text):
    """A refusal, a reply that was cut, or nonsense; endless brackets end."""
    with pytest.raises(ReplyError, match="no complete JSON"):
        expected(Point, "Point").read(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [{"a": 1}, {"a": 2}, {"a',
        'Here it is:\n```json\n{"rows": [{"a": 1}, {"a": 2},\n```',
        '{"rows": [{"a": 1}, {"a": 2},], "n": 2}',
        '{"rows": {"a": 1} "n": {"a": 2}}',
        '{"why": "braces {} [] and so on',
    ],
)
def test_a_part_of_json_that_breaks_off_or_is_malformed_does_not_pass_for_the_whole(text):
    """The row that came first is no answer."""
    with pytest.raises(ReplyError, match="no complete JSON"):
        expected(None, None).read(text)


@pytest.mark.parametrize(
    "text", ['Use {braces} or [1, 2). {"a": 1}', '{"b": oops} was wrong: {"a": 1}', '[x {"a": 1}']
)
def test_brackets_of_prose_hide_no_json(text):
    """They are no JSON from their beginning on, or end before it."""
    assert expected(None, None).read(text) == {"a": 1}


@pytest.mark.parametrize("shape", [SCHEMA, Tree])
def test_json_that_is_nested_without_end_is_a_misfit(shape):
    """No reply may end in a RecursionError."""
    text = '{"value": "x", "below": ' * 400 + "1" + "}" * 400
    with pytest.raises(ReplyError, match="does not fit"):
        expected(shape, "Shape").read(text)


@dataclass
class Log:
    """Moments, and a path."""

    when: datetime.datetime
    day: datetime.date = datetime.date(2025, 1, 31)
    at: datetime.time | None = None
    others: list[datetime.datetime] = field(default_factory=list)
    named: dict[str, datetime.datetime] = field(default_factory=dict)
    pair: tuple[int, datetime.datetime] | None = None
    before: Log | None = None
    file: pathlib.Path = field(default_factory=lambda: pathlib.Path("a"))
    note: str = ""


NOON = datetime.datetime(2025, 1, 31, 12)


@pytest.mark.parametrize(
    ("fields", "log"),
    [
        ({"when": "2025-01-31T12:00:00"}, Log(NOON)),
        ({"when": "2025-01-31 12:00"}, Log(NOON)),
        ({"when": "2025-01-31"}, Log(NOON.replace(hour=0))),
        ({"when": "2025-01-31T12:00:00Z"}, Log(NOON.replace(tzinfo=datetime.UTC))),
        ({"when": "20250131T12", "day": "20250130"}, Log(NOON, NOON.date().replace(day=30))),
        ({"when": "20250131T12", "at": "12:00"}, Log(NOON, at=NOON.time())),
        ({"when": "20250131T12", "others": ["20250131T12"]}, Log(NOON, others=[NOON])),
        ({"when": "20250131T12", "named": {"a": "20250131T12"}}, Log(NOON, named={"a": NOON})),
        ({"when": "20250131T12", "pair": [1, "20250131T12"]}, Log(NOON, pair=(1, NOON))),
        ({"when": "20250131T12", "before": {"when": "20250131T12"}}, Log(NOON, before=Log(NOON))),
        ({"when": "20250131T12", "note": "2025-01-31"}, Log(NOON, note="2025-01-31")),
        ({"when": "20250131T12", "file": "a/b.csv"}, Log(NOON, file=pathlib.Path("a/b.csv"))),
    ],
)
def test_moments_are_read_as_python_reads_them(fields, log):
    """Also without a zone, a time or punctuation; a text that looks like one stays a text."""
    assert expected(Log, "Log").read(json.dumps(fields)) == log


def test_the_form_of_a_moment_is_told():
    """A schema knows only the one with a time zone, which a model would make up."""
    fields = schema_of(Log)["properties"]
    form = "ISO 8601, such as 2025-01-31T09:30:00"
    assert fields["when"] == {"type": "string", "description": form}
    assert fields["others"]["items"] == fields["when"]
    assert fields["named"]["additionalProperties"] == fields["when"]
    assert fields["at"]["anyOf"][0]["description"] == "ISO 8601, such as 09:30:00"
    assert fields["pair"]["anyOf"][0]["items"]["anyOf"][1] == fields["when"]
    assert fields["note"] == {"type": "string", "description": '(default: "")'}
    assert schema_of(list[datetime.datetime])["properties"]["value"]["items"] == fields["when"]


@pytest.mark.parametrize(
    ("fields", "trouble"),
    [({"when": "soon"}, r"at `\$\.when`"), ({"when": "2025-01-31", "file": 3}, r"at `\$\.file`")],
)
def test_what_is_no_moment_and_no_path_says_where(fields, trouble):
    """As any other misfit."""
    with pytest.raises(ReplyError, match=trouble):
        expected(Log, "Log").read(json.dumps(fields))


def test_of_several_blocks_that_fit_the_last_is_the_answer():
    """What comes first is a form or a draft; in prose, a footnote comes last."""
    blocks = '```json\n{"x": 1}\n```\nSo, filled in:\n```json\n{"x": 2}\n```\n'
    assert expected(Point, "Point").read(blocks) == Point(2)
    assert expected(Point, "Point").read(blocks + '```json\n{"z": 3}\n```') == Point(2)
    assert expected(list[int], "list").read("They are [3, 4], as [1] says.") == [3, 4]


@pytest.mark.parametrize(
    "given",
    [
        {"name": "person", "schema": SCHEMA},
        {"name": "person", "strict": True, "schema": SCHEMA},
        {"type": "json_schema", "name": "person", "schema": SCHEMA},
        {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}},
    ],
)
def test_a_schema_may_come_in_the_form_of_openais_parameter(given):
    """It is what people paste."""
    assert schema_of(given) == schema_of(SCHEMA)
    assert expected(given, "Shape").read('{"name": "Ada"}') == {"name": "Ada"}


# What is no schema


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ({"name": "Ada", "age": 36}, "reads like an example"),
        ({"type": "dog", "name": "Rex"}, "If it is an example"),
        ({"name": str, "age": int}, r'TypedDict\("Shape"'),
        ({"tags": list[str]}, r'TypedDict\("Shape"'),
        ({"type": "object", "properties": [1]}, r"at `Shape\.properties`"),
        ({"type": "string", "pattern": "("}, r"at `Shape\.pattern`"),
        ({"$ref": "#/$defs/Missing"}, "does not hold"),
        ({"$ref": "https://example.com/schema.json"}, "nothing is fetched"),
        (Point(1), "an instance of `Point`"),
        (None, "None, and no schema"),
        (3, "of type `int`"),
        ('{"type": "object"}', "of type `str`"),
        (len, "and no schema"),
        (complex, "cannot be made a schema"),
        (object, "cannot be made a schema"),
    ],
)
def test_what_is_no_schema_is_refused_with_advice(shape, advice):
    """Before anything is sent, with what to give instead."""
    with pytest.raises(ContentError, match=advice):
        expected(shape, "Shape")


def test_a_class_whose_fields_are_unknown_names_is_refused():
    """A forward reference that leads nowhere is the user's to mend."""
    broken = dataclasses.make_dataclass("Broken", [("a", "Nowhere")])
    with pytest.raises(ContentError, match="Nowhere"):
        expected(broken, "Broken")


@pytest.mark.parametrize("kind", ["Seeded", "list[Seeded]"])
def test_an_init_var_is_named(kind):
    """Only pydantic fills those, once it is imported."""
    code = (
        "from dataclasses import InitVar, dataclass\n"
        "from segmind_jupyter.content.json_schema import expected\n"
        "@dataclass\n"
        "class Seeded:\n"
        "    n: int\n"
        "    seed: InitVar[int] = 0\n"
        f"expected({kind}, 'Seeded')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "`Seeded` has `seed`, an InitVar" in run.stderr
    assert "`import pydantic`" in run.stderr


# pydantic


def test_a_pydantic_model_is_read_by_the_users_pydantic():
    """Instances are models, and its own words say what is wrong."""
    pydantic = pytest.importorskip("pydantic")
    inner = pydantic.create_model("Inner", n=(int, pydantic.Field(ge=1)))
    model = pydantic.create_model("Model", inner=(inner, ...), day=(datetime.date, None))
    asked = expected(model, "Model")
    assert asked.response_format["json_schema"]["strict"] is True
    made = asked.read('{"inner": {"n": 2}, "day": "2025-01-31"}')
    assert made == model(inner=inner(n=2), day=datetime.date(2025, 1, 31))
    with pytest.raises(ReplyError, match=r"at `\$\.inner\.n`, Input should be greater"):
        asked.read('{"inner": {"n": 0}, "day": "2025-01-31"}')
    assert expected(list[inner], "list").read('[{"n": 1}]') == [inner(n=1)]


def test_what_msgspec_cannot_read_goes_to_pydantic():
    """A dataclass that holds a model, and a union of two dataclasses."""
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", n=(int, ...))
    mixed = dataclasses.make_dataclass("Mixed", [("model", model)])
    assert expected(mixed, "Mixed").read('{"model": {"n": 1}}') == mixed(model(n=1))
    assert expected(Point | Tree, "Either").read('{"value": 1}') == Tree(1)


# Properties

people = st.builds(
    Person,
    name=st.text(),
    born=st.dates(),
    mood=st.sampled_from(Mood),
    home=st.none() | st.builds(Point, x=st.integers(-(2**62), 2**62), y=st.floats(-1e9, 1e9)),
    tags=st.lists(st.text(), max_size=3),
    size=st.sampled_from(["s", "m", "l"]),
)
trees = st.recursive(
    st.builds(Tree, value=st.integers(-9, 9), below=st.just([])),
    lambda inner: st.builds(Tree, value=st.integers(-9, 9), below=st.lists(inner, max_size=3)),
    max_leaves=8,
)
rows = st.fixed_dictionaries({"name": st.text()}, optional={"error": st.text()})
noise = st.text(st.characters(exclude_characters="{}[]`~", exclude_categories=["Cs"]), max_size=60)


@given(
    pair=st.one_of(
        st.tuples(st.just(Person), people),
        st.tuples(st.just(Tree), trees),
        st.tuples(st.just(Row), rows),
        st.tuples(st.just(list[Person]), st.lists(people, max_size=3)),
    ),
    before=noise,
    after=noise,
    fenced=st.booleans(),
    indent=st.none() | st.just(2),
)
@example(pair=(Tree, Tree(1)), before="9 ", after=" 9", fenced=False, indent=None)
def test_any_instance_reads_back_whatever_stands_around_it(pair, before, after, fenced, indent):
    """As JSON in a fence or in the midst of prose: an equal one comes back."""
    shape, value = pair
    text = json.dumps(json.loads(msgspec.json.encode(value)), indent=indent)
    text = f"\n\n```json\n{text}\n```\n\n" if fenced else text
    assert expected(shape, "Shape").read(f"{before}{text}{after}") == value


@given(st.text(st.sampled_from('{}[]":,1a\\n `')))
def test_looking_for_json_ends_and_raises_nothing(text):
    """Whatever a reply holds; and all that is found is JSON."""
    for value in json_values(text):
        json.dumps(value, allow_nan=False)


schemas = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "minLength": 1, "default": "x"},
            {"type": "integer", "minimum": 0},
            {"enum": ["a", 1, None]},
            {"type": "null"},
            {},
            {"$ref": "#/$defs/A"},
        ]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.text("ab$", max_size=2), inner),
            }
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"prefixItems": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=6,
)


@given(schemas)
def test_a_sendable_schema_is_valid_and_stays_as_it_is(schema):
    """Making it so a second time changes nothing."""
    whole = {**schema, "$defs": {"A": {"type": "string"}}}
    sent = sendable(whole)
    jsonschema.Draft202012Validator.check_schema(sent)
    assert sendable(sent) == sent
