"""What one IMAP session is in the middle of; every command's function gets it."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from uuid import UUID

from mail_access.imap.compressing import Inflater
from mail_access.imap.notification import Notification
from mail_access.imap.output import Output
from mail_access.imap.refusals import NO_MAILBOX, UID_REQUIRED, CommandRefusedError
from mail_access.login import Login, LoginEndedError
from mail_access.open_mailbox import OpenMailbox, Reader
from mail_access.resources import Resources
from mail_access.views import Place
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MailboxNotFoundError, PostroomError
from postroom_contracts.ids import parse_id
from postroom_runtime.logs import log
from postroom_runtime.tcp import Connection
from postroom_wire.imap.acl import ALL_RIGHTS, Rights
from postroom_wire.imap.commands import Command
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.errors import Refusal, Tag
from postroom_wire.imap.flags import FlagNames
from postroom_wire.imap.limits import DEFAULT_LIMITS, Limits
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.search_context import SearchContext
from postroom_wire.imap.sequence import NumberRanges
from postroom_wire.imap.session import ServerSession
from postroom_wire.imap.state import uses_message_numbers
from postroom_wire.imap.view import SessionView
from postroom_wire.sasl import Mechanism

MAX_FAILED_LOGINS: Final = 3
_OWN_MODSEQS: Final = 64


@dataclass(frozen=True, slots=True)
class Done:
    """A command ended with OK.

    `expunged`: messages went, so HIGHESTMODSEQ is due in the tagged OK (RFC 7162 s3.2.7). `limited` is the
    code MESSAGELIMIT, which gives way to any other (RFC 9738 s3.1).
    """

    text: bytes
    code: bytes | None = None
    expunged: bool = False
    limited: bytes | None = None


class SessionEndError(Exception):
    """The session ends; `bye` is the last word, if there may be one."""

    def __init__(self, bye: bytes = b"") -> None:
        super().__init__(bye.decode("ascii"))
        self.bye = bye


@dataclass(slots=True)
class Selected:
    """The mailbox that a session has selected."""

    place: Place
    """Left with the mailbox."""
    read_only: bool
    names: FlagNames
    """The flags that the client was told of."""
    recent: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    client_modseq: int | None = None
    """The client's HIGHESTMODSEQ as it reckons it (RFC 7162 s6); None before it has one."""
    told_modseq: int = 0
    """The highest MODSEQ that a FETCH response told since."""
    claims_recent: bool = False
    """New messages were told of whose \\Recent is still to be claimed."""
    deleted_here: bool = False
    """This session itself deleted the mailbox."""
    contexts: dict[Tag, SearchContext] = field(default_factory=dict[Tag, SearchContext])
    """Searches whose changes are told, by the tags of their commands (RFC 5267 s4.3)."""
    rights: Rights = ALL_RIGHTS
    """The user's there (RFC 4314)."""
    unfetched: int | None = None
    """From this UID on the client still waits for what NOTIFY has asked for of new messages."""

    @property
    def mailbox(self) -> OpenMailbox:
        """The view that all its sessions share."""
        return self.place.mailbox

    @property
    def reader(self) -> Reader:
        """This session's part in it."""
        return self.place.reader

    @property
    def login(self) -> Login:
        """The user where the mailbox is kept, at home or as a guest."""
        return self.reader.login

    @property
    def keeps_seen(self) -> bool:
        """Whether reading a message marks it as seen."""
        return not self.read_only and bool(self.rights & Rights.SEEN)

    @property
    def view(self) -> SessionView:
        """The session's sequence numbers."""
        return self.reader.view

    def is_recent(self, uid: int) -> bool:
        """Whether this message is \\Recent to this session."""
        return any(first <= uid <= last for first, last in self.recent)

    def flag_list(self, uid: int, word: int) -> str:
        """The flags of a message as this session sees them."""
        flags = self.mailbox.names.flag_list(word)
        if self.recent and self.is_recent(uid):
            return "(\\Recent)" if flags == "()" else flags[:-1] + " \\Recent)"
        return flags

    def flag_lists(self, uids: Sequence[int], words: Sequence[int]) -> list[str]:
        """The same of many messages by ascending UID."""
        if any(first <= uids[-1] and uids[0] <= last for first, last in self.recent):
            return [self.flag_list(uid, word) for uid, word in zip(uids, words, strict=True)]
        known = {word: self.mailbox.names.flag_list(word) for word in set(words)}
        return [known[word] for word in words]

    def uids(self, numbers: NumberRanges) -> tuple[list[int], bool]:
        """The UIDs of these sequence numbers that are not gone, and whether some are."""
        found: list[int] = []
        gone = False
        for run in self.view.runs(numbers):
            if run.start is None:
                gone = True
            else:
                found.extend(run.uids)
        return found, gone


class Context:
    """One session."""

    __slots__ = (
        "_found",
        "_login",
        "_own_modseqs",
        "connection",
        "enabled",
        "engine",
        "failed_logins",
        "inflater",
        "notification",
        "output",
        "progress",
        "resources",
        "selected",
    )

    def __init__(self, connection: Connection, resources: Resources) -> None:
        self.connection = connection
        self.resources = resources
        settings = resources.settings
        self.engine = ServerSession(_limits(settings.append_octets, settings.message_limit))
        self.output = Output(connection)
        self.selected: Selected | None = None
        self.enabled: frozenset[Extension] = frozenset()
        """What ENABLE, or a command that implies it, switched on (RFC 5161, RFC 7162 s3.1)."""
        self.inflater: Inflater | None = None
        """There is one while COMPRESS is active (RFC 4978)."""
        self.failed_logins = 0
        self.progress: tuple[int | None, int | None] = (None, None)
        """How many messages the present command has done, and of how many (RFC 9585)."""
        self.notification: Notification | None = None
        """What NOTIFY has set, once it was used (RFC 5465)."""
        self._own_modseqs: deque[tuple[UUID, int]] | None = None
        self._login: Login | None = None
        self._found: tuple[MailboxName, bytes] | None = None

    @property
    def login(self) -> Login:
        """The user. Raises `LoginEndedError` before the login, which the engine's states prevent."""
        if self._login is None:
            raise LoginEndedError
        return self._login

    @property
    def reading(self) -> Login:
        """The user as the selected mailbox has it."""
        return self.login if self.selected is None else self.selected.login

    @property
    def logged_in(self) -> bool:
        """Whether there is a user."""
        return self._login is not None

    @property
    def utf8(self) -> bool:
        """Whether mailbox names go in UTF-8 (RFC 6855 s3, RFC 9051 s5.1)."""
        return not self.enabled.isdisjoint({Extension.IMAP4REV2, Extension.UTF8_ACCEPT})

    @property
    def uid_only(self) -> bool:
        """Whether messages have no numbers but their UIDs (RFC 9586)."""
        return Extension.UIDONLY in self.enabled

    @property
    def hears_more(self) -> bool:
        """Whether `hear` has more for the engine than what came."""
        return self.inflater is not None and self.inflater.has_more

    def hear(self, octets: bytes) -> None:
        """Let the engine have what came, inflated. Raises `DeflateError`."""
        self.engine.receive_data(octets if self.inflater is None else self.inflater.inflate(octets))

    def check_numbers(self, command: Command) -> None:
        """Raises `CommandRefusedError` for message numbers where only UIDs are in use."""
        if self.uid_only and uses_message_numbers(command):
            raise CommandRefusedError(UID_REQUIRED)

    @property
    def tells_recent(self) -> bool:
        """Whether the client is told of \\Recent, which IMAP4rev2 does not have (RFC 9051)."""
        return Extension.IMAP4REV2 not in self.enabled

    @property
    def is_private(self) -> bool:
        """Whether somebody may log in over this connection: TLS, or the same machine."""
        return self.connection.tls or self.connection.peer.is_loopback

    @property
    def takes_passwords(self) -> bool:
        """Whether LOGIN would work."""
        return self.is_private and Mechanism.PLAIN in self.resources.settings.sasl_mechanisms

    @property
    def offers_tls(self) -> bool:
        """Whether STARTTLS would work."""
        return self.resources.tls is not None and not self.connection.tls

    def log_in(self, login: Login) -> None:
        """Go on as this user."""
        self._login = login
        login.wake = self.connection.wake

    def require_selected(self) -> Selected:
        """The selected mailbox. Raises `CommandRefusedError` when there is none any more."""
        if self.selected is None or self.selected.mailbox.gone:
            raise CommandRefusedError(NO_MAILBOX)
        return self.selected

    async def leave(self) -> None:
        """Leave the selected mailbox, if any."""
        selected, self.selected = self.selected, None
        if selected is not None:
            await selected.place.leave()

    async def log_out(self) -> None:
        """Forget the user and all that was enabled (RFC 8437 s4.1)."""
        notification, self.notification = self.notification, None
        if notification is not None:
            await notification.end()
        await self.leave()
        if self._login is not None:
            self.resources.logins.log_out(self._login)
        self._login = self._found = None
        self.enabled = frozenset()
        self._own_modseqs = None

    async def end(self) -> None:
        """Give everything back."""
        await self.log_out()

    async def find(self, name: MailboxName, missing: Refusal = NO_MAILBOX) -> tuple[mailbox_pb2.Mailbox, int]:
        """The mailbox of that name as it is now, and the account's MODSEQ.

        Raises `CommandRefusedError` with `missing`.
        """
        try:
            found = await self.resources.store.find_mailbox(self.login, name.value)
        except MailboxNotFoundError:
            self._found = None
            raise CommandRefusedError(missing) from None
        self._found = name, found.mailbox.id
        return found.mailbox, found.modseq

    def found_last(self, name: MailboxName) -> bytes | None:
        """The id of the mailbox of that name when it was the last that was found.

        It may have another name by now, so whoever uses it has the store look.
        """
        return self._found[1] if self._found is not None and self._found[0] == name else None

    def wrote(self, modseq: int, account_id: UUID | None = None) -> None:
        """This session made that change of an account, the user's own for None: it is not told of it unasked.

        Only the last ones are kept, and none where nothing is told unasked.
        """
        if self.notification is None and (self.selected is None or not self.selected.contexts):
            return
        if self._own_modseqs is None:
            self._own_modseqs = deque(maxlen=_OWN_MODSEQS)
        self._own_modseqs.append((account_id or self.login.account_id, modseq))

    def has_written(self, modseq: int, account_id: UUID) -> bool:
        """Whether this session made that change, as far as is known."""
        return self._own_modseqs is not None and (account_id, modseq) in self._own_modseqs

    async def caught_up(self, mailbox_id: bytes, modseq: int, account_id: UUID | None = None) -> None:
        """Own writes are seen: what this process has open of the account comes up to this MODSEQ.

        The session's own mailbox does so before the tagged OK. When it cannot, the write still stands: a NO
        would have the client do it again. `account_id` where it is not the one of the selected mailbox.
        """
        self.wrote(modseq, account_id or self.reading.account_id)
        self.resources.mailboxes.hint(account_id or self.reading.account_id, modseq)
        if self.selected is not None and self.selected.mailbox.id == id_of(mailbox_id):
            try:
                await self.selected.mailbox.refresh(self.reading, modseq)
            except PostroomError as error:
                log.warning("own_write_not_seen", error=error.name)


@cache
def _limits(append_octets: int, message_limit: int) -> Limits:
    """One for all sessions, of which many are idle."""
    messages = min(message_limit, DEFAULT_LIMITS.max_append_messages)
    return Limits(append_limit=append_octets, max_append_messages=messages)


def id_of(octets: bytes) -> UUID:
    """An id of the contract."""
    return parse_id(octets)


def chunks(numbers: NumberRanges, size: int) -> Iterable[NumberRanges]:
    """The same numbers in sets of at most `size`, ascending."""
    gathered: list[tuple[int, int]] = []
    room = size
    for first, last in numbers.ranges:
        while first <= last:
            end = min(last, first + room - 1)
            gathered.append((first, end))
            room -= end - first + 1
            first = end + 1
            if not room:
                yield NumberRanges(tuple(gathered))
                gathered, room = [], size
    if gathered:
        yield NumberRanges(tuple(gathered))
