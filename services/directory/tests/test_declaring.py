"""Domains, accounts and aliases that files declare are made once, and what differs is told."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from directory.declarations import Declared, read_declared
from directory.declaring import Administrator, Declaring, Outcome, declare, drift, work
from directory.policy import POLICY
from directory.settings import SetupSettings
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import CapabilityExpiredError, UnavailableError
from postroom_runtime.errors import ConfigurationError, FindingsError

TOKEN = "administrator-of-the-tests"
PASSWORD = "correct horse battery"
Wanted = Callable[..., SetupSettings]


def _documents(folder: Path, **changes: Any) -> dict[str, Any]:
    (folder / "password").write_text(f"{PASSWORD}\n")
    return {
        "domains": ["Example.ORG"],
        "accounts": [
            {"address": "ann@example.org", "name": "Ann", "password_file": str(folder / "password")},
            {"address": "bob@example.org", "password": PASSWORD},
        ],
        "aliases": [{"address": "info@example.org", "targets": ["ann@example.org", "bob@example.org"]}],
    } | changes


@pytest.fixture
def wanted(replica: Any, tmp_path: Path) -> Wanted:
    """Settings for a declaration with changes."""

    def settings(token: str = TOKEN, address: str = "", **changes: Any) -> SetupSettings:
        file = tmp_path / "declared.json"
        file.write_text(json.dumps(_documents(tmp_path, **changes)))
        return SetupSettings(
            directory_address=address or replica.address,
            admin_token=SecretStr(token),
            declarations=(str(file),),
            wait_seconds=0,
        )

    return settings


async def _make(settings: SetupSettings) -> Outcome:
    return await work(settings, Declaring.make)


async def test_what_is_declared_is_made_once(wanted: Wanted, replica: Any) -> None:
    first = await _make(wanted())
    assert first.made == [
        "domain example.org",
        "account ann@example.org",
        "account bob@example.org",
        "alias info@example.org",
    ]
    again = await _make(wanted())
    assert (again.made, again.drift, again.refused) == ([], [], [])
    stub = await replica.client("mail-access")
    for name in ("ann", "bob"):
        login = pb.AuthenticateRequest(address=f"{name}@example.org", password=PASSWORD, scope=pb.SCOPE_IMAP)
        assert (await stub.Authenticate(login)).account.address == f"{name}@example.org"


async def test_what_differs_is_told_and_left_alone(wanted: Wanted, replica: Any) -> None:
    await _make(wanted())
    admin = await replica.admin()
    await admin.domain("other.example")
    await admin.account("guest@other.example")
    await admin.alias("old@other.example", "guest@other.example")
    changes: dict[str, Any] = {
        "domains": ["example.org"],
        "accounts": [],
        "aliases": [{"address": "info@example.org", "targets": ["ann@example.org"]}],
    }
    expected = [
        "account ann@example.org is not declared",
        "account bob@example.org is not declared",
        "account guest@other.example is not declared",
        "alias info@example.org leads elsewhere",
        "alias old@other.example is not declared",
        "domain other.example is not declared",
    ]
    for how in (Declaring.compare, Declaring.make):
        outcome = await work(wanted(**changes), how)
        assert (outcome.made, sorted(outcome.drift)) == ([], expected)


async def test_kinds_that_no_file_speaks_of_are_nobodys_business(wanted: Wanted) -> None:
    await _make(wanted())
    only = await _make(wanted(accounts=None, aliases=None))
    assert only == Outcome()


async def test_to_look_only_changes_nothing(wanted: Wanted, replica: Any) -> None:
    outcome = await work(wanted(), Declaring.compare)
    assert outcome.made == []
    assert outcome.drift == [
        "domain example.org is missing",
        "account ann@example.org is missing",
        "account bob@example.org is missing",
        "alias info@example.org is missing",
    ]
    admin = await replica.admin()
    found = await admin.stub.ListDomains(pb.ListDomainsRequest(), metadata=admin.metadata)
    assert not found.domains


async def test_a_name_that_changed_is_drift_and_a_password_is_not_set_again(
    wanted: Wanted, tmp_path: Path, replica: Any
) -> None:
    await _make(wanted())
    documents = _documents(tmp_path)
    documents["accounts"][0] |= {"name": "Anna", "password": "another password", "password_file": None}
    outcome = await _make(wanted(**documents))
    assert outcome.drift == ["account ann@example.org has another name"]
    stub = await replica.client("mail-access")
    login = pb.AuthenticateRequest(address="ann@example.org", password=PASSWORD, scope=pb.SCOPE_IMAP)
    assert (await stub.Authenticate(login)).account.display_name == "Ann"


async def test_one_that_is_refused_does_not_hold_up_the_others(wanted: Wanted, tmp_path: Path) -> None:
    outcome = await _make(
        wanted(
            accounts=[
                {"address": "cy@example.org"},
                {"address": "dee@example.org", "password_file": str(tmp_path / "nowhere")},
                {"address": "ed@example.org", "password": "short"},
                {"address": "bob@example.org", "password": PASSWORD},
            ],
            aliases=[
                {"address": "x@elsewhere.example", "targets": ["ann@example.org"]},
            ],
        )
    )
    assert outcome.refused == [
        "account cy@example.org: no password to begin with",
        "account dee@example.org: no password to begin with",
        "account ed@example.org: invalid-request",
        "alias x@elsewhere.example: domain-not-found",
    ]
    assert outcome.made == ["domain example.org", "account bob@example.org"]
    assert "account cy@example.org is missing" in outcome.drift


async def test_an_account_that_is_there_needs_no_password_any_more(wanted: Wanted) -> None:
    await _make(wanted())
    outcome = await _make(wanted(accounts=[{"address": "ann@example.org"}, {"address": "bob@example.org"}]))
    assert (outcome.refused, outcome.drift) == ([], [])


async def test_the_verbs_tell_a_line_for_each_and_end_with_what_they_found(wanted: Wanted) -> None:
    with capture_logs() as logs:
        await declare(wanted())
    made = [line["what"] for line in logs if line["event"] == "made"]
    assert made[:2] == ["domain example.org", "account ann@example.org"]
    assert logs[-1] == {"event": "compared", "log_level": "info", "made": 4, "refused": 0, "drift": 0}
    await drift(wanted())
    with capture_logs() as logs, pytest.raises(FindingsError, match="1 otherwise than declared"):
        await drift(wanted(domains=["example.org", "more.example"]))
    assert {"event": "drift", "log_level": "warning", "what": "domain more.example is missing"} in logs
    with pytest.raises(FindingsError, match="1 refused"):
        await declare(wanted(accounts=None, aliases=[{"address": "x@y.example", "targets": ["a@b.example"]}]))


async def test_a_wrong_token_and_a_directory_that_is_away_are_errors(wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="token is not directory's"):
        await _make(wanted(token="not the administrator's"))
    with pytest.raises(UnavailableError):
        await _make(wanted(address=f"unix:{tmp_path}/nobody.sock"))


async def test_a_capability_that_ran_out_is_asked_for_anew(wanted: Wanted, replica: Any) -> None:
    administrator = Administrator(await replica.client("setup"), wanted())
    await administrator.log_in()
    runs_out: Iterator[bool] = iter([True, False, False])

    async def list_domains(request: pb.ListDomainsRequest, metadata: Any) -> Any:
        if next(runs_out):
            raise CapabilityExpiredError
        return await administrator.stub.ListDomains(request, metadata=metadata)

    pages = [page async for page in administrator.pages(list_domains, pb.ListDomainsRequest)]
    assert len(pages) == 1


async def test_it_may_make_and_list_and_nothing_else() -> None:
    allowed = {method.rpartition("/")[2] for method, callers in POLICY.items() if "setup" in callers}
    lists = {"ListDomains", "GetAccount", "ListAccounts", "ListAliases"}
    assert allowed == {"AuthenticateAdmin", "CreateDomain", "CreateAccount", "CreateAlias"} | lists


_TWO_PASSWORDS = '{"accounts": [{"address": "a@b.example", "password": "x", "password_file": "/x"}]}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Invalid JSON"),
        ('{"domain": []}', "domain: Extra"),
        ('{"aliases": [{}]}', "aliases.0.address"),
        ('{"domains": ["not a domain"]}', "domains.0: .*not a domain"),
        ('{"accounts": [{"address": "nobody"}]}', "accounts.0.address: .*not an address"),
        ('{"aliases": [{"address": "a@b.example", "targets": ["c"]}]}', "targets.0: .*not an address"),
        (_TWO_PASSWORDS, "accounts.0: .*either password or password_file"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_fault(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "declared.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words) as refused:
        read_declared([file])
    assert str(file) in str(refused.value)


def test_a_password_is_not_repeated_in_what_is_said_of_a_wrong_file(tmp_path: Path) -> None:
    file = tmp_path / "declared.json"
    file.write_text('{"accounts": [{"address": "a@b.example", "password": ["hush hush"]}]}')
    with pytest.raises(ConfigurationError) as refused:
        read_declared([file])
    assert "hush" not in str(refused.value)


def test_several_files_and_folders_are_read_as_one(tmp_path: Path) -> None:
    for name, text in {
        "a.json": '{"domains": ["a.example", "b.example"]}',
        "b.json": '{"domains": ["b.example"], "accounts": [{"address": "x@a.example"}]}',
        "notes.txt": "no JSON",
        "..data/a.json": "{",
    }.items():
        file = tmp_path / "folder" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    alone = tmp_path / "alone"
    alone.write_text('{"accounts": [{"address": "y@a.example"}]}')
    declared = read_declared([tmp_path / "folder", alone])
    assert declared.domains == ("a.example", "b.example")
    assert [each.address for each in declared.accounts or ()] == ["x@a.example", "y@a.example"]
    assert declared.aliases is None
    assert read_declared([]) == Declared()


def test_an_address_that_is_declared_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "declared.json"
    alias = {"address": "X@a.example", "targets": ["y@a.example"]}
    file.write_text(json.dumps({"accounts": [{"address": "x@a.example"}], "aliases": [alias]}))
    with pytest.raises(ConfigurationError, match=r"X@a\.example is declared twice"):
        read_declared([file])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.json: No such file"):
        read_declared([tmp_path / "nowhere.json"])
