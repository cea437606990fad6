"""Random commands of some sessions at two processes, one at a time: each does what a simple model says.

`POSTROOM_MODEL_EXAMPLES` runs more; a failure prints the steps, and how to have the same ones again. Then it
also looks for fewer steps that fail, for which a run of all tests has no time.
"""

import asyncio
import os
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from postroom_testing.imap_actions import FLAGS, GUEST, OWNER, Actor, Step
from postroom_testing.imap_memory import Told
from postroom_testing.imap_mirror import Mirror
from postroom_testing.imap_world import World
from postroom_testing.mail_twins import Household, Stored, Twins, household

_EXAMPLES = int(os.environ.get("POSTROOM_MODEL_EXAMPLES", "8"))
_PHASES = set(Phase) - (set() if "POSTROOM_MODEL_EXAMPLES" in os.environ else {Phase.shrink, Phase.explain})
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
_KINDS = (
    "nothing",  # what a failure that was made small has where it needs no step
    *("select", "noop", "check", "idle", "close", "unselect", "status"),
    *("append", "fetch", "fetch", "search", "store", "store", "store", "store"),
    *("multiappend", "replace", "replace", "catenate"),
    *("copy", "copy", "move", "move", "expunge", "expunge", "uid expunge"),
    *("deliver", "pop3", "rest", "rename", "rename inbox", "recreate", "reconnect", "reconnect"),
)
_NUMBER = st.integers(0, 11)
STEPS = st.lists(
    st.builds(Step, st.sampled_from(_KINDS), st.integers(0, len(_SESSIONS) - 1), _NUMBER, _NUMBER, _NUMBER),
    min_size=_STEPS // 2,  # or most examples have few steps
    max_size=_STEPS,
)


class Play:
    """The sessions of one example and the world around them."""

    def __init__(self, house: Household) -> None:
        self.house, self.world, self.told = house, World(), Told()
        self.actors: list[Actor] = []
        self.delivered = 0

    async def begin(self) -> None:
        """All sessions at a mailbox, of which the owner's have three messages each."""
        for at in range(len(_SESSIONS)):
            user, where, _ = _SESSIONS[at]
            actor = Actor(await self._mirror(user, where), token=f"s{at}m")
            if user == GUEST:
                actor.names = _names(self.house)
                actor.flags = ("\\Seen", *FLAGS)  # which is the one that is its own
            self.actors.append(actor)
            await actor.mirror.enable(_SESSIONS[at][2])
        await self.actors[0].mirror.client.ok("CREATE Box")
        await self._share(self.actors[0])
        stored = await self.stored()
        for user, name in ((OWNER, "INBOX"), (OWNER, "Box"), (GUEST, "Own")):
            users = (OWNER, GUEST) if name == "Box" else (user,)
            self.world.create(name, stored[user][name].uid_validity, *users)
        for at in range(6):
            await self.step(Step("append", 0, at, at, at // 2))
        for at, (user, _, _) in enumerate(_SESSIONS):
            await self.step(Step("select", at, int(user == GUEST), 0, 0))

    async def stored(self) -> dict[str, dict[str, Stored]]:
        """What each user has in the store, by the names that the model has for it."""
        own, others = await asyncio.gather(self.house.stored(), self.house.stored(of_guest=True))
        shared = await self.house.stored_for_guest(own["Box"])
        return {OWNER: own, GUEST: {"Own": others["INBOX"], "Box": shared}}

    async def _share(self, owner: Actor) -> None:
        text = f"SETACL Box {self.house.guest.address} lrswite"
        assert (await owner.mirror.command(text)).ok

    async def _mirror(self, user: str, where: int) -> Mirror:
        return Mirror(await self.house.connect(where, as_guest=user == GUEST), self.told, user)

    async def step(self, step: Step) -> None:
        """One step, and whether model, store and session agree about it."""
        actor = self.actors[step.who]
        match step.kind:
            case "nothing":
                return
            case "deliver":
                await self._deliver()
            case "pop3":
                for uid in await self.house.pop3(step.a, [step.b, step.c][: step.a % 3]):
                    self.world.boxes["INBOX"].remove(uid)
            case "rest":
                await self._store_flags(step)
            case "rename" | "rename inbox" | "recreate":
                actor = next(each for each in (actor, self.actors[0]) if each.mirror.user == OWNER)
                await self._change_mailboxes(actor, step.kind)
            case "reconnect":
                await self._reconnect(step.who, step)
            case _:
                done = await actor.act(step)
                note(f"{step.who}: {done and (done.text, done.answer)}")
                if done is not None:
                    self.world.expect(actor, done)
                    self.world.check(await self.stored(), actor)
                    self.world.explain(actor.mirror)
                    await self._note_synced(actor)
                return
        note(f"{step}")
        self.world.check(await self.stored(), actor)

    async def end(self) -> None:
        """When all is quiet, all know the same, and so do those who come back with what they kept."""
        for at, actor in enumerate(self.actors):
            if actor.mirror.selected:
                await self.step(Step("noop", at, 0, 0, 0))
            await self._reconnect(at, Step("reconnect", at, 0, 0, 0))

    async def _note_synced(self, actor: Actor) -> None:
        if not actor.mirror.selected:
            return
        with suppress(AssertionError):
            self.world.agree(actor.mirror)
            self.world.synced[id(actor.mirror)] = self.world.version

    async def _deliver(self) -> None:
        inbox = self.world.boxes["INBOX"]
        self.delivered += 1
        token = f"d{self.delivered}"
        await self.house.deliver(token)
        await self.house.file(inbox.uid_next)
        inbox.add(inbox.uid_next, frozenset(), token, OWNER)

    async def _store_flags(self, step: Step) -> None:
        name = ("INBOX", "Box")[step.a % 2]
        box = self.world.boxes[name]
        uids = sorted(
            {sorted(box.flags)[at % len(box.flags)] for at in (step.a, step.b)} if box.flags else ()
        )
        if not uids:
            return
        flag, add = FLAGS[step.b % len(FLAGS)], step.c % 2 == 0
        await self.house.store_flags((await self.house.stored())[name], uids, flag, add=add)
        for uid in uids:
            box.change(uid, box.flags[uid] | {flag} if add else box.flags[uid] - {flag}, OWNER)

    async def _change_mailboxes(self, actor: Actor, kind: str) -> None:
        world, ok = self.world, actor.mirror.command
        match kind:
            case "rename":
                assert (await ok("RENAME Box Other")).ok
                assert (await self.house.stored(rows=False))["Other"].uid_validity == world.boxes[
                    "Box"
                ].uid_validity
                assert (await ok("RENAME Other Box")).ok
            case "rename inbox":
                assert (await ok("RENAME INBOX Moved")).ok
                moved, inbox = (await self.house.stored())["Moved"], world.boxes["INBOX"]
                assert moved.uid_validity not in world.validities[OWNER]
                world.validities[OWNER].add(moved.uid_validity)
                assert [moved.flags[uid] for uid in sorted(moved.flags)] == [
                    inbox.flags[uid] for uid in sorted(inbox.flags)
                ]
                for uid in [*inbox.flags]:
                    inbox.remove(uid)
                assert (await ok("DELETE Moved")).ok
            case _:
                await self._recreate(actor)

    async def _recreate(self, actor: Actor) -> None:
        """Sessions at the mailbox that is no more are sent away; the one that deleted it stays."""
        there = [each for each in self.actors if each.mirror.box == "Box"]
        if actor in there:
            assert (await actor.mirror.client.command("DELETE Box")).ok
            await actor.mirror.client.ok("UNSELECT")
            actor.mirror.forget()
        else:
            assert (await actor.mirror.command("DELETE Box")).ok
        for at, each in enumerate(self.actors):
            if each in there and each is not actor:
                assert b"* BYE The selected mailbox was deleted" in await each.mirror.client.rest()
                await self._renew(at, _SESSIONS[at][1])
        assert (await actor.mirror.command("CREATE Box")).ok
        await self._share(actor)
        validity = (await self.house.stored(rows=False))["Box"].uid_validity
        self.world.create("Box", validity, OWNER, GUEST)

    async def _reconnect(self, at: int, step: Step) -> None:
        actor = self.actors[at]
        actor.keep()
        place, read_only = actor.mirror.place, actor.mirror.read_only
        selected = actor.mirror.selected
        await actor.mirror.client.close()
        await self._renew(at, step.a)
        if not selected:
            return
        done = await actor.come_back(place.box, actor.caches.get(place), read_only=read_only)
        note(f"{at}: {done.text}: {done.answer}")
        self.world.expect(actor, done)
        self.world.check(await self.stored(), actor)
        self.world.explain(actor.mirror)

    async def _renew(self, at: int, where: int) -> None:
        user, _, way = _SESSIONS[at]
        self.actors[at].mirror = await self._mirror(user, where)
        await self.actors[at].mirror.enable(way)


def _names(house: Household) -> dict[str, str]:
    """What the guest calls the mailboxes."""
    return {"Own": "INBOX", "Box": f'"Other Users/{house.account.address}/Box"'}


@pytest.mark.timeout(60 + 5 * _EXAMPLES)
@settings(
    max_examples=_EXAMPLES,
    phases=_PHASES,
    deadline=timedelta(seconds=60),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=STEPS)
async def test_every_command_does_what_the_model_says(twins: Twins, steps: list[Step]) -> None:
    async with household(twins) as house:
        play = Play(house)
        await play.begin()
        for step in steps:
            await play.step(step)
        await play.end()
