from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import DEFAULT_TENANT, new_id, parse_id, parse_queue_id, queue_id_text


@given(st.uuids())
def test_a_queue_id_survives_its_text_form(value: UUID) -> None:
    text = queue_id_text(value)
    assert len(text) == 26
    assert text == text.lower()
    assert parse_queue_id(text) == value
    assert parse_queue_id(text.upper()) == value


@given(st.text(max_size=40))
def test_any_text_is_a_queue_id_or_is_refused(text: str) -> None:
    try:
        found = parse_queue_id(text)
    except InvalidRequestError:
        return
    assert queue_id_text(found) == text.lower()


@pytest.mark.parametrize("text", ["", "a" * 25, "a" * 27, "a" * 25 + "b", "a" * 25 + "1", "ä" * 26])
def test_refuses_what_no_queue_id_looks_like(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_queue_id(text)


def test_fresh_ids_are_uuid7_and_ascend() -> None:
    ids = [new_id() for _ in range(1_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {value.version for value in ids} == {7}
    assert type(ids[0]) is UUID


@pytest.mark.parametrize("octets", [b"", b"x" * 15, b"x" * 17])
def test_an_id_has_sixteen_octets(octets: bytes) -> None:
    assert parse_id(DEFAULT_TENANT.bytes) == DEFAULT_TENANT
    with pytest.raises(InvalidRequestError):
        parse_id(octets)
