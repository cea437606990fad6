"""HTML of strangers made safe to show: no scripts, no forms, no styles, nothing loaded from elsewhere."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import nh3

from webmail_api.limits import DEFAULT_LIMITS, Limits

_SCHEMES: Final = {"http", "https", "mailto", "tel", "cid"}
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)")
# Elements that end by themselves; all others pile up when they are not closed.
_ENDLESS: Final = {
    *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"),
    *("p", "li", "td", "tr", "th", "dt", "dd", "option", "tbody", "thead", "tfoot"),
}
# A parser opens these again in every paragraph after the one that they were not closed in.
_FORMATTING: Final = {
    *("a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"),
}
# Not `cite`, which is an address that nobody sees.
_ATTRIBUTES: Final = {tag: set(attributes) - {"cite"} for tag, attributes in nh3.ALLOWED_ATTRIBUTES.items()}
_GROWTH: Final = 4
_REMOTE: Final = ("http://", "https://", "//")


@dataclass(frozen=True, slots=True)
class SafeHtml:
    """Clean HTML. `blocked_remote` says that pictures from elsewhere were left out."""

    html: str
    blocked_remote: bool


def clean(
    html: str,
    picture: Callable[[str], str | None],
    *,
    remote_content: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> SafeHtml | None:
    """Clean HTML, or None where cleaning would take too long.

    `picture` gives the address of the part with this content id. The cleaner's time grows with the square of
    the depth, so what is nested beyond all reason is not given to it.
    """
    if len(html) > limits.html or not _is_reasonable(html, limits):
        return None
    blocked = False

    def keep(tag: str, attribute: str, value: str) -> str | None:
        nonlocal blocked
        if (tag, attribute) != ("img", "src"):
            return value
        if value.lower().startswith("cid:"):
            return picture(value[len("cid:") :])
        if not remote_content:
            blocked = blocked or value.strip().lower().startswith(_REMOTE)
            return None
        return value if value.lower().startswith(_REMOTE[:2]) else None

    cleaned = nh3.clean(
        html,
        attributes=_ATTRIBUTES,
        attribute_filter=keep,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return SafeHtml(cleaned, blocked) if len(cleaned) <= _GROWTH * limits.html else None


def _is_reasonable(html: str, limits: Limits) -> bool:
    """Whether the cleaner's time is bounded. End tags are not believed alone: a parser may ignore them."""
    openings = formatting = depth = 0
    for found in _TAG.finditer(html):
        name = found[2].lower()
        if found[1]:
            depth = max(depth - (name not in _ENDLESS), 0)
            continue
        openings += 1
        formatting += name in _FORMATTING
        depth += name not in _ENDLESS
        if depth > limits.html_depth:
            return False
    return openings <= limits.html_tags and openings * formatting <= limits.html_work
