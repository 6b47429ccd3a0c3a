"""Several models' answers to one prompt, side by side; which was the best is the user's verdict."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.errors import SegmindError, SettingsError
from segmind_jupyter.session import Request, session
from segmind_jupyter.words import did_you_mean


@dataclass(frozen=True, slots=True)
class Column:
    """What one model made of the prompt, under its name or, as long as that is hidden, a letter."""

    label: str
    model: str
    answer: Reply | SegmindError
    is_blind: bool

    def __str__(self) -> str:
        """Return the reply as text; an error by its kind alone where its words name the model."""
        if self.is_blind and isinstance(self.answer, SegmindError):
            return f"{type(self.answer).__name__}: `%claude --reveal` tells more."
        return str(self.answer)


class Comparison(Mapping[str, Reply]):
    """The replies of several models by their slugs; `errors` are of those that gave none.

    In a notebook it shows them side by side.

    Examples
    --------
    >>> both = ask("Why?", model=["claude-4-sonnet", "claude-3.5-sonnet"])  # doctest: +SKIP
    >>> both["claude-4-sonnet"].text  # doctest: +SKIP
    >>> both.reveal(best="claude-3.5-sonnet")  # doctest: +SKIP
    """

    def __init__(self, answers: Mapping[str, Reply | SegmindError], *, blind: bool = False) -> None:
        self._answers = dict(answers)
        #: Whether it is hidden which model said what.
        self.blind = blind
        #: The model that the user found best.
        self.best: str | None = None
        models = list(answers)
        if blind:
            random.shuffle(models)
        self._letters = dict(zip(ascii_uppercase, models, strict=False)) if blind else {}
        self._key = secrets.token_hex(8)

    @property
    def errors(self) -> dict[str, SegmindError]:
        """Why models gave no reply, by their slugs."""
        return {m: a for m, a in self._answers.items() if isinstance(a, SegmindError)}

    @property
    def columns(self) -> list[Column]:
        """All answers in the order in which they show."""
        named = self._letters or {model: model for model in self._answers}
        columns = []
        for letter, model in named.items():
            label = letter if self.blind or letter == model else f"{letter}: {model}"
            columns.append(Column(label, model, self._answers[model], self.blind))
        return columns

    def __getitem__(self, model: str) -> Reply:
        """Return the reply of a model; why there is none is raised."""
        answer = self._answers[model]
        if isinstance(answer, SegmindError):
            raise answer.with_traceback(None) from None
        return answer

    def __contains__(self, model: object) -> bool:
        return model in self._answers and model not in self.errors

    def __iter__(self) -> Iterator[str]:
        return (model for model in self._answers if model not in self.errors)

    def __len__(self) -> int:
        return len(self._answers) - len(self.errors)

    def __str__(self) -> str:
        return "\n\n".join(f"{column.label}\n\n{column}" for column in self.columns)

    def __repr__(self) -> str:
        labels = ", ".join(column.label for column in self.columns)
        return f"<Comparison of {labels}: {len(self)} replies>"

    _repr_claude_ = __str__

    def reveal(self, best: str | None = None) -> Comparison:
        """Show which model said what from now on, and return itself.

        Parameters
        ----------
        best
            The letter or the model of the best reply; kept for `%segmind usage --by model`.

        Raises
        ------
        SettingsError
            No reply of it has that name.
        """
        if best is not None:
            model = self._letters.get(best.upper(), best)
            if model not in self:
                known = [*self._letters, *self]
                raise SettingsError(
                    f"best={best!r}: no reply here is of that name{did_you_mean(best, known)}; "
                    f"there are {', '.join(known)}."
                )
            self.best = model
            session().journal.keep_verdict(self._key, best=model, models=list(self._answers))
        self.blind = False
        return self


def compare(requests: Sequence[Request], *, blind: bool = False) -> Comparison:
    """Send a request to each model at once; an error is its model's alone, unless all have one."""
    answers = session().answers(requests)
    found = Comparison({r.model: a for r, a in zip(requests, answers, strict=True)}, blind=blind)
    session().compared = found
    return found
