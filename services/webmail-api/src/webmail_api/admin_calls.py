"""How the core is asked on the administrator's behalf."""

from typing import TypedDict, TypeVar

import grpc

from postroom_runtime.grpc_client import Metadata, ask_twice, on_behalf_of
from webmail_api.limits import DEFAULT_LIMITS
from webmail_api.sessions import Administrator

Q = TypeVar("Q")
A = TypeVar("A")


class CallOptions(TypedDict):
    """Of one call."""

    timeout: float
    metadata: Metadata


def options(administrator: Administrator) -> CallOptions:
    """For a question."""
    return {
        "timeout": DEFAULT_LIMITS.call_seconds,
        "metadata": on_behalf_of(administrator.capability),
    }


async def change(
    administrator: Administrator, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q
) -> A:
    """Ask for a change, again with the same id when nobody knows whether it was made."""
    metadata = on_behalf_of(administrator.capability)
    return await ask_twice(call, request, seconds=DEFAULT_LIMITS.call_seconds, metadata=metadata)
