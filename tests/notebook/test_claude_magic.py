"""`%%claude` and `%claude` in a real shell, over real HTTP on loopback."""

from __future__ import annotations

import base64
import io
import re

from segmind_jupyter import Reply
from segmind_jupyter.errors import MissingKeyError, NotFoundError
from segmind_jupyter.notebook.magics import ClaudeMagics

KEY = "sk-live-0123456789abcdef"
FIGURE = """
from matplotlib.figure import Figure
fig = Figure(figsize=(8, 4)); fig.subplots().plot([1, 3, 2])
"""


def texts(request):
    return [block["text"] for block in request.blocks if block["type"] == "text"]


def test_a_figure_goes_where_it_is_named(run, online):
    """Text, image, text, in the order written, and the picture keeps its 2:1."""
    from PIL import Image

    run(FIGURE)
    cell = run("%%claude\nWhat trend does {fig} show?")
    assert cell.error is None
    kinds = [block["type"] for block in online.posts[0].blocks]
    assert kinds == ["text", "image", "text"]
    assert texts(online.posts[0]) == ["What trend does ", " show?"]
    data = base64.b64decode(online.posts[0].blocks[1]["source"]["data"])
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (800, 400)


def test_options_shape_the_request(run, online):
    """Every option that says something about the request is in its body."""
    run(
        '%%claude -m claude-3.5-sonnet -s "Be brief, please." --max-tokens 7 -t 0.25 '
        "--param top_p=0.9 --param stop=END\nHi"
    )
    (request,) = online.posts
    assert request.path == "/v1/claude-3.5-sonnet"
    body = request.json
    body.pop("messages")
    assert body == {
        "instruction": "Be brief, please.",
        "max_tokens": 7,
        "temperature": 0.25,
        "top_p": 0.9,
        "stop": "END",
    }


def test_a_system_prompt_may_be_a_variable(run, online):
    """Its text; what is no text is refused, and what names nothing goes as typed."""
    run("rules, n = 'Be brief. ' * 3000, 3")
    run("from types import SimpleNamespace as S\nµ = {'µ': S(text='Be kind.')}")
    for system, sent in (
        ("{rules}", "Be brief. " * 3000),
        ("{rules} --raw", "{rules}"),
        ("'Be {n} {zz}'", "Be {n} {zz}"),
        ("{nothing_alike}", "{nothing_alike}"),
        ("\"{µ['µ'].text}\"", "Be kind."),
    ):
        run(f"%%claude -s {system}\nHi")
        assert online.posts[-1].json["instruction"] == sent
    assert "`n` (int) is no text" in str(run("%%claude -s {n}\nHi").error)
    assert "Did you mean `rules`" in str(run("%%claude -s {rulez}\nHi").error)
    assert len(online.posts) == 5
    for line in (
        "%%claude -m x  # the cheap one",
        "%%claude -c # go on",
        "%claude --json “dict” x",
    ):
        assert run(line).error is not None
    assert len(online.posts) == 5


def test_a_mistyped_conversation_is_pointed_out_and_what_went_before_is_counted(run, online):
    """A new one begins silently under no name that is near to another."""
    run("%%claude --chat review\nOne")
    run("%%claude --chat review\nTwo")
    notes = run("%%claude --chat review\nThree").result.request.notes
    assert notes == ("2 turns went before this one in `review`.",)
    assert run("%%claude -c --dry-run\nFour").result.notes[0].startswith("3 turns went before")
    (note,) = run("%%claude --chat revew --dry-run\nOne").result.notes
    assert "Did you mean `--chat review`?" in note
    run("%%claude -q --chat entirely_else\nOne")
    assert run("_").result.request.notes == ()


def test_words_on_the_line_go_before_the_cell(run, online):
    """People write the question behind `%%claude` and the material below."""
    run("%%claude Explain this:\nx = 1")
    assert texts(online.posts[0]) == ["Explain this:\nx = 1"]


def test_config_sets_the_defaults_of_cells_and_of_ask(run, online):
    """One place for both doors."""
    run("%config ClaudeMagics.model = 'claude-3-haiku'")
    run("%config ClaudeMagics.system = 'Answer in French.'")
    run("%config ClaudeMagics.max_tokens = 9")
    run("%%claude\nHi")
    run("from segmind_jupyter import ask; ask('Hi');")
    for request in online.posts:
        assert request.path == "/v1/claude-3-haiku"
        assert request.json["instruction"] == "Answer in French."
        assert request.json["max_tokens"] == 9


def test_an_object_alone_is_a_prompt_for_the_line_magic(run, online):
    """`%claude -i fig` and `%%claude -i fig` over an empty cell need no words."""
    run(FIGURE)
    for cell in ("%claude -i fig", "%%claude -i fig", "%%claude -i fig\n", "%%claude -i fig\n\n"):
        assert run(cell).error is None
        assert [block["type"] for block in online.posts[-1].blocks] == ["image", "text"]
        assert texts(online.posts[-1]) == ["Describe this."]


def test_a_model_that_takes_no_temperature_gets_none(run, online):
    """Asked for, it is refused before anything is sent; a setting is left out, and told."""
    for cell in (
        "%claude -m claude-opus-4.7 -t 0.5 Hi",
        "%claude -m claude-opus-4.7 --param top_p=1 x",
    ):
        assert "takes no `t" in str(run(cell).error)
    assert online.requests == []
    run("%config ClaudeMagics.temperature = 0.5")
    notes = run("%%claude -m claude-opus-4.7\nHi").result.request.notes
    assert notes == (
        "`temperature` of `%config ClaudeMagics` was left out: claude-opus-4.7 takes none.",
    )
    assert "temperature" not in online.posts[0].json
    run("%%claude\nHi")
    assert online.posts[1].json["temperature"] == 0.5


def test_a_model_that_sees_more_gets_larger_pictures(run, online):
    """Unless the setting bounds them."""
    from PIL import Image

    def sent():
        data = base64.b64decode(online.posts[-1].blocks[0]["source"]["data"])
        return Image.open(io.BytesIO(data)).size

    run("from PIL import Image; photo = Image.new('RGB', (4000, 1000), 'red')")
    run("%%claude -m claude-opus-4.7\n{photo}")
    assert sent()[0] == 2576
    run("%%claude\n{photo}")
    assert sent()[0] == 1568
    run("%config ClaudeMagics.image_edge = 280")
    run("%%claude -m claude-opus-4.7\n{photo}")
    assert sent() == (280, 70)


def test_unloading_takes_everything_back(run, shell):
    """Magics, configuration, displays and the transformer are gone; loading twice is harmless."""
    from segmind_jupyter.notebook.line import QuestionMarkTransformer

    run("%load_ext segmind_jupyter")
    run("%reload_ext segmind_jupyter")
    transformers = shell.input_transformer_manager.token_transformers
    assert transformers.count(QuestionMarkTransformer) == 1
    run("%unload_ext segmind_jupyter")
    assert QuestionMarkTransformer not in transformers
    for kind in ("line", "cell"):
        assert not {"claude", "segmind"} & set(shell.magics_manager.magics[kind])
    assert Reply not in shell.display_formatter.formatters["text/html"].type_printers
    assert "ClaudeMagics" not in {type(c).__name__ for c in shell.configurables}
    run("%load_ext segmind_jupyter")
    assert "claude" in shell.magics_manager.magics["cell"]


def test_what_is_quiet_shows_nothing_and_loses_nothing(run, online):
    """`-q` hushes a cell, a `;` a line alone: SQL and C end so."""
    for cell in ("%%claude\nSELECT 1;", "%%claude --dry-run\nint i;\n\n"):
        done = run(cell)
        assert done.result is not None
        assert "was sent" in done.shown or "A sunset." in done.shown
    for line in ("%claude Hi;", "%claude -q Hi"):
        # A terminal writes its prompt before it asks what there is to show.
        assert re.fullmatch(r"(Out\[\d+\]: )?", run(line).shown)
        assert run("_.text").result == "A sunset."
        assert run(f"answer = {line}").shown == ""
        assert "A sunset." in run("answer").shown


def test_nothing_in_a_prompt_or_on_the_line_is_evaluated(run, online, tmp_path, monkeypatch):
    """No call, no arithmetic, no name with a leading underscore; IPython would expand a line."""
    monkeypatch.chdir(tmp_path)
    run("n = 3; _private = 4")
    for body in (
        "{n.__class__}", "{n.__class__.__mro__}", "{_private}", "{n + 1}", "{n!r}", "{[1][0]}",
        "{__import__('os').system('touch pwned')}", "{open('pwned', 'w')}", "{n.real()}",
    ):  # fmt: skip
        run(f"%%claude\n{body}")
        assert texts(online.posts[-1]) == [body]
    for line in ("$n", "{n + 1}", "{open('pwned', 'w')}", "`{n}`"):
        run(f'%%claude -s "{line}"\nHi')
        assert online.posts[-1].json["instruction"] == line
    assert list(tmp_path.iterdir()) == []


def test_the_line_magic_asks_in_one_line(run, online):
    """Also where the line ends in a question mark or holds an apostrophe."""
    run("n = 3")
    for line in (
        "%claude What is a violin plot?",
        "%claude What's a violin plot?",
        'answer = %claude Who said "to be"?',
        "%claude no question",
        "%claude -m claude-3.5-sonnet is this?",
        "if True:\n    %claude what is {n}?",
    ):
        assert run(line).error is None
        asked = line.strip().partition("%claude ")[2].replace("-m claude-3.5-sonnet ", "")
        assert texts(online.posts[-1]) == [asked.replace("{n}", "3")]


def test_help_is_the_manual(run, online):
    """With an example for every option, and nothing is sent."""
    for line in ("%claude?", "?%claude", "%%claude?", "%claude", "%%claude", "%claude --help"):
        shown = run(line).shown
        examples = " ".join(re.findall(r"%%claude (-.*?)  ", shown))
        for action in ClaudeMagics.claude.parser._actions:
            assert {*action.option_strings} & {*examples.split()}, action.dest
    assert "%segmind simulator off" in run("%segmind?").shown
    assert online.requests == []


def test_what_cannot_be_read_or_sent_says_why(run, online):
    """One or two lines, no traceback, the cell fails, nothing is sent."""
    for cell, kind, hint in (
        ("%%claude --nonsense\nHi", "UsageError", "%%claude? lists the options"),
        ("%%claude --max-tokens many\nHi", "UsageError", "whole number above 0, not 'many'"),
        ("%%claude -t warm\nHi", "UsageError", "number from 0 to 1"),
        ("%%claude --timeout 5m\nHi", "UsageError", "number of seconds, not '5m'"),
        ("%%claude --param top_p\nHi", "UsageError", "KEY=VALUE"),
        ("%%claude -o for\nHi", "UsageError", "cannot be the name of a variable"),
        ("%claude ?", "UsageError", "Ask something"),
        ("%%claude -m\nHi", "UsageError", "expected one argument"),
        ('%%claude -s "open\nHi', "UsageError", "close the quotation mark"),
        ("%%claude claude-3.5-sonnet\nHi", "UsageError", "-m claude-3.5-sonnet"),
        ("%%claude\n \n", "ContentError", "empty"),
        ("%%claude -i nope\nHi", "ContentError", "`-i nope`"),
        ("%%claude -m Claude!\nHi", "SettingsError", "model"),
        ("%%claude --param messages=1\nHi", "SettingsError", "set by the prompt"),
        ("%%claude --param timeout_s=1\nHi", "SettingsError", "--timeout"),
        ("from segmind_jupyter import ask; ask('Hi', instruction='x')", "SettingsError", "system"),
    ):
        done = run(cell)
        assert type(done.error).__name__ == kind, cell
        assert hint in done.shown
        assert "Traceback" not in done.shown
        assert len(done.shown.strip().splitlines()) <= 2
    assert online.requests == []


def test_a_key_set_in_a_running_notebook_counts(run, recorder, monkeypatch):
    """Without one the cell says how to set it, and nothing is sent; `%env` then is enough."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    done = run("%%claude\nHi")
    assert type(done.error) is MissingKeyError
    assert "%segmind key" in done.shown
    assert recorder.requests == []
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    assert run("%%claude\nHi").error is None
    assert recorder.posts[0].headers["x-api-key"] == KEY


def test_an_error_is_one_message_in_every_xmode_and_never_the_key(run, online, caplog):
    """From a cell and from Python; not even if the server quotes it, with debug logs on."""
    caplog.set_level("DEBUG")
    for mode in ("Plain", "Context", "Verbose", "Minimal"):
        run(f"%xmode {mode}")
        online.will_answer(404, {"error": f"no such model for {KEY}"})
        done = run("%%claude -m claude-4-sonet\nHi")
        assert type(done.error) is NotFoundError
        assert "did you mean `claude-4-sonnet`" in " ".join(done.shown.split())
        assert all(len(line) <= 89 for line in done.shown.splitlines())
        assert len(done.shown.strip().splitlines()) <= 5
        assert KEY not in done.shown + caplog.text
        online.will_answer(500, b"<html>oops</html>")
        done = run("from segmind_jupyter import ask\nask('Hi')")
        assert "not sent again" in done.shown
        assert len(done.shown.strip().splitlines()) <= 12
        assert KEY not in done.shown + caplog.text
    assert len(online.posts) == 8


def test_a_default_that_cannot_work_is_refused(run, online, caplog):
    """When it is set: `%config` shows why, the one before it stays, and cells go on."""
    for setting in ("temperature = float('nan')", "timeout = float('inf')", "max_tokens = True"):
        caplog.clear()
        run(f"%config ClaudeMagics.{setting}")
        assert re.search(r"give a|positive number", caplog.text)
    assert run("%%claude\nHi").error is None
    assert not {"temperature", "max_tokens"} & set(online.posts[0].json)
