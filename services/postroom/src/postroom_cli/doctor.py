"""`postroom doctor`: whether rows, counters and buckets agree."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Final
from urllib.parse import quote

import typer

from postroom_cli.api import Api, Document
from postroom_cli.errors import CommandError
from postroom_cli.options import Data

_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 1.0
_KEPT: Final = 10_000
"""Findings in the JSON document; those beyond are counted."""


def doctor(
    data: Data, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
) -> None:
    """Look whether mail and files are whole. Exit status: 0 in order, 1 with findings, 2 cannot ask.

    Nothing is changed, and all goes on meanwhile.
    """
    findings: list[Document] = []
    kinds, examined, garbage = Counter[str](), Counter[str](), Counter[str]()
    try:
        with Api.find(data) as api:
            for part in _parts(api):
                examined.update(part["examined"])
                garbage.update(part["garbage"])
                for finding in part["items"]:
                    kinds[finding["kind"]] += 1
                    findings += [finding] if len(findings) < _KEPT else []
                    if not as_json:
                        print(f"{finding['kind']}: {finding['subject']}: {finding['detail']}", flush=True)
    except CommandError as error:
        raise CommandError(str(error), 2) from None
    if as_json:
        found = {"findings": findings, "kinds": kinds, "examined": examined, "garbage": garbage}
        print(json.dumps(found, indent=2))
    else:
        _sum_up(kinds, examined, garbage)
    if kinds:
        raise typer.Exit(1)


def _sum_up(kinds: Counter[str], examined: Counter[str], garbage: Counter[str]) -> None:
    print("looked at " + ", ".join(f"{count} {what}" for what, count in sorted(examined.items())))
    if garbage["objects"]:
        print(
            f"{garbage['objects']} objects in the buckets ({garbage['octets']} octets) are nobody's; harmless"
        )
    print(", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "all is in order")


def _parts(api: Api) -> Iterator[Document]:
    """All parts; one that a store has no time for just now is asked for again."""
    cursor: str | None = ""
    while cursor is not None:
        path = f"admin/examination?cursor={quote(cursor, safe='')}" if cursor else "admin/examination"
        part = _patiently(api, path) if cursor else api.ask("GET", path)
        yield part
        cursor = part["next_cursor"]


def _patiently(api: Api, path: str) -> Document:
    for _ in range(_ATTEMPTS - 1):
        try:
            return api.ask("GET", path)
        except CommandError:
            time.sleep(_PAUSE_SECONDS)
    return api.ask("GET", path)
