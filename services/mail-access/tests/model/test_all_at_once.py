"""Sessions at two processes, deliveries, POP3 and REST, all at the same time: one history explains them all.

A failure names its seed; which commands cross differs from run to run. `POSTROOM_MODEL_EXAMPLES` runs more.
"""

import asyncio
import os
from random import Random

import pytest

from postroom_testing.imap_actions import GUEST, OWNER, Actor, Done, Step
from postroom_testing.imap_ledger import Ledger
from postroom_testing.imap_memory import Place, Told
from postroom_testing.imap_mirror import Mirror
from postroom_testing.mail_twins import Household, Stored, Twins, household

_EXAMPLES = int(os.environ.get("POSTROOM_MODEL_EXAMPLES", "3"))
_STEPS = 40
_SESSIONS = (
    (OWNER, 0, ""),
    (OWNER, 0, "QRESYNC"),
    (OWNER, 1, "QRESYNC"),
    (OWNER, 1, "IMAP4rev2 CONDSTORE"),
    (OWNER, 0, "QRESYNC UIDONLY"),
    (GUEST, 1, ""),
    (GUEST, 0, "QRESYNC"),
)
_READER = 5
_KINDS = (
    *("select", "noop", "idle", "close", "unselect", "status", "append", "append"),
    *(
        "fetch",
        "fetch",
        "search",
        "store",
        "store",
        "store",
        "store",
        "copy",
        "move",
        "expunge",
        "uid expunge",
    ),
    *("multiappend", "replace", "catenate", "reconnect"),
)


class Crowd:
    """The sessions of one example, and what goes on beside them."""

    def __init__(self, house: Household, random: Random) -> None:
        self.house, self.random = house, random
        self.told, self.ledger = Told(), Ledger()
        self.actors: list[Actor] = []

    async def begin(self) -> None:
        """All sessions at a mailbox, of which each has some messages."""
        for at in range(len(_SESSIONS)):
            self.actors.append(await self._actor(at))
        owner, guest = self.actors[0].mirror.client, self.house.guest.address
        await owner.ok("CREATE Box")
        await owner.ok(f"SETACL Box {guest} lrswite")
        for count in range(9):
            await self._act(0, Step("append", 0, count % 2, 0, 0))
        for at in range(len(self.actors)):
            await self._act(at, Step("select", at, at, 0, 0))

    async def _actor(self, at: int) -> Actor:
        """Nobody else changes its keyword, and no other session of the guest's what the reader has seen."""
        user, where, _ = _SESSIONS[at]
        actor = Actor(await self._mirror(at, where), token=f"s{at}m", replaces=False, idle_seconds=0.02)
        own = f"$s{at}"
        actor.flags, actor.own_flags = ("\\Seen", "\\Deleted", own, own), frozenset({own})
        if at == _READER:
            actor.own_flags = frozenset({own, "\\Seen"})
        elif user == GUEST:
            actor.flags, actor.peeks = ("\\Deleted", own), True
        if user == GUEST:
            actor.names = {"Own": "INBOX", "Box": f'"Other Users/{self.house.account.address}/Box"'}
        return actor

    async def _mirror(self, at: int, where: int) -> Mirror:
        user, _, way = _SESSIONS[at]
        mirror = Mirror(await self.house.connect(where, as_guest=user == GUEST), self.told, user)
        await mirror.enable(way)
        return mirror

    async def run(self) -> None:
        """Everything at once."""
        async with asyncio.TaskGroup() as group:
            for at in range(len(self.actors)):
                group.create_task(self._session(at))
            group.create_task(self._deliveries())
            group.create_task(self._pop3())
            group.create_task(self._rest())
            group.create_task(self._renames())

    async def end(self) -> None:
        """When all is quiet, all know the same, and so do those who come back with what they kept."""
        await self.house.file(0)
        async with asyncio.timeout(20):
            while not self._all_filed(await self._inbox_uid_next()):
                await asyncio.sleep(0.02)
        own = await self.house.stored()
        others = (await self.house.stored(of_guest=True))["INBOX"]
        shared = await self.house.stored_for_guest(own["Box"])
        self.ledger.check({**own, "Own": others})
        users = {OWNER: own, GUEST: {"Own": others, "Box": shared}}
        for at, actor in enumerate(self.actors):
            there = users[actor.mirror.user]
            for name, box in there.items():
                self.ledger.check_own(at, Place(name, box.uid_validity), box.flags)
            if actor.mirror.selected:
                await self._act(at, Step("noop", at, 0, 0, 0))
                self._agree(at, there)
                await self._reconnect(at)
                self._agree(at, there)

    async def _inbox_uid_next(self) -> tuple[Place, int]:
        inbox = (await self.house.stored(rows=False))["INBOX"]
        return Place("INBOX", inbox.uid_validity), inbox.uid_next

    def _all_filed(self, inbox: tuple[Place, int]) -> bool:
        made = sum(place == inbox[0] for place, _ in self.ledger.created)
        return inbox[1] - 1 >= made + self.ledger.delivered

    def _agree(self, at: int, there: dict[str, Stored]) -> None:
        mirror = self.actors[at].mirror
        box = there[mirror.box]
        assert mirror.uid_validity == box.uid_validity
        assert mirror.uids == sorted(box.flags), f"{at} knows {mirror.uids} of {sorted(box.flags)}"
        other = {
            uid: (flags, box.flags[uid]) for uid, flags in mirror.flags.items() if flags != box.flags[uid]
        }
        assert not other, f"{at} knows other flags than there are: {other}"

    async def _session(self, at: int) -> None:
        for _ in range(_STEPS):
            numbers = [self.random.randrange(12) for _ in range(3)]
            step = Step(self.random.choice(_KINDS), at, *numbers)
            if step.kind == "reconnect":
                await self._reconnect(at)
            else:
                await self._act(at, step)

    async def _act(self, at: int, step: Step) -> None:
        actor = self.actors[at]
        await self.ledger.act(at, actor, lambda: actor.act(step))

    async def _reconnect(self, at: int) -> None:
        """Away, and back with what was kept, at either process."""
        actor = self.actors[at]
        actor.keep()
        place, selected = actor.mirror.place, actor.mirror.selected
        read_only = actor.mirror.read_only
        await actor.mirror.client.close()
        actor.mirror = await self._mirror(at, self.random.randrange(2))
        if selected:
            cache = actor.caches.get(place)

            async def select() -> Done:
                return await actor.come_back(place.box, cache, read_only=read_only)

            await self.ledger.act(at, actor, select)

    async def _deliveries(self) -> None:
        for _ in range(6):
            self.ledger.delivered += 1
            await self.house.deliver(f"d{self.ledger.delivered}")
            await asyncio.sleep(self.random.uniform(0, 0.05))

    async def _pop3(self) -> None:
        for _ in range(3):
            await asyncio.sleep(self.random.uniform(0, 0.1))
            inbox, _ = await self._inbox_uid_next()
            gone = await self.house.pop3(self.random.randrange(2), [self.random.randrange(9)])
            self.ledger.deletable.update((inbox, uid) for uid in gone)

    async def _rest(self) -> None:
        for _ in range(8):
            box = (await self.house.stored()).get(self.random.choice(["INBOX", "Box"]))
            if box is not None and box.flags:  # else it has its other name now
                uids = self.random.sample(sorted(box.flags), min(3, len(box.flags)))
                await self.house.store_flags(box, uids, "\\Flagged", add=self.random.random() < 0.5)

    async def _renames(self) -> None:
        client = await self.house.connect(1)
        for _ in range(2):
            await asyncio.sleep(self.random.uniform(0, 0.1))
            await client.ok("RENAME Box Other")
            await client.ok("RENAME Other Box")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(_EXAMPLES))
async def test_one_history_explains_what_all_sessions_were_told(twins: Twins, seed: int) -> None:
    async with household(twins) as house:
        crowd = Crowd(house, Random(seed))
        await crowd.begin()
        await crowd.run()
        await crowd.end()
