import grpc
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from postroom_contracts.errors import (
    ERROR_METADATA,
    ERRORS,
    InvalidRequestError,
    LimitError,
    MethodMissingError,
    NotPermittedError,
    PostroomError,
    UnavailableError,
    from_rpc_error,
)


def _failed(code: StatusCode, name: str | bytes | None) -> AioRpcError:
    trailing = Metadata() if name is None else Metadata((ERROR_METADATA, name))
    return AioRpcError(code, Metadata(), trailing, "said by the server")


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_comes_back_as_the_one_that_was_raised(name: str) -> None:
    error = from_rpc_error(_failed(ERRORS[name].code, name))
    assert type(error) is ERRORS[name]


def test_names_are_unique_and_every_class_is_in_the_table() -> None:
    assert len(ERRORS) == len(PostroomError.__subclasses__())
    assert all(name == error.name for name, error in ERRORS.items())
    assert "internal" not in ERRORS


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (StatusCode.UNAVAILABLE, UnavailableError),
        (StatusCode.DEADLINE_EXCEEDED, UnavailableError),
        (StatusCode.INTERNAL, UnavailableError),
        (StatusCode.CANCELLED, UnavailableError),
        (StatusCode.PERMISSION_DENIED, NotPermittedError),
        (StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (StatusCode.RESOURCE_EXHAUSTED, LimitError),
        (StatusCode.UNIMPLEMENTED, MethodMissingError),
    ],
)
def test_a_status_without_a_name_of_ours_has_a_meaning_too(
    code: StatusCode, expected: type[PostroomError]
) -> None:
    assert type(from_rpc_error(_failed(code, None))) is expected
    assert type(from_rpc_error(_failed(code, "of-a-newer-version"))) is expected


def test_what_may_succeed_later_says_so() -> None:
    transient = {name for name, error in ERRORS.items() if error.transient}
    assert transient == {"unavailable", "too-many-attempts", "staging-full"}


def test_a_server_error_without_metadata_is_unknown() -> None:
    error = AioRpcError(grpc.StatusCode.UNKNOWN, Metadata(), Metadata())
    assert from_rpc_error(error).transient
