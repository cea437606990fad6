"""The REST admin API as the commands use it: by the data directory, or by URL and token."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from postroom_cli.errors import CommandError
from postroom_cli.places import ADMIN_TOKEN, API_URL

_PAGE: Final = 200
_SECONDS: Final = 15.0

Document = dict[str, Any]
"""A REST document, as it came."""


class Api:
    """A client that speaks as the administrator. Every call raises CommandError with what the server said."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_SECONDS,
            trust_env=False,
        )
        self.url = url

    @classmethod
    def find(cls, data: Path) -> Self:
        """POSTROOM_URL and POSTROOM_TOKEN, else the instance whose data lie here."""
        url, token = os.environ.get("POSTROOM_URL"), os.environ.get("POSTROOM_TOKEN")
        if url and token:
            return cls(url, token)
        if url or token:
            raise CommandError("set both POSTROOM_URL and POSTROOM_TOKEN, or neither", 2)
        try:
            return cls((data / API_URL).read_text().strip(), (data / ADMIN_TOKEN).read_text().strip())
        except OSError as error:
            raise CommandError(
                f"no Postroom runs on {data} ({error.strerror}); name its directory with --data, "
                "or set POSTROOM_URL and POSTROOM_TOKEN",
                2,
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, method: str, path: str, document: Document | None = None) -> Document:
        """One request; the document of the answer, empty when there is none."""
        try:
            response = self._client.request(method, path, json=document)
        except httpx.HTTPError as error:
            raise CommandError(f"{self.url} does not answer: {type(error).__name__}") from None
        if response.is_success:
            return response.json() if response.content else {}
        raise CommandError(_said(response))

    def items(self, path: str) -> Iterator[Document]:
        """All items of a list, page after page."""
        cursor = ""
        while True:
            page = self.ask("GET", f"{path}?limit={_PAGE}{cursor}")
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            cursor = f"&cursor={quote(page['next_cursor'], safe='')}"


def segment(text: str) -> str:
    """Text as one segment of a path."""
    return quote(text, safe="")


def _said(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"the server answered {response.status_code}"
