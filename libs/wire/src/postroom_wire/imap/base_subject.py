"""The base subject: what SORT and THREAD compare of a subject (RFC 5256 s2.1)."""

import re
from typing import Final, NamedTuple

_MAX_SUBJECT: Final = 1_000
"""Characters that are looked at."""

_SPACES: Final = re.compile(r"[ \t\r\n]+")

# subj-blob = "[" *BLOBCHAR "]" *WSP
_BLOB: Final = re.compile(r"\[[^\[\]]*+\] *+")

# subj-leader = (*subj-blob subj-refwd) / WSP
# subj-refwd  = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
# Groups are not possessive: Debian 12's Python 3.11.2 then goes on behind what did not match.
_LEADER: Final = re.compile(r"(?:\[[^\[\]]*+\] *+)*(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?:| ", re.IGNORECASE)

# subj-trailer = "(fwd)" / WSP
_TRAILER: Final = "(fwd)"

# subj-fwd = subj-fwd-hdr subject subj-fwd-trl
_FORWARDED: Final = "[fwd:"


class BaseSubject(NamedTuple):
    """The text without its artifacts, and whether one of them says reply or forward (s3 THREAD)."""

    text: str
    is_reply: bool


def base_subject(subject: str) -> BaseSubject:
    """The base subject of a subject whose encoded-words are decoded. Case is kept: fold it to compare."""
    text = _SPACES.sub(" ", subject[:_MAX_SUBJECT])
    is_reply = False
    while True:
        text, trailed = _without_trailers(text)
        text, led = _without_leaders(text)
        is_reply |= trailed or led
        # step (6) of s2.1
        if not (text[: len(_FORWARDED)].lower() == _FORWARDED and text.endswith("]")):
            return BaseSubject(text, is_reply)
        text, is_reply = text[len(_FORWARDED) : -1], True


def _without_trailers(text: str) -> tuple[str, bool]:
    """Step (2)."""
    found = False
    while True:
        text = text.rstrip(" ")
        if text[-len(_TRAILER) :].lower() != _TRAILER:
            return text, found
        text, found = text[: -len(_TRAILER)], True


def _without_leaders(text: str) -> tuple[str, bool]:
    """Steps (3) to (5)."""
    at, found = 0, False
    while True:
        if leader := _LEADER.match(text, at):
            found |= leader[0] != " "
            at = leader.end()
        elif (blob := _BLOB.match(text, at)) and blob.end() < len(text):
            at = blob.end()
        else:
            return text[at:], found
