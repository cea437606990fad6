"""HTML to plain text, crudely: for previews and search, never to be shown as HTML."""

import html
import re
from typing import Final

_MARKUP: Final = re.compile(r"<(?:(!--)|(/?)([a-zA-Z][a-zA-Z0-9]*+)[^<>]*+>?|[/!?][^<>]*+>?)")
_HIDDEN: Final = {"script", "style", "head", "title", "template", "noscript"}
_BLOCKS: Final = {
    *("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
    *("section", "table", "td", "th", "tr", "ul"),
}
_CLOSINGS: Final = {name: re.compile(rf"</{name}\b[^<>]*+>?", re.IGNORECASE) for name in _HIDDEN}
_LONG_NUMBER: Final = re.compile(r"&#[0-9]{9,}+;?")


def html_to_text(source: str, enough: int | None = None) -> str:
    """The text without tags, comments, styles and scripts; blocks are separated by line feeds.

    Time is linear in the source. No more is read once `enough` characters (without white space around tags)
    are there. Entities are decoded last, so that what they spell is never taken for a tag.
    """
    kept: list[str] = []
    at = length = 0
    while (found := _MARKUP.search(source, at)) is not None:
        text = source[at : found.start()]
        kept.append(text)
        length += len(text.strip())
        comment, closing, name = found.groups()
        name = (name or "").lower()
        if comment or (name in _HIDDEN and not closing):
            kept.append(" ")
            at = _after_hidden(source, found.end(), name)
        else:
            at = found.end()
            if name in _BLOCKS:
                kept.append("\n")
        if enough is not None and length >= enough:
            break
    else:
        kept.append(source[at:])
    visible = "".join(kept)
    return html.unescape(_LONG_NUMBER.sub("\ufffd", visible)) if "&" in visible else visible


def _after_hidden(source: str, at: int, name: str) -> int:
    """Where a comment (no name) or an element that is no text ends; one that is not closed hides the rest."""
    if not name:
        end = source.find("-->", at)
        return len(source) if end < 0 else end + len("-->")
    closing = _CLOSINGS[name].search(source, at)
    return len(source) if closing is None else closing.end()
