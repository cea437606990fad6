"""Lanes of local mail: a hash of the account, so that one account's mail is filed in order by one worker."""

from uuid import UUID

LOCAL_LANES = 8
"""Fixed by the schema: table local_lane has this many rows."""

REMOTE_BELL = "postroom.deliver.remote"
LOCAL_BELLS = "postroom.deliver.local.>"


def local_lane(account_id: UUID) -> int:
    """The lane of an account. The last octets of a UUIDv7 are random, so they are the hash."""
    return account_id.int % LOCAL_LANES


def local_bell(lane: int) -> str:
    """The subject that says that a lane has work."""
    return f"postroom.deliver.local.{lane}"


def lane_of_bell(subject: str) -> int | None:
    """The lane that a bell names, or None when it names none of ours."""
    number = subject.rpartition(".")[2]
    return int(number) if number.isdigit() and int(number) < LOCAL_LANES else None
