"""`postroom mailbox`: what an administrator does to everybody's mailboxes."""

from typing import Annotated

import typer

from postroom_cli.api import Api, Document
from postroom_cli.errors import CommandError
from postroom_cli.options import AsJson, Data
from postroom_cli.output import tell

mailbox = typer.Typer(help="Mailboxes of accounts.", no_args_is_help=True)


@mailbox.callback()
def mailboxes() -> None:
    """Make it a group though it has one command."""


@mailbox.command("renew-uidvalidity")
def renew_uid_validity(
    data: Data,
    address: Annotated[str, typer.Argument(help="Such as alice@example.org.")] = "",
    everybody: Annotated[bool, typer.Option("--all", help="The mailboxes of all accounts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let clients load mailboxes anew, after a restore: UIDs would be given out a second time."""
    if bool(address) == everybody:
        raise CommandError("name an address, or --all", 2)
    total: Document = {"accounts": 0, "mailboxes": 0}
    cursor: str | None = ""
    with Api.find(data) as api:
        while cursor is not None:
            wanted = {"address": address or None, "cursor": cursor or None}
            slice_ = api.ask("POST", "admin/uid-validity", wanted)
            total = {name: total[name] + slice_[name] for name in total}
            cursor = slice_["next_cursor"]
    text = f"renewed {total['mailboxes']} mailboxes of {total['accounts']} accounts"
    tell(total, text, as_json=as_json)
