"""Secrets are kept out of what is sent, by their names and by their forms."""

from __future__ import annotations

import ast
import base64
import json
import keyword
from collections import OrderedDict
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segmind_jupyter.content.secrets import (
    HIDDEN,
    blanked,
    hides,
    scrubbed,
    scrubbed_source,
    secrets_in,
    secrets_of_source,
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


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_these_names_are_of_secrets(name):
    """Whatever they stand for."""
    assert hides(name, "a")


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_these_names_are_not(name):
    """Hiding them would hide what explains the error."""
    assert not hides(name, "price")


@pytest.mark.parametrize("name", ["key", "tokens", "session", "sort_key"])
def test_a_doubtful_name_is_judged_by_its_value(name):
    """`key` may be a column, or a key."""
    assert hides(name, "9f8a7b6c5d4e3f2a")
    assert not hides(name, "a column of the table")
    assert not hides(name, 12)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ('password = "hunter2"', 'password = "'),
        ("password: str = 'hunter2'", "password: str = "),
        ('self.api_key = "hunter2"', "self.api_key = "),
        ('cfg = {"user": "bob", "token": "hunter2"}', '"user": "bob", "token": '),
        ('connect(host="h", password="hunter2", port=3)', 'connect(host="h", password='),
        ('os.environ["API_KEY"] = "hunter2"', 'os.environ["API_KEY"] = '),
        ('os.environ.setdefault("API_KEY", "hunter2")', 'setdefault("API_KEY", '),
        ('token = os.getenv("MY_TOKEN", "hunter2")', 'os.getenv("MY_TOKEN", '),
        ('if password == "hunter2": pass', "if password == "),
        ('token = given or "hunter2"', "token = given or "),
        ('def f(user, pwd="hunter2", *, secret="hunter2"): pass', "def f(user, pwd="),
        ('user, password = "bob", "hunter2"', "user, password = "),
        ('headers = [("Authorization", "hunter2")]', '("Authorization", '),
        ('for token in ["hunter2"]: pass', "for token in ["),
        ('(token := "hunter2")', "(token := "),
        ("pin_token = 1234  # hunter2 is the password: hunter2", "pin_token = "),
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
        ("!curl -su x -u 'admin:hunter2 hunter2' https://host", "-u 'admin:"),
        ('é = "ü"; password = "hunter2"', 'é = "ü"; password = '),
    ],
)
def test_what_a_secrets_name_is_given_does_not_go_out(source, kept):
    """In every way in which Python, a magic, a comment or broken code gives it."""
    shown = scrubbed_source(source)
    assert kept.strip('"') in shown
    assert HIDDEN in shown
    assert shown.count("\n") == source.count("\n")
    assert "hunter2" not in shown.replace("# hunter2 is", "")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("password = 4711", f"password = {HIDDEN}"),
        ("password = -4711.5", f"password = -{HIDDEN}"),
        ("f(token=99887766)", f"f(token={HIDDEN})"),
        ("secret = Decimal(99887766)", f"secret = Decimal({HIDDEN})"),
        ("passwords = [99887766, 1]", f"passwords = [{HIDDEN}, 1]"),
        ("token_ids = [101, 2054]", "token_ids = [101, 2054]"),
        ("token = True", "token = True"),
    ],
)
def test_a_number_that_a_secrets_name_is_given_does_not_go_out(source, shown):
    """Within a list or a call only a long one: short ones count and point."""
    assert scrubbed_source(source) == shown


@pytest.mark.parametrize(
    "source",
    [
        'password = cfg["password"]',
        'token = os.getenv("MY_TOKEN")',
        'df[["token", "text"]]',
        'for key, value in d.items():\n    print(d["price"])',
        "token = None\npassword = ''\nsecret = True",
        "tokens = tokenizer('some text')",
        'raise KeyError("password")',
        "%timeit total(rows)\nx = 1",
    ],
)
def test_code_that_gives_nothing_away_stays_as_it_is(source):
    """A key that is looked up, a name alone, an empty value."""
    assert scrubbed_source(source) == source


@pytest.mark.parametrize(
    "secret",
    [
        "sk-live-0123456789abcdef", "ghp_0123456789abcdefABCD", "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789-abcdef", "hf_abcdefghijklmnopqrst", "SG_0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "glpat-0123456789abcdefgh",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "github_pat_0123456789abcdefgh", "AIza0123456789012345678901234567890123",
    ],
)  # fmt: skip
def test_a_well_known_form_is_hidden_wherever_it_stands(secret):
    """Whatever the name before it; and no more than that."""
    assert scrubbed(f"before ({secret}) after") == f"before ({HIDDEN}) after"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("KeyError: 'password'", "KeyError: 'password'"),
        ("token=None, password=''", "token=None, password=''"),
        ("Authorization: Bearer abcdefgh1234", f"Authorization: {HIDDEN} {HIDDEN}"),
        ("a header Bearer abcdefgh1234 here", f"a header Bearer {HIDDEN} here"),
        ("a basic understanding of tokens", "a basic understanding of tokens"),
        ('{"password": "a b", "x": 1}', f'{{"password": {HIDDEN}, "x": 1}}'),
        ("failed for postgres://bob:pw@host/db", f"failed for postgres://{HIDDEN}@host/db"),
        ("https://host/a:b/c?x=1", "https://host/a:b/c?x=1"),
        ("redis://:p@ss@host/0 is down", f"redis://{HIDDEN}@host/0 is down"),
        ("run --token=abc --verbose=1", f"run --token={HIDDEN} --verbose=1"),
        ("['x', '--token=abc']", f"['x', '--token={HIDDEN}']"),
        ("[('x-api-key', 'abc'), ('n', 1)]", f"[('x-api-key', {HIDDEN}), ('n', 1)]"),
        ("['password', 'email'] not in index", "['password', 'email'] not in index"),
        ("CREATE USER bob IDENTIFIED BY 'abc'", f"CREATE USER bob IDENTIFIED BY {HIDDEN}"),
        ("curl -X GET --user bob:abc -H x", f"curl -X GET --user bob:{HIDDEN} -H x"),
        (
            "Command '['curl', '-u', 'bob:a b', 'h']'",
            f"Command '['curl', '-u', 'bob:{HIDDEN}', 'h']'",
        ),
        ("curl \\\n  -u bob:abc h", f"curl \\\n  -u bob:{HIDDEN} h"),
        ("docker run -u 1000:1000 curl", "docker run -u 1000:1000 curl"),
    ],
)
def test_messages_lose_their_secrets_alone(text, shown):
    """What a message says stays readable."""
    assert scrubbed(text) == shown


def test_given_secrets_are_blanked_as_words_where_they_are_short():
    """Every `with` in a text is none of four letters in a variable."""
    assert blanked("a with b, without, abc", ["with", "abc"]) == f"a {HIDDEN} b, without, abc"
    assert blanked("userhunter22x", ["hunter22"]) == f"user{HIDDEN}x"
    assert blanked("longer-secret-1", ["longer", "longer-secret-1"]) == HIDDEN
    assert blanked(repr("two\nlines"), ["two\nlines"]) == f"'{HIDDEN}'"


def test_a_number_is_blanked_by_itself_and_not_inside_another():
    """`1234` is no part of `912345`, but it is of `id1234`."""
    text = "1234, 912345, 0.5, id1234, 1,234 and 1234.0"
    shown = f"{HIDDEN}, 912345, 0.5, id{HIDDEN}, {HIDDEN} and {HIDDEN}.0"
    assert blanked(text, ["1234"]) == shown
    assert blanked("99887766, 998877665", ["99887766"]) == f"{HIDDEN}, 998877665"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("pass word!x", "https://host/?q=pass%20word%21x"),
        ("pass word!x", "https://host/?q=pass+word%21x"),
        ("a/secret/path", "https://host/a%2Fsecret%2Fpath"),
        ("größer-als", "b'gr\\xc3\\xb6\\xc3\\x9fer-als'"),
        ('say "friend"', json.dumps({"x": 'say "friend"'})),
        ("größer-als", json.dumps("größer-als")),
        ("hunter22", b"hunter22".hex()),
        ("99887766", "got 99,887,766 and 0x5f42646"),
        ("ABCDEF01-2345-6789-abcd-ef0123456789", "abcdef0123456789abcdef0123456789"),
    ],
)
def test_given_secrets_are_blanked_in_other_usual_forms_too(secret, text):
    """As addresses, JSON, bytes and numbers are written."""
    shown = blanked(text, [secret])
    assert HIDDEN in shown
    assert not any(
        part in shown for part in ("pass", "secret", "als", "friend", "22", "99", "cdef")
    )


@given(st.binary(max_size=9), st.text(min_size=8, max_size=30), st.binary(max_size=9))
def test_a_secret_that_base64_holds_is_blanked(before, secret, after):
    """Alone, and as in ``user:password``, wherever in it the secret begins."""
    whole = before + secret.encode() + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = blanked(encode(whole).decode(), [secret])
        assert HIDDEN in shown
        assert len(shown.replace(HIDDEN, "")) <= len(encode(before + b"xx" + after)) + 4


class Client:
    def __init__(self) -> None:
        self.host = "example.com"
        self.password = "in-an-object"
        self.again = self

    @property
    def token(self) -> str:
        raise AssertionError("nothing may be computed")


def test_the_secrets_of_a_namespace_are_found_inside_dicts_and_objects():
    """Without running any code of theirs, and without end for none."""
    config: dict[str, object] = {"db": {"password": "in-a-dict"}, "user": "bob"}
    config["self"] = config
    names = {"config": config, "client": Client(), "token": b"in-bytes", "x": "plain", "key": "a b"}
    assert secrets_in(names) == {"in-a-dict", "in-an-object", "in-bytes"}


class Slotted:
    __slots__ = ("empty", "password")
    api_key = "in-a-class"

    def __init__(self) -> None:
        self.password = "in-a-slot"


class Pair(NamedTuple):
    user: str
    password: str


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        (Slotted(), {"in-a-slot", "in-a-class"}),
        (Slotted, {"in-a-class"}),
        (Pair("bob", "in-a-tuple"), {"in-a-tuple"}),
        ([{"password": "in-a-list"}], {"in-a-list"}),
        ([("Authorization", "in-a-pair")], {"in-a-pair"}),
        (OrderedDict(token="in-an-ordered-dict"), {"in-an-ordered-dict"}),
        ({"passwords": {"bob": "by-user-name", "ann": "short"}}, {"by-user-name"}),
        ({"tokens": ["model", "9f8a7b6c5d4e3f2a"]}, {"9f8a7b6c5d4e3f2a"}),
        ({"auth": ("bob", "second-of-a-pair")}, {"second-of-a-pair"}),
        ({"secret": bytearray(b"in-a-bytearray")}, {"in-a-bytearray"}),
        ({"password": -4711, "token": True, "secret": 123}, {"4711"}),
        ({"password": 4711.5, "token": Decimal("99887766.55")}, {"4711.5", "99887766.55"}),
        ({"secret": UUID(int=1)}, {"00000000-0000-0000-0000-000000000001"}),
        ({"secret": numpy.int64(4711), "token": numpy.float64(0.125)}, {"4711", "0.125"}),
        ({"password": 10**5000}, set()),
        ({"token_ids": [101, 2054, 99887766]}, {"99887766"}),
    ],
)
def test_secrets_are_found_in_whatever_holds_them(value, secret):
    """Slots, classes, tuples with names, lists, pairs; short items of a list may be any word."""
    assert secrets_in({"x": value}) == secret


def test_secrets_are_found_in_the_columns_of_frames():
    """pandas quotes a cell that it cannot read."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": ["somebody"], "password": ["in-a-frame"], 3: [1]})
    assert secrets_in({"frame": frame}) == {"in-a-frame"}
    assert secrets_in({"column": frame["password"]}) == {"in-a-frame"}
    assert secrets_in({"column": frame["user"]}) == set()


def test_what_many_scopes_share_is_looked_into_once():
    """A recursion has thousands of frames, which all know the same objects."""

    class Counted(dict):
        def items(self):
            raise AssertionError("nobody's code may run")

    shared = Counted((str(number), {"token": f"token-{number}"}) for number in range(500))
    found = secrets_in(*({"shared": shared, "password": f"password-{n}"} for n in range(3000)))
    assert len(found) == 3500


def test_the_literals_of_secrets_are_known_as_texts_where_they_are_no_common_words():
    """The program may have put them anywhere; what is no Python has none."""
    source = 'cfg = {"password": "hunter2-hunter2"}\ntoken = "price"\nsecret = b"some-bytes"'
    assert secrets_of_source(source) == {"hunter2-hunter2", "some-bytes"}
    assert secrets_of_source("password = 'hunter2-hunter2") == set()
    assert secrets_of_source("password = 12345678\ntoken = 2.5\nsecret = None") == {"12345678"}


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
        "{secret} = [{value}, {value}]",
        "%time {name}\n{secret} = {value}",
        "{secret} = {value} +",
    ]
)


@given(shapes, secret_names, names, values)
def test_no_literal_of_a_secrets_name_is_ever_left(shape, secret, name, value):
    """Whatever the value, the statement, and whether it is Python at all."""
    source = shape.format(secret=secret, name=name, value=repr(value))
    assume(value not in shape.format(secret=secret, name=name, value=""))
    shown = scrubbed_source(source)
    assert value not in shown
    assert repr(value)[1:-1] not in shown
    assert shown.count("\n") == source.count("\n")


@given(st.text())
def test_source_is_scrubbed_without_a_failure_and_keeps_its_lines(source):
    """Whatever is typed into a cell."""
    assert scrubbed_source(source).count("\n") == source.count("\n")


@given(names, st.integers() | st.lists(st.integers()))
def test_what_holds_no_secret_is_left_as_it_is(name, value):
    """Blanking is for secrets."""
    source = f"{name} = {value!r}\nprint({name})"
    assert scrubbed_source(source) == source
    assert ast.parse(scrubbed_source(source))


@given(st.lists(st.sampled_from(["token=", "'", '"', "://", "a", ":", "@", " ", "\n", "Bearer ", "eyJ", "--key ", '"""'])))  # fmt: skip  # noqa: E501
def test_prose_is_scrubbed_once_and_for_all(pieces):
    """A second time finds nothing new."""
    once = scrubbed("".join(pieces))
    assert scrubbed(once) == once
