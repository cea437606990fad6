"""What a reader of mail sees: text and HTML bodies, attachments (the algorithm of RFC 8621 s4.1.4)."""

from dataclasses import dataclass, field

from postroom_wire.mime.part import Part, PartPath, PartTable

_MEDIA = ("image/", "audio/", "video/")


@dataclass(slots=True)
class BodyView:
    """Parts to show one after another as text, the same for HTML, and all that is not shown there.

    A part may be in both lists: a message that has only one of them is shown by what it has.
    """

    text: list[Part] = field(default_factory=list[Part])
    html: list[Part] = field(default_factory=list[Part])
    attachments: list[Part] = field(default_factory=list[Part])


def body_view(table: PartTable) -> BodyView:
    """Sort the parts of a message; what a forwarded message holds belongs to that attachment."""
    view = BodyView()
    root = table.parts[0]
    children: dict[PartPath, list[Part]] = {}
    for part in table.parts[1:]:
        children.setdefault(part.path[:-1] or root.path, []).append(part)
    _Sorter(children, view).sort([root], "mixed", view.text, view.html)
    return view


def _subtype(part: Part) -> str:
    return part.media_type.partition("/")[2]


def _is_media(part: Part) -> bool:
    return part.media_type.startswith(_MEDIA)


class _Sorter:
    def __init__(self, children: dict[PartPath, list[Part]], view: BodyView) -> None:
        self._children = children
        self._view = view

    def sort(
        self,
        parts: list[Part],
        subtype: str,
        text: list[Part] | None,
        html: list[Part] | None,
        *,
        nested: bool = False,
    ) -> None:
        """Sort the parts of one multipart; recursion is as deep as multiparts nest, which the scanner bounds.

        `nested` means within an alternative; there `text` or `html` is None once the other one was met.
        """
        alternative = subtype == "alternative"
        text_before, html_before = len(text or ()), len(html or ())
        for index, part in enumerate(parts):
            if part.is_multipart:
                below = self._children.get(part.path, [])
                inside = nested or _subtype(part) == "alternative"
                self.sort(below, _subtype(part), text, html, nested=inside)
            elif not _is_inline(part, index, subtype):
                self._view.attachments.append(part)
            elif alternative:
                self._add_alternative(part, text, html)
            else:
                if nested and part.media_type == "text/plain":
                    html = None
                if nested and part.media_type == "text/html":
                    text = None
                self._add(part, text, html)
        if alternative and text is not None and html is not None:
            _fill(text, text_before, html, html_before)

    def _add(self, part: Part, text: list[Part] | None, html: list[Part] | None) -> None:
        for body in (text, html):
            if body is not None:
                body.append(part)
        if (text is None or html is None) and _is_media(part):
            self._view.attachments.append(part)

    def _add_alternative(self, part: Part, text: list[Part] | None, html: list[Part] | None) -> None:
        match part.media_type:
            case "text/plain" if text is not None:
                text.append(part)
            case "text/html" if html is not None:
                html.append(part)
            case _:
                self._view.attachments.append(part)


def _is_inline(part: Part, index: int, subtype: str) -> bool:
    if part.disposition == "attachment":
        return False
    if _is_media(part):
        return index == 0 or subtype != "related"
    if part.media_type not in {"text/plain", "text/html"}:
        return False
    return index == 0 or (subtype != "related" and part.name is None)


def _fill(text: list[Part], text_before: int, html: list[Part], html_before: int) -> None:
    """An alternative with only one of them shows it in both."""
    if len(text) == text_before:
        text.extend(html[html_before:])
    elif len(html) == html_before:
        html.extend(text[text_before:])
