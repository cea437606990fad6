"""The algorithms of THREAD over facts of messages (RFC 5256 s3; REFS of draft-ietf-morg-inthread).

Linear but for sorting: a check for loops that would walk too far is answered as if there were one.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

_MAX_STEPS: Final = 5_000_000
"""Ancestors that all checks for loops together look at."""


class Algorithm(Enum):
    """thread-alg."""

    ORDEREDSUBJECT = b"ORDEREDSUBJECT"
    REFERENCES = b"REFERENCES"
    REFS = b"REFS"
    """As REFERENCES, but subjects do not join threads, and threads are sorted by their newest arrival."""


class ThreadedMessage(NamedTuple):
    """What threading asks of one message. Identifiers are any equal numbers for equal message ids.

    `subject` is the folded base subject; dates are in seconds since 1970.
    """

    number: int
    sent: int
    arrived: int
    subject: str
    is_reply: bool = False
    own_id: int | None = None
    references: Sequence[int] = ()


class Place(NamedTuple):
    """One message of a thread in depth-first order; `number` 0 stands for a message that is not there."""

    depth: int
    number: int


Forest: TypeAlias = list[Place]


def thread(messages: Sequence[ThreadedMessage], algorithm: Algorithm) -> Forest:
    """The threads of messages, which come by ascending number."""
    if algorithm is Algorithm.ORDEREDSUBJECT:
        return _by_subject(messages)
    tree = _Tree(messages)
    tree.link()
    tree.prune()
    if algorithm is Algorithm.REFERENCES:
        tree.sort_by(tree.sent)
        tree.merge_subjects()
        tree.sort_by(tree.sent)
    else:
        tree.sort_by(tree.newest())
    return tree.forest()


def _by_subject(messages: Sequence[ThreadedMessage]) -> Forest:
    threads: dict[str, list[ThreadedMessage]] = {}
    for message in sorted(messages, key=_sent_order):
        threads.setdefault(message.subject, []).append(message)
    # By the first message of each, which is how they came into the table.
    return [
        Place(min(at, 1), message.number)
        for members in threads.values()
        for at, message in enumerate(members)
    ]


def _sent_order(message: ThreadedMessage) -> tuple[int, int]:
    return message.sent, message.number


class _Tree:
    """Nodes by index: the messages first, then dummies for those that are only named."""

    def __init__(self, messages: Sequence[ThreadedMessage]) -> None:
        self._messages = messages
        self._parents: list[int | None] = [None] * len(messages)
        self._degrees = [0] * len(messages)
        self._children: list[list[int]] = []
        self._roots: list[int] = []
        self._steps = _MAX_STEPS

    def link(self) -> None:
        """(1): parents by references."""
        nodes: dict[int, int] = {}
        for node, message in enumerate(self._messages):
            if message.own_id is not None:
                nodes.setdefault(message.own_id, node)  # of doubles the first has the id
        for node, message in enumerate(self._messages):
            above: int | None = None
            for reference in message.references:
                named = nodes.get(reference)
                if named is None:
                    named = nodes[reference] = self._add_dummy()
                if above is not None and self._parents[named] is None:
                    self._adopt(above, named)
                above = named
            self._abandon(node)
            if above is not None:
                self._adopt(above, node)

    def prune(self) -> None:
        """(2) and (3): the roots, without dummies that are not needed."""
        children: list[list[int]] = [[] for _ in self._parents]
        roots: list[int] = []
        for node, parent in enumerate(self._parents):
            (roots if parent is None else children[parent]).append(node)
        for node in reversed(_depth_first(roots, children)):
            children[node] = self._spliced(children[node], children)
        self._children = children
        for root in roots:
            if not self._is_dummy(root):
                self._roots.append(root)
            elif len(children[root]) == 1:
                self._roots += children[root]
            elif children[root]:
                self._roots.append(root)

    def sent(self, node: int) -> tuple[int, int]:
        """By sent date, a dummy by its first child, whose siblings are sorted (s2.2: then by number)."""
        return _sent_order(self._messages[self._first(node)])

    def newest(self) -> Callable[[int], tuple[int, int]]:
        """By the newest arrival in the thread of each root."""
        newest: dict[int, tuple[int, int]] = {}
        for root in self._roots:
            below = (node for node in _depth_first([root], self._children) if not self._is_dummy(node))
            newest[root] = max((self._messages[node].arrived, self._messages[node].number) for node in below)
        return newest.__getitem__

    def sort_by(self, order: Callable[[int], tuple[int, int]]) -> None:
        """(4) and (6): siblings by sent date, then the roots in this order."""
        for node in _depth_first(self._roots, self._children):
            if len(self._children[node]) > 1:
                self._children[node].sort(key=self.sent)
        self._roots.sort(key=order)

    def merge_subjects(self) -> None:
        """(5): threads of one subject are one."""
        table: dict[str, int] = {}
        for root in self._roots:
            if subject := self._subject(root):
                other = table.setdefault(subject, root)
                if not self._is_dummy(other) and (
                    self._is_dummy(root) or (self._is_reply(other) and not self._is_reply(root))
                ):
                    table[subject] = root
        gone: set[int] = set()
        for root in list(self._roots):
            subject = self._subject(root)
            if subject and root not in gone and table[subject] != root:
                gone.add(root)
                self._merge(root, subject, table, gone)
        self._roots = [root for root in self._roots if root not in gone]

    def forest(self) -> Forest:
        """All threads, depth first."""
        places: Forest = []
        waiting = [(0, root) for root in reversed(self._roots)]
        while waiting:
            depth, node = waiting.pop()
            places.append(Place(depth, 0 if self._is_dummy(node) else self._messages[node].number))
            waiting += [(depth + 1, child) for child in reversed(self._children[node])]
        return places

    def _merge(self, root: int, subject: str, table: dict[str, int], gone: set[int]) -> None:
        """(5.C): `root` leaves the root for the thread in the table."""
        other = table[subject]
        if self._is_dummy(other):
            self._children[other] += self._children[root] if self._is_dummy(root) else [root]
        elif self._is_reply(root) and not self._is_reply(other):
            self._children[other].append(root)
        else:
            gone.add(other)
            dummy = table[subject] = self._add_dummy()
            self._children.append([other, root])
            self._roots.append(dummy)

    def _spliced(self, nodes: Sequence[int], children: Sequence[list[int]]) -> list[int]:
        found: list[int] = []
        for node in nodes:
            found += children[node] if self._is_dummy(node) else [node]
        return found

    def _add_dummy(self) -> int:
        self._parents.append(None)
        self._degrees.append(0)
        return len(self._parents) - 1

    def _adopt(self, parent: int, child: int) -> None:
        """Link, unless that makes a loop."""
        if parent == child or (self._degrees[child] and self._descends(parent, child)):
            return
        self._parents[child] = parent
        self._degrees[parent] += 1

    def _abandon(self, child: int) -> None:
        if (parent := self._parents[child]) is not None:
            self._degrees[parent] -= 1
            self._parents[child] = None

    def _descends(self, node: int, ancestor: int) -> bool:
        above = self._parents[node]
        while above is not None:
            self._steps -= 1
            if above == ancestor or self._steps < 0:
                return True
            above = self._parents[above]
        return False

    def _is_dummy(self, node: int) -> bool:
        return node >= len(self._messages)

    def _first(self, node: int) -> int:
        return self._children[node][0] if self._is_dummy(node) else node

    def _subject(self, node: int) -> str:
        return self._messages[self._first(node)].subject

    def _is_reply(self, node: int) -> bool:
        return self._messages[self._first(node)].is_reply


def _depth_first(roots: Sequence[int], children: Sequence[list[int]]) -> list[int]:
    """All nodes below these roots, each before those below it."""
    found: list[int] = []
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += children[node]
    return found
