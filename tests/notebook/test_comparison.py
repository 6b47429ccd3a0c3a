"""Several models in a cell: columns, letters, verdicts, and what is refused."""

from __future__ import annotations

import dataclasses

from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.comparison import Comparison
from segmind_jupyter.content.prompt import gather
from segmind_jupyter.notebook.display.reply import ComparisonDisplay
from segmind_jupyter.options import Options
from segmind_jupyter.session import session

ONE, OTHER = BOTH = ["claude-4-sonnet", "claude-3.5-sonnet"]
MODELS = f"-m {ONE} -m {OTHER}"


def test_a_cell_shows_a_column_a_model(gateway, run, shell):
    """With name, words, tokens, seconds and credits, as HTML and as text."""
    both = run(f"%%claude {MODELS} -o both\necho: **hello**").result
    assert list(both) == BOTH
    assert run("both is _").result is True
    data, about = shell.display_formatter.format(both)
    page, text = data["text/html"], data["text/plain"]
    for model in BOTH:
        assert f"<strong>{model}</strong></div>" in page
        assert f"[{model}]\n\n" in text
        assert f"── {model} · " in text
    assert page.count("<strong>hello</strong>") == 2
    assert "grid-template-columns" in page
    assert page.count(" tokens in, ") == text.count(" tokens in, ") == 2
    assert "together 0." in page
    assert [each["model"] for each in about["segmind"]] == BOTH


def test_a_blind_comparison_tells_nothing_until_it_is_revealed(gateway, run, shell, text):
    """Neither names nor figures nor the words of an error; the verdict is counted."""
    gateway.script(f"POST /v1/{OTHER}", status=406)
    both = run(f"%%claude {MODELS} --blind\necho: hello").result
    data, about = shell.display_formatter.format(both)
    for shown in (*data.values(), str(about), repr(both), str(both)):
        assert "sonnet" not in shown
    for shown in data.values():
        assert "InsufficientCreditsError" in shown
        assert " tokens in" not in shown
        assert "%claude --reveal" in shown
    letter = next(column.label for column in both.columns if column.model == ONE)
    told = text(f"%claude --best {letter.lower()}")
    assert f"[{letter}: {ONE}]" in told
    assert f"{ONE} was the best, as you found" in told
    assert run("%claude --reveal").result is None
    assert run("again = %claude --reveal\nagain is session().compared").error is not None
    usage = text("%segmind usage --by model")
    rows = {line.split()[0]: line for line in usage.splitlines() if "sonnet" in line}
    assert rows[ONE].endswith("1 of 1")
    assert rows[OTHER].endswith("0 of 1")
    data, _ = shell.display_formatter.format(both)
    assert f"[{letter}: {ONE}]" in data["text/plain"]


def test_what_makes_no_sense_together_is_refused(gateway, run):
    """Before anything is sent, in words that say why."""
    for line, why in (
        (f"%%claude {MODELS} -c\nHi", "Several models take no --continue"),
        (f"%%claude {MODELS} --chat x\nHi", "Several models take no --chat"),
        (f"%%claude {MODELS} -j\nHi", "Several models take no --job"),
        (f"%%claude {MODELS} --code\nHi", "Several models take no --code"),
        (f"%%claude -m {ONE} --blind\nHi", "give -m twice"),
        (f"%%claude -m {ONE} -m {ONE}\nHi", "each model once"),
        ("%claude --reveal", "No models were compared yet"),
        ("%claude --reveal why?", "they ask nothing"),
        ("%%claude --best A -c\n", "they ask nothing"),
    ):
        assert why in str(run(line).error)
    assert gateway.billed == 0
    run(f"%%claude {MODELS}\nHi")
    assert "did you mean" in str(run("%claude --best claude-4-sonet").error)


def test_the_dry_run_counts_all_of_them(gateway, run):
    """Tokens and credits together, and each request in full."""
    shown = run(f"%%claude {MODELS} --dry-run\nWhat is a violin plot?").shown
    assert "Nothing was sent. 2 requests, ≈" in shown
    for model in BOTH:
        assert f"POST /v1/{model}" in shown
    run(f"%%claude -m {ONE} --cache\nHi")
    assert "1 request, 1 answered before" in run(f"%%claude {MODELS} --cache --dry-run\nHi").shown
    assert gateway.billed == 1


def test_json_and_each_go_to_all_of_them(gateway, run):
    """An object a model; a column level a model."""
    run("import pandas as pd; df = pd.DataFrame({'word': ['one', 'two']})")
    both = run(f"%%claude {MODELS} --json list[int]\nCount").result
    assert all(isinstance(reply.parsed, list) for reply in both.values())
    frame = run(f"%%claude {MODELS} --each df\necho: {{word}}").result
    assert list(frame[OTHER, "reply"]) == list(frame["word"]) == ["one", "two"]
    shown = run(f"%%claude {MODELS} --each df --dry-run\necho: {{word}}").shown
    assert "2 rows, 0 requests, 4 answered before" in shown


def test_nothing_of_a_hostile_reply_is_live(shell):
    """In any column, blind or not: as of a single reply."""
    words = "<img src=x onerror=alert(1)> <script>x</script> ![p](http://e.test/p) </div></div>"
    request = session().request(gather(["Hi"]), Options())
    reply = Reply(text=words, usage=Usage(1, 1), model="<b>m", request=request)
    for blind in (False, True):
        comparison = Comparison({"a": reply, "b": reply}, blind=blind)
        page = ComparisonDisplay(shell).html(comparison)
        assert 'aria-live="polite"' in page
        for live in ("<img", "<script", "<b>"):
            assert live not in page
        assert page.count("<div") == page.count("</div>")
        cut = dataclasses.replace(reply, stop_reason="max_tokens")
        comparison = Comparison({"a": cut, "b": cut}, blind=blind)
        display = ComparisonDisplay(shell)
        for side in (display.html(comparison), display.text(comparison)):
            assert side.count("was reached, and the answer ends there") == 2
