"""`postroom message`: messages that users have deleted for good, and want back."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from postroom_cli.api import Api, Document, segment
from postroom_cli.errors import CommandError
from postroom_cli.options import AsJson, Data
from postroom_cli.output import show, tell

_AT_ONCE: Final = 500

message = typer.Typer(help="Messages that were expunged.", no_args_is_help=True)

Address = Annotated[str, typer.Argument(help="Such as alice@example.org.")]
Mailbox = Annotated[str, typer.Option("--mailbox", help="Only those of this mailbox.")]


@message.command("expunged")
def list_expunged(address: Address, data: Data, mailbox: Mailbox = "", as_json: AsJson = False) -> None:
    """What can be restored of an account, of each mailbox the newest first."""
    with Api.find(data) as api:
        items = _expunged(api, address, mailbox)
    if as_json:
        show(items, (), as_json=True)
        return
    rows = [item | {"from": ", ".join(each["address"] for each in item["from"])} for item in items]
    show(rows, ("id", "mailbox", "from", "subject", "expunged_at", "kept_until"), as_json=False)


@message.command("restore")
def restore(
    address: Address,
    data: Data,
    ids: Annotated[
        list[str] | None, typer.Argument(help="As `postroom message expunged` shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that can be restored.")] = False,
    mailbox: Mailbox = "",
    as_json: AsJson = False,
) -> None:
    """Put messages back into their mailboxes, or into INBOX when a mailbox is gone."""
    if bool(ids) == everything or (ids and mailbox):
        raise CommandError("name messages, or --all, with or without --mailbox", 2)
    with Api.find(data) as api:
        wanted = ids or [item["id"] for item in _expunged(api, address, mailbox)]
        items = _restore(api, address, wanted)
    left = len(wanted) - len(items)
    text = f"restored {len(items)} messages" + (f"; {left} are not there any more" if left else "")
    tell({"items": items}, text, as_json=as_json)


def _expunged(api: Api, address: str, mailbox: str) -> list[Document]:
    found = api.items(f"admin/accounts/{segment(address)}/expunged")
    return [item for item in found if not mailbox or item["mailbox"] == mailbox]


def _restore(api: Api, address: str, ids: Sequence[str]) -> list[Document]:
    items: list[Document] = []
    for start in range(0, len(ids), _AT_ONCE):
        wanted: Document = {"ids": ids[start : start + _AT_ONCE]}
        items += api.ask("POST", f"admin/accounts/{segment(address)}/restore", wanted)["items"]
    return items
