"""`--error`: what is sent of the last error, and what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from segmind_jupyter.content.parts import Limits
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.last_error import last_error

KEY = "sk-live-0123456789abcdef"

TOTAL = """def total(rows):
    password = "hunter2-abc"
    return sum(row["price"] for row in rows)
"""


@pytest.fixture(autouse=True)
def no_error_before(monkeypatch):
    """Let no test see the error of another."""
    for name in ("last_value", "last_exc", "last_type", "last_traceback"):
        monkeypatch.delattr(sys, name, raising=False)


@pytest.fixture
def text_after(shell, run):
    """Run cells, and give what is sent of the last error."""

    def text(*cells: str, **limits: int) -> str:
        for cell in cells:
            run(cell)
        return last_error(shell, limits=Limits(**limits)).parts[0].text

    return text


def test_the_message_the_lines_the_values_and_the_cell_are_sent(shell, run, text_after):
    """All that a person would ask for first."""
    text = text_after(TOTAL, 'orders = [{"cost": 3}]\ntotal(orders)')
    assert [word for word in ("run_code", "IPython", "\x1b") if word in text] == []
    number = shell.execution_count - 1
    assert text.startswith("KeyError: 'price'\n")
    assert f"in cell [{number}].\n" in text
    assert f"cell [{number}], line 2, in <module>" in text
    assert f"cell [{number - 1}], line 3, in <genexpr>" in text
    assert '-->    3     return sum(row["price"] for row in rows)' in text
    assert "row = {'cost': 3}" in text
    assert f"Source of cell [{number}]:" in text
    assert 'orders = [{"cost": 3}]\ntotal(orders)\n```' in text
    item = last_error(shell)
    assert item.label == f"last error · KeyError in cell [{number}]"


#: How notebooks hold and show secrets: cells that fail, with `S3cr` in the place of one.
SHAPES = [
    # Named values.
    'password = "S3cr"\n{}[password]',
    'token = b"S3cr"\n{}[token]',
    'cfg = {"db": {"password": "S3cr"}}\nraise ValueError(str(cfg["db"]))',
    'class C:\n    api_key = "S3cr"\nraise ValueError(C.api_key)',
    'class C: pass\nc = C()\nc.api_key = "S3cr"\nraise ValueError(vars(c))',
    'class C:\n    __slots__ = "token",\nc = C()\nc.token = "S3cr"\nint(c.token)',
    'passwords = ["S3cr"]\n[int(p) for p in passwords]',
    'auth = ("bob", "S3cr")\nraise ValueError(auth)',
    'headers = [("x-api-key", "S3cr")]\nraise OSError(headers)',
    'headers = {"Authorization": "Bearer S3cr-0123"}\nraise OSError(headers)',
    'from collections import namedtuple\nP = namedtuple("P", "user password")\nraise ValueError(tuple(P("b", "S3cr")))',  # noqa: E501
    'from dataclasses import dataclass\n@dataclass\nclass D:\n    secret: str\nraise ValueError(D("S3cr"))',  # noqa: E501
    'from types import SimpleNamespace as N\nraise ValueError(N(client_secret="S3cr"))',
    'def connect(url, token):\n    raise OSError(f"no {url} for {token}")\nconnect("h", token="S3cr")',  # noqa: E501
    'def connect(url, token):\n    raise OSError(f"no {url} for {token}")\nconnect("h", "S3cr")',
    'def f(pwd="S3cr"):\n    return int(pwd)\nf()',
    'import os\nos.environ["MY_SECRET"] = "S3cr"\nx = os.environ["MY_SECRET"]\nint(x)',
    'import os\ntoken = os.getenv("NO_SUCH", "S3cr")\nint(token)',
    'match {"password": "S3cr"}:\n    case {"password": p}:\n        int(p)',
    'settings = dict(token="S3cr")\nsettings["x"]',
    'secret = "S3cr"\nassert not secret, "is " + secret',
    '(token := "S3cr")\nint(token)',
    'try:\n    raise ValueError("S3cr")\nexcept ValueError as error:\n    token = "S3cr"\n    raise KeyError(1) from error',  # noqa: E501
    '%%time\npassword = "S3cr"\n1/0',
    'password = "S3cr',
    'credentials = {"user": "bob", "pw": "S3cr"}\nraise OSError(credentials)',
    'cookies = {"session": "S3cr-0123456"}\nraise OSError(cookies)',
    'key = "S3cr0123456789"\n{}[key]',
    'import configparser\nc = configparser.ConfigParser()\nc.read_string("[db]\\npassword = S3cr\\n")\nint(c["db"]["password"])',  # noqa: E501
    'import json\nconfig = json.loads(\'{"api_key": "S3cr"}\')\nint(config["api_key"])',
    # Named in words.
    'raise OSError("run --token=S3cr")',
    'raise OSError("run --password S3cr")',
    'raise OSError("password: S3cr")',
    'raise OSError("https://host/?access_token=S3cr&x=1")',
    'raise OSError("https://bob:S3cr@host refused")',
    'raise OSError("postgresql://bob:S3cr@h/db")',
    'raise OSError("Server=h;User Id=b;Password=S3cr;")',
    'raise OSError("Authorization: Bearer S3cr-0123")',
    'raise OSError("Set-Cookie: session_token=S3cr; Path=/")',
    "raise OSError(\"CREATE USER bob IDENTIFIED BY 'S3cr'\")",
    'raise OSError("[default]\\naws_secret_access_key = S3cr")',
    'raise OSError({"password": "S3cr", "user": "bob"})',
    'raise OSError("<password>S3cr</password>")',
    'raise OSError("- name: DB_PASSWORD\\n  value: S3cr")',
    'raise OSError(\'{"name": "DB_PASSWORD", "value": "S3cr"}\')',
    'import urllib.request as u\nu.urlopen("nothing://h/?token=S3cr")',
    # Commands.
    'raise OSError("curl -u bob:S3cr https://host")',
    'raise OSError("docker login -u bob -p S3cr")',
    'import subprocess\nsubprocess.run(["false", "--password", "S3cr"], check=True)',
    'import subprocess\nsubprocess.run("mysql -u root -pS3cr db", shell=True, check=True, capture_output=True)',  # noqa: E501
    'import subprocess\nsubprocess.run(["false", "sshpass", "-p", "S3cr", "ssh", "h"], check=True)',
    "!echo --password S3cr\n1/0",
    "%env API_KEY=S3cr\n1/0",
    # Files and services.
    'raise OSError("machine h login bob password S3cr")',
    'raise OSError("https://hooks.slack.com/services/T00/B00/S3cr")',
    'raise OSError("https://api.telegram.org/bot123:S3cr/getMe")',
    'raise OSError(\'<add key="Password" value="S3cr" />\')',
    'lines = ["-----BEGIN RSA PRIVATE KEY-----", "S3cr+key", "-----END RSA PRIVATE KEY-----"]\nraise OSError(lines[1], len(lines))',  # noqa: E501
    'pem = "-----BEGIN PRIVATE KEY-----\\nS3cr\\n-----END PRIVATE KEY-----"\nint(pem)',
    'int("ghp_S3cr0123456789abcdef")',
    'int("AKIAIOSFODNNS3CR0000"[:20]) if 0 else int("sk-live-S3cr0123")',
    # Tables.
    'import pandas as pd\ndf = pd.DataFrame({"password": ["S3cr"]})\nint(df.password[0])',
    'import pandas as pd\ndf = pd.DataFrame({"name": ["db_password"], "value": ["S3cr"]})\nint(df.value[0])',  # noqa: E501
    'import pandas as pd\ns = pd.Series({"token": "S3cr"})\nint(s["token"])',
    'rows = [{"key": "api_token", "value": "S3cr"}]\nint(rows[0]["value"])',
    # Made of a secret.
    'password = "S3cr"\nint(password.upper())',
    'password = "S3cr"\nint(password[:8])',
    'password = "S3cr"\nint(password[3:11])',
    'password = "S3cr"\nint(password[::-1])',
    'password = "S3cr"\nhalf = password[4:]\nint(half.title())',
    'token = "S3cr"\nhead = token[1:12].swapcase()\nd = {}\nd[head]',
    'password = "S3cr"\nraise OSError(f"Bearer x-{password}-y")',
    'from urllib.parse import quote\npassword = "S3cr &"\nraise OSError(quote(password))',
    'password = "S3cr"\nraise OSError("-".join(["x", password.lower(), "y"]))',
    # Encoded, and quoted by the error.
    'import base64\npassword = "S3cr"\nint(base64.b64encode(password.encode()))',
    'password = "S3cr"\nint(password.encode().hex(), 10)',
]


SECRET = "w1nter-Horse7"


def test_secrets_are_not_sent_in_nearly_any_shape(shell, run, monkeypatch):
    """Neither whole nor in parts of six characters, in any case, forwards or backwards."""
    monkeypatch.setenv("MY_SECRET", "")
    spellings = [SECRET.lower(), SECRET.lower()[::-1], SECRET.encode().hex(), "dzfudgvyluhvcnnlnw"]
    parts = {text[n : n + 6] for text in spellings for n in range(len(text) - 5)}
    sent = []
    for cell in SHAPES:
        shell.run_line_magic("reset", "-f")
        run(cell.replace("S3cr", SECRET))
        text = last_error(shell).parts[0].text.lower()
        sent += [cell] if any(part in text for part in parts) else []
    print(f"{len(SHAPES) - len(sent)} of {len(SHAPES)} shapes of secrets are caught; not: {sent}")  # noqa: T201
    assert len(SHAPES) >= 76
    assert len(sent) * 76 <= len(SHAPES) * 2


def test_the_key_in_use_is_not_sent(shell, run, text_after):
    """Wherever it turns up, also one that was typed in."""
    from segmind_jupyter.session import session

    session().use_key("typed-in-0123456789")
    assert "typed-in-0123456789" not in text_after('x = "typed-in-0123456789"\nint(x)')


def test_half_of_a_secret_is_not_sent_where_a_section_or_an_endless_message_is_cut(text_after):
    """Cuts come after the blanking; of such a message the beginning alone is read."""
    secret = "abcdefghij" * 20
    cell = f'token = "{secret}"\nx = "{secret}"\nraise ValueError("y" * 70 + x)'
    for text_chars in range(100, 1500, 140):
        assert "abcdefghij" not in text_after(cell, text_chars=text_chars)
    for before in range(19_940, 20_000, 14):
        cell = f'raise ValueError("y" * {before} + "https://host/?token=" + "abcdefghij" * 5)'
        assert "abcdefghijab" not in text_after(cell, text_chars=1000)


def test_an_error_of_our_own_hides_none_of_the_users(shell, run, text_after):
    """A question that fails can be asked again; alone, ours says itself what to do."""
    run("%claude -z")
    with pytest.raises(ContentError, match="no error to ask about"):
        last_error(shell)
    text_after("1/0")
    for cell in ("%claude -z", "%%claude -i nothing\nHi", "%claude -c --chat x Hi", "%segmind x"):
        assert run(cell).error is not None
        assert last_error(shell).parts[0].text.startswith("ZeroDivisionError")
    assert "UsageError" in text_after("%timeit -Q")  # another magic's refusal is the user's


def test_an_error_in_the_midst_of_being_handled_counts(shell, run, recorder, online):
    """`except …: %claude --error` asks about the one that was caught."""
    run("1/0")
    run('try:\n    {}["caught"]\nexcept KeyError:\n    %claude -q --error')
    assert "KeyError: 'caught'" in recorder.posts[-1].blocks[0]["text"]


def test_a_timed_cell_is_told_like_any_other(shell, text_after):
    """The line that failed by its number in the cell, with its arrow and its values."""
    cell = "%%time\n\ndef price(r, k):\n    return r[k]\nr = {'cost': 3}\nprice(r, 'b')"
    text = text_after(cell)
    number = shell.execution_count - 1
    where = f"cell [{number}]"
    assert f"{where}, line 6, in <module>\n       5 r = {{'cost': 3}}\n-->    6 price" in text
    assert f"{where}, line 4, in price\n" in text
    assert "-->    4     return r[k]" in text
    assert f"line 4 of {where}, as they are now:\nr = {{'cost': 3}}\nk = 'b'\n" in text
    assert f"```python\n{cell}\n```" in text
    assert [w for w in ("get_ipython", "<timed", "<magic", "IPython") if w in text] == []
    assert last_error(shell).label == f"last error · KeyError in cell [{number}]"


def test_errors_that_were_never_raised_are_told(text_after):
    """Members of a group and causes have their messages and notes all the same."""
    text = text_after(
        "errors = [ValueError(f'field {name} is bad') for name in 'uvwxyz']\n"
        "errors[0].add_note('see there')\n"
        "cause = KeyError('the real reason')\n"
        "raise ExceptionGroup('several', errors) from cause"
    )
    for name in "uvwx":
        assert f"Without a traceback of its own:\nValueError: field {name} is bad" in text
    assert "ValueError: field u is bad\nsee there\n" in text
    assert "KeyError: 'the real reason'" in text
    assert text.count("ExceptionGroup: several") == 2


def test_code_of_the_users_own_files_shows_its_lines(text_after, tmp_path, monkeypatch):
    """A module beside the notebook, by its short name."""
    (tmp_path / "shop.py").write_text(
        "def price(item):\n    cost = 3\n    return item['price'] + cost\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = text_after("import shop\nshop.price({'cost': 1})")
    assert "shop.py, line 3, in price" in text
    assert "-->    3     return item['price'] + cost" in text
    assert "item = {'cost': 1}\ncost = 3" in text
    assert str(Path(tmp_path)) not in text


def test_no_code_of_the_users_objects_is_run(run, text_after):
    """Neither their reprs nor their properties: they could fail, or take an hour."""
    text = text_after(
        "class Odd:\n"
        "    def __init__(self):\n"
        "        self.parts = {'a': 1}\n"
        "    def __repr__(self):\n"
        "        ran.append('repr')\n"
        "        return 'odd'\n"
        "    __str__ = __repr__\n"
        "    @property\n"
        "    def size(self):\n"
        "        ran.append('size')\n"
        "        return 1\n"
        "    def part(self, name):\n"
        "        return self.parts[name] + self.size\n"
        "ran = []\n"
        "Odd().part('b')"
    )  # fmt: skip
    assert "self = <Odd with parts>" in text
    assert "self.parts = {'a': 1}" in text
    assert "name = 'b'" in text
    assert run("ran").result == []


def test_it_keeps_within_its_room_and_keeps_what_matters(text_after):
    """The beginning of the message at least; with some room, the failing line."""
    cell = "x = 1\n" * 300 + "def f(n):\n    return {}['k' + 'y' * n]\nf(4000)\n" + "y = 1\n" * 300
    for text_chars in (100, 300, 1000, 5000):
        text = text_after(cell, text_chars=text_chars)
        assert len(text) <= text_chars
        assert text.startswith("KeyError: 'ky")
    assert "-->  302     return {}['k' + 'y' * n]" in text
    assert "n = 4000" in text


WAYS = (
    ("def (", ["SyntaxError", ", line 1)", "def (", "^"]),
    ("if 1:\npass", ["IndentationError", "line 2"]),
    (
        "import asyncio\nasync def wait(n):\n    await asyncio.sleep(0)\n"
        "    raise ValueError(n)\nawait wait(7)",
        ["ValueError: 7", "in wait", "n = 7"],
    ),
    (
        "try:\n    1/0\nexcept ZeroDivisionError as error:\n"
        "    raise RuntimeError('late') from error",
        ["RuntimeError: late", "ZeroDivisionError: division by zero", "1/0"],
    ),
    (
        "def worker(n):\n    raise ValueError(n)\ndef errors():\n    for n in (1, 2):\n"
        "        try:\n            worker(n)\n        except ValueError as error:\n"
        "            yield error\nraise ExceptionGroup('all of them', list(errors()))",
        ["ExceptionGroup: all of them", "ValueError: 1", "ValueError: 2", "n = 1"],
    ),
    ("import json\njson.loads('{')", ["json.decoder.JSONDecodeError", "json/decoder.py, line"]),
    (
        "class Odd:\n    def __repr__(self):\n        raise ValueError('odd')\nOdd()",
        ["ValueError: odd"],
    ),
    ("def f(n): return f(n + 1)\nf(0)", ["RecursionError", " frames are left out here"]),
    ("%%time\n{}['k']", ["KeyError: 'k'", "], line 2, in <module>", "-->    2 {}['k']"]),
    ("def f(\u00b5):\n    \u00b5 / 0\nf(3)", ["Values on line 2 of cell [", "\n\u03bc = 3"]),
    ("raise KeyboardInterrupt", ["KeyboardInterrupt"]),
    (
        "import pandas as pd\npd.DataFrame({'a': [1]})['b']",
        ["KeyError: 'b'", "pandas/core/", "get_loc"],
    ),
)  # fmt: skip


def test_every_way_to_fail_is_told(text_after):
    """Errors of syntax, asyncio, chains, groups, endless recursion, libraries, displays."""
    for cell, pieces in WAYS:
        text = text_after(cell)
        assert [piece for piece in pieces if piece not in text] == [], cell
