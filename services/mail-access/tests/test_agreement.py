"""Sessions of two processes at one mailbox: each one's numbers hold, and in the end all agree."""

import asyncio
import re
from random import Random

import pytest

from postroom_testing.imap_client import Answer, Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "$Later", "$Work")
ROUNDS = 120


class Model:
    """What one client believes, from what it was told alone: the UID of each sequence number."""

    def __init__(self, client: ImapClient) -> None:
        self.client = client
        self.uids: list[int | None] = []

    async def command(self, text: str) -> Answer:
        answer = await self.client.command(text)
        if re.match(r"(FETCH|STORE|SEARCH) ", text):  # RFC 3501 s7.4.1
            assert not any(told.endswith(b" EXPUNGE") for told in answer.untagged), text
        for told in answer.untagged:
            self.hear(told)
        return answer

    def hear(self, told: bytes) -> None:
        if found := re.fullmatch(rb"\* (\d+) EXISTS", told):
            assert int(found[1]) >= len(self.uids)
            self.uids += [None] * (int(found[1]) - len(self.uids))
        elif found := re.fullmatch(rb"\* (\d+) EXPUNGE", told):
            del self.uids[int(found[1]) - 1]
        elif found := re.match(rb"\* (\d+) FETCH \(UID (\d+)", told):
            number, uid = int(found[1]), int(found[2])
            assert self.uids[number - 1] in {None, uid}
            self.uids[number - 1] = uid

    async def select(self) -> None:
        self.uids = []
        assert (await self.command("SELECT INBOX")).ok

    async def act(self, random: Random) -> None:
        numbers = self.numbers(random)
        flag, way = random.choice(FLAGS), random.choice("+-")
        commands = ["EXPUNGE", "NOOP", "append", "idle", "select"]
        if numbers:
            commands += [
                f"STORE {numbers} {way}FLAGS ({flag})",
                f"UID STORE {numbers} {way}FLAGS ({flag})",
                f"FETCH {numbers} (UID FLAGS)",
                f"UID FETCH {numbers} (UID FLAGS)",
                f"COPY {numbers} INBOX",
                f"UID MOVE {numbers} Archive",
            ]
        match random.choice(commands):
            case "append":
                for told in (await self.client.append("INBOX", MAIL)).untagged:
                    self.hear(told)
            case "idle":
                tag = self.client.send_command("IDLE")
                self.client.send(b"DONE\r\n")
                for told in (await self.client.answer(tag)).untagged:
                    self.hear(told)
            case "select":
                await self.select()
            case command:
                await self.command(command)

    def numbers(self, random: Random) -> str:
        if not self.uids:
            return ""
        return ",".join(str(random.randint(1, len(self.uids))) for _ in range(random.randint(1, 4)))

    async def whole(self) -> list[tuple[bytes, frozenset[bytes]]]:
        """UID and flags of every message, by sequence number."""
        assert (await self.command("NOOP")).ok
        if not self.uids:
            return []
        answer = await self.command("FETCH 1:* (UID FLAGS)")
        assert answer.ok
        rows = [
            re.fullmatch(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \((.*)\)\)", told) for told in answer.untagged
        ]
        assert [row is not None and int(row[1]) for row in rows] == list(range(1, len(self.uids) + 1))
        return [(row[2], frozenset(row[3].split()) - {b"\\Recent"}) for row in rows if row is not None]


@pytest.mark.parametrize("seed", range(3))
async def test_all_sessions_agree_in_the_end(own_imap: Connect, own_twin: Connect, seed: int) -> None:
    random = Random(seed)
    models = [Model(client) for client in [await own_imap(), await own_imap(), await own_twin()]]
    for model in models:
        await model.select()
    for _ in range(ROUNDS // 3):
        # All at once, so that each one's changes cross the others' news.
        await asyncio.gather(*(model.act(random) for model in models))
    wholes = [await model.whole() for model in models]
    assert wholes[0] == wholes[1] == wholes[2]
    (status,) = await models[0].client.ok("STATUS INBOX (MESSAGES UNSEEN)")
    unseen = sum(b"\\Seen" not in flags for _, flags in wholes[0])
    assert status == b"* STATUS INBOX (MESSAGES %d UNSEEN %d)" % (len(wholes[0]), unseen)
