"""An upgrade under load: every pod gets a successor, and nobody notices more than a farewell.

The successors are of the same images, or with `make upgrade-test` of newer ones.
"""

import asyncio
import imaplib
import os
import re
import ssl
import time
from collections import Counter
from pathlib import Path

import pytest

from postroom_testing.image import unpacked_images
from postroom_testing.pods import Pods
from postroom_testing.rollout import Rollout
from postroom_testing.traffic import Account, Notes, Traffic
from postroom_testing.world import ELSEWHERE, World

pytestmark = pytest.mark.timeout(600)
_SUBJECT = re.compile(rb"^Subject: (\S+)\r?$", re.MULTILINE)
_SETTLED_SECONDS = 60.0
_AFTERWARDS_SECONDS = 3.0
_KINDS = {"in", "too", "out", "append", "read", "idle", "rest"}


def _filed(pods: Pods, trust: ssl.SSLContext, account: Account) -> Counter[str]:
    """How often each message is in the inbox."""
    with imaplib.IMAP4_SSL(pods.address("mail-access"), 2993, ssl_context=trust, timeout=20) as imap:
        imap.login(account.address, account.password)
        imap.select("INBOX", readonly=True)
        _, found = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    octets = b"".join(part[1] for part in found if isinstance(part, tuple))
    return Counter(name.decode() for name in _SUBJECT.findall(octets))


def _relayed(world: World, account: Account) -> Counter[str]:
    """How often each message has reached the other domain."""
    received = (each for each in world.sink.messages if each.reverse_path == account.address)
    return Counter(found[1].decode() for each in received if (found := _SUBJECT.search(each.octets)))


def _upgrade(pods: Pods, traffic: Traffic) -> None:
    newer = unpacked_images(Path(os.environ["POSTROOM_IMAGE_ROOTS"]))
    pods.images = {image.service: image for image in newer}
    try:
        Rollout(pods, revision=2).run()
        time.sleep(_AFTERWARDS_SECONDS)
    finally:
        traffic.end()


async def _run(pods: Pods, traffic: Traffic) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        await asyncio.to_thread(_upgrade, pods, traffic)


def _check_complete(notes: Notes, look: Counter[str], kinds: set[str]) -> None:
    done = {name for name in notes.done if name.partition("-")[0] in kinds}
    assert done - look.keys() == set(), "acknowledged and lost"
    assert look.keys() - done == set(), "refused and yet there"
    assert {name: count for name, count in look.items() if count > 1} == {}, "twice"


def test_an_upgrade_under_load_loses_and_doubles_nothing_and_clients_see_only_farewells(
    pods: Pods, trust: ssl.SSLContext, account: Account, world: World
) -> None:
    traffic = Traffic(account, pods.endpoints, trust, ELSEWHERE)
    asyncio.run(_run(pods, traffic))
    notes = traffic.notes
    assert notes.wrong == []
    end = time.monotonic() + _SETTLED_SECONDS
    while not notes.done <= {*_filed(pods, trust, account), *_relayed(world, account)}:
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    _check_complete(notes, _relayed(world, account), {"out"})
    _check_complete(notes, _filed(pods, trust, account), {"in", "too", "append", "rest"})
    # The load was one, and the pods were told to end while it ran.
    assert min(notes.tried[kind] for kind in _KINDS) > 20
    assert notes.farewells.keys() == _KINDS
