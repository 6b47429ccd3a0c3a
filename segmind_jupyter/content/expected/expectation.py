"""Asks for JSON of one shape, and reads it out of whatever the model wrote.

Knows nothing of requests and replies: a schema goes out, a text comes in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from segmind_jupyter.content.expected.found import json_values
from segmind_jupyter.content.expected.shape import AnyObject, MisfitError, Shape
from segmind_jupyter.content.expected.shapes import shape_of
from segmind_jupyter.content.expected.strict import is_object, is_strict, sendable, wrapped
from segmind_jupyter.errors import ContentError, ReplyError, shortened

#: What a schema's name may hold, and how long it may be (OpenAI's reference of `json_schema`).
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_CHARS = 64

#: Under which key a value travels that is no object; a schema's root must be one.
_KEY = "value"


@dataclass(frozen=True)
class Expected:
    """The JSON that a reply is to hold; it can be pickled if the user's own type can.

    Parameters
    ----------
    name
        What the model sees as the name of the schema.
    shape
        What reads the JSON.
    """

    name: str
    shape: Shape

    @property
    def response_format(self) -> dict[str, Any]:
        """The request's parameter of that name.

        In the form of the vendor's SDK (its examples, "Structured Output"), which is OpenAI's.
        ``strict`` is said only of schemas that strict servers take; the others would be refused.
        """
        schema = sendable(self._root())
        strict = {"strict": True} if is_strict(schema) else {}
        return {
            "type": "json_schema",
            "json_schema": {"name": self.name, **strict, "schema": schema},
        }

    def read(self, text: str) -> Any:
        """Read the first JSON of `json_values` that fits: of several fenced ones the last.

        Parameters
        ----------
        text
            A reply: JSON alone, in a fence, or with prose around it.

        Returns
        -------
        object
            An instance of the user's type; plain JSON where a schema was given as a dict.

        Raises
        ------
        ReplyError
            There is no JSON, or none that fits. The message says where the longest breaks.
        """
        misfits: list[tuple[int, MisfitError]] = []
        for value in json_values(text):
            for candidate in self._unwrapped(value):
                try:
                    return self.shape.read(candidate)
                except MisfitError as error:
                    misfits.append((len(json.dumps(value)), error))
        raise ReplyError(f"{self._trouble(text, misfits)} The reply itself is in `error.reply`.")

    def _root(self) -> dict[str, Any]:
        schema = self.shape.schema()
        return schema if is_object(schema) else wrapped(schema, key=_KEY)

    def _unwrapped(self, value: Any) -> Iterator[Any]:
        """Give what may be meant: models also leave out a key that only wraps the value."""
        if (
            isinstance(value, dict)
            and value.keys() == {_KEY}
            and not is_object(self.shape.schema())
        ):
            yield value[_KEY]
        yield value

    def _trouble(self, text: str, misfits: Sequence[tuple[int, MisfitError]]) -> str:
        if misfits:
            _, misfit = max(misfits, key=lambda pair: pair[0])
            if isinstance(self.shape, AnyObject):
                return (
                    f"The reply is JSON, and no object: {misfit}. Ask for an object, or name what "
                    "else it may be: `--json list`."
                )
            return (
                f"The reply does not fit `{self.name}`: {shortened(str(misfit))}. Run it again, "
                "or let the schema allow it."
            )
        return (
            f"The reply holds no complete JSON: {shortened(text)!r}. Ask for JSON in the prompt; "
            "where it breaks off, give it more room with --max-tokens."
        )


def expected(shape: object | None, name: str | None) -> Expected:
    """Say what a reply is to be.

    Parameters
    ----------
    shape
        A JSON schema as a dict, a dataclass, a TypedDict, a NamedTuple, an attrs class, a
        pydantic model, or a type made of those such as ``list[Person]``. Any JSON object if
        neither it nor a name is given.
    name
        What the user calls it.

    Raises
    ------
    ContentError
        It is no such thing; the message says what to give instead.
    """
    if shape is None and name is None:
        return Expected("object", AnyObject())
    label = name or getattr(shape, "__name__", None) or "reply"
    found = shape_of(shape, label)
    _check(found, label)
    return Expected(_sent_name(label), found)


def _check(shape: Shape, label: str) -> None:
    """Make the schema once, so that what cannot be asked for fails before anything is sent."""
    try:
        sendable(shape.schema())
    except RecursionError:
        raise ContentError(
            f"`{label}` is nested too deeply to be sent as a schema. Give a flatter type."
        ) from None


def _sent_name(label: str) -> str:
    return _NOT_IN_NAMES.sub("_", label)[:_NAME_CHARS].strip("_") or "reply"
