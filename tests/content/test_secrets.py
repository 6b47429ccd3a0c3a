"""Secrets are kept out of what is sent, by their names, their forms and their values."""

from __future__ import annotations

import collections
import enum
import json
import keyword
import types
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from segmind_jupyter.content.secrets import (
    HIDDEN,
    Blanker,
    glimpse,
    hides,
    scrubbed,
    scrubbed_source,
    secrets_in,
)

SECRET_NAMES = [
    "password", "PASSWORD", "db_password", "dbPassword", "mypassword", "pwd", "user_pass", "secret",
    "client_secret", "token", "ACCESS_TOKEN", "auth", "Authorization", "x-api-key", "apiKey",
    "API_KEY", "apikey", "SEGMIND_API_KEY", "aws_secret_access_key", "credentials", "jwt", "dsn",
    "private_key", "self.token", "passwort", "пароль", "密码",
]  # fmt: skip
PLAIN_NAMES = [
    "key", "keys", "sort_key", "primary_key", "tokens", "n_tokens", "max_tokens", "token_count",
    "tokenizer", "author", "passage", "compass", "api", "monkey", "first_token", "x", "",
]  # fmt: skip


def test_some_names_are_of_secrets_some_are_not_and_some_depend_on_the_value():
    """`key` may be a column, or a key; hiding a column would hide what explains the error."""
    assert [name for name in SECRET_NAMES if not hides(name, "a")] == []
    assert [name for name in PLAIN_NAMES if hides(name, "price")] == []
    for name in ("key", "tokens", "session", "sort_key"):
        assert hides(name, "9f8a7b6c5d4e3f2a")
        assert not hides(name, "a column of the table")
        assert not hides(name, 12)


def test_what_a_secrets_name_is_given_does_not_go_out():
    """In every way in which Python, a magic, a comment or broken code gives it."""
    for source, kept in (
        ('password = "hunter2"', "password = "),
        ("password: str = 'hunter2'", "password: str = "),
        ('self.api_key = "hunter2"', "self.api_key = "),
        ('cfg = {"user": "bob", "token": "hunter2"}', '"user": "bob", "token": '),
        ('connect(host="h", password="hunter2", port=3)', 'connect(host="h", password='),
        ('os.environ["API_KEY"] = "hunter2"', 'os.environ["API_KEY"] = '),
        ('token = os.getenv("MY_TOKEN", "hunter2")', 'os.getenv("MY_TOKEN", '),
        ('if password == "hunter2": pass', "if password == "),
        ('token = given or "hunter2"', "token = given or "),
        ('def f(user, pwd="hunter2", *, secret="hunter2"): pass', "def f(user, pwd="),
        ('headers = [("Authorization", "hunter2")]', '("Authorization", '),
        ('(token := "hunter2")', "(token := "),
        ('secret = (\n    "hunter2"\n)', "secret = ("),
        ("# password: hunter2", "# password: "),
        ('url = "https://bob:hunter2@host/path"', "@host/path"),
        ('url = f"https://host/?token=hunter2&x={x}"', "https://host/?token="),
        ('secret = """a\nhunter2\n""" ; x = 1', "; x = 1"),
        ("%env API_KEY=hunter2", "%env API_KEY="),
        ("!curl --password hunter2 https://host", "--password "),
        ('x = 1\n%%time\npassword = "hunter2"', "x = 1\n%%time\npassword = "),
        ('password = "hunter2', "password = "),
        ('print(password="hunter2"\nx = (', "\nx = ("),
        ("password = b'hunter2'", "password = "),
        ("req = 'curl -u admin:hunter2 https://host'", "curl -u admin:"),
        ("password = 4711.5\nf(token=47119988, x=3)", "password = "),
    ):
        shown = scrubbed_source(source)
        assert kept in shown
        assert HIDDEN in shown
        assert "hunter2" not in shown
        assert "4711" not in shown
        assert shown.count("\n") == source.count("\n")


def test_code_that_gives_nothing_away_stays_as_it_is():
    """A key that is looked up, a name alone, an empty value, short numbers."""
    for source in (
        'password = cfg["password"]',
        'token = os.getenv("MY_TOKEN")',
        'df[["token", "text"]]',
        'for key, value in d.items():\n    print(d["price"])',
        "token = None\npassword = ''\nsecret = True",
        "tokens = tokenizer('some text')",
        'raise KeyError("password")',
        "%timeit total(rows)\nx = 1",
        "token_ids = [101, 2054]",
        "if token == 5: pass",
    ):
        assert scrubbed_source(source) == source


WELL_KNOWN = [
    "sk-live-0123456789abcdef", "ghp_0123456789abcdefABCD", "AKIAIOSFODNN7EXAMPLE",
    "xoxb-123456789-abcdef", "hf_abcdefghijklmnopqrst", "SG_0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "glpat-0123456789abcdefgh",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "github_pat_0123456789abcdefgh", "AIza0123456789012345678901234567890123",
    "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr",
]  # fmt: skip


def test_a_well_known_form_is_hidden_wherever_it_stands():
    """Whatever the name before it; and no more than that."""
    for secret in WELL_KNOWN:
        lines = "\n" * secret.count("\n")
        assert scrubbed(f"before ({secret}) after") == f"before ({HIDDEN}{lines}) after"


def test_messages_lose_their_secrets_alone():
    """What a message says stays readable."""
    for text, shown in [
        ("KeyError: 'password'", "KeyError: 'password'"),
        ("Authorization: Bearer abcdefgh1234", f"Authorization: {HIDDEN} {HIDDEN}"),
        ("a header Bearer abcdefgh1234 here", f"a header Bearer {HIDDEN} here"),
        ("a basic understanding of tokens", "a basic understanding of tokens"),
        ('{"password": "a b", "x": 1}', f'{{"password": {HIDDEN}, "x": 1}}'),
        ("failed for postgres://bob:pw@host/db", f"failed for postgres://{HIDDEN}@host/db"),
        ("git clone https://0123abcd4567@host/x", f"git clone https://{HIDDEN}@host/x"),
        (
            "the password is 0123abcd, ENV TOKEN x1y2z3a4",
            f"the password is {HIDDEN}, ENV TOKEN {HIDDEN}",
        ),
        ("the password is wrong", "the password is wrong"),
        ("run --token=abc --verbose=1", f"run --token={HIDDEN} --verbose=1"),
        (
            "Command '['x', '--password', 'a b', 'c']'",
            f"Command '['x', '--password', {HIDDEN}, 'c']'",
        ),
        ("[('x-api-key', 'abc'), ('n', 1)]", f"[('x-api-key', {HIDDEN}), ('n', 1)]"),
        ("['password', 'email'] not in index", "['password', 'email'] not in index"),
        ("CREATE USER bob IDENTIFIED BY 'abc'", f"CREATE USER bob IDENTIFIED BY {HIDDEN}"),
        ("curl -X GET --user bob:abc -H x", f"curl -X GET --user bob:{HIDDEN} -H x"),
        ("curl \\\n  -u bob:abc h", f"curl \\\n  -u bob:{HIDDEN} h"),
        ("mysql -u root -pabc db", f"mysql -u root -p{HIDDEN} db"),
        ("sshpass -p abc ssh h", f"sshpass -p {HIDDEN} ssh h"),
        ("machine h login bob password abc", f"machine h login bob password {HIDDEN}"),
        (
            "https://hooks.slack.com/services/T0/B0/abc",
            f"https://hooks.slack.com/services/{HIDDEN}",
        ),
        ("https://discord.com/api/webhooks/12/abc", f"https://discord.com/api/webhooks/{HIDDEN}"),
        ("https://api.telegram.org/bot12:abc/getMe", f"https://api.telegram.org/bot{HIDDEN}"),
        ('<add key="Password" value="abc" />', f'<add key="Password" value={HIDDEN} />'),
        (
            '{"name": "DB_PASSWORD", "value": "abc"}',
            f'{{"name": "DB_PASSWORD", "value": {HIDDEN}}}',
        ),
        ("- name: DB_PASSWORD\n  value: abc", f"- name: DB_PASSWORD\n  value: {HIDDEN}"),
        ("<password>abc</password>", f"<password>{HIDDEN}</password>"),
    ]:
        assert scrubbed(text) == shown


def test_given_secrets_are_blanked():
    """Short ones as words, numbers not inside others, in any case, backwards, and quoted."""
    for secrets, text, shown in (
        (["with", "abc"], "a with b, without, abc", f"a {HIDDEN} b, without, abc"),
        (["Test"], "a Test, testing a test", f"a {HIDDEN}, testing a test"),
        (["hunter22"], "userHUNTER22x", f"user{HIDDEN}x"),
        (["longer", "longer-secret-1"], "longer-secret-1", HIDDEN),
        (["two\nlines"], repr("two\nlines"), f"'{HIDDEN}'"),
        (["1234"], "1234, 912345, id1234", f"{HIDDEN}, 912345, id{HIDDEN}"),
        (["99887766"], "99887766, 998877665", f"{HIDDEN}, 998877665"),
        (["pass word!x"], "https://host/?q=pass%20word%21x", f"https://host/?q={HIDDEN}"),
        (["pass word!x"], "https://host/?q=pass+word%21x", f"https://host/?q={HIDDEN}"),
        (["größer-als"], "b'gr\\xc3\\xb6\\xc3\\x9fer-als'", f"b'{HIDDEN}'"),
        (['say "friend"'], json.dumps('say "friend"'), f'"{HIDDEN}"'),
        (["größer-als"], json.dumps("größer-als"), f'"{HIDDEN}"'),
    ):
        assert Blanker(secrets)(text) == shown


def test_parts_of_secrets_are_blanked_on_request():
    """A slice of either end, in any case, and from the midst if it has digits; no common word."""
    blank = Blanker(["hunter-7-elephant", "k3yk3yk3yk3y"])
    assert blank("'hunter-7', ELEPHANT, 7-elep, 3yk3yk", parts=True).count(HIDDEN) == 4
    assert blank("hunter, hunting an elephants", parts=True) == f"{HIDDEN}, hunting an elephants"
    assert blank("hunter-7") == "hunter-7"


class Client:
    def __init__(self) -> None:
        self.host = "example.com"
        self.password = "in-an-object"
        self.again = self

    @property
    def token(self) -> str:
        raise AssertionError("nothing may be computed")


class Slotted:
    __slots__ = ("empty", "password")
    api_key = "in-a-class"

    def __init__(self) -> None:
        self.password = "in-a-slot"


class Pair(NamedTuple):
    user: str
    password: str


PEM = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBg", "-----END PRIVATE KEY-----"]


def test_secrets_are_found_in_whatever_holds_them():
    """Slots, classes, tuples with names, lists, pairs; short items of a list may be any word."""
    for value, secret in [
        ({"db": {"password": "in-a-dict"}, "user": "bob"}, {"in-a-dict"}),
        (Client(), {"in-an-object"}),
        (Slotted(), {"in-a-slot", "in-a-class"}),
        (Slotted, {"in-a-class"}),
        (Pair("bob", "in-a-tuple"), {"in-a-tuple"}),
        ([{"password": "in-a-list"}], {"in-a-list"}),
        ([("Authorization", "in-a-pair")], {"in-a-pair"}),
        (OrderedDict(token="in-an-ordered-dict"), {"in-an-ordered-dict"}),
        ({"passwords": {"bob": "by-user-name", "ann": "short"}}, {"by-user-name"}),
        ({"tokens": ["model", "9f8a7b6c5d4e3f2a"]}, {"9f8a7b6c5d4e3f2a"}),
        ({"auth": ("bob", "second-of-a-pair")}, {"second-of-a-pair"}),
        ({"secret": bytearray(b"an-array"), "token": b"in-bytes"}, {"an-array", "in-bytes"}),
        ({"password": -4711, "token": True, "secret": 123, "key": "a b"}, {"4711"}),
        ({"password": 4711.5, "token": np.float64(0.125)}, {"4711.5", "0.125"}),
        ({"password": 10**5000}, set()),
        ({"token_ids": [101, 2054, 99887766]}, {"99887766"}),
        (PEM, set(PEM)),
        ({"name": "DB_PASSWORD", "value": "beside-its-name"}, {"beside-its-name"}),
    ]:
        assert secrets_in({"x": value}) == secret


# Values on one line


class Asked(AssertionError):
    """Code of a value's own was run."""


def _fail(*args: object) -> None:
    raise Asked(args[1:])


class RudeDict(dict):  # type: ignore[type-arg]
    __repr__ = __len__ = __iter__ = items = __getitem__ = get = keys = copy = _fail  # type: ignore[assignment]


class Proxy:
    """Lazy, as those of Django and werkzeug are."""

    __class__ = property(_fail)  # type: ignore[assignment]
    __dict__ = property(_fail)  # type: ignore[assignment]


def rude() -> object:
    """Make an object whose class, and the class of that, fail whoever asks them anything."""

    class Meta(type):
        __getattribute__ = __instancecheck__ = __subclasscheck__ = _fail  # type: ignore[assignment]

    class Rude(metaclass=Meta):
        __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = _fail  # type: ignore[assignment]
        __bool__ = __getattribute__ = _fail  # type: ignore[assignment]

    made = object.__new__(Rude)
    object.__setattr__(made, "__dict__", RudeDict(host="h", password="hunter2-in-a-proxy"))
    return made


class Level(enum.IntEnum):
    LOW = 1


def test_a_value_is_described_by_its_type():
    """Numbers and short texts as they are, everything else by what it is and how much."""
    for value, line in [
        (None, "None"),
        (1.5, "1.5"),
        (Level.LOW, "1"),
        ("a\nb", r"'a\nb'"),
        ("x" * 500, f"{'x' * 120!r}… (500 characters)"),
        (b"abc", "bytes of 3"),
        ([], "list of 0"),
        ([1, [2, [3]]], "list of 2: 1, list of 2: 2, list of 1"),
        ((1, 2, 3, 4, 5, 6, 7), "tuple of 7: 1, 2, 3, 4, 5, 6, …"),
        ({"a": 1, "token": "t"}, "{'a': 1, 'token': <hidden>}"),
        ({"token": None, "password": ""}, "{'token': None, 'password': ''}"),
        (collections.Counter("aab"), "{'a': 2, 'b': 1}"),
        (Level, "class Level"),
        (types, "module types"),
        (len, "function len"),
        (lambda a, password="hunter2": a, "function <lambda>"),
        (10**400, "an integer of 1,329 bits"),
        (np.zeros((3, 4)), "ndarray 3×4 float64"),
        (pd.DataFrame({"a": [1], "b": [[2]]}), "DataFrame 1×2: 'a' int64, 'b' object"),
        (pd.DataFrame({"c": pd.Categorical(["x"])}), "DataFrame 1×1: 'c' category"),
        ([pd.DataFrame({"a": [1]})], "list of 1: DataFrame 1×1: 'a' int64"),
        (pd.Series([1.0, 2.0]), "Series 2 float64"),
        (PEM, "list of 3: <hidden>"),
        (["sshpass", "-p", "hunter2"], "list of 3: 'sshpass', '-p', '<hidden>'"),
        (["x", "--password", "hunter2"], "list of 3: 'x', '--password', <hidden>"),
    ]:
        assert glimpse(value) == line


def test_no_code_of_a_values_own_is_run():
    """A repr can raise, hang, or print a gigabyte; so can a class or a metaclass."""
    assert glimpse(RudeDict(a=1)) == "{'a': 1}"
    assert glimpse(type(rude())) == "class Rude"
    assert glimpse([rude()]).startswith("list of 1: <")
    assert glimpse(rude()).endswith(".Rude with host, password>")
    assert glimpse(Proxy()).endswith(".Proxy>")
    assert secrets_in({"rude": rude(), "proxy": Proxy()}) == {"hunter2-in-a-proxy"}

    class Frame(pd.DataFrame):
        shape = columns = property(_fail)  # type: ignore[assignment]

    assert ".Frame" in glimpse(Frame({"password": ["x"]}))


def test_the_types_of_polars_tell_no_cells():
    """Some list all values that a column may have."""
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"n": [1], "kind": ["hunter2"], "when": ["x"]}).with_columns(
        pl.col("kind").cast(pl.Enum(["hunter2"]))
    )
    assert glimpse(frame) == "DataFrame 1×3: 'n' Int64, 'kind' Enum, 'when' String"
    assert glimpse(frame["kind"]) == "Series 1 Enum"


def test_a_secret_is_told_by_its_type_alone_and_a_text_is_cleaned_before_it_is_cut():
    """By its name, or by its form; half of a secret would not be found any more."""
    assert glimpse("hunter2", name="password") == "<hidden> (str)"
    assert glimpse(1234, name="self.pin_token") == "<hidden> (int)"
    assert glimpse(None, name="password") == "None"
    assert glimpse("sk-live-0123456789abcdef", name="x") == "'<hidden>'"
    secret = "s3cret" * 60
    assert "s3cret" not in glimpse(f"id {secret}", clean=lambda text: text.replace(secret, "-"))


# Properties

secret_names = st.sampled_from([n for n in SECRET_NAMES if n.isidentifier()])
names = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name) and not hides(name, "x" * 20 + "1")
)
values = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=6, max_size=30)
shapes = st.sampled_from(
    [
        "{secret} = {value}",
        "{name} = {{'{name}': 1, '{secret}': {value}}}",
        "{name}.{secret} = {value}",
        "{name}({name}=1, {secret}={value})",
        "{name}['{secret}'] = {value}",
        "if {secret} == {value}:\n    pass",
        "def {name}({secret}={value}):\n    return 1",
        "{name} = 1\nclass A:\n    {secret}: str = {value}",
        "%time {name}\n{secret} = {value}",
        "{secret} = {value} +",
    ]
)


@given(shapes, secret_names, names, values)
@example("{name}.{secret} = {value}", "pwd", "n", "000000")
def test_no_literal_of_a_secrets_name_is_ever_left(shape, secret, name, value):
    """Whatever the value, the statement, and whether it is Python at all."""
    source = shape.format(secret=secret, name=name, value=repr(value))
    assume(value not in shape.format(secret=secret, name=name, value=""))
    shown = scrubbed_source(source)
    assert value not in shown
    assert repr(value)[1:-1] not in shown
    assert shown.count("\n") == source.count("\n")


def test_hostile_texts_are_read_in_time():
    """Rows of beginnings that lead nowhere; quadratic, each would take minutes."""
    units = (
        "xoxb- key=a& curl mysql <a ('a', ''' \"\"\" ://a: password=' \\ -----BEGIN eyJa. --a _- 1:"
    )
    for unit in units.split():
        for text in (unit * (20_000 // len(unit)), f"{unit} " * (20_000 // len(unit))):
            assert len(scrubbed(text)) <= 10 * len(text)
            assert scrubbed_source(text).count("\n") == 0
