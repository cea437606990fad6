"""`postroom account app-password`: a password for each program."""

from typing import Annotated

import typer

from postroom_cli.api import Api, segment
from postroom_cli.options import AsJson, Data
from postroom_cli.output import show, tell

app_password = typer.Typer(help="Passwords for one program each.", no_args_is_help=True)

Address = Annotated[str, typer.Argument(help="Such as alice@example.org.")]


@app_password.command("add")
def add(
    address: Address,
    name: Annotated[str, typer.Argument(help="What its holder knows it by, such as laptop.")],
    data: Data,
    scopes: Annotated[list[str], typer.Option("--scope", help="imap, pop3, smtp, ftp or api; several.")],
    as_json: AsJson = False,
) -> None:
    """Make one; it is shown this once."""
    with Api.find(data) as api:
        answer = api.ask("POST", _path(address), {"name": name, "scopes": scopes})
        tell(answer, str(answer["password"]), as_json=as_json)


@app_password.command("list")
def list_all(address: Address, data: Data, as_json: AsJson = False) -> None:
    """Those of an account."""
    with Api.find(data) as api:
        items = api.ask("GET", _path(address))["items"]
        show(items, ("id", "name", "scopes", "created_at", "used_at", "expires_at"), as_json=as_json)


@app_password.command("remove")
def remove(
    address: Address,
    app_password_id: Annotated[str, typer.Argument(metavar="ID", help="As listed.")],
    data: Data,
    as_json: AsJson = False,
) -> None:
    """End one, with all that is logged in by it."""
    with Api.find(data) as api:
        answer = api.ask("DELETE", f"{_path(address)}/{segment(app_password_id)}")
        tell(answer, f"removed {app_password_id}", as_json=as_json)


def _path(address: str) -> str:
    return f"admin/accounts/{segment(address)}/app-passwords"
