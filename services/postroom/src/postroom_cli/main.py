"""The command `postroom`. Exit status: 0 done, 1 refused or failed, 2 usage or configuration."""

import sys

import typer

from postroom_cli.administration import account, alias, domain
from postroom_cli.doctor import doctor
from postroom_cli.errors import CommandError
from postroom_cli.mailbox import mailbox
from postroom_cli.message import message
from postroom_cli.queue import queue
from postroom_cli.status import status
from postroom_cli.up import up

app = typer.Typer(
    help="Postroom: an organisation's post room.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(up)
app.command()(status)
app.command()(doctor)
app.add_typer(domain, name="domain")
app.add_typer(account, name="account")
app.add_typer(alias, name="alias")
app.add_typer(mailbox, name="mailbox")
app.add_typer(message, name="message")
app.add_typer(queue, name="queue")


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="postroom")
    except CommandError as error:
        print(f"postroom: {error}", file=sys.stderr)
        sys.exit(error.status)
