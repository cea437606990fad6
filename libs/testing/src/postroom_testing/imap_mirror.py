"""What an IMAP client knows of its mailbox from what it was told alone, and whether that can be.

A mirror follows every response. It raises `AssertionError` for one that no history of the mailbox explains:
numbers that do not fit EXISTS and EXPUNGE, UIDs that do not ascend, a MODSEQ that goes back, an EXPUNGE where
it may not come. `Told` is shared by the mirrors of some accounts: what two of them hear must fit, too.
"""

import re
from collections.abc import Iterable

from postroom_testing.imap_client import Answer, ImapClient
from postroom_testing.imap_memory import Cache, Flags, HeardFlags, Place, Told, literal, uid_set, uids_of

_RECENT = re.compile(rb"\* (\d+) RECENT")
_EXISTS = re.compile(rb"\* (\d+) EXISTS")
_EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE")
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)")
_FETCH = re.compile(rb"\* (\d+) (UID)?FETCH \(")
_UID = re.compile(rb"[( ]UID (\d+)")
_FLAGS = re.compile(rb"[( ]FLAGS \(([^)]*)\)")
_MODSEQ = re.compile(rb"[( ]MODSEQ \((\d+)\)")
_CODE = re.compile(rb"OK \[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]")
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_NO_EXPUNGES = re.compile(r"(FETCH|STORE|SEARCH|SORT|THREAD) ")


class Mirror:
    """One client at one connection, and whose it is."""

    def __init__(self, client: ImapClient, told: Told, user: str = "") -> None:
        self.client, self.told, self.user = client, told, user
        self.qresync = self.condstore = self.rev2 = self.uid_only = False
        self._forget()

    def _forget(self) -> None:
        self.selected = False
        self.read_only = False
        self.box = ""
        self.selection = object()
        """This one time that the mailbox is selected, which is what \\Recent is about."""
        self.recent_count = 0
        self.heard_flags: list[HeardFlags] = []
        """All that was told since somebody cleared it, in its order."""
        self.uids: list[int | None] = []
        self.flags: dict[int, Flags] = {}
        self.modseqs: dict[int, int] = {}
        self.uid_validity = self.uid_next = self.modseq = 0
        self.gone: set[int] = set()
        self._told_modseq = 0
        self._told_highest: int | None = None
        self._news: set[int] = set()
        self.heard: set[int] = set()
        """The UIDs whose flags the last command told."""
        self._cached: Cache | None = None
        self._counted = False
        self._vanished_earlier: set[int] = set()

    @property
    def place(self) -> Place:
        """The selected mailbox."""
        return Place(self.box, self.uid_validity)

    @property
    def cache(self) -> Cache | None:
        """What it would keep now; None where it does not know all UIDs."""
        if not self.selected or not self.modseq or None in self.uids:
            return None
        uids = [uid for uid in self.uids if uid is not None]
        flags = {uid: self.flags[uid] for uid in uids if uid in self.flags}
        return Cache(self.uid_validity, self.modseq, flags, uids, self.box)

    async def enable(self, way: str) -> None:
        """ENABLE these capabilities; none for a client of IMAP4rev1 alone."""
        if not way:
            return
        names = way.split()
        assert f"* ENABLED {way}".encode() in await self.client.ok(f"ENABLE {way}")
        self.qresync, self.uid_only, self.rev2 = (
            name in names for name in ("QRESYNC", "UIDONLY", "IMAP4rev2")
        )
        self.condstore = self.qresync or "CONDSTORE" in names

    async def select(
        self, name: str, *, read_only: bool = False, cache: Cache | None = None, box: str | None = None
    ) -> Answer:
        """SELECT or EXAMINE, with what it kept of the mailbox; `box` is its name for all."""
        box = name if box is None else box
        parameters = ""
        if cache is not None:
            known = f" {uid_set(cache.uids)}" if cache.names_uids else ""
            parameters = f" (QRESYNC ({cache.uid_validity} {cache.modseq}{known}))"
        elif self.condstore:
            parameters = " (CONDSTORE)"
        was_selected = self.selected
        if not was_selected:
            self._begin(cache, box, read_only=read_only)
        tag = self.client.send_command(f"{'EXAMINE' if read_only else 'SELECT'} {name}{parameters}")
        untagged: list[bytes] = []
        while not (response := await self.client.response()).startswith(tag + b" "):
            untagged.append(response)
            if b"[CLOSED]" in response:
                assert was_selected, "CLOSED, but nothing was selected"
                self._begin(cache, box, read_only=read_only)
            else:
                self._hear(response)
        answer = Answer(untagged, response)
        if not answer.ok:
            self._forget()
            return answer
        assert any(b"[CLOSED]" in each for each in untagged) == was_selected
        try:
            self._settle_cache(quiet=True)
        except AssertionError as error:
            raise AssertionError(f"{error} after {cache}: {answer}") from error
        self._end_of_command(answer)
        await self.fill()
        return answer

    async def command(self, text: str) -> Answer:
        """Any other command; what came is taken over, and UIDs of new messages are asked for."""
        answer = await self.hear_answer(self.client.send_command(text), text)
        self.heard = set(self._news)
        await self.fill()
        return answer

    async def append(self, name: str, octets: bytes, flags: str) -> Answer:
        """APPEND."""
        return await self.send_messages(f"APPEND {name} ".encode() + literal(octets, flags))

    async def send_messages(self, command: bytes) -> Answer:
        """APPEND or REPLACE with its literals."""
        answer = await self.hear_answer(self.client.send_command(command), "")
        self.heard = set(self._news)
        await self.fill()
        return answer

    async def hear_answer(self, tag: bytes, text: str) -> Answer:
        """All that comes until the tagged response."""
        untagged: list[bytes] = []
        self._news.clear()
        while not (response := await self.client.response()).startswith(tag + b" "):
            untagged.append(response)
            if response.startswith(b"* BYE"):
                raise EOFError(response)
            if _NO_EXPUNGES.match(text):  # RFC 3501 s7.4.1
                assert not _EXPUNGE.fullmatch(response), f"{response!r} in {text}"
                assert not response.startswith(b"* VANISHED ") or b"EARLIER" in response, f"{response!r}"
            self._hear(response)
        answer = Answer(untagged, response)
        self._end_of_command(answer)
        return answer

    async def fill(self) -> None:
        """Ask for the UIDs of new messages; by numbers, so that these do not change under it."""
        if self.uid_only:
            await self._fill_uids()
            return
        while None in self.uids:
            first, last = self.uids.index(None) + 1, len(self.uids)
            text = f"FETCH {first}:{last} (UID FLAGS)"
            answer = await self.hear_answer(self.client.send_command(text), text)
            assert answer.ok == (None not in self.uids[first - 1 : last]), answer
            if not answer.ok:
                assert b"[EXPUNGEISSUED]" in answer.tagged, answer
                return

    async def _fill_uids(self) -> None:
        """Without numbers; what was gone before is told by the same answer."""
        while None in self.uids:
            text = "UID FETCH 1:* (FLAGS)"
            answer = await self.hear_answer(self.client.send_command(text), text)
            assert answer.ok, answer

    def stored(self, uids: Iterable[int], mode: str, flags: Flags) -> None:
        """What a silent STORE did, of which nothing was told."""
        for uid in uids:
            if uid in self.flags and uid not in self.heard:
                have = self.flags[uid]
                self.flags[uid] = {"+": have | flags, "-": have - flags, "": flags}[mode]

    def forget(self) -> None:
        """The mailbox was left."""
        self._forget()

    def _begin(self, cache: Cache | None, box: str, *, read_only: bool) -> None:
        self._forget()
        self.selected, self.read_only, self.box = True, read_only, box
        self._cached = cache

    def _hear(self, response: bytes) -> None:
        if found := _CODE.search(response):
            self._hear_code(found[1], int(found[2]))
        if not self.selected:
            assert not re.match(rb"\* (\d+ |VANISHED)", response), f"{response!r}, nothing is selected"
        elif found := _EXISTS.fullmatch(response):
            assert int(found[1]) >= len(self.uids), f"{response!r} after {len(self.uids)}"
            if self._counted:
                self._settle_cache()
            self._counted = True
            self.uids += [None] * (int(found[1]) - len(self.uids))
        elif found := _EXPUNGE.fullmatch(response):
            assert not self.qresync, f"{response!r} with QRESYNC"
            assert not self.uid_only, f"{response!r} with UIDONLY"
            assert 1 <= int(found[1]) <= len(self.uids), f"{response!r} of {len(self.uids)}"
            self._lose(int(found[1]) - 1)
        elif found := _VANISHED.fullmatch(response):
            assert self.qresync or self.uid_only, f"{response!r} without QRESYNC or UIDONLY"
            self._hear_vanished(uids_of(found[2]), earlier=found[1] is not None)
        elif found := _FETCH.match(response):
            assert (found[2] is not None) == self.uid_only, f"{response!r}"
            number = int(found[1])
            self._hear_fetch(self._number(number) if self.uid_only else number, response)
        elif found := _RECENT.fullmatch(response):
            assert not self.rev2, "RECENT with IMAP4rev2"
            self.recent_count = int(found[1])
            assert self.recent_count <= len(self.uids), f"{response!r} of {len(self.uids)}"

    def _hear_code(self, name: bytes, value: int) -> None:
        match name:
            case b"UIDVALIDITY":
                self.uid_validity = value
            case b"UIDNEXT":
                self.uid_next = value
            case _:
                self._told_highest = value

    def _hear_vanished(self, uids: list[int], *, earlier: bool) -> None:
        if earlier:
            assert not set(uids) & set(self.uids), f"VANISHED (EARLIER) of {uids}, which are there"
            self._vanished_earlier.update(uids)
            return
        self._settle_cache()
        for uid in uids:
            assert uid not in self.gone, f"UID {uid} vanishes twice"
            at = self._place(uid)
            assert at is not None, f"UID {uid} vanishes and was never here"
            self.gone.add(uid)
            self._lose(at)

    def _place(self, uid: int) -> int | None:
        """Where the UID is, or the message there of which nothing is known that must be it."""
        if uid in self.uids:
            return self.uids.index(uid)
        if self.uid_only:
            return self.uids.index(None) if None in self.uids else None
        last_below = max(
            (at for at, own in enumerate(self.uids) if own is not None and own < uid), default=-1
        )
        at = last_below + 1
        return at if at < len(self.uids) and self.uids[at] is None else None

    def _lose(self, at: int) -> None:
        uid = self.uids.pop(at)
        if uid is not None:
            self.gone.add(uid)
            self.flags.pop(uid, None)

    def _number(self, uid: int) -> int:
        """Of a message that was told by its UID: those of which nothing is known come last."""
        if uid not in self.uids:
            assert None in self.uids, f"UID {uid} is not there"
            assert uid not in self.gone, f"UID {uid} is back"
            self.uids.remove(None)
            unknown = self.uids.count(None)
            self.uids = [*sorted([uid, *(own for own in self.uids if own is not None)]), *[None] * unknown]
        return self.uids.index(uid) + 1

    def _hear_fetch(self, number: int, response: bytes) -> None:
        assert 1 <= number <= len(self.uids), f"{response!r} of {len(self.uids)}"
        head = _without_literals(response)
        uid = self.uids[number - 1]
        if found := _UID.search(head):
            assert uid in {None, int(found[1])}, f"{response!r}, which is UID {uid}"
            uid = int(found[1])
            if self.uids[number - 1] is None:
                self._name(number - 1, uid)
        modseq = int(found[1]) if (found := _MODSEQ.search(head)) else None
        if modseq is not None:
            assert self.condstore, f"{response!r} without CONDSTORE"
            self._told_modseq = max(self._told_modseq, modseq)
        flags = None
        recent = False
        if found := _FLAGS.search(head):
            flags = frozenset(found[1].decode("ascii").split())
            recent, flags = "\\Recent" in flags, flags - {"\\Recent"}
        if uid is None:
            return
        if recent and not self.read_only:  # who only examines takes nothing away
            self.told.hear_recent(self.selection, self.place, uid)
        if modseq is not None:
            assert modseq >= self.modseqs.get(uid, 0), f"{response!r} after {self.modseqs[uid]}"
            self.modseqs[uid] = modseq
        if flags is not None:
            self._news.add(uid)
            self.flags[uid] = flags
            self.heard_flags.append(HeardFlags(uid, flags, recent))
            if modseq is not None:
                self.told.hear(self.user, self.place, uid, modseq, flags)

    def _name(self, at: int, uid: int) -> None:
        """A number's UID is known from now on."""
        below = max((own for own in self.uids[:at] if own is not None), default=0)
        above = min((own for own in self.uids[at:] if own is not None), default=2**32)
        assert below < uid < above, f"UID {uid} between {below} and {above}"
        assert uid not in self.gone, f"UID {uid} is back"
        self.uids[at] = uid

    def _settle_cache(self, *, quiet: bool = False) -> None:
        """What is left of the messages that it kept comes first; new ones follow (s3.2.5).

        All of them were told where nothing happened meanwhile, unless it asked for some UIDs alone.
        """
        cache, self._cached = self._cached, None
        if cache is None or cache.uid_validity != self.uid_validity:
            return
        kept = sorted(set(cache.uids) - self._vanished_earlier)
        assert len(kept) <= len(self.uids), f"{kept} for {len(self.uids)} messages"
        if self.uid_only:
            known = sorted({*kept, *(uid for uid in self.uids if uid is not None)})
            assert len(known) <= len(self.uids), f"{known} for {len(self.uids)} messages"
            self.uids = [*known, *[None] * (len(self.uids) - len(known))]
        for at, uid in enumerate(kept):
            if not self.uid_only:
                assert self.uids[at] in {None, uid}, f"{kept} is not {self.uids}"
                self.uids[at] = uid
            if uid in cache.flags:
                self.flags.setdefault(uid, cache.flags[uid])
        assert None not in self.uids or cache.names_uids or not quiet, f"{self.uids} is all that was told"

    def _end_of_command(self, answer: Answer) -> None:
        """HIGHESTMODSEQ as told, or as reckoned from what was told (s6)."""
        if found := _CODE.search(answer.tagged):
            self._hear_code(found[1], int(found[2]))
        if self._told_highest is not None:
            self.modseq = self._told_highest
        elif self.condstore:
            self.modseq = max(self.modseq, self._told_modseq)
        self._told_highest, self._told_modseq = None, 0


def _without_literals(response: bytes) -> bytes:
    """What a server says about a message, without the octets of it."""
    kept = b""
    while found := _LITERAL.search(response):
        kept += response[: found.start()]
        response = response[found.end() + int(found[1]) :]
    return kept + response
