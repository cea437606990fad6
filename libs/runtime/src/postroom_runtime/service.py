"""The entry point of every service: `python -m <service> serve|migrate|check`, and what it adds to these.

Exit status: 0 fine, 1 failed, 2 configuration, 3 dependency.
"""

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Generic, NoReturn, TypeVar

from postroom_runtime import logs
from postroom_runtime.errors import ConfigurationError, DependencyError, FindingsError
from postroom_runtime.health import health_server
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.settings import ServiceSettings, load_settings

S = TypeVar("S", bound=ServiceSettings)

_GARBAGE_THRESHOLD: Final = 10_000
"""Objects that may be made beyond those that were freed before the collector looks at the youngest."""


class ExitStatus(IntEnum):
    """How a service ends."""

    FINE = 0
    FAILED = 1
    CONFIGURATION = 2
    DEPENDENCY = 3


@dataclass(frozen=True, slots=True)
class Verb(Generic[S]):
    """Something else that is done with a service's code, by settings of its own."""

    settings: type[S]
    do: Callable[[S], Awaitable[None]]


def _no_verbs() -> dict[str, Verb[Any]]:
    return {}


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """What `main` runs; `migrate` for services with a schema, `check` to look at the dependencies."""

    name: str
    settings: type[S]
    serve: Callable[[S, Lifecycle], Awaitable[None]]
    migrate: Callable[[S], Awaitable[None]] | None = None
    check: Callable[[S], Awaitable[None]] | None = None
    verbs: Mapping[str, Verb[Any]] = field(default_factory=_no_verbs)
    """What else there is, by the word for it."""


def main(service: Service[Any]) -> NoReturn:
    """Do what the command line says and leave with an exit status."""
    sys.exit(run(service, sys.argv[1:]))


def run(service: Service[Any], arguments: list[str]) -> ExitStatus:
    """`main` without the exit."""
    commands = ["serve", "check"] if service.migrate is None else ["serve", "migrate", "check"]
    commands += service.verbs
    if len(arguments) != 1 or arguments[0] not in commands:
        return _complain(service, f"usage: {'|'.join(commands)}")
    verb = service.verbs.get(arguments[0])
    try:
        settings = load_settings(service.settings if verb is None else verb.settings)
    except ConfigurationError as error:
        return _complain(service, str(error))
    logs.configure(service.name, settings.log_level)
    return _run_loop(service, arguments[0], settings)


def _run_loop(service: Service[S], command: str, settings: S) -> ExitStatus:
    import uvloop  # `python -m <service>` with a wrong command line is quick

    try:
        with _telemetry(service, command, settings):
            uvloop.run(_execute(service, command, settings))
    except ConfigurationError as error:
        return _complain(service, str(error))
    except FindingsError as error:
        logs.log.error("not_as_wanted", error=str(error))
        return ExitStatus.FAILED
    except Exception as error:  # noqa: BLE001  # the last boundary of the process
        if isinstance(error, DependencyError) or getattr(error, "transient", False):
            logs.log.error("dependency_away", error=str(error))
            return ExitStatus.DEPENDENCY
        logs.log.exception("failed")
        return ExitStatus.FAILED
    return ExitStatus.FINE


async def _execute(service: Service[S], command: str, settings: S) -> None:
    match command:
        case "serve":
            lifecycle = Lifecycle(on_ready=_settle_memory)
            lifecycle.install_signals()
            async with health_server(lifecycle, settings.health_address):
                logs.log.info("starting", pid=os.getpid())
                await service.serve(settings, lifecycle)
                logs.log.info("stopped")
        case "migrate" if service.migrate is not None:
            await service.migrate(settings)
        case word if word in service.verbs:
            await service.verbs[word].do(settings)
        case _ if service.check is not None:
            await service.check(settings)
        case _:  # the settings are all that there is to check
            return


def _telemetry(service: Service[S], command: str, settings: S) -> AbstractContextManager[None]:
    if command != "serve" or not settings.exports_spans:
        return nullcontext()
    from postroom_runtime import telemetry  # time and memory that others do without

    limits = telemetry.Limits(waiting=settings.span_queue, batch=settings.span_batch)
    return telemetry.exporting(service.name, limits)


def _settle_memory() -> None:
    """Let the garbage collector leave alone what stays for ever: going through it stops us for 10 to 50 ms.

    The rest is looked at more rarely: nearly nothing of ours is in cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)


def _complain(service: Service[Any], cause: str) -> ExitStatus:
    print(f"{service.name}: {cause}", file=sys.stderr, flush=True)  # noqa: T201  # for whoever started us
    return ExitStatus.CONFIGURATION
