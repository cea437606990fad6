"""`postroom up`: all of Postroom on this machine, in the foreground."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from postroom_cli.errors import CommandError
from postroom_cli.options import Data
from postroom_cli.places import API_URL, write_private

if TYPE_CHECKING:  # the other commands start sooner without it
    from postroom_cli.api import Api
    from postroom_embedded.part import Report
    from postroom_embedded.stack import External
    from postroom_embedded.up import Postroom

_HTTP_OFFSET = 80
_MX_OFFSET = 25
_NOT_LISTED = ("FTP passive", "HTTP")  # the latter has a line with its URL


def up(  # noqa: PLR0913  # each is an option
    data: Data,
    port_base: Annotated[int, typer.Option(min=1, max=37_000, help="Added to the well-known ports.")] = 2000,
    bind: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    demo: Annotated[bool, typer.Option("--demo", help="Make two accounts to try it with.")] = False,
    dns: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The name server for mail out.")
    ] = None,
    smarthost: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Send all mail out there.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(envvar="POSTROOM_DATABASE_URL", help="Instead of the embedded Postgres.")
    ] = None,
    nats_url: Annotated[
        str | None, typer.Option(envvar="POSTROOM_NATS_URL", help="Instead of the embedded NATS.")
    ] = None,
    s3_url: Annotated[
        str | None,
        typer.Option(
            envvar="POSTROOM_S3_ENDPOINT",
            help="Instead of the embedded object store; keys: POSTROOM_S3_{ACCESS,SECRET}_KEY.",
        ),
    ] = None,
) -> None:
    """Run Postroom here until Ctrl-C; mail and files stay in the data directory."""
    from postroom_embedded.errors import EmbeddedError
    from postroom_embedded.services import Options
    from postroom_embedded.up import Plan, drop_privileges, run_until_signalled

    external = _external(database_url, nats_url, s3_url)
    options = Options(
        port_base=port_base, bind=bind, dns=dns, smarthost=smarthost, environment=_settings_of_services()
    )
    try:
        directory = drop_privileges(data)
        plan = Plan(directory, options, external)

        async def announce(postroom: "Postroom") -> None:
            await asyncio.to_thread(_announce, postroom, directory, demo)

        asyncio.run(run_until_signalled(plan, announce, _report))
    except EmbeddedError as error:
        raise CommandError(str(error), 2) from None


def _settings_of_services() -> dict[str, str]:
    """What our environment sets for single services, and where traces go: they get it as it is."""
    from postroom_embedded.services import SERVICES

    prefixes = (*(row.prefix for row in SERVICES.values()), "OTEL_")
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes)}


def _external(database_url: str | None, nats_url: str | None, s3_url: str | None) -> "External":
    from postroom_embedded.seaweedfs import S3Address
    from postroom_embedded.stack import External

    store = None
    if s3_url is not None:
        keys = [os.environ.get(f"POSTROOM_S3_{name}_KEY", "") for name in ("ACCESS", "SECRET")]
        if not all(keys):
            raise CommandError("--s3-url needs POSTROOM_S3_ACCESS_KEY and POSTROOM_S3_SECRET_KEY", 2)
        store = S3Address(s3_url, *keys)
    return External(database_url, nats_url, store)


def _report(report: "Report") -> None:
    from postroom_embedded.part import Happening

    if report.happening is Happening.CRASHED:
        print(f"{report.part} ended: {report.detail}; starting it again", flush=True)
        for line in report.last_lines:
            print(f"  {line}", flush=True)


def _announce(postroom: "Postroom", directory: Path, demo: bool) -> None:
    """Print where everything is; `postroom is ready` is the last line."""
    from postroom_cli.api import Api
    from postroom_cli.places import ADMIN_TOKEN

    options = postroom.plan.options
    url = f"http://{_host(options.bind)}:{options.port_base + _HTTP_OFFSET}"
    write_private(directory / API_URL, url + "\n")
    print(f"data: {directory}")
    for row in postroom.plan.rows:
        for listener in row.listeners:
            if listener.purpose not in _NOT_LISTED:
                print(f"{listener.purpose:<24} {options.bind}:{options.port_base + listener.offset}")
    print(f"{'web and REST':<24} {url}")
    if demo:
        with Api(url, (directory / ADMIN_TOKEN).read_text().strip()) as api:
            _announce_demo(api, directory, f"{_host(options.bind)}:{options.port_base + _MX_OFFSET}")
    print("postroom is ready", flush=True)


def _announce_demo(api: "Api", directory: Path, exchange: str) -> None:
    from postroom_cli.demo import ensure_demo

    passwords = ensure_demo(api, directory)
    for address, password in passwords.items():
        print(f"{address:<24} password {password}")
    first = next(iter(passwords))
    print("a first mail:")
    print(
        f"  printf 'Subject: Hello\\n\\nHello, world.\\n' | curl --crlf smtp://{exchange} "
        f"--mail-from you@example.com --mail-rcpt {first} --upload-file -"
    )


def _host(bind: str) -> str:
    """The address to connect to for what listens there."""
    if bind in ("0.0.0.0", "::", ""):  # noqa: S104  # to be recognised, not to listen on
        return "127.0.0.1"
    return f"[{bind}]" if ":" in bind else bind
