"""`--error`: what is sent of the last error, and what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segmind_jupyter.content.parts import Limits
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.last_error import DEFAULT_QUESTION, last_error

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
    number = shell.execution_count - 1
    assert text.startswith("KeyError: 'price'\n")
    assert "in cell A.\n" in text
    assert "cell A, line 2, in <module>" in text
    assert "cell B, line 3, in <genexpr>" in text
    assert '-->    3     return sum(row["price"] for row in rows)' in text
    assert "row = {'cost': 3}" in text
    assert "Source of cell A:" in text
    assert 'orders = [{"cost": 3}]\ntotal(orders)\n```' in text
    item = last_error(shell)
    assert item.label == f"last error · KeyError in cell [{number}]"


def test_the_number_of_a_cell_is_the_persons_alone(shell, text_after):
    """It is another one after the next *Run All*: what is sent has to stay the same."""
    cell = "1/0"
    first = text_after(cell)
    assert "the cell, line 1, in <module>" in first
    assert last_error(shell).label.endswith(f"in cell [{shell.execution_count - 1}]")
    assert text_after("pass", cell) == first
    syntax = text_after("x = (\ny = 2")
    assert "(the cell, line 1)" in syntax
    assert text_after("pass", "x = (\ny = 2") == syntax


def test_where_objects_lie_in_memory_is_not_sent(text_after):
    """In the message, the notes, the values and the source: the address differs from run to run."""
    text = text_after(
        "class Odd:\n    pass\n"
        "odd = Odd()\nwords = repr(odd)\n"
        "error = ValueError(f'bad {odd!r}')\nerror.add_note(f'see {odd!r}')\n"
        "def f(words):\n    # was <Odd object at 0x7f0123456789>\n"
        "    raise error from KeyError(words)\n"
        "f(words)"
    )
    assert text.startswith("ValueError: bad <__main__.Odd object>\nsee <__main__.Odd object>")
    assert "# was <Odd object>" in text
    assert " at 0x" not in text


def test_no_trace_of_the_shell_itself_is_sent(text_after):
    """Neither its frames nor its colours."""
    text = text_after("1/0")
    assert "run_code" not in text
    assert "IPython" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("cell", "secret"),
    [
        ('password = "hunter2-abc"\n{}["x"]', "hunter2-abc"),
        ('def connect(url, token):\n    raise OSError(f"no {url} for {token}")\nconnect("h", token="tok-123")', "tok-123"),  # noqa: E501
        ('token = "tok-123"\n{}[token]', "tok-123"),
        ('config = {"db": {"password": "pw-12345"}}\nraise ValueError(str(config["db"]))', "pw-12345"),  # noqa: E501
        ('import os\nos.environ["MY_SECRET"] = "env-12345"\nvalue = "env-12345"\nint(value)', "env-12345"),  # noqa: E501
        ('class Client:\n    pass\nclient = Client()\nclient.api_key = "ak-123"\nraise ValueError(client.api_key)', "ak-123"),  # noqa: E501
        ('raise ValueError("https://bob:pa55word@host refused")', "pa55word"),
        ('x = "ghp_0123456789abcdefghij"\nint(x)', "ghp_0123456789abcdefghij"),
        ('password = "hunter2', "hunter2"),
        ('%%time\npassword = "hunter2-abc"\n1/0', "hunter2-abc"),
        ('try:\n    raise ValueError("tok-123")\nexcept ValueError as error:\n    token = "tok-123"\n    raise KeyError(1) from error', "tok-123"),  # noqa: E501
        ('class C:\n    api_key = "ak-123456"\ndef call(c):\n    raise ValueError(c.api_key)\ncall(C())', "ak-123456"),  # noqa: E501
        ('passwords = ["pw-123456"]\n[int(p) for p in passwords]', "pw-123456"),
        ('match {"password": "pw-123456"}:\n    case {"password": p}:\n        int(p)', "pw-123456"),  # noqa: E501
        ('auth = ("bob", "pw-123456")\nraise ValueError(auth)', "pw-123456"),
        ('headers = [("x-api-key", "ak-123")]\nraise OSError(headers)', "ak-123"),
        ('password = "line 1\\nline-of-2"\nraise ValueError(repr(password))', "line-of-2"),
        ('raise ValueError("run --token=tok-123")', "tok-123"),
        ("password = 12345678\n{}[password]", "12345678"),
        ("def look(x):\n    return {}[x]\npassword = 4711\nlook(password)", "4711"),
        ("token = 99887766554433\nraise ValueError(f'bad {token}')", "99887766554433"),
        ("import uuid\nsecret = uuid.UUID(int=2**127 + 5)\nraise ValueError(secret.hex)", "80000000"),  # noqa: E501
        ("password = b'\\xff\\xfe-binary'\n{}[password]", "-binary"),
        ("from urllib.parse import quote\npassword = 'a b!c d!'\nraise OSError(quote(password))", "%20b"),  # noqa: E501
        ("raise OSError('curl -u bob:pw-123 https://host')", "pw-123"),
    ],
)  # fmt: skip
def test_secrets_are_not_sent(text_after, monkeypatch, cell, secret):
    """In source, values, messages and causes; from names, dicts, objects and the environment."""
    monkeypatch.setenv("MY_SECRET", "")
    text = text_after(cell)
    assert secret not in text
    assert "<hidden>" in text


def test_the_key_in_use_is_not_sent(shell, run, text_after):
    """Wherever it turns up, also one that was typed in."""
    from segmind_jupyter.session import session

    session().use_key("typed-in-0123456789")
    assert "typed-in-0123456789" not in text_after('x = "typed-in-0123456789"\nint(x)')


@pytest.mark.heavy
def test_half_of_a_secret_is_not_sent_where_a_section_is_cut(text_after):
    """Cuts come after the blanking."""
    secret = "abcdefghij" * 40
    cell = f'token = "{secret}"\nx = "{secret}"\nraise ValueError("y" * 70 + x)'
    for text_chars in range(100, 1500, 70):
        assert "abcdefghij" not in text_after(cell, text_chars=text_chars)


def test_half_of_a_secret_is_not_sent_where_an_endless_message_is_cut(text_after):
    """Of such a message the beginning alone is read."""
    secret = "abcdefghij" * 5
    for before in range(19_940, 20_000, 7):
        text = text_after(
            f'x = "https://host/?token={secret}"\nraise ValueError("y" * {before} + x)',
            text_chars=1000,
        )
        assert "abcdef" not in text


@pytest.mark.heavy
def test_a_recursion_over_secrets_is_described_at_once(text_after):
    """Its frames are searched together: each for itself took minutes."""
    text = text_after(
        "config = {i: {'a': i} for i in range(20_000)}\n"
        "def f(n, config):\n"
        "    inner = {'password': f'pw-{n:06}'}\n"
        "    return f(n + 1, config)\n"
        "f(0, config)"
    )
    assert text.startswith("RecursionError")
    assert "pw-0" not in text


@pytest.mark.parametrize(
    "cell",
    [
        "error = ValueError('x')\nerror.__notes__ = 5\nraise error",
        "raise SyntaxError('x', ('f.py', -5, 10**9, 'text', 1, 1))",
        "raise SyntaxError('x', ('f.py', 1, None, 'text'))",
    ],
)
def test_an_error_with_odd_parts_is_described_all_the_same(text_after, cell):
    """Anybody may raise anything, with a column of a thousand million."""
    text = text_after(cell)
    assert ": x" in text
    assert len(text) < 1000


def test_without_an_error_it_says_what_to_do(shell):
    """Before any cell has failed."""
    with pytest.raises(ContentError, match="Run the cell that fails"):
        last_error(shell)


@pytest.mark.parametrize(
    "cell", ["%claude -z", "%%claude -i nothing\nHi", "%claude -c --chat x Hi", "%segmind x"]
)
def test_an_error_of_our_own_hides_none_of_the_users(shell, run, text_after, cell):
    """A question that fails can be asked again."""
    text_after("1/0")
    assert run(cell).error is not None
    assert last_error(shell).parts[0].text.startswith("ZeroDivisionError")


def test_our_own_errors_alone_are_none(shell, run):
    """They say themselves what to do."""
    run("%claude -z")
    with pytest.raises(ContentError, match="no error to ask about"):
        last_error(shell)


def test_another_magics_refusal_is_the_users(shell, run, text_after):
    """`%timeit -Q` is worth a question."""
    assert "UsageError" in text_after("%timeit -Q")


def test_an_error_in_the_midst_of_being_handled_counts(shell, run, recorder, online):
    """`except …: %claude --error` asks about the one that was caught."""
    run("1/0")
    run('try:\n    {}["caught"]\nexcept KeyError:\n    %claude -q --error')
    assert "KeyError: 'caught'" in recorder.posts[-1].blocks[0]["text"]


@pytest.mark.parametrize(
    ("cell", "pieces"),
    [
        ("def (", ["SyntaxError", "def (", "^"]),
        ("if 1:\npass", ["IndentationError", "line 2"]),
        ("x = [1,\n", ["line 1", "x = [1,"]),
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
            "def worker(n):\n    raise ValueError(n)\n"
            "def errors():\n    for n in (1, 2):\n        try:\n            worker(n)\n"
            "        except ValueError as error:\n            yield error\n"
            "raise ExceptionGroup('all of them', list(errors()))",
            ["ExceptionGroup: all of them", "ValueError: 1", "ValueError: 2", "n = 1"],
        ),
        pytest.param(
            "def again(n):\n    return again(n + 1)\nagain(0)",
            ["RecursionError", "times more"],
            marks=pytest.mark.heavy,
        ),
        ("import json\njson.loads('{')", ["json.decoder.JSONDecodeError", "json/decoder.py, line"]),
        (
            "class Odd:\n    def __repr__(self):\n        raise ValueError('odd')\nOdd()",
            ["ValueError: odd"],
        ),
        ("error = ValueError('x')\nerror.add_note('see there')\nraise error", ["see there"]),
        ("%%time\n{}['k']", ["KeyError: 'k'", "the cell, line 2, in <module>", "-->    2 {}['k']"]),
        ("assert 1 == 2, 'one is not two'", ["AssertionError: one is not two"]),
        ("raise KeyboardInterrupt", ["KeyboardInterrupt"]),
        (
            "import pandas as pd\npd.DataFrame({'a': [1]})['b']",
            ["KeyError: 'b'", "pandas/core/", "get_loc"],
        ),
    ],
)  # fmt: skip
def test_every_way_to_fail_is_told(text_after, cell, pieces):
    """Errors of syntax, asyncio, chains, groups, endless recursion, libraries, displays."""
    text = text_after(cell)
    assert [piece for piece in pieces if piece not in text] == []


@pytest.mark.parametrize("magic", ["%%time", "%%timeit -n1 -r1", "%%timeit -n1 -r1 other = 3"])
def test_a_timed_cell_is_told_like_any_other(shell, text_after, magic):
    """The line that failed by its number in the cell, with its arrow and its values."""
    cell = f"{magic}\n\ndef price(row, k):\n    return row[k]\nrow = {{'cost': 3}}\nprice(row, 'b')"
    text = text_after(cell)
    assert (
        "the cell, line 6, in <module>\n       5 row = {'cost': 3}\n-->    6 price(row, 'b')"
        in text
    )
    assert "the cell, line 4, in price\n" in text
    assert "-->    4     return row[k]" in text
    assert "Values on line 4 of the cell:\nrow = {'cost': 3}\nk = 'b'\n" in text
    assert f"```python\n{cell}\n```" in text
    for word in ("get_ipython", "<timed", "<magic", "IPython"):
        assert word not in text
    number = shell.execution_count - 1
    assert last_error(shell).label == f"last error · KeyError in cell [{number}]"


@pytest.mark.parametrize(
    ("cell", "line", "value"),
    [
        ("%%time\nrow = {'a': 1}\nrow['b']", "-->    3 row['b']", "row = {'a': 1}"),
        ("%%time\nrow = {'a': 1}\nrow['b']\nx = 1", "-->    3 row['b']", "row = {'a': 1}"),
        ("%%time\nrow['b']", "-->    2 row['b']", "row = {'c': 2}"),
        ("%%timeit -n1 -r1\nrow['b']", "-->    2 row['b']", "row = {'c': 2}"),
        ("%%timeit -n1 -r1 row['b']\npass", "-->    1 %%timeit -n1 -r1 row['b']", ""),
        ("%%time\npath = !echo x\nrow['b']", "-->    3 row['b']", "row = {'c': 2}"),
    ],
)
def test_the_failing_line_of_a_timed_cell_is_pointed_at(text_after, cell, line, value):
    """A last expression, a statement, a single line, the statement beside the magic."""
    text = text_after("row = {'c': 2}", cell)
    assert line in text
    assert value in text


def test_a_function_of_an_earlier_timed_cell_is_not_taken_for_this_ones(text_after):
    """Both have the same name for their code."""
    text = text_after("%%time\n\n\n\ndef f():\n    return {}['a']", "%%time\nf()")
    assert "-->    2 f()" in text
    assert "<timed exec>, line" in text
    assert text.count("-->") == 1


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
    assert "… 2 more errors of the group …" in text
    assert "KeyError: 'the real reason'" in text
    assert text.count("ExceptionGroup: several") == 2


@pytest.mark.parametrize(
    ("cell", "heading", "value"),
    [
        (
            "errors = []\nfor i in range(6):\n    try:\n        int(f'a{i}')\n"
            "    except ValueError as error:\n        errors.append(error)\n"
            "raise ExceptionGroup('g', errors)",
            "Values on line 4 of the cell, as they are now:",
            "i = 5",
        ),
        (
            "def work():\n    for i in range(6):\n        try:\n            int(f'a{i}')\n"
            "        except ValueError as error:\n            last = error\n    raise last\nwork()",
            "Values on line 4 of the cell, as they are now:",
            "i = 5",
        ),
        (
            "def work():\n    last = []\n    for i in range(3):\n        try:\n"
            "            int(f'a{i}')\n        except ValueError as error:\n"
            "            last.append(error)\n    return last\n"
            "raise ExceptionGroup('g', work())",
            "Values on line 5 of the cell, as they are now:",
            "i = 2",
        ),
        ("i = 3\ni / 0", "Values on line 2 of the cell, as they are now:", "i = 3"),
        ("def f(i):\n    i / 0\nf(3)", "Values on line 2 of the cell:", "i = 3"),
    ],
)
def test_values_that_may_have_changed_since_are_said_to_be_those_of_now(
    text_after, cell, heading, value
):
    """Those of the notebook, and of a frame that caught the error and went on."""
    text = text_after(cell)
    assert f"\n{heading}\n" in text
    assert f"\n{value}" in text


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


@pytest.mark.parametrize("text_chars", [100, 300, 1000, 5000])
def test_it_keeps_within_its_room_and_keeps_what_matters(text_after, text_chars):
    """The beginning of the message at least; with some room, the failing line."""
    cell = "x = 1\n" * 300 + "def f(n):\n    return {}['k' + 'y' * n]\nf(4000)\n" + "y = 1\n" * 300
    text = text_after(cell, text_chars=text_chars)
    assert len(text) <= text_chars
    assert text.startswith("KeyError: 'ky")
    if text_chars >= 1000:
        assert "-->  302     return {}['k' + 'y' * n]" in text
        assert "n = 4000" in text


def test_a_cell_that_was_not_stored_is_told_by_its_lines(shell, text_after):
    """A front end can run code silently."""
    shell.run_cell("1/0", store_history=False)
    assert "-->    1 1/0" in text_after()


def test_the_usual_question_is_asked_where_none_is(run, online):
    """`%claude --error` alone."""
    run("1/0")
    run("%claude -q --error")
    sent = online.posts[-1].blocks[-1]["text"]
    assert DEFAULT_QUESTION in sent
    assert "ZeroDivisionError: division by zero" in sent


def test_unloading_forgets_the_error(shell, run):
    """Nothing of the extension stays behind."""
    before = len(shell.events.callbacks["post_run_cell"])
    run("%reload_ext segmind_jupyter")
    assert len(shell.events.callbacks["post_run_cell"]) == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=24),
    cell=st.sampled_from(
        [
            "password = {0!r}\n{{}}[password]",
            "def f(api_key):\n    raise ValueError(api_key)\nf({0!r})",
            "def f(api_key):\n    raise ValueError('x' + api_key)\nf({0!r})",
            "settings = dict(token={0!r})\nsettings['x']",
            "secret = {0!r}\nassert not secret, 'is ' + secret",
            "secret = {0!r}\nx = secret\nint(x)",
        ]
    ),
)
def test_no_value_of_a_secrets_name_is_ever_sent(shell, run, secret, cell):
    """Whatever text it is, and however it fails."""
    run(cell.format(secret))
    text = last_error(shell).parts[0].text
    assert secret not in text or secret in "<hidden>"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=st.integers(1000, 10**30)
    | st.integers(-(10**30), -1000)
    | st.floats(1000, allow_infinity=False).filter(lambda number: len(repr(number)) > 6)
    | st.decimals(1000, 10**20, places=2)
    | st.uuids()
    | st.binary(min_size=8, max_size=24),
    cell=st.sampled_from(
        [
            "password = {0!r}\n{{}}[password]",
            "def f(api_key):\n    raise ValueError(api_key)\nf({0!r})",
            "def f(api_key):\n    raise ValueError(f'x{{api_key}}')\nf({0!r})",
            "settings = dict(token={0!r})\nraise ValueError(settings)",
            "def f(x):\n    return {{}}[x]\nsecret = {0!r}\nf(secret)",
            "secret = {0!r}\nassert not secret, [secret]",
        ]
    ),
)
def test_no_number_or_bytes_of_a_secrets_name_are_ever_sent(shell, run, secret, cell):
    """What is no text is written into messages too."""
    run(f"from decimal import Decimal\nfrom uuid import UUID\n{cell.format(secret)}")
    text = last_error(shell).parts[0].text
    for form in (repr(secret)[2:-1] if isinstance(secret, bytes) else str(secret),):
        assert form.lstrip("-") not in text or form in "<hidden>"
    assert "<hidden>" in text
