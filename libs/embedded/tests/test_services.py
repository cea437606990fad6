"""Services are given what the table says, migrated first, watched by their health sockets."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from postroom_embedded import reclaim
from postroom_embedded.certificates import Certificates
from postroom_embedded.errors import PortInUseError, StartError
from postroom_embedded.instance import Instance
from postroom_embedded.part import Happening, Patience, Report
from postroom_embedded.ports import free_ports
from postroom_embedded.process import Process
from postroom_embedded.seaweedfs import S3Address
from postroom_embedded.services import (
    CORE_TIER,
    EDGE_TIER,
    SERVICES,
    Listener,
    Options,
    ServicePart,
    ServiceRow,
    Wiring,
    environment_of,
    migrate,
    process_names,
)
from postroom_embedded.stack import External, StackAddresses, with_role
from postroom_embedded.supervisor import Entry, supervised
from postroom_embedded.up import Plan, running_postroom
from postroom_testing.waiting import until

# What a service is to its supervisor: a health socket, a word on migrations, an end on SIGTERM.
SERVICE = """
import asyncio, os, signal, sys

module, verb = os.path.basename(os.path.dirname(os.path.abspath(__file__))), sys.argv[1]
prefix = f"POSTROOM_{module.upper()}_"

async def health(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    ready = not os.path.exists(os.environ["HOME"] + "/tmp/unready")
    writer.write(b"HTTP/1.1 200 OK\\r\\n\\r\\n" if ready else b"HTTP/1.1 503 Service Unavailable\\r\\n\\r\\n")
    writer.close()

async def serve():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    path = os.environ[prefix + "HEALTH_ADDRESS"].removeprefix("unix:")
    server = await asyncio.start_unix_server(health, path)
    print("serving", flush=True)
    await stop.wait()
    server.close()
    print("drained", flush=True)

if verb == "migrate":
    if os.environ.get("FAIL"):
        print("ERROR: no such table")
        sys.exit(1)
    with open(os.environ["HOME"] + "/tmp/migrations", "a") as file:
        file.write(f"{module} {os.environ['POSTROOM_DATABASE_URL']}\\n")
else:
    asyncio.run(serve())
"""
QUICK = Patience(first_delay=0.01, longest_delay=0.05)


def _database(wiring: Wiring) -> Mapping[str, str]:
    return {"POSTROOM_DATABASE_URL": wiring.addresses.databases["mailstore"]}


def _nothing(wiring: Wiring) -> Mapping[str, str]:
    return {}


CORE = ServiceRow("fake-core", CORE_TIER, _database, replicas=2, has_schema=True)
EDGE = ServiceRow("fake-edge", EDGE_TIER, _nothing, (Listener("PORT", 25, "SMTP"),))


@pytest.fixture
def modules(place: Path) -> Path:
    """Two services that need nothing, where every user can read them."""
    for row in (CORE, EDGE):
        package = place / "modules" / row.module
        (package / "migrations").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(SERVICE)
        (package / "migrations" / "0001_first.py").write_text("")
    return place / "modules"


@pytest.fixture
def wiring(instance: Instance, modules: Path, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    monkeypatch.setattr(sys, "path", [str(modules), *sys.path])
    return Wiring(
        instance,
        StackAddresses(
            {row: f"postgresql://{row}@/postroom?host=/run/pg" for row in SERVICES},
            "nats://postroom:pw@127.0.0.1:4222",
            S3Address("http://127.0.0.1:8333", "the-key", "the-secret"),
        ),
        Certificates(Path("/tls/ca.pem"), Path("/tls/server.pem"), Path("/tls/server.key")),
        instance.directory / "admin.token",
        Options(environment={"PYTHONPATH": str(modules)}),
    )


def test_the_edge_is_given_no_database_and_no_keys(wiring: Wiring) -> None:
    for row in SERVICES.values():
        for process in process_names(row):
            environment = environment_of(wiring, row, process)
            held = {name for name in environment if "DATABASE" in name or "S3" in name or "ADMIN" in name}
            assert bool(held) == (row.tier == CORE_TIER), row.name


def test_each_core_service_gets_its_own_role_and_only_directory_the_admin_s_token(wiring: Wiring) -> None:
    given = {
        name: environment_of(wiring, SERVICES[name], name) for name in ("directory", "mailstore", "filestore")
    }
    for name, environment in given.items():
        assert environment["POSTROOM_DATABASE_URL"] == f"postgresql://{name}@/postroom?host=/run/pg"
        assert ("POSTROOM_DIRECTORY_ADMIN_TOKEN_FILE" in environment) == (name == "directory")
    assert given["mailstore"]["POSTROOM_S3_SECRET_KEY"] == "the-secret"
    assert "POSTROOM_S3_SECRET_KEY" not in given["directory"]


def test_only_of_a_database_elsewhere_a_standby_is_expected(wiring: Wiring) -> None:
    def accepted(wiring: Wiring) -> str:
        return environment_of(wiring, SERVICES["mailstore"], "mailstore-1")["POSTROOM_ACCEPT_NO_STANDBY"]

    assert accepted(wiring) == "false"
    assert accepted(replace(wiring, addresses=replace(wiring.addresses, own_database=True))) == "true"


def test_there_are_two_mailstores_and_everyone_knows_both(wiring: Wiring) -> None:
    assert process_names(SERVICES["mailstore"]) == ["mailstore-1", "mailstore-2"]
    runtime = wiring.instance.runtime
    both = f"unix:{runtime}/mailstore-1.grpc,unix:{runtime}/mailstore-2.grpc"
    edge = environment_of(wiring, SERVICES["smtp-inbound"], "smtp-inbound")
    assert edge["POSTROOM_MAILSTORE_ADDRESS"] == both
    listens = {
        environment_of(wiring, SERVICES["mailstore"], name)["POSTROOM_MAILSTORE_GRPC_LISTEN"]
        for name in process_names(SERVICES["mailstore"])
    }
    assert ",".join(sorted(listens)) == both


def test_a_process_can_be_given_more_than_the_others(wiring: Wiring) -> None:
    more = {"mailstore-1": {"POSTROOM_CRASH_AT": "accept.committed"}}
    told = replace(wiring, options=replace(wiring.options, environment_of=more))
    first, second = (
        environment_of(told, SERVICES["mailstore"], name) for name in ("mailstore-1", "mailstore-2")
    )
    assert first["POSTROOM_CRASH_AT"] == "accept.committed"
    assert "POSTROOM_CRASH_AT" not in second


def test_public_ports_are_those_of_the_contract() -> None:
    values = {
        listener.purpose: listener.value(2000) for row in SERVICES.values() for listener in row.listeners
    }
    assert values == {
        "SMTP": "2025",
        "submission": "2587",
        "submission over TLS": "2465",
        "IMAP": "2143",
        "IMAP over TLS": "2993",
        "POP3": "2110",
        "POP3 over TLS": "2995",
        "FTP": "2021",
        "FTP over TLS": "2990",
        "FTP passive": "30000-30019",
        "HTTP": "2080",
        "HTTPS": "2443",
    }


READ_SETTINGS = """
import importlib, json, os, sys
from postroom_runtime.settings import load_settings
answer = {}
for module, environment in json.load(sys.stdin).items():
    os.environ.clear()
    os.environ.update(environment)
    cls = importlib.import_module(f"{module}.settings").Settings
    settings = load_settings(cls)
    prefix = cls.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in cls.model_fields} | {f"{prefix}ADDRESS"}
    answer[module] = sorted(
        name for name in environment if name.startswith(prefix) and name.removesuffix("_FILE") not in known
    )
print(json.dumps(answer))
"""


def test_every_service_accepts_and_knows_all_that_it_is_given(wiring: Wiring) -> None:
    given = {row.module: environment_of(wiring, row, process_names(row)[0]) for row in SERVICES.values()}
    wiring.instance.write(wiring.admin_token, "t" * 40)
    answer = subprocess.run(
        [sys.executable, "-c", READ_SETTINGS],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {row.module: [] for row in SERVICES.values()}


async def test_migrations_run_once_until_there_are_new_ones(wiring: Wiring, modules: Path) -> None:
    done = wiring.instance.directory / "tmp" / "migrations"
    for _ in range(2):
        await migrate(wiring, [CORE, EDGE], embedded=True)
    line = "fake_core postgresql://mailstore@/postroom?host=/run/pg\n"
    assert done.read_text() == line
    (modules / "fake_core" / "migrations" / "0002_second.py").write_text("")
    await migrate(wiring, [CORE], embedded=True)
    assert done.read_text() == line * 2
    await migrate(wiring, [CORE], embedded=False)  # who knows what somebody did to a database elsewhere
    assert done.read_text() == line * 3


async def test_a_migration_that_fails_is_told_and_tried_again_next_time(wiring: Wiring) -> None:
    failing = replace(
        wiring, options=replace(wiring.options, environment={**wiring.options.environment, "FAIL": "1"})
    )
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartError, match="fake-core-migrate ended with status 1: ERROR: no")
    ):
        await migrate(failing, [CORE], embedded=True)
    await migrate(wiring, [CORE], embedded=True)
    assert (wiring.instance.directory / "tmp" / "migrations").exists()


async def test_a_service_is_ready_when_its_health_socket_says_so(wiring: Wiring) -> None:
    unready = wiring.instance.directory / "tmp" / "unready"
    wiring.instance.write(unready, "")
    part = ServicePart(wiring, EDGE, "fake-edge")
    process = await Process.start(wiring.instance, part.command())
    try:
        waiting = asyncio.create_task(part.wait_ready(process))
        await until(lambda: process.last_lines() == ["serving"])
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        unready.unlink()
        await waiting
    finally:
        await process.stop()
    assert (process.exit_status, process.last_lines()) == (0, ["serving", "drained"])


async def test_a_service_that_is_killed_comes_back(wiring: Wiring) -> None:
    reports: list[Report] = []
    entries = [Entry(ServicePart(wiring, CORE, name), tier=CORE_TIER) for name in process_names(CORE)]
    async with supervised(wiring.instance, reports.append, QUICK) as supervisor:
        supervisor.add(entries)
        await supervisor.wait_ready()
        before = supervisor.processes()
        killed = before["fake-core-1"]
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: sum(report.happening is Happening.READY for report in reports) == 3)
        after = supervisor.processes()
    assert after["fake-core-2"] == before["fake-core-2"]
    assert after["fake-core-1"] not in {None, killed}


@pytest.mark.timeout(120)
async def test_all_of_it_starts_and_a_port_in_use_is_refused(
    place: Path, modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(modules), *sys.path])
    port = free_ports(1)[0]
    options = Options(port_base=port - 25, environment={"PYTHONPATH": str(modules)})
    plan = Plan(place / "data", options, rows=[CORE, EDGE], patience=QUICK)
    async with running_postroom(plan) as postroom:
        names = set(postroom.supervisor.processes())
        assert names >= {"postgres", "nats", "seaweedfs-s3", "fake-core-1", "fake-core-2", "fake-edge"}
        token = place / "data" / "admin.token"
        assert len(token.read_text().strip()) >= 40
        assert token.stat().st_mode & 0o777 == 0o600
        held = (place / "data" / "tmp" / "migrations").read_text()
        assert held.startswith("fake_core postgresql://mailstore:")
    assert list(reclaim.processes_of(postroom.wiring.instance.claim)) == []
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUseError):
        async with running_postroom(plan):
            pass


def test_an_address_elsewhere_keeps_its_user_and_else_gets_the_role() -> None:
    assert with_role("postgresql://me:pw@db/postroom", "mailstore") == "postgresql://me:pw@db/postroom"
    assert (
        with_role("postgresql://db:5433/postroom", "mailstore") == "postgresql://mailstore@db:5433/postroom"
    )
    assert (
        with_role("postgresql:///postroom?host=/run", "mailstore")
        == "postgresql://mailstore@/postroom?host=/run"
    )
    assert External().database_url is None
