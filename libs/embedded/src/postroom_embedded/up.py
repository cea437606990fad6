"""All of Postroom on one machine: the stack, the schemas, the services. `postroom up` calls this."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from postroom_embedded import launch
from postroom_embedded.certificates import Certificates, ensure_certificates
from postroom_embedded.errors import DirectoryNotWritableError, EmbeddedError
from postroom_embedded.instance import SCHEMAS, Instance, prepare_directory
from postroom_embedded.part import Patience, Reporter
from postroom_embedded.services import (
    SERVICES,
    Options,
    ServicePart,
    ServiceRow,
    Wiring,
    check_ports,
    migrate,
    process_names,
)
from postroom_embedded.stack import External, Stack, check_external
from postroom_embedded.supervisor import Entry, Supervisor, supervised
from postroom_embedded.users import check_readable, code_paths

_RENEW_SECONDS = 86_400.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a start is told."""

    data: Path
    options: Options = field(default_factory=Options)
    external: External = field(default_factory=External)
    rows: Sequence[ServiceRow] = tuple(SERVICES.values())
    names: tuple[str, ...] = ("postroom.test", "mail.postroom.test")  # in the certificate
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Postroom:
    """A running Postroom."""

    plan: Plan
    wiring: Wiring
    supervisor: Supervisor


def drop_privileges(data: Path) -> Path:
    """As root: become the user that owns the data, for good. Returns the directory's real path.

    Call it first thing, before any thread and event loop. The process then sees the closed directories above
    its code and data as `launch` says. For anyone else it only makes the directory ready.
    """
    directory, user = prepare_directory(data)
    if user is None:
        return directory
    check_readable(user, directory, code_paths())
    passwd = launch.write_passwd(directory, user.uid, user.gid)
    os.chdir("/")
    try:
        launch.become_user(user.uid, user.gid, (*code_paths(), str(directory)), passwd)
    except OSError as error:
        raise DirectoryNotWritableError(directory, f"cannot become user {user.uid}: {error}") from error
    os.environ["HOME"] = str(directory)
    return directory


@contextlib.asynccontextmanager
async def running_postroom(plan: Plan, report: Reporter | None = None) -> AsyncGenerator[Postroom]:
    """Everything started and ready; when the block ends, all has ended.

    Raises an EmbeddedError, with nothing left running, when it cannot be had.
    """
    instance = await asyncio.to_thread(Instance.open, plan.data)
    try:
        await asyncio.to_thread(check_ports, plan.options, plan.rows)
        await check_external(plan.external)
        stack = Stack(instance, plan.external)
        wiring = await asyncio.to_thread(_wire, plan, instance, stack)
        async with supervised(instance, report, plan.patience) as supervisor:
            await _start(plan, wiring, stack, supervisor)
            renewing = asyncio.create_task(_renew_certificates(plan, instance))
            try:
                yield Postroom(plan, wiring, supervisor)
            finally:
                renewing.cancel()
    finally:
        await asyncio.to_thread(instance.close)


async def run_until_signalled(
    plan: Plan,
    announce: Callable[[Postroom], Awaitable[None]],
    report: Reporter | None = None,
) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP, also while it starts; `announce` is awaited once all is ready.

    Returns when everything has ended, within 20 s. Raises an EmbeddedError when it could not be started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = [number for number in _SIGNALS if not _is_ignored_hangup(number)]
    for number in signals:
        loop.add_signal_handler(number, stop.set)

    async def work() -> None:
        async with running_postroom(plan, report) as postroom:
            await announce(postroom)
            await postroom.supervisor.wait_failure()

    working, stopped = asyncio.create_task(work()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
    finally:
        stopped.cancel()
        for number in signals:
            loop.remove_signal_handler(number)


def _is_ignored_hangup(number: signal.Signals) -> bool:
    """Under nohup the terminal may go away."""
    return number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


async def _start(plan: Plan, wiring: Wiring, stack: Stack, supervisor: Supervisor) -> None:
    """All at once: to import its packages takes a service longer than to wait for its tables."""
    entries = stack.entries()
    for row in plan.rows:
        entries += _entries(wiring, row)
    supervisor.add(entries)
    if stack.postgres is not None:
        await supervisor.wait_ready([stack.postgres.name])
    try:
        await migrate(wiring, plan.rows, embedded=stack.postgres is not None)
    except* EmbeddedError as group:
        raise _first(group) from None
    await supervisor.wait_ready()


def _entries(wiring: Wiring, row: ServiceRow) -> list[Entry]:
    return [Entry(ServicePart(wiring, row, name), tier=row.tier) for name in process_names(row)]


def _wire(plan: Plan, instance: Instance, stack: Stack) -> Wiring:
    token = instance.directory / "admin.token"
    if not token.exists():
        instance.write(token, secrets.token_urlsafe(32) + "\n")
    return Wiring(instance, stack.addresses(SCHEMAS), _certify(plan, instance), token, plan.options)


def _certify(plan: Plan, instance: Instance) -> Certificates:
    names = [*plan.names, "localhost", "127.0.0.1", "::1"]
    names += [name for name in (socket.gethostname(), plan.options.bind) if _can_be_certified(name, names)]
    return ensure_certificates(instance, "tls", names)


async def _renew_certificates(plan: Plan, instance: Instance) -> None:
    """For who runs for a year; the services load a certificate again when its file changes."""
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        await asyncio.to_thread(_certify, plan, instance)


def _can_be_certified(name: str, names: Sequence[str]) -> bool:
    plain = name.replace("-", "").replace(".", "").replace(":", "")
    return bool(name) and name not in {*names, "0.0.0.0", "::"} and plain.isascii() and plain.isalnum()  # noqa: S104


def _first(group: BaseExceptionGroup[EmbeddedError]) -> EmbeddedError:
    """Of several things that went wrong beside each other, one is enough for a person."""
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise group
