"""Documents of mailboxes and messages."""

import base64
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from webmail_api.flags import Flags

Id = Annotated[str, Field(description="Opaque.", examples=["AZp8Qm1yd0uHkz3vJ5n0bg"])]


class Input(BaseModel):
    """What clients send: fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        """JSON can spell lone surrogates, which no other service takes."""
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("not text") from None
        return value


class Mailbox(BaseModel):
    """A mailbox with its counters."""

    id: Id
    name: str = Field(description='Levels are separated by "/".', examples=["INBOX", "Projects/2026"])
    special_use: str | None = Field(
        description="inbox, sent, drafts, trash, junk or archive.", examples=["inbox"]
    )
    messages: int = Field(examples=[12])
    unseen: int = Field(examples=[3])
    size: int = Field(description="Octets.", examples=[48211])
    subscribed: bool


class MailboxList(BaseModel):
    """All mailboxes; there is one page."""

    items: list[Mailbox]
    next_cursor: str | None = None


class NewMailbox(Input):
    """A mailbox to make; what is missing above it is made too."""

    name: Annotated[str, Field(min_length=1, max_length=1000, examples=["Projects/2026"])]


class MailboxChange(Input):
    """What is to be different."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    subscribed: bool | None = None


class Address(BaseModel):
    """Whom a header field names."""

    name: str = Field(examples=["Bob"])
    address: str = Field(examples=["bob@postroom.test"])


class Attachment(BaseModel):
    """A part that is not shown as the message's text."""

    section: str = Field(description="Part number (RFC 3501 s6.4.5).", examples=["2"])
    name: str | None = Field(examples=["report.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="Octets after decoding, nearly.", examples=[20480])
    content_id: str | None
    inline: bool
    href: str = Field(description="Where to get it.")


class MessageSummary(BaseModel):
    """A message as lists show it."""

    id: Id
    mailbox_id: Id
    subject: str = Field(examples=["Lunch?"])
    from_: list[Address] = Field(serialization_alias="from")
    to: list[Address]
    cc: list[Address]
    date: datetime | None = Field(description="What the message says.")
    received_at: datetime
    preview: str
    flags: list[str] = Field(examples=[["$seen"]])
    size: int = Field(description="Octets.", examples=[2048])
    has_attachments: bool


class MessageList(BaseModel):
    """A page of a mailbox, the newest message first."""

    items: list[MessageSummary]
    next_cursor: str | None = None


class Message(MessageSummary):
    """A message as it is read. `html` is clean: no scripts, no styles, nothing loaded from elsewhere."""

    sender: list[Address]
    reply_to: list[Address]
    bcc: list[Address]
    message_id: str | None = Field(examples=["<1@postroom.test>"])
    in_reply_to: list[str]
    references: list[str]
    text: str
    html: str | None
    truncated: bool = Field(description="There is more text than is shown; the raw message has all of it.")
    blocked_remote_content: bool = Field(description="`?remote_content=true` would show more pictures.")
    attachments: list[Attachment]
    raw: str = Field(description="Where to get the message as it is.")


class FlagChange(Input):
    """Flags to set and to take away."""

    add: Flags = []
    remove: Flags = []


class NewFlags(Input):
    """All flags that the message is to have."""

    flags: Flags


class MessageFlags(BaseModel):
    """The flags that a message has now."""

    id: Id
    flags: list[str] = Field(examples=[["$seen", "$flagged"]])


class Move(Input):
    """Where to."""

    mailbox_id: Id


class Moved(BaseModel):
    """The message's new id."""

    id: Id
    mailbox_id: Id


class Recipient(Input):
    """Whom to write to."""

    address: Annotated[str, Field(min_length=3, max_length=320, examples=["bob@postroom.test"])]
    name: Annotated[str, Field(max_length=500)] = ""


def _decoded(value: object) -> object:
    """Strictly: octets that are not meant would be sent."""
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


Base64 = Annotated[bytes, BeforeValidator(_decoded, json_schema_input_type=str)]


class NewAttachment(Input):
    """A file to send along; with a `content_id` ("<...>") the HTML can show it."""

    name: Annotated[str, Field(max_length=500, examples=["report.pdf"])]
    media_type: Annotated[str, Field(max_length=255, examples=["application/pdf"])]
    content: Base64 = Field(description="Base64.", examples=["SGVsbG8="])
    content_id: Annotated[str, Field(max_length=255)] | None = None


Recipients = Annotated[list[Recipient], Field(max_length=500)]
MessageIds = Annotated[list[Annotated[str, Field(max_length=998)]], Field(max_length=100)]


class NewMessage(Input):
    """A message to send."""

    from_: Recipient | None = Field(
        default=None, alias="from", description="The account's own address, with the name to show."
    )
    to: Recipients = []
    cc: Recipients = []
    bcc: Recipients = []
    reply_to: Recipients = []
    subject: Annotated[str, Field(max_length=10_000, examples=["Lunch?"])] = ""
    text: str | None = Field(default=None, examples=["At noon?\n"])
    html: str | None = None
    attachments: Annotated[list[NewAttachment], Field(max_length=200)] = []
    in_reply_to: MessageIds = []
    references: MessageIds = []
    save_to_sent: bool = True


class Sent(BaseModel):
    """What became of a message that was taken: it will be delivered, or its sender gets a report."""

    queue_id: str = Field(examples=["agnhyqtnoj3uxb4thpxsphpunm"])
    message_id: str = Field(examples=["<agnhyqtnoj3uxb4thpxsphpunm@postroom.test>"])
    sent_copy: Id | None = Field(description="The copy in the mailbox for what was sent.")
