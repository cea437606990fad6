"""BODY and BODYSTRUCTURE in wire form (RFC 3501 s7.4.2)."""

from typing import Final

from postroom_wire.mime.envelope import read_envelope
from postroom_wire.mime.fields import Scan, first, first_within
from postroom_wire.mime.imap_string import NIL, imap_nstring, imap_string
from postroom_wire.mime.parameters import Parameters
from postroom_wire.mime.tree import Kind, Node

_DEFAULT_CHARSET: Final = (b"charset", b"us-ascii")
_NO_EXTENSION: Final = b"NIL NIL NIL"
_MAX_LANGUAGES: Final = 256
"""Octets of Content-Language that are looked at."""


def write_structure(scan: Scan, node: Node) -> tuple[bytes, bytes]:
    """BODY and BODYSTRUCTURE of a part with all that it holds; as deep as `Limits.depth` at most."""
    match node.kind:
        case Kind.MULTIPART:
            return _multipart(scan, node)
        case Kind.MESSAGE:
            inner = node.children[0]
            envelope = read_envelope(scan, inner.fields).encode()
            body, structure = write_structure(scan, inner)
            start, end = _basic(node), b"%d" % node.lines
            extension = b"%b %b" % (
                imap_nstring(first_within(scan, node.fields, b"content-md5")),
                _common(scan, node),
            )
            return (
                b"(%b %b %b %b)" % (start, envelope, body, end),
                b"(%b %b %b %b %b)" % (start, envelope, structure, end, extension),
            )
        case Kind.LEAF:
            basic = _basic(node)
            if node.content.token.startswith(b"text/"):
                basic = b"%b %d" % (basic, node.lines)
            digest = imap_nstring(first_within(scan, node.fields, b"content-md5"))
            return b"(%b)" % basic, b"(%b %b %b)" % (basic, digest, _common(scan, node))


def _multipart(scan: Scan, node: Node) -> tuple[bytes, bytes]:
    written = [write_structure(scan, child) for child in node.children]
    subtype = imap_string(node.content.token.partition(b"/")[2])
    return (
        b"(%b %b)" % (b"".join(body for body, _ in written), subtype),
        b"(%b %b %b %b)"
        % (
            b"".join(structure for _, structure in written),
            subtype,
            _parameter_list(node.content.parameters),
            _common(scan, node),
        ),
    )


def _basic(node: Node) -> bytes:
    """media-type SP body-fields."""
    main, _, subtype = node.content.token.partition(b"/")
    parameters = node.content.parameters
    if main == b"text" and node.content.raw(b"charset") is None:
        parameters = (_DEFAULT_CHARSET, *parameters)
    return b"%b %b %b %b %b %b %d" % (
        imap_string(main),
        imap_string(subtype),
        _parameter_list(parameters),
        imap_nstring(node.content_id),
        imap_nstring(node.description),
        imap_string(node.encoding),
        node.end - node.body_offset,
    )


def _common(scan: Scan, node: Node) -> bytes:
    """The extension data that every part has: disposition, language, location."""
    fields = node.fields
    if (
        b"content-disposition" not in fields
        and b"content-language" not in fields
        and b"content-location" not in fields
    ):
        return _NO_EXTENSION
    disposition = node.disposition
    return b"%b %b %b" % (
        NIL
        if disposition is None
        else b"(%b %b)" % (imap_string(disposition.token), _parameter_list(disposition.parameters)),
        _languages(first(fields, b"content-language")),
        imap_nstring(first_within(scan, fields, b"content-location")),
    )


def _parameter_list(parameters: Parameters) -> bytes:
    if not parameters:
        return NIL
    return b"(%b)" % b" ".join(
        b"%b %b" % (imap_string(name), imap_string(value)) for name, value in parameters
    )


def _languages(value: bytes | None) -> bytes:
    """nstring, or a list of language tags (RFC 3282 s2)."""
    tags = [tag for tag in (piece.strip() for piece in (value or b"")[:_MAX_LANGUAGES].split(b",")) if tag]
    if len(tags) <= 1:
        return imap_nstring(tags[0] if tags else None)
    return b"(%b)" % b" ".join(map(imap_string, tags))
