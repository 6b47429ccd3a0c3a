"""What Tab offers in a shell: in the lines of the magics, in open braces, and nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.completer import provisionalcompleter

from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.chat import Chat
from segmind_jupyter.notebook.completion import offers
from segmind_jupyter.notebook.extension import Tab
from segmind_jupyter.notebook.magics import ClaudeMagics

#: Where the cursor stands in the cells below.
CURSOR = "|"


@pytest.fixture
def tab(shell: Any) -> Callable[[str], list[str]]:
    """Press Tab at the cursor, and give the cells that the offers would make, in their order."""

    def press(cell: str) -> list[str]:
        offset = cell.index(CURSOR)
        text = cell.replace(CURSOR, "", 1)
        with provisionalcompleter(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jedi reads libraries that have some
            found = list(shell.Completer.completions(text, offset))
        return [text[: each.start] + each.text + text[each.end :] for each in found]

    return press


def words(cells: list[str]) -> list[str]:
    """Give the last word of each."""
    return [cell.split()[-1] for cell in cells]


def table() -> list[str]:
    actions = ClaudeMagics.claude.parser._actions
    return [name for action in actions for name in action.option_strings]


def test_every_option_of_the_table_is_offered(tab):
    """Short and long, so that a new one cannot be forgotten here; narrowed by what is typed."""
    for cell in ("%%claude |", "%claude |", "answer = %claude |", "%%claude -c |\nbody"):
        assert [offer.split("\n")[0].split()[-1] for offer in tab(cell)] == table()
    assert words(tab("%%claude -c --m|")) == ["--model", "--max-tokens"]
    assert tab("%%claude --nonsense|") == []


def test_values_of_options_are_offered(tab, run):
    """Models, with the user's own first; variables; nothing in the midst of a free value."""
    for cell in ("%%claude -m |", "%%claude --model |", "%%claude -q --model=|\nbody"):
        offered = [cell.split("\n")[0].split("model=")[-1].split()[-1] for cell in tab(cell)]
        assert set(offered) == set(KNOWN_MODELS)
    assert words(tab("%%claude -m claude-3-o|")) == ["claude-3-opus"]
    run("%config ClaudeMagics.model = 'claude-9-sonnet'\nfig = [1]; df = {'a': 1}")
    assert words(tab("%%claude -m |"))[0] == "claude-9-sonnet"
    assert words(tab("%%claude -m claude-4-sonnet -i |")) == ["df", "fig"]
    assert tab("%%claude --include f|\nbody") == ["%%claude --include fig\nbody"]
    for typed in ("-s |", "-t 0|", "-o d|", "-s 'im|", "--plot 2|"):
        assert tab(f"%%claude {typed}") == []


def test_conversations_are_offered_by_name(tab):
    """Quoted where the line needs it."""
    for name in ("review", "my talk"):
        Chat(name=name)
    assert tab("%%claude --chat |") == ["%%claude --chat review", "%%claude --chat 'my talk'"]
    assert tab("%%claude --chat 'my t|") == ["%%claude --chat 'my talk'"]


def test_shapes_are_offered_for_json(tab, run):
    """Schemas and data classes, before the options that may follow instead of a name."""
    run(
        "from dataclasses import dataclass\nfrom typing import NamedTuple, TypedDict\n"
        "@dataclass\nclass Planet:\n    moons: int\n"
        "class Row(TypedDict):\n    year: int\n"
        "class Pair(NamedTuple):\n    left: int\n"
        "class Plain: pass\n"
        "schema = {'type': 'object'}\nprices = {'tea': 3}\nnumber = 1"
    )
    assert words(tab("%%claude --json |")) == ["schema", "Pair", "Row", "Planet", *table()]
    assert words(tab("%%claude --json P|")) == ["Pair", "Planet"]
    assert words(tab("%%claude --json Planet -m claude-3-h|")) == ["claude-3-haiku"]


def test_an_open_brace_offers_variables(tab, run):
    """In the body, on any of its lines, behind any letters, and in the words of a line."""
    run("df = 1; fig = 2; other = 3")
    for cell in (
        "%%claude\nWhat does {|",
        "%%claude -m claude-4-sonnet\n\none\ntwo\nWhät ünïcode 🎉 does {|} show?\nthree",
        "%claude What does {|",
        "reply = %claude -q What's in {|",
        "\n  %%claude What does {|",
        "# a comment\n\n%%claude\nWhat does {|",
        '%%claude -s "Two words" --param top_p=0.9 -- -5 and {|',
    ):
        before, after = cell.split(CURSOR)
        assert tab(cell) == [before + name + after for name in ("other", "fig", "df")]


def test_columns_keys_and_what_an_object_holds_are_offered(tab, run):
    """Columns first; keys with what closes them, unless the editor has put that there."""
    run(
        "import pandas as pd\n"
        "df = pd.DataFrame({'year': [1], 'co2': [2], 'a b': [3], 7: [4]})\n"
        "d = {'key': {'inner': 1}, \"it's\": 2, 3: 4, 'two\\nlines': 5}\n"
        "class Shop: pass\nshop = Shop(); shop.items = [{'tea': shop}, 2]\n"
        "shop.name = 'x'; shop._till = 1"
    )
    assert words(tab("%%claude\n{df.|"))[:2] == ["{df.year", "{df.co2"]
    assert not {"{df.head", "{df.to_csv"} & set(words(tab("%%claude\n{df.|")))
    for cell, ends in (
        ("df.co|", ["df.co2", "df.columns"]),
        ("df['|']}", ["df['year']}", "df['co2']}", "df['a b']}"]),
        ("d[|", ["d['key']"]),
        ("d['k|", ["d['key']"]),
        ("d['k|']}", ["d['key']}"]),
        ("d['k|]}", ["d['key']}"]),
        ('d["|', ['d["key"]', 'd["it\'s"]']),
        ("shop.|", ["shop.items", "shop.name"]),
        ("nobody.|", []),
    ):
        assert tab(f"%%claude\n{{{cell}") == [f"%%claude\n{{{end}" for end in ends]


MEDDLER = """
class Meddler:
    asked = []
    def note(self, what): Meddler.asked.append(what)
    def __getattr__(self, name): self.note(name); raise AttributeError(name)
    def __getitem__(self, key): self.note(key); return 1
    def __dir__(self): self.note('dir'); return ['x']
    def _ipython_key_completions_(self): self.note('keys'); return ['k']
    @property
    def lazy(self): self.note('lazy'); return self
    @property
    def __class__(self): self.note('class'); return int
    @property
    def __dict__(self): self.note('dict'); return {}
class Meta(type):
    def __getattribute__(self, name):
        Meddler.asked.append(name)
        return type.__getattribute__(self, name)
class Told(metaclass=Meta):
    known = 1
class Held(dict):
    def __iter__(self): Meddler.asked.append('iter'); return dict.__iter__(self)
    keys = items = __getitem__ = __contains__ = __iter__
m, t, h = Meddler(), Told(), Held(inside=1)
"""


def test_nothing_of_the_users_is_run(tab, run):
    """Properties are offered by name, and never read."""
    run(MEDDLER)
    run("Meddler.asked.clear()")
    for cell in ["{|", "{m|", "{m.|", "{m['|", "{m[|", "{t.|", "{h.|", "{h['|", "{T|"]:
        tab(f"%%claude\n{cell}")
    tab("%%claude --json |")
    assert words(tab("%%claude\n{m.|")) == ["{m.asked", "{m.lazy"]
    assert words(tab("%%claude\n{t.|")) == ["{t.known"]
    assert run("Meddler.asked").result == []


def test_prose_completes_to_nothing(tab, run):
    """No Python in what is no Python, nor in braces that name nothing."""
    run("import json\ndf = 1; d = {'k': 1}")
    for words in ("imp|", "import js|", "What is df.|", "{{d|", "{df} and d|", "{d |", "x[d['|"):
        assert tab(f"%%claude\n{words}") == []
        assert tab(f"%claude What {words}") == []
    assert tab("%%claude\n{df\nd|") == []
    assert tab("%%claude --raw\n{d|") == []
    assert tab("%%claude --alt\npri|")[0] == "%%claude --alt\nprint"  # below it stands code


# `%segmind`


def test_subcommands_are_offered(tab):
    """From the table of the command itself."""
    assert {"status", "key", "usage", "jobs", "chat"} <= set(words(tab("%segmind |")))
    assert words(tab("%segmind si|")) == ["simulator"]
    assert tab("%segmind usage |") == []
    assert tab("%segmind nonsense |") == []


# Elsewhere


#: Python, other magics, and what only looks like one of ours.
ELSEWHERE = (
    "d.|", "d['|", "%cl|", "%%cl|", "import js|", "pri|", "x = {d|", "f'{d|", "%time d|",
    "'%claude -|'", "# %claude -|", "%%time\nd|", "x = 5 %claude|", "d == %claude -|",
    "%claudette |", "%%claude2 |", "\\alph|",
)  # fmt: skip


def test_elsewhere_the_shell_answers_as_it_did_before(tab, shell, run):
    """Neither more nor less, in the same order; with jedi and without."""
    run("d = {'key': 1}")
    (hook,) = (h for h in shell.magics_manager.registry["ClaudeMagics"].hooks if type(h) is Tab)
    for use_jedi in (True, False):
        run(f"%config IPCompleter.use_jedi = {use_jedi}")
        ours = [tab(cell) for cell in ELSEWHERE]
        hook.remove()
        assert ours == [tab(cell) for cell in ELSEWHERE]
        hook.install()
        assert "print" in ours[ELSEWHERE.index("pri|")]


def test_an_error_of_ours_offers_nothing_and_shows_nothing(tab, shell, capsys):
    """A key that completes nothing is better than a traceback over the cell."""
    shell.user_ns_hidden, hidden = None, shell.user_ns_hidden
    try:
        assert tab("%%claude\n{|") == []
    finally:
        shell.user_ns_hidden = hidden
    assert capsys.readouterr() == ("", "")


# Reading what was typed


@given(before=st.text(max_size=60), magic=st.sampled_from(["%%claude", "%claude", "%segmind"]))
def test_any_text_can_be_completed_in(before, magic):
    """Whatever was typed, there are offers for it, or it is no place of ours."""
    names = {"df": 1, "d": {"k": 1}, "t": [1, 2]}
    for text in (f"{magic} {before}", f"{magic}\n{before}", before, f"{magic} {{{before}"):
        found = offers(text, len(text), lambda: names)
        if found is not None:
            assert text.endswith(found[0])
