"""What commands print: tables for people, REST documents for programs."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from postroom_cli.api import Document


def show(items: Sequence[Document], columns: Sequence[str], *, as_json: bool) -> None:
    """A list of documents."""
    if as_json:
        print(json.dumps({"items": items, "next_cursor": None}, indent=2))
        return
    table = Table(*(column.replace("_", " ") for column in columns), box=None, header_style="bold")
    for item in items:
        table.add_row(*(_text(item.get(column)) for column in columns))
    Console(soft_wrap=True).print(table)


def tell(document: Document, text: str, *, as_json: bool) -> None:
    """One document, or for people one line about it."""
    print(json.dumps(document, indent=2) if as_json else text)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case list():
            return ", ".join(_text(each) for each in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
        case _:
            return str(value)
