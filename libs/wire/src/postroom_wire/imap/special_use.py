"""What a mailbox is for: the USE parameter of CREATE (RFC 6154 s3, s6; RFC 4466 s2.2)."""

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.flags import Flag


def create_params(cursor: Cursor) -> tuple[Flag, ...]:
    r"""[SP "(" create-param *(SP create-param) ")"], of which there is one: "USE" SP "(" [use-attr ...] ")".

    Attributes in the spelling of the client, each once; what they mean is the caller's to say.
    """
    if cursor.at_end:
        return ()
    cursor.sp()
    cursor.expect(b"(")
    if not cursor.accept_word(b"USE"):
        raise cursor.wrong("USE")
    cursor.sp()
    cursor.expect(b"(")
    uses: list[Flag] = []
    if not cursor.next_is(b")"):
        uses.append(_use_attr(cursor))
        while cursor.more(len(uses), cursor.limits.max_flags):
            uses.append(_use_attr(cursor))
    cursor.expect(b")")
    cursor.expect(b")")
    return tuple(dict.fromkeys(uses))


def _use_attr(cursor: Cursor) -> Flag:
    # use-attr = "\All" / "\Archive" / ... / use-attr-ext; use-attr-ext = "\" atom
    cursor.expect(b"\\")
    return Flag("\\" + cursor.atom().decode("ascii"))
