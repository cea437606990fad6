"""The MailboxService: an account's mailboxes for the services that show them."""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeVar
from uuid import UUID

from mailstore.accounts import ensure_accounts, lock_accounts
from mailstore.blobs.reader import BlobReader, message_key
from mailstore.blobs.segments import OpenSegment
from mailstore.intake.item import Inline, Uploaded, parse_content
from mailstore.intake.uploads import Uploads, presigned_messages
from mailstore.mailboxes import catalogue
from mailstore.mailboxes.appending import Appending, append_message, inline_octets
from mailstore.mailboxes.catalogue import MailboxRow, Owner
from mailstore.mailboxes.facts import FactColumns, StoredFacts, stored_facts
from mailstore.mailboxes.flags import FlagChange, StoreMode, keywords_of, store_flags
from mailstore.mailboxes.moving import Copied, copy_messages, move_messages, remove_messages
from mailstore.mailboxes.names import parse_name
from mailstore.mailboxes.octets import RangeWanted, read_messages
from mailstore.mailboxes.recent import claim_recent
from mailstore.mailboxes.rows import RowColumns, changes_since, pages
from mailstore.mailboxes.searching import MAX_TERMS, SearchField, SearchTerm, search_text
from mailstore.mailboxes.uid_ranges import Ranges, parse_ranges, range_messages
from mailstore.scanning import MessageFacts, message_facts
from postroom.mailstore.v1 import content_pb2, mailbox_pb2, mailbox_pb2_grpc
from postroom_contracts.capability import Capability, CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, MailboxNotFoundError, PostroomError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Connection, Database

T = TypeVar("T")

_READING: Final = frozenset({Scope.IMAP, Scope.POP3, Scope.API})
_ALL_UIDS: Final[Ranges] = ((1, 2**32 - 1),)
