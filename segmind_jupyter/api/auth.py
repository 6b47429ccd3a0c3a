"""How the key travels: the one place where it is unwrapped."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from segmind_jupyter.api.secret import Secret
from segmind_jupyter.api.settings import AuthForm

_BOTH = ("x-api-key", "bearer")


class KeyAuth(httpx.Auth):
    """Send the key as `x-api-key`, or as a bearer token where the service refuses that.

    The vendor's SDK sends `x-api-key`, its model pages show the bearer form. In `auto` a 401,
    which is not billed, is answered once with the other form, and the form that worked goes
    first from then on.

    Parameters
    ----------
    key
        The key.
    form
        ``"auto"``, ``"x-api-key"`` or ``"bearer"``.
    """

    def __init__(self, key: Secret, *, form: AuthForm = "auto") -> None:
        self._key = key
        self._forms: tuple[str, ...] = _BOTH if form == "auto" else (form,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request, and sign it again the other way if the first is refused."""
        for form in self._forms:
            self._sign(request, form)
            response = yield request
            if response.status_code != 401:
                self._forms = tuple(sorted(self._forms, key=lambda other: other != form))
                return

    def _sign(self, request: httpx.Request, form: str) -> None:
        request.headers.pop("x-api-key", None)
        request.headers.pop("authorization", None)
        if form == "bearer":
            request.headers["authorization"] = f"Bearer {self._key.reveal()}"
        else:
            request.headers["x-api-key"] = self._key.reveal()
