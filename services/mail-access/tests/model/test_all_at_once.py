"""Sessions at two processes, deliveries, POP3 and REST, all at the same time: one history explains them all.

A failure names its seed; which commands cross differs from run to run. `POSTROOM_MODEL_EXAMPLES` runs more.
"""

import asyncio
import os
from random import Random

import pytest

from postroom_testing.imap_actions import Actor, Done, Step
from postroom_testing.imap_ledger import Ledger
from postroom_testing.imap_mirror import Mirror, Told
from postroom_testing.mail_twins import Household, Twins, household

_EXAMPLES = int(os.environ.get("POSTROOM_MODEL_EXAMPLES", "3"))
_STEPS = 40
_SESSIONS = (
    (0, ""),
    (0, "QRESYNC"),
    (1, "QRESYNC"),
    (1, "IMAP4rev2 CONDSTORE"),
    (0, "QRESYNC UIDONLY"),
)
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
    "reconnect",
)


class Crowd:
    """The sessions of one example, and what goes on beside them."""

    def __init__(self, house: Household, random: Random) -> None:
        self.house, self.random = house, random
        self.told, self.ledger = Told(), Ledger()
        self.actors: list[Actor] = []

    async def begin(self) -> None:
        """All sessions at INBOX, which has some messages."""
        for at, (where, _) in enumerate(_SESSIONS):
            client = await self.house.connect(where)
            if not at:
                await client.ok("CREATE Box")
            actor = Actor(Mirror(client, self.told), token=f"s{at}m", replaces=False, idle_seconds=0.02)
            actor.flags = ("\\Seen", "\\Deleted", f"$s{at}", f"$s{at}")
            self.actors.append(actor)
            await self.actors[at].mirror.enable(_SESSIONS[at][1])
        for _ in range(6):
            await self._act(0, Step("append", 0, 0, 0, 0))
        for at in range(len(self.actors)):
            await self._act(at, Step("select", at, 0, 0, 0))

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
        stored = await self.house.stored()
        self.ledger.check(stored)
        for at, actor in enumerate(self.actors):
            if actor.mirror.selected:
                await self._act(at, Step("noop", at, 0, 0, 0))
                self._agree(actor, {box.uid_validity: box.flags for box in stored.values()})
                await self._reconnect(at)
                self._agree(actor, {box.uid_validity: box.flags for box in stored.values()})

    async def _inbox_uid_next(self) -> tuple[int, int]:
        inbox = (await self.house.stored(rows=False))["INBOX"]
        return inbox.uid_validity, inbox.uid_next

    def _all_filed(self, inbox: tuple[int, int]) -> bool:
        made = sum(validity == inbox[0] for validity, _ in self.ledger.created)
        return inbox[1] - 1 >= made + self.ledger.delivered

    def _agree(self, actor: Actor, flags: dict[int, dict[int, frozenset[str]]]) -> None:
        assert actor.mirror.uids == sorted(flags[actor.mirror.uid_validity])
        assert actor.mirror.flags == flags[actor.mirror.uid_validity]

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
        cache = actor.caches.get(actor.mirror.uid_validity)
        selected, read_only = actor.mirror.selected, actor.mirror.read_only
        await actor.mirror.client.close()
        actor.mirror = Mirror(await self.house.connect(self.random.randrange(2)), self.told)
        await self.actors[at].mirror.enable(_SESSIONS[at][1])
        if selected:
            boxes = {box.uid_validity: box.name for box in (await self.house.stored(rows=False)).values()}
            name = "INBOX" if cache is None else boxes[cache.uid_validity]

            async def select() -> Done:
                answer = await actor.mirror.select(name, read_only=read_only, cache=cache)
                return Done(f"SELECT {name} {cache}", answer, box=name)

            await self.ledger.act(at, actor, select)

    async def _deliveries(self) -> None:
        for _ in range(6):
            self.ledger.delivered += 1
            await self.house.deliver(f"d{self.ledger.delivered}")
            await asyncio.sleep(self.random.uniform(0, 0.05))

    async def _pop3(self) -> None:
        for _ in range(3):
            await asyncio.sleep(self.random.uniform(0, 0.1))
            validity, _ = await self._inbox_uid_next()
            gone = await self.house.pop3(self.random.randrange(2), [self.random.randrange(9)])
            self.ledger.deletable.update((validity, uid) for uid in gone)

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
