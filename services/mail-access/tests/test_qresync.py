"""QRESYNC (RFC 7162 s3.2): what a client that was away is told, and what it is told while it is there."""

import asyncio
import re
from random import Random

import asyncpg
import pytest

from postroom_embedded.postgres import PostgresAddress
from postroom_testing.imap_client import Answer, Connect, ImapClient
from postroom_testing.imap_memory import uids_of

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


class Cache:
    """A disconnected client as RFC 7162 s6 has it: what it knows of INBOX, and its HIGHESTMODSEQ."""

    def __init__(self) -> None:
        self.uid_validity = self.modseq = 0
        self.flags: dict[int, frozenset[bytes]] = {}
        self.numbers: list[int | None] = []
        """The UID of each message number in the present session, as far as it is known."""
        self.stores = b"\\Answered"
        """What this client sets without asking for the outcome."""
        self._told = 0

    def hear(self, line: bytes) -> None:
        """One untagged response."""
        if found := re.match(rb"\* OK \[UIDVALIDITY (\d+)\]", line):
            if int(found[1]) != self.uid_validity:
                self.flags.clear()
            self.uid_validity = int(found[1])
        elif found := re.match(rb"\* OK \[HIGHESTMODSEQ (\d+)\]", line):
            self.modseq, self._told = int(found[1]), 0
        elif found := re.fullmatch(rb"\* (\d+) EXISTS", line):
            assert int(found[1]) >= len(self.numbers)
            self.numbers += [None] * (int(found[1]) - len(self.numbers))
        elif found := re.fullmatch(rb"\* VANISHED( \(EARLIER\))? ([\d:,]+)", line):
            self._vanished(uids_of(found[2]), earlier=found[1] is not None)
        elif b" EXPUNGE" in line and line.startswith(b"* "):
            raise AssertionError(f"EXPUNGE after ENABLE QRESYNC: {line!r}")
        elif b" FETCH (" in line:
            self._fetched(line)

    def end(self, tagged: bytes) -> None:
        """A tagged response: only now the client reckons with the MODSEQs that it was told (s6)."""
        if found := re.search(rb"\[HIGHESTMODSEQ (\d+)\]", tagged):
            self.modseq, self._told = int(found[1]), 0
        self.modseq, self._told = max(self.modseq, self._told), 0

    def leave(self) -> None:
        """The connection is lost."""
        self.numbers, self._told = [], 0

    def _vanished(self, uids: list[int], *, earlier: bool) -> None:
        for uid in uids:
            self.flags.pop(uid, None)
            if earlier:
                assert uid not in self.numbers
                continue
            # s3.2.10.2: each one is a message that this session was told of
            known = [at for at, each in enumerate(self.numbers) if each == uid]
            if known:
                del self.numbers[known[0]]
            else:
                del self.numbers[self.numbers.index(None)]

    def _fetched(self, line: bytes) -> None:
        found = re.fullmatch(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)", line)
        silent = re.fullmatch(rb"\* (\d+) FETCH \(UID (\d+) MODSEQ \((\d+)\)\)", line)
        if silent is not None:  # the client's own change, which it knows
            self._told = max(self._told, int(silent[3]))
            uid = int(silent[2])
            if uid in self.flags:
                self.flags[uid] |= {self.stores}
            return
        assert found is not None, line
        uid = int(found[2])
        assert self.numbers[int(found[1]) - 1] in {None, uid}
        self.numbers[int(found[1]) - 1] = uid
        self.flags[uid] = frozenset(found[3].split()) - {b"\\Recent"}
        self._told = max(self._told, int(found[4]))


class Client:
    """A session that keeps a cache up to date."""

    def __init__(self, client: ImapClient, cache: Cache) -> None:
        self.client, self.cache = client, cache

    @classmethod
    async def connect(cls, connect: Connect, cache: Cache) -> "Client":
        client = await connect()
        assert await client.ok("ENABLE QRESYNC") == [b"* ENABLED QRESYNC"]
        return cls(client, cache)

    async def command(self, text: str | bytes) -> Answer:
        answer = await self.client.command(text)
        for line in answer.untagged:
            self.cache.hear(line)
        self.cache.end(answer.tagged)
        return answer

    async def resynchronize(self, mailbox: str = "INBOX") -> Answer:
        """SELECT with what is known, then what is new."""
        cache = self.cache
        cache.leave()
        known = f" (QRESYNC ({cache.uid_validity} {cache.modseq}))" if cache.uid_validity else ""
        answer = await self.command(f"SELECT {mailbox}{known}")
        assert answer.ok, answer
        last = max(cache.flags, default=0)
        if known:
            assert (await self.command(f"UID FETCH {last + 1}:* (FLAGS MODSEQ)")).ok
        else:
            assert (await self.command("UID FETCH 1:* (FLAGS MODSEQ)")).ok
        return answer


async def filled(connect: Connect, count: int) -> ImapClient:
    client = await connect()
    for _ in range(count):
        await client.append("INBOX", MAIL)
    await client.ok("SELECT INBOX")
    return client


async def expunge(client: ImapClient, uids: str) -> None:
    await client.ok(f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
    await client.ok(f"UID EXPUNGE {uids}")


async def forget_journal(database: PostgresAddress) -> None:
    """As if the journal had been cut off now."""
    connection = await asyncpg.connect(database.url("mailstore"))
    try:
        await connection.execute("UPDATE mailstore.account_state SET change_floor = modseq + 1")
    finally:
        await connection.close()


def vanished(answer: Answer) -> list[bytes]:
    return [line for line in answer.untagged if b"VANISHED" in line]


async def known_state(connect: Connect, count: int = 6) -> tuple[ImapClient, int, int]:
    """Another session at INBOX, UIDVALIDITY and HIGHESTMODSEQ of now."""
    other = await filled(connect, count)
    lines = b"\n".join(await other.ok("SELECT INBOX"))
    found = re.findall(rb"\[(?:UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]", lines)
    return other, int(found[0]), int(found[1])


async def test_a_client_that_comes_back_is_told_what_it_missed(imap: Connect) -> None:
    """RFC 7162 s3.2.5.1."""
    other, validity, modseq = await known_state(imap)
    await other.ok("UID STORE 2 +FLAGS.SILENT (\\Flagged)")
    await expunge(other, "4:5")
    await other.append("INBOX", MAIL)
    client = await Client.connect(imap, Cache())
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq}))")
    assert answer.text == b"OK [READ-WRITE] SELECT completed"
    told = answer.untagged
    assert told.index(b"* 5 EXISTS") < told.index(b"* VANISHED (EARLIER) 4:5")
    fetched = [line for line in told if b"FETCH" in line]
    assert told.index(b"* VANISHED (EARLIER) 4:5") < told.index(fetched[0])
    assert [re.match(rb"\* (\d+) FETCH \(UID (\d+)", line).groups() for line in fetched] == [  # type: ignore[union-attr]
        (b"2", b"2"),
        (b"5", b"7"),
    ]


async def test_only_known_uids_are_told_of(imap: Connect) -> None:
    other, validity, modseq = await known_state(imap)
    await other.ok("UID STORE 1:3 +FLAGS.SILENT (\\Flagged)")
    await expunge(other, "4:6")
    client = await Client.connect(imap, Cache())
    answer = await client.command(f"EXAMINE INBOX (QRESYNC ({validity} {modseq} 2,5:90))")
    assert vanished(answer) == [b"* VANISHED (EARLIER) 5:6"]
    assert [line[:18] for line in answer.untagged if b"FETCH" in line] == [b"* 2 FETCH (UID 2 F"]


async def test_nothing_is_told_of_other_uids(imap: Connect) -> None:
    """Another UIDVALIDITY: RFC 7162 s3.2.5."""
    other, validity, modseq = await known_state(imap)
    await expunge(other, "4:6")
    client = await Client.connect(imap, Cache())
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity + 1} {modseq}))")
    assert answer.ok
    assert not [line for line in answer.untagged if b"VANISHED" in line or b"FETCH" in line]


async def test_who_is_up_to_date_is_told_nothing(imap: Connect) -> None:
    _, validity, modseq = await known_state(imap)
    client = await Client.connect(imap, Cache())
    for known in (modseq, modseq + 1_000_000, 2**63 - 1):
        answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {known}))")
        assert not [line for line in answer.untagged if b"VANISHED" in line or b"FETCH" in line]


async def test_what_came_and_went_meanwhile_may_be_told_and_harms_nothing(imap: Connect) -> None:
    other, validity, modseq = await known_state(imap, 2)
    await other.append("INBOX", MAIL)
    await expunge(other, "3")
    client = await Client.connect(imap, Cache())
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq} 1:2))")
    assert vanished(answer) == []
    assert b"* 2 EXISTS" in answer.untagged


async def test_below_the_floor_of_the_journal_what_is_not_there_has_vanished(
    own_imap: Connect, own_database: PostgresAddress
) -> None:
    other, validity, modseq = await known_state(own_imap)
    await expunge(other, "2,4:5")
    await forget_journal(own_database)
    client = await Client.connect(own_imap, Cache())
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq}))")
    assert vanished(answer) == [b"* VANISHED (EARLIER) 2,4:5"]
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq} 1:4294967295))")
    assert vanished(answer) == [b"* VANISHED (EARLIER) 2,4:5"]
    # s3.2.5.2: the second message is UID 3, so the client knows of all expunges up to there.
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq} 1:6 (1:2,4 1,3,6)))")
    assert vanished(answer) == [b"* VANISHED (EARLIER) 4:5"] or vanished(answer) == []
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq} 1:6 (1:2 1,3)))")
    assert vanished(answer) == [b"* VANISHED (EARLIER) 4:5"]
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq} (3 6)))")
    assert vanished(answer) == []


async def test_sequence_matches_shorten_what_is_told(imap: Connect) -> None:
    other, validity, modseq = await known_state(imap)
    await expunge(other, "2,5")
    client = await Client.connect(imap, Cache())
    answer = await client.command(f"SELECT INBOX (QRESYNC ({validity} {modseq} 1:6 (2,4 3,5)))")
    assert vanished(answer) == [b"* VANISHED (EARLIER) 5"]


async def test_vanished_stands_for_expunge_in_every_command(imap: Connect) -> None:
    other, _, _ = await known_state(imap, 8)
    client = await Client.connect(imap, Cache())
    await client.command("SELECT INBOX")
    await client.command("UID FETCH 1:* (FLAGS MODSEQ)")
    await expunge(other, "1:2")
    assert vanished(await client.command("NOOP")) == [b"* VANISHED 1:2"]
    await client.command("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
    own = await client.command("EXPUNGE")
    assert vanished(own) == [b"* VANISHED 3,5"]
    assert re.fullmatch(rb"OK \[HIGHESTMODSEQ \d+\] EXPUNGE completed", own.text)
    moved = await client.command("UID MOVE 6 Archive")
    assert vanished(moved) == [b"* VANISHED 6"]
    assert re.fullmatch(rb"OK \[HIGHESTMODSEQ \d+\] MOVE completed", moved.text)
    await client.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert vanished(await client.command("UID EXPUNGE 1:*")) == [b"* VANISHED 4"]
    tag = client.client.send_command("IDLE")
    assert await client.client.response() == b"+ idling"
    await expunge(other, "7")
    heard = [await client.client.response() for _ in range(2)]
    assert heard[0].startswith(b"* 1 FETCH") or b"VANISHED 7" in heard[0]
    client.client.send(b"DONE\r\n")
    rest = await client.client.answer(tag)
    assert b"* VANISHED 7" in [*heard, *rest.untagged]
    closed = await client.command("CLOSE")
    assert closed.text == b"OK CLOSE completed"


async def test_vanished_waits_where_message_numbers_are_used(imap: Connect) -> None:
    """RFC 7162 s3.2.10.2."""
    other, _, _ = await known_state(imap, 4)
    client = await Client.connect(imap, Cache())
    await client.command("SELECT INBOX")
    await client.command("UID FETCH 1:* (FLAGS MODSEQ)")
    await expunge(other, "1")
    for command in (
        "FETCH 2 (UID FLAGS MODSEQ)",
        "STORE 2 +FLAGS (\\Seen)",
        "SEARCH ALL",
        "UID SEARCH 2:3",
        "UID SEARCH OR NOT 2 SEEN",
    ):
        assert vanished(await client.command(command)) == [], command
    assert vanished(await client.command("UID SEARCH ALL")) == [b"* VANISHED 1"]
    await expunge(other, "2")
    assert vanished(await client.command("UID FETCH 3 (FLAGS MODSEQ)")) == [b"* VANISHED 2"]
    await expunge(other, "3")
    assert vanished(await client.command("UID STORE 4 +FLAGS (\\Seen)")) == [b"* VANISHED 3"]


async def test_uid_fetch_tells_what_vanished_since(imap: Connect) -> None:
    """RFC 7162 s3.2.6."""
    other, _, modseq = await known_state(imap, 9)
    await expunge(other, "2:3")
    await other.ok("UID STORE 5 +FLAGS.SILENT (\\Flagged)")
    await expunge(other, "9")
    client = await Client.connect(imap, Cache())
    await client.command("SELECT INBOX")
    answer = await client.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
    assert answer.untagged[0] == b"* VANISHED (EARLIER) 2:3,9"
    assert len(answer.untagged) == 2
    assert answer.untagged[1].startswith(b"* 3 FETCH (UID 5 FLAGS (\\Flagged")
    some = await client.command(f"UID FETCH 3:4 (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
    assert some.untagged == [b"* VANISHED (EARLIER) 3"]
    # What the session still believes to be there goes by its own VANISHED, without EARLIER.
    await expunge(other, "7")
    late = await client.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")
    assert vanished(late) == [b"* VANISHED (EARLIER) 2:3,9", b"* VANISHED 7"]


ROUNDS = 45


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_cache_is_right_after_every_loss_of_the_connection(
    own_imap: Connect, own_twin: Connect, own_database: PostgresAddress, seed: int
) -> None:
    """Sessions of two processes change INBOX; one client comes and goes, and is told all there is to know."""
    random = Random(seed)
    others = [await filled(own_imap, 5), await own_imap(), await own_twin()]
    for other in others:
        await other.ok("SELECT INBOX")
    cache = Cache()
    client = await Client.connect(own_twin, cache)
    await client.resynchronize()
    for _ in range(ROUNDS):
        await asyncio.gather(
            *(_change(random, other) for other in random.sample(others, random.randint(1, len(others))))
        )
        match random.choice(["look", "look", "number", "store", "expunge", "lose", "lose", "forget"]):
            case "look":
                assert (await client.command("NOOP")).ok
            case "number":  # expunges cannot be told here
                if cache.numbers:
                    number = random.randint(1, len(cache.numbers))
                    await client.command(f"STORE {number} +FLAGS.SILENT (\\Answered)")
            case "store":
                await client.command(f"UID STORE {random.randint(1, 40)} -FLAGS (\\Flagged)")
            case "expunge":
                await client.command("UID EXPUNGE 1:*")
            case "forget":
                await forget_journal(own_database)
            case _:
                await client.client.close()
                client = await Client.connect(random.choice([own_imap, own_twin]), cache)
                await client.resynchronize()
                await _learn_new(client)
                assert cache.flags == await _truth(client), "after a resynchronization"
    assert (await client.command("NOOP")).ok
    await _learn_new(client)
    assert cache.flags == await _truth(client)


async def _learn_new(client: Client) -> None:
    """The flags of messages that are known by number alone."""
    while None in client.cache.numbers:
        at = client.cache.numbers.index(None) + 1
        assert (await client.command(f"FETCH {at}:* (UID FLAGS MODSEQ)")).ok
        assert (await client.command("NOOP")).ok


async def _truth(client: Client) -> dict[int, frozenset[bytes]]:
    """What the server says; the cache hears nothing of it."""
    lines = await client.client.ok("UID FETCH 1:* (FLAGS)")
    found = re.findall(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)", b"\n".join(lines))
    return {int(uid): frozenset(flags.split()) - {b"\\Recent"} for uid, flags in found}


async def _change(random: Random, client: ImapClient) -> None:
    uid = random.randint(1, 40)
    flag = random.choice(["\\Flagged", "\\Seen", "$Work"])
    match random.choice(["append", "append", "store", "store", "expunge", "move"]):
        case "append":
            await client.append("INBOX", MAIL)
        case "store":
            await client.ok(f"UID STORE {uid}:{uid + 3} {random.choice('+-')}FLAGS.SILENT ({flag})")
        case "expunge":
            await expunge(client, str(uid))
        case _:
            await client.ok(f"UID MOVE {uid} Archive")
