"""Documents of messages that were expunged and can be put back."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from webmail_api.mail_models import Id, Input, MessageSummary

MAX_RESTORED = 1_000


class ExpungedMessage(MessageSummary):
    """A message that was deleted for good, and can still be restored."""

    mailbox: str = Field(description="Where it was.", examples=["INBOX"])
    mailbox_deleted: bool = Field(description="Then it would be restored into the inbox.")
    expunged_at: datetime
    kept_until: datetime


class ExpungedList(BaseModel):
    """A page of expunged messages: of each mailbox the newest message first."""

    items: list[ExpungedMessage]
    next_cursor: str | None = None


class Restore(Input):
    """Which messages to put back."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_RESTORED)]


class RestoredMessage(BaseModel):
    """A message that is back, under another id."""

    id: Id
    was: Id
    mailbox_id: Id
    mailbox: str = Field(examples=["INBOX"])


class Restored(BaseModel):
    """What came back; messages that could not be restored any more are left out."""

    items: list[RestoredMessage]
