"""Where mail goes: aliases, loops, details, postmaster, other houses."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.addresses import Address, parse_address
from directory.limits import Limits
from directory.resolving import Known, expand
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import LimitError
from postroom_contracts.ids import DEFAULT_TENANT, AccountId, new_id
from postroom_embedded.postgres import PostgresAddress

LOCAL = pb.Resolution.OUTCOME_LOCAL
REMOTE = pb.Resolution.OUTCOME_REMOTE
UNKNOWN = pb.Resolution.OUTCOME_UNKNOWN


async def _resolve(replica: Any, *addresses: str) -> list[pb.Resolution]:
    stub = await replica.client("smtp-inbound")
    answer = await stub.ResolveRecipients(pb.ResolveRecipientsRequest(addresses=addresses))
    assert [resolution.address for resolution in answer.resolutions] == list(addresses)
    return list(answer.resolutions)


def _targets(resolution: pb.Resolution) -> list[bytes | str]:
    return [target.account_id or target.remote_address for target in resolution.targets]


async def test_each_address_has_its_own_answer_in_the_order_of_the_request(replica: Any, admin: Any) -> None:
    ann = await admin.account("ann@example.com")
    found = await _resolve(
        replica,
        "nobody@example.com",
        "ANN@EXAMPLE.COM",
        "bob@elsewhere.example",
        "ann+lists@example.com",
        "ann@example.com",
        '"ann"@example.com',
        "strange name@elsewhere.example",
        "ann@[192.0.2.1]",
        "strange name@example.com",
        "no address",
        "",
    )
    outcomes = [resolution.outcome for resolution in found]
    expected = [UNKNOWN, LOCAL, REMOTE, LOCAL, LOCAL, LOCAL, REMOTE, REMOTE, UNKNOWN, UNKNOWN, UNKNOWN]
    assert outcomes == expected
    assert [_targets(found[at]) for at in (1, 3, 4, 5)] == [[ann.id]] * 4
    assert found[1].tenant_id == ann.tenant_id
    assert found[2].tenant_id == b""


async def test_an_alias_leads_to_accounts_to_other_aliases_and_out_of_the_house(
    replica: Any, admin: Any
) -> None:
    ann, bob = await admin.account("ann@example.com"), await admin.account("bob@example.com")
    await admin.alias("sales@example.com", "ann@example.com", "all@example.com", "x@elsewhere.example")
    await admin.alias("all@example.com", "bob@example.com", "ann+all@example.com")
    (found,) = await _resolve(replica, "sales@example.com")
    assert found.outcome == LOCAL
    assert sorted(_targets(found), key=str) == sorted([ann.id, bob.id, "x@elsewhere.example"], key=str)


async def test_an_account_with_a_plus_in_its_name_is_found_before_its_user(replica: Any, admin: Any) -> None:
    ann, lists = await admin.account("ann@example.com"), await admin.account("ann+lists@example.com")
    found = await _resolve(replica, "ann+lists@example.com", "ann+other@example.com")
    assert [_targets(resolution) for resolution in found] == [[lists.id], [ann.id]]


async def test_loops_end_and_dangling_targets_are_left_out(replica: Any, admin: Any) -> None:
    ann = await admin.account("ann@example.com")
    await admin.alias("a@example.com", "b@example.com", "ann@example.com", "gone@example.com")
    await admin.alias("b@example.com", "a@example.com", "b@example.com", "b+x@example.com")
    await admin.alias("c@example.com", "c@example.com")
    await admin.alias("d@example.com", "gone@example.com")
    found = await _resolve(replica, *(f"{name}@example.com" for name in "abcd"))
    assert [resolution.outcome for resolution in found] == [LOCAL, LOCAL, UNKNOWN, UNKNOWN]
    assert [_targets(resolution) for resolution in found[:2]] == [[ann.id], [ann.id]]


async def test_a_chain_of_aliases_is_followed_as_deep_as_the_bound(replica: Any, admin: Any) -> None:
    depth = Limits().alias_depth
    ann = await admin.account("ann@example.com")
    for number in range(depth + 1):
        target = f"a{number - 1}@example.com" if number else "ann@example.com"
        await admin.alias(f"a{number}@example.com", target)
    last, beyond = await _resolve(replica, f"a{depth - 1}@example.com", f"a{depth}@example.com")
    assert _targets(last) == [ann.id]
    assert beyond.outcome == UNKNOWN


async def test_postmaster_without_an_address_of_its_own_goes_to_whom_the_administrator_named(
    start: Any, directory_database: PostgresAddress
) -> None:
    replica = await start(directory_database, postmaster="ann@example.com")
    admin = await replica.admin()
    await admin.domain()
    await admin.domain("other.example")
    ann = await admin.account("ann@example.com")
    own = await admin.account("postmaster@other.example")
    found = await _resolve(
        replica,
        "Postmaster@example.com",
        "postmaster",
        "postmaster@other.example",
        "postmaster@elsewhere.example",
        "abuse@example.com",
    )
    assert [_targets(resolution) for resolution in found] == [[ann.id], [ann.id], [own.id], [], []]
    assert [resolution.outcome for resolution in found[3:]] == [REMOTE, UNKNOWN]


async def test_postmaster_is_unknown_where_nobody_is_named(replica: Any, admin: Any) -> None:
    found = await _resolve(replica, "postmaster@example.com", "postmaster")
    assert [resolution.outcome for resolution in found] == [UNKNOWN, UNKNOWN]


async def test_too_many_addresses_at_once_are_refused(replica: Any, admin: Any) -> None:
    most = Limits().resolved_addresses
    assert len(await _resolve(replica, *["x@example.com"] * most)) == most
    with pytest.raises(LimitError):
        await _resolve(replica, *["x@example.com"] * (most + 1))


def _known(aliases: Mapping[str, Sequence[str]], accounts: Sequence[str]) -> Known:
    known = Known(tenants={"example.com": DEFAULT_TENANT})
    for name in accounts:
        known.owners["example.com", name] = AccountId(new_id())
    for name, targets in aliases.items():
        known.owners["example.com", name] = tuple(_address(target) for target in targets)
    for name in "abcdefgh":
        known.asked |= {("example.com", name), ("elsewhere.example", name)}
    return known


def _address(text: str) -> Address:
    return parse_address(text if "@" in text else f"{text}@example.com")


_NAMES = st.sampled_from("abcdefgh")


@given(st.dictionaries(_NAMES, st.lists(_NAMES, min_size=1, max_size=4)), st.lists(_NAMES, unique=True))
def test_any_web_of_aliases_ends_in_the_accounts_that_can_be_reached(
    aliases: dict[str, list[str]], accounts: list[str]
) -> None:
    aliases = {name: targets for name, targets in aliases.items() if name not in accounts}
    known = _known(aliases, accounts)
    reached, waiting = set[str](), ["a"]
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached.add(name)
            waiting += aliases.get(name, [])
    expected = {known.owners["example.com", name] for name in reached & {*accounts}}
    assert {*expand(_address("a"), known, Limits(alias_depth=100))} == expected


def test_more_targets_than_the_bound_are_none() -> None:
    known = _known({"a": [f"x{number}@elsewhere.example" for number in range(9)]}, [])
    known.asked |= {("elsewhere.example", f"x{number}") for number in range(9)}
    assert len(expand(_address("a"), known, Limits(expansion=9))) == 9
    assert expand(_address("a"), known, Limits(expansion=8)) == ()


def test_what_was_not_looked_up_is_not_taken_for_unknown() -> None:
    known = _known({"a": ["b", "never-asked"]}, ["b"])
    assert expand(_address("a"), known, Limits()) == ()


async def test_a_stream_answers_every_question_by_its_number_and_bad_ones_harm_nobody(
    replica: Any, admin: Any
) -> None:
    ann = await admin.account("ann@example.com")
    stub = await replica.client("smtp-inbound")
    asked = {
        7: "ann@example.com",
        3: "no\x00body@example.com",
        8: "nobody@example.com",
        1: "x@elsewhere.example",
    }
    call = stub.StreamResolveRecipients()
    for _ in range(2):
        await call.write(
            pb.StreamResolveRecipientsRequest(
                questions=[
                    pb.RecipientQuestion(number=number, address=text) for number, text in asked.items()
                ]
            )
        )
        answers = {answer.number: answer for answer in (await call.read()).answers}
        assert {*answers} == {*asked}
        assert answers[7].resolution.targets[0].account_id == ann.id
        assert answers[3].error == "invalid-request"
        assert answers[8].resolution.outcome == pb.Resolution.OUTCOME_UNKNOWN
        assert answers[1].resolution.outcome == pb.Resolution.OUTCOME_REMOTE
    too_many = [pb.RecipientQuestion(number=number) for number in range(1_001)]
    await call.write(pb.StreamResolveRecipientsRequest(questions=too_many))
    assert {answer.error for answer in (await call.read()).answers} == {"limit"}
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
