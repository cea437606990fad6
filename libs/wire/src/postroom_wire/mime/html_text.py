"""HTML to plain text, crudely: for previews and search, never to be shown as HTML."""

import html
import re
from typing import Final

_HIDDEN_START: Final = re.compile(
    r"<(?:(script|style|head|title|template|noscript)\b[^<>]*+>|!--)", re.IGNORECASE
)
_BREAK: Final = re.compile(
    r"<(?:/?(?:p|div|tr|table|ul|ol|h[1-6]|blockquote|section|article|header|footer|pre)|br|hr|li)\b[^<>]*+>?",
    re.IGNORECASE,
)
_TAG: Final = re.compile(r"<[/!?a-zA-Z][^<>]*+>?")
_MAX_ENTITY: Final = re.compile(r"&#[0-9]{9,}+;?")


def html_to_text(source: str) -> str:
    """The text without tags, comments, styles and scripts; blocks are separated by line feeds.

    Time is linear in the source. Entities are decoded last, so that what they spell is never taken for a tag.
    """
    visible = _TAG.sub("", _BREAK.sub("\n", _without_hidden(source)))
    return html.unescape(_MAX_ENTITY.sub("\ufffd", visible)) if "&" in visible else visible


def _without_hidden(source: str) -> str:
    """Cut out elements that are not text; one that is not closed hides the rest."""
    kept: list[str] = []
    at = 0
    lower = source.lower() if len(source.lower()) == len(source) else source
    while (found := _HIDDEN_START.search(source, at)) is not None:
        kept.append(source[at : found.start()])
        name = found[1]
        closing = "-->" if name is None else f"</{name.lower()}"
        end = lower.find(closing, found.end())
        if end < 0:
            return " ".join(kept)
        at = end + len(closing)
        if name is not None:
            at = (source.find(">", at) + 1) or len(source)
    kept.append(source[at:])
    return " ".join(kept)
