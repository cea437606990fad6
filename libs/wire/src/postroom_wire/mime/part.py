"""The part table: where each part of a message lies, and what it is (RFC 2045, RFC 3501 s6.4.5)."""

from dataclasses import dataclass, replace
from typing import TypeAlias

PartPath: TypeAlias = tuple[int, ...]
"""IMAP's part number, `(1, 2)` for "1.2".

A 0 at its end stands for the message that the part holds: `(0,)` is the whole message, `(2, 0)` the one
within part 2, which is of type message/rfc822.
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """A header, with the empty line that closes it, and the body after it, as offsets into a message."""

    header_offset: int
    header_length: int
    body_offset: int
    body_length: int

    def moved(self, by: int) -> "Extent":
        """The same `by` octets further on."""
        return replace(self, header_offset=self.header_offset + by, body_offset=self.body_offset + by)


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its extent, and its header's facts as clean text.

    `media_type` is what the part is treated as: a multipart without parts is text/plain, and what lies
    beyond the scanner's bounds application/octet-stream. A multipart that is a message's whole body has
    that message's path (`(0,)`, `(2, 0)`); one that is itself a part has a number like every other.
    """

    path: PartPath
    extent: Extent
    lines: int
    media_type: str
    charset: str | None = None
    name: str | None = None
    encoding: str = "7bit"
    disposition: str | None = None
    content_id: str | None = None
    description: str | None = None
    inner: Extent | None = None
    """Of the message within a message/rfc822 part."""

    @property
    def section(self) -> str:
        """The part specifier of BODY[...] that gives the body: "1.2", "TEXT", "2.TEXT"."""
        if self.path[-1:] == (0,):
            return ".".join([*map(str, self.path[:-1]), "TEXT"])
        return ".".join(map(str, self.path))

    @property
    def is_multipart(self) -> bool:
        """Whether it has parts of its own."""
        return self.media_type.startswith("multipart/")

    @property
    def size(self) -> int:
        """Octets after decoding; for base64 computed from its lines, so nearly right, else as they are."""
        if self.encoding != "base64":
            return self.extent.body_length
        return max(self.extent.body_length - 2 * self.lines, 0) * 3 // 4


@dataclass(frozen=True, slots=True)
class PartTable:
    """The parts in the order of their octets, the message's own body first."""

    message: Extent
    parts: tuple[Part, ...]

    def find(self, section: str) -> Part | None:
        """The part that a specifier such as "1.2" names."""
        return next((part for part in self.parts if part.section == section), None)

    def extents(self, prefix: int = 0) -> dict[PartPath, Extent]:
        """What FETCH's section lookup needs: the offsets for each part number and for each message.

        `prefix` is the length of the lines that stand before these octets in one recipient's copy: all
        offsets move on by it, and the lines belong to the message's header.
        """
        message = self.message
        whole = Extent(0, message.header_length + prefix, message.body_offset + prefix, message.body_length)
        found: dict[PartPath, Extent] = {(0,): whole}
        for part in self.parts:
            if part.path[-1] != 0:
                extent = part.extent
                is_whole = extent == message
                found[part.path] = whole if is_whole else extent.moved(prefix) if prefix else extent
            if part.inner is not None:
                found[*part.path, 0] = part.inner.moved(prefix) if prefix else part.inner
        return found
