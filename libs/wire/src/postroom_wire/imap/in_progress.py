"""INPROGRESS: what a command that takes long says meanwhile (RFC 9585)."""

from postroom_wire.imap.errors import Tag

_NIL = b"NIL"


def in_progress(tag: Tag, progress: int | None = None, goal: int | None = None) -> bytes:
    """The response code INPROGRESS for an untagged OK; None is what is not known (s4).

    A goal that is not more than the progress is left out, and a tag with the octet that ends the code.
    """
    if progress is None or (goal is not None and goal <= progress):
        goal = None
    name = _NIL if b"]" in tag else b'"' + tag.replace(b"\\", b"\\\\") + b'"'
    return b"INPROGRESS (%b %b %b)" % (name, _number(progress), _number(goal))


def _number(value: int | None) -> bytes:
    return _NIL if value is None else b"%d" % value
