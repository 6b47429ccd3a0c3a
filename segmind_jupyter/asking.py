"""The functions of the front door that send one prompt: `ask` waits, `submit` does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from segmind_jupyter.comparison import Comparison, compare
from segmind_jupyter.content.prompt import gather
from segmind_jupyter.errors import SegmindError, SettingsError
from segmind_jupyter.options import one_model, smallest
from segmind_jupyter.session import Request, session

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.api.settings import Caching
    from segmind_jupyter.content.json_schema import Expected


@overload
def ask(*contents: Any, model: str | None = None, **how: Any) -> Reply: ...
@overload
def ask(*contents: Any, model: list[str] | tuple[str, ...], **how: Any) -> Comparison: ...
def ask(
    *contents: Any,
    model: str | list[str] | tuple[str, ...] | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout: float | None = None,
    cache: Caching | None = None,
    json: Any = None,
    **params: Any,
) -> Reply | Comparison:
    """Ask a Claude model about anything in your notebook, and wait for its answer.

    Parameters
    ----------
    *contents
        Words and objects, in the order in which the model is to see them: strings, figures,
        images, arrays, data frames, ...
    model
        Slug of the model, such as ``"claude-4-sonnet"``; of several in a list, all are asked at
        once.
    system
        System prompt.
    max_tokens
        Longest answer, in tokens.
    temperature
        From 0 to 1.
    timeout
        Seconds to wait; 300 if left out.
    cache
        ``"on"`` gives the reply that is kept for an equal request, or keeps the one that comes;
        ``"only"`` sends nothing; ``"off"`` does neither. `ClaudeMagics.cache` if left out.
    json
        What the reply must be, which `reply.parsed` then is: a dataclass, a TypedDict, a pydantic
        model, ``list[T]``, a ``Literal``, ``T | None``, ``dict`` for any object, or a JSON schema.
        A reply that does not fit is kept; `reply.parsed` says why it does not.
    **params
        More model parameters, forwarded as they are.

    Returns
    -------
    Reply
        `reply.text`, `reply.usage`, ...; in a notebook it shows as safe HTML. Of several models a
        `Comparison`: a mapping of each slug to its reply, shown side by side.

    Raises
    ------
    SettingsError
        An argument cannot work.
    ContentError
        A value cannot be sent.
    NotCachedError
        Kept replies alone are to be used, and there is none.
    APIError, APIConnectionError, MissingKeyError
        As `SegmindClient.chat` does.

    Examples
    --------
    >>> reply = ask("What is this?", fig)  # doctest: +SKIP
    >>> reply.text  # doctest: +SKIP
    """
    with ShortTracebacks():
        requests = _requests(
            contents, model, json, params, system=system, max_tokens=max_tokens,
            temperature=temperature, timeout_s=timeout, cache=cache,
        )  # fmt: skip
        return compare(requests) if isinstance(model, list | tuple) else session().ask(*requests)


def submit(
    *contents: Any,
    model: str | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout: float | None = None,
    cache: Caching | None = None,
    json: Any = None,
    **params: Any,
) -> Job:
    """Queue a question as a job (v2) and go on; its reply is fetched in the background.

    Segmind works on it for as long as it takes. Its id and its reply are kept in the journal, so
    that both outlive the kernel (`resume`).

    Parameters
    ----------
    *contents, model, system, max_tokens, temperature, **params
        As for `ask`.
    timeout
        Seconds that the submission may take, 300 if left out; the model has all the time it needs.
    cache
        As for `ask`; with a kept reply, the job has ended at once.
    json
        As for `ask`.

    Returns
    -------
    Job
        `job.request_id`, `job.status`, `job.wait(timeout=600)`, ``await job``; shown in a
        notebook, a card that turns into the reply.

    Raises
    ------
    SettingsError
        An argument cannot work.
    ContentError
        A value cannot be sent.
    MaybeBilledError
        The outcome of the submission is unknown; it was not sent again.
    APIError, APIConnectionError, MissingKeyError
        As `SegmindClient.submit_chat` does.

    Examples
    --------
    >>> job = submit("Summarise", df)  # doctest: +SKIP
    >>> job.wait(timeout=600).text  # doctest: +SKIP
    """
    with ShortTracebacks():
        (request,) = _requests(
            contents, one_model(model), json, params, system=system, max_tokens=max_tokens,
            temperature=temperature, timeout_s=timeout, cache=cache,
        )  # fmt: skip
        return session().submit(request)


def resume(request_id: str) -> Job:
    """Take up a job by its id, in any kernel, without sending it again.

    Parameters
    ----------
    request_id
        Its id: from `job.request_id`, `%segmind jobs`, or the vendor's SDK.

    Returns
    -------
    Job
        With its reply at once where the journal has it; otherwise its reply is fetched, which
        Segmind keeps for one hour.

    Raises
    ------
    SettingsError
        It is no id.
    JobError
        It was sent elsewhere than calls go to now.

    Examples
    --------
    >>> resume("2c7f0e5a-0d6b-4a3f-9c55-1f0a7f3f2b11").wait().text  # doctest: +SKIP
    """
    with ShortTracebacks():
        return session().resume(request_id)


def _requests(
    contents: Sequence[Any],
    model: str | Sequence[str] | None,
    kind: Any,
    params: dict[str, Any],
    **chosen: Any,
) -> list[Request]:
    """Put together what goes to each model: the same words and pixels to all of them."""
    each = session().options.replace(**chosen).each(model)
    expected = expected_of(kind, params)
    prompt = gather(contents, limits=smallest(each))
    return [session().request(prompt, options, params, expected=expected) for options in each]


def expected_of(kind: Any, params: dict[str, Any], name: str | None = None) -> Expected | None:
    """Return what `json=` says a reply must be, and let the parameters ask for it."""
    if kind is None:
        return None
    from segmind_jupyter.content.json_schema import expected

    if "response_format" in params:
        raise SettingsError("`json` sets `response_format`. Leave that parameter out.")
    found = expected(None, None) if kind is dict else expected(kind, name)
    params["response_format"] = found.response_format
    return found


class ShortTracebacks:
    """Few frames of ours are enough in a traceback that says what to do.

    A generator would not do: `contextlib` puts the frames back.
    """

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SegmindError):
            raise error.with_traceback(None) from None
