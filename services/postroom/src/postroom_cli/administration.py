"""`postroom domain`, `account` and `alias`: who gets mail here."""

import sys
from typing import Annotated

import typer

from postroom_cli.api import Api, segment
from postroom_cli.app_passwords import app_password
from postroom_cli.errors import CommandError
from postroom_cli.options import AsJson, Data
from postroom_cli.output import show, tell

domain = typer.Typer(help="Domains that get mail here.", no_args_is_help=True)
account = typer.Typer(help="People with a mailbox.", no_args_is_help=True)
account.add_typer(app_password, name="app-password")
alias = typer.Typer(help="Addresses that lead to others.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Such as example.org.")]
Address = Annotated[str, typer.Argument(help="Such as alice@example.org.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@domain.command("add")
def add_domain(name: Name, data: Data, as_json: AsJson = False) -> None:
    """Take mail for a domain."""
    with Api.find(data) as api:
        tell(api.ask("POST", "admin/domains", {"name": name}), f"added {name}", as_json=as_json)


@domain.command("list")
def list_domains(data: Data, as_json: AsJson = False) -> None:
    """All domains."""
    with Api.find(data) as api:
        show(list(api.items("admin/domains")), ("name", "created_at"), as_json=as_json)


@domain.command("remove")
def remove_domain(name: Name, data: Data, as_json: AsJson = False) -> None:
    """Take no more mail for a domain; nobody may live in it."""
    with Api.find(data) as api:
        tell(api.ask("DELETE", f"admin/domains/{segment(name)}"), f"removed {name}", as_json=as_json)


@account.command("add")
def add_account(
    address: Address,
    data: Data,
    name: Annotated[str, typer.Option("--name", help="The name to show.")] = "",
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
) -> None:
    """Give somebody a mailbox."""
    password = _password(password_stdin)
    with Api.find(data) as api:
        document = {"address": address, "password": password, "display_name": name}
        tell(api.ask("POST", "admin/accounts", document), f"added {address}", as_json=as_json)


@account.command("list")
def list_accounts(data: Data, as_json: AsJson = False) -> None:
    """All accounts."""
    with Api.find(data) as api:
        show(list(api.items("admin/accounts")), ("address", "display_name", "created_at"), as_json=as_json)


@account.command("password")
def set_password(
    address: Address, data: Data, password_stdin: PasswordStdin = False, as_json: AsJson = False
) -> None:
    """Give an account another password; sessions with the old one end."""
    password = _password(password_stdin)
    with Api.find(data) as api:
        answer = api.ask("PUT", f"admin/accounts/{segment(address)}/password", {"password": password})
        tell(answer, f"changed the password of {address}", as_json=as_json)


@account.command("quota")
def set_quota(
    address: Address,
    data: Data,
    octets: Annotated[int | None, typer.Option(min=0, help="Of all mail together.")] = None,
    messages: Annotated[int | None, typer.Option(min=0, help="How many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how much mail an account may keep; without a limit, what the house allows everybody."""
    with Api.find(data) as api:
        document = {"octets": octets, "messages": messages}
        answer = api.ask("PUT", f"admin/accounts/{segment(address)}/quota", document)
        tell(answer, f"changed the quota of {address}", as_json=as_json)


@account.command("scram")
def set_scram(
    address: Address,
    data: Data,
    off: Annotated[bool, typer.Option("--off", help="Forget the keys instead.")] = False,
    password_stdin: PasswordStdin = False,
    as_json: AsJson = False,
) -> None:
    """Keep SCRAM keys of an account's password as it is, and of those that follow it."""
    path = f"admin/accounts/{segment(address)}/scram"
    password = "" if off else _password(password_stdin)
    with Api.find(data) as api:
        if off:
            tell(api.ask("DELETE", path), f"forgot the SCRAM keys of {address}", as_json=as_json)
        else:
            answer = api.ask("PUT", path, {"password": password})
            tell(answer, f"keep SCRAM keys of {address}", as_json=as_json)


@account.command("remove")
def remove_account(address: Address, data: Data, as_json: AsJson = False) -> None:
    """Take an account away."""
    with Api.find(data) as api:
        tell(api.ask("DELETE", f"admin/accounts/{segment(address)}"), f"removed {address}", as_json=as_json)


@alias.command("add")
def add_alias(
    address: Address,
    targets: Annotated[list[str], typer.Argument(help="Where its mail goes.")],
    data: Data,
    as_json: AsJson = False,
) -> None:
    """Let an address lead to others."""
    with Api.find(data) as api:
        document = {"address": address, "targets": targets}
        tell(api.ask("POST", "admin/aliases", document), f"added {address}", as_json=as_json)


@alias.command("list")
def list_aliases(data: Data, as_json: AsJson = False) -> None:
    """All aliases."""
    with Api.find(data) as api:
        show(list(api.items("admin/aliases")), ("address", "targets", "created_at"), as_json=as_json)


@alias.command("remove")
def remove_alias(address: Address, data: Data, as_json: AsJson = False) -> None:
    """Take an alias away."""
    with Api.find(data) as api:
        tell(api.ask("DELETE", f"admin/aliases/{segment(address)}"), f"removed {address}", as_json=as_json)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        raise CommandError("give the password with --password-stdin", 2)
    if not password:
        raise CommandError("the password is empty", 2)
    return password
