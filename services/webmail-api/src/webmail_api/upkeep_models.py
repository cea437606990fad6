"""Documents of what an administrator does for the stores' health."""

from typing import Annotated

from pydantic import BaseModel, Field

from postroom.doctor.v1 import doctor_pb2
from webmail_api.admin_models import AddressText
from webmail_api.mail_models import Input

_KIND_PREFIX = "KIND_"


class Finding(BaseModel):
    """Something that is not as it should be."""

    kind: str = Field(
        description="service-away, dependency-away, other-schema, object-missing, object-size, "
        "octets-missing, row-missing, counter, stuck, parked or not-examined; there may be more later.",
        examples=["object-missing"],
    )
    subject: str = Field(examples=["pack/0f1e2d3c-4b5a-4678-9abc-def012345678"])
    detail: str = Field(examples=["is not in the bucket, with 12 messages of 3 accounts"])


class Garbage(BaseModel):
    """Objects in the buckets that no row names; harmless."""

    objects: int
    octets: int


class Examination(BaseModel):
    """A part of what there is to look at."""

    items: list[Finding]
    examined: dict[str, int] = Field(description="How much of what was looked at.")
    garbage: Garbage
    next_cursor: str | None = Field(default=None, description="Ask on with it; null when that was all.")


class RenewUidValidity(Input):
    """Whose mailboxes get another UIDVALIDITY."""

    address: AddressText | None = Field(default=None, description="Of one account; null for all.")
    cursor: Annotated[str | None, Field(max_length=100)] = Field(
        default=None, description="`next_cursor` of the slice before."
    )


class RenewedUidValidity(BaseModel):
    """How many they were in this slice."""

    accounts: int
    mailboxes: int
    next_cursor: str | None = None


def finding_of(finding: doctor_pb2.Finding) -> Finding:
    """The document."""
    return Finding(kind=_kind(finding.kind), subject=finding.subject, detail=finding.detail)


def _kind(number: doctor_pb2.Finding.Kind.ValueType) -> str:
    try:
        name = doctor_pb2.Finding.Kind.Name(number)
    except ValueError:  # a store of a later release
        return "other"
    return name.removeprefix(_KIND_PREFIX).lower().replace("_", "-")
