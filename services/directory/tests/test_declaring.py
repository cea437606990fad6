"""Domains, accounts and aliases that a file declares are made once, and what differs is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from directory import declaring
from directory.declaring import declare, read_declared
from directory.settings import DeclaringSettings
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import InvalidCredentialsError, UnavailableError
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.service import ExitStatus

TOKEN = "administrator-of-the-tests"
PASSWORD = "correct horse battery"
Wanted = Callable[..., DeclaringSettings]


def _documents(folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / "password").write_text(f"{PASSWORD}\n")
    return {
        "domains": ["Example.ORG"],
        "accounts": [
            {"address": "ann@example.org", "name": "Ann", "password_file": str(folder / "password")},
            {"address": "bob@example.org", "password_file": str(folder / "password")},
        ],
        "aliases": [{"address": "info@example.org", "targets": ["ann@example.org", "bob@example.org"]}],
    } | changes


@pytest.fixture
def wanted(replica: Any, tmp_path: Path) -> Wanted:
    """Settings for a declaration with changes."""

    def settings(token: str = TOKEN, address: str = "", **changes: Any) -> DeclaringSettings:
        file = tmp_path / "declared.json"
        file.write_text(json.dumps(_documents(tmp_path, **changes)))
        return DeclaringSettings(
            directory_address=address or replica.address,
            admin_token=SecretStr(token),
            file=file,
            wait_seconds=0,
        )

    return settings


async def test_what_is_declared_is_made_once(wanted: Wanted, replica: Any) -> None:
    first = await declare(wanted())
    assert first.made == [
        "domain Example.ORG",
        "account ann@example.org",
        "account bob@example.org",
        "alias info@example.org",
    ]
    again = await declare(wanted())
    assert (again.made, again.drift, again.refused) == ([], [], [])
    stub = await replica.client("mail-access")
    login = pb.AuthenticateRequest(address="ann@example.org", password=PASSWORD, scope=pb.SCOPE_IMAP)
    assert (await stub.Authenticate(login)).account.display_name == "Ann"


async def test_what_differs_is_told_and_left_alone(wanted: Wanted, replica: Any) -> None:
    await declare(wanted())
    admin = await replica.admin()
    await admin.domain("other.example")
    await admin.account("guest@other.example")
    await admin.alias("old@other.example", "guest@other.example")
    outcome = await declare(
        wanted(
            domains=["example.org"],
            accounts=[],
            aliases=[{"address": "info@example.org", "targets": ["ann@example.org"]}],
        )
    )
    assert outcome.made == []
    assert sorted(outcome.drift) == [
        "account ann@example.org is not declared",
        "account bob@example.org is not declared",
        "account guest@other.example is not declared",
        "alias info@example.org leads elsewhere",
        "alias old@other.example is not declared",
        "domain other.example is not declared",
    ]


async def test_a_name_that_changed_is_drift_and_a_password_is_not_set_again(
    wanted: Wanted, tmp_path: Path
) -> None:
    await declare(wanted())
    documents = _documents(tmp_path)
    documents["accounts"][0]["name"] = "Anna"
    (tmp_path / "password").write_text("another password")
    outcome = await declare(wanted(**documents))
    assert outcome.drift == ["account ann@example.org has another name"]


async def test_one_that_is_refused_does_not_hold_up_the_others(wanted: Wanted) -> None:
    outcome = await declare(
        wanted(aliases=[{"address": "x@elsewhere.example", "targets": ["ann@example.org"]}])
    )
    assert outcome.refused == ["alias x@elsewhere.example: domain-not-found"]
    assert "account bob@example.org" in outcome.made


async def test_a_wrong_token_and_a_directory_that_is_away_are_errors(wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(InvalidCredentialsError):
        await declare(wanted(token="not the administrator's"))
    with pytest.raises(UnavailableError):
        await declare(wanted(address=f"unix:{tmp_path}/nobody.sock"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "Invalid JSON"), ('{"domain": []}', "domain: Extra"), ('{"aliases": [{}]}', "aliases.0.address")],
)
def test_a_file_that_is_wrong_is_named_with_its_fault(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "declared.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as refused:
        read_declared(file)
    assert str(file) in str(refused.value)


def test_it_says_what_is_wrong_in_its_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTROOM_DIRECTORY_ADDRESS", "unix:/nowhere.sock")
    assert declaring.run() is ExitStatus.CONFIGURATION
    assert "POSTROOM_DECLARING_ADMIN_TOKEN" in capsys.readouterr().err
