"""The part tree of a message: one pass over its delimiter lines (RFC 2046 s5.1, s5.2.1).

How it works. `_open` is the chain of parts from the message down to the one that is being read, `_active`
the boundaries of the multiparts in it. Each line that begins with "--" is looked up there once: it ends
every part below the multipart it belongs to, whatever state they are in (s5.1.2), and opens the next one. A
header block ends at the next such line too. No octet is searched twice for the same thing, so time is
linear in the message.
"""

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from postroom_wire.mime.fields import (
    Fields,
    Scan,
    first_within,
    header_end,
    next_blank_line,
    read_fields,
)
from postroom_wire.mime.limits import Limit
from postroom_wire.mime.parameters import Field, parse_content_type, parse_disposition, parse_token

_TEXT: Final = Field(b"text/plain")
_MESSAGE: Final = Field(b"message/rfc822")
_OCTETS: Final = Field(b"application/octet-stream")
_ENCODED: Final = {b"base64", b"quoted-printable"}
_TRANSPORT_PADDING: Final = 64
_CARRIAGE_RETURN: Final = 0x0D


class Kind(Enum):
    """What a part may hold."""

    LEAF = "leaf"
    MULTIPART = "multipart"
    MESSAGE = "message"


@dataclass(slots=True)
class Node:
    """A part under construction; offsets are into the message, `end` is after its body."""

    header_offset: int
    body_offset: int
    end: int
    fields: Fields
    content: Field = _TEXT
    encoding: bytes = b"7bit"
    disposition: Field | None = None
    content_id: bytes | None = None
    description: bytes | None = None
    kind: Kind = Kind.LEAF
    boundary: bytes = b""
    lines: int = 0
    children: list["Node"] = field(default_factory=list["Node"])


class _Delimiter(NamedTuple):
    """A delimiter line: offset of the line break before it, where to look on, and what it delimits."""

    line_end: int
    after: int
    place: int
    """In the chain of open parts."""
    closing: bool


def build_tree(scan: Scan) -> Node:
    """The tree of the message, with the lines of each part counted."""
    root = _Builder(scan).build()
    _count_lines(scan.octets, root)
    return root


class _Builder:
    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._octets = scan.octets
        self._open: list[Node] = []
        self._active: dict[bytes, list[int]] = {}
        self._line = _line_pattern(scan.limits.boundary + _TRANSPORT_PADDING)
        self._seen: re.Match[bytes] | None = None
        self._exhausted = False

    def build(self) -> Node:
        scan = self._scan
        at = self._enter(0, _TEXT)
        root = self._open[0]
        while self._active and (found := self._next_delimiter(at)) is not None:
            if found.closing:
                self._close_below(found.place, found.line_end)
                self._deactivate(self._open[found.place])
                at = found.after
            elif scan.parts >= scan.limits.parts:
                scan.limited.add(Limit.PARTS)
                break
            else:
                self._close_below(found.place, found.line_end)
                digest = self._open[found.place].content.token == b"multipart/digest"
                start = self._octets.find(b"\n", found.after) + 1 or len(self._octets)
                at = self._enter(start, _MESSAGE if digest else _TEXT)
        self._close_below(-1, len(self._octets))
        return root

    def _enter(self, start: int, default: Field) -> int:
        """Open the part that begins at `start`, and the messages that it holds; where to look on."""
        while True:
            node = self._read_header(start, default)
            if self._open:
                self._open[-1].children.append(node)
            self._open.append(node)
            if node.kind is Kind.MULTIPART:
                self._active.setdefault(node.boundary, []).append(len(self._open) - 1)
            if node.kind is not Kind.MESSAGE:
                return node.body_offset - 1
            start, default = node.body_offset, _TEXT

    def _read_header(self, start: int, default: Field) -> Node:
        scan = self._scan
        scan.parts += 1
        end = len(self._octets)
        if self._active:
            # One right after the blank line is left for later: it may be the first within this very part.
            _, blank_end = next_blank_line(scan, start)
            cut = self._next_delimiter(start - 1, blank_end - 1)
            end = end if cut is None else max(start, cut.line_end)
        body_offset = header_end(scan, start, end)
        node = Node(start, body_offset, body_offset, read_fields(scan, start, body_offset))
        self._classify(node, default)
        return node

    def _classify(self, node: Node, default: Field) -> None:
        scan, fields = self._scan, node.fields
        if (value := first_within(scan, fields, b"content-type")) is None:
            node.content = default
        else:
            node.content = self._within(*parse_content_type(value, self._parameter_room())) or _TEXT
        if (value := first_within(scan, fields, b"content-disposition")) is not None:
            node.disposition = self._within(*parse_disposition(value, self._parameter_room()))
        node.encoding = (
            parse_token(first_within(scan, fields, b"content-transfer-encoding") or b"") or b"7bit"
        )
        node.content_id = first_within(scan, fields, b"content-id")
        node.description = first_within(scan, fields, b"content-description")
        if node.content.token.startswith(b"multipart/"):
            self._classify_multipart(node)
        elif node.content.token == b"message/rfc822":
            self._classify_message(node)

    def _parameter_room(self) -> int:
        limits = self._scan.limits
        left = max(limits.all_parameters - self._scan.parameters, limits.least_parameters)
        return min(limits.parameters, left)

    def _within(self, found: Field | None, cut: bool) -> Field | None:
        """Count the parameters of what was parsed."""
        self._scan.parameters += 0 if found is None else len(found.parameters)
        if cut:
            self._scan.limited.add(Limit.PARAMETERS)
        return found

    def _classify_multipart(self, node: Node) -> None:
        boundary = (node.content.raw(b"boundary") or b"").rstrip()
        if not 0 < len(boundary) <= self._scan.limits.boundary:
            node.content = _TEXT  # shown, rather than lost for the lack of a boundary
        elif self._may_nest(node):
            node.kind, node.boundary = Kind.MULTIPART, boundary

    def _classify_message(self, node: Node) -> None:
        if node.encoding in _ENCODED:  # RFC 2046 s5.2.1 forbids it, and offsets into it would name nothing
            node.content = _OCTETS
        elif self._may_nest(node):
            node.kind = Kind.MESSAGE

    def _may_nest(self, node: Node) -> bool:
        scan = self._scan
        if len(self._open) >= scan.limits.depth:
            scan.limited.add(Limit.DEPTH)
        elif scan.parts >= scan.limits.parts:
            scan.limited.add(Limit.PARTS)
        else:
            return True
        node.content = _OCTETS
        return False

    def _next_delimiter(self, at: int, before: int | None = None) -> _Delimiter | None:
        """The first delimiter line whose line feed is at `at` or later, but before `before`."""
        while (match := self._next_line(at)) is not None:
            if before is not None and match.start() >= before:
                return None
            line = match[1].rstrip()
            if (indexes := self._active.get(line)) is not None:
                return _Delimiter(self._line_end(match.start()), match.end(), indexes[-1], closing=False)
            if line.endswith(b"--") and (indexes := self._active.get(line[:-2])) is not None:
                return _Delimiter(self._line_end(match.start()), match.end(), indexes[-1], closing=True)
            at = match.end()
        return None

    def _next_line(self, at: int) -> re.Match[bytes] | None:
        """The first line that begins with "--", kept for the next caller."""
        at = max(at, 0)
        if self._exhausted or (self._seen is not None and self._seen.start() >= at):
            return self._seen
        scan = self._scan
        scan.delimiters += 1
        if scan.delimiters > scan.limits.delimiters:
            scan.limited.add(Limit.DELIMITERS)
            self._seen = None
        else:
            self._seen = self._line.search(self._octets, at)
        self._exhausted = self._seen is None
        return self._seen

    def _close_below(self, index: int, end: int) -> None:
        """End all parts below one of the chain; none ends before what it holds."""
        for node in reversed(self._open[index + 1 :]):
            node.end = end = max(end, node.body_offset)
            self._deactivate(node)
            if node.kind is Kind.MULTIPART and not node.children:
                node.kind, node.content = Kind.LEAF, _TEXT
        del self._open[index + 1 :]

    def _deactivate(self, node: Node) -> None:
        """Forget a multipart's boundary; inner ones are forgotten before outer ones."""
        if node.boundary:
            indexes = self._active[node.boundary]
            indexes.pop()
            if not indexes:
                del self._active[node.boundary]
            node.boundary = b""

    def _line_end(self, line_feed: int) -> int:
        """The offset of the line break that has its line feed here (s5.1.1: it belongs to the delimiter)."""
        return line_feed - 1 if line_feed and self._octets[line_feed - 1] == _CARRIAGE_RETURN else line_feed


@lru_cache(maxsize=8)
def _line_pattern(size: int) -> re.Pattern[bytes]:
    return re.compile(rb"\n--([^\n]{1,%d})" % size)


def _count_lines(octets: bytes, root: Node) -> None:
    """Give each part its lines; parts nest, so octets are counted once between two offsets of interest."""
    nodes = [root]
    for node in nodes:
        nodes.extend(node.children)
    total, before = 0, root.body_offset
    lines = {before: 0}
    for at in sorted({offset for node in nodes for offset in (node.body_offset, node.end)}):
        total += octets.count(b"\n", before, at)
        lines[at], before = total, at
    for node in nodes:
        node.lines = lines[node.end] - lines[node.body_offset]
