"""INPROGRESS: what a command that takes long says meanwhile (RFC 9585)."""

from postroom_wire.imap.errors import Tag

_NIL = b"NIL"


def in_progress(tag: Tag, progress: int | None = None, goal: int | None = None) -> bytes:
    """The response code INPROGRESS for an untagged OK; None is what is not known.

    A progress beyond its goal would be refused by clients, so the goal is left out then.
    """
    if progress is None or (goal is not None and goal < progress):
        goal = None
    return b'INPROGRESS ("%b" %b %b)' % (tag.replace(b"\\", b"\\\\"), _number(progress), _number(goal))


def _number(value: int | None) -> bytes:
    return _NIL if value is None else b"%d" % value
