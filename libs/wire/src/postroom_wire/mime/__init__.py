"""MIME and message format (RFC 5322, RFC 2045): a linear, bounded scanner, and the composer of what we send.

`scan` is for all mail and never raises; `compose` and `compose_delivery_report` write new messages.
"""

from postroom_wire.mime.addresses import Address
from postroom_wire.mime.charset import clean_line, clean_text, decode_text
from postroom_wire.mime.compose import Mailbox, OutgoingAttachment, OutgoingMessage, compose
from postroom_wire.mime.dates import format_date, parse_date, written_date
from postroom_wire.mime.delivery_report import (
    Action,
    DeliveryReport,
    RecipientStatus,
    compose_delivery_report,
)
from postroom_wire.mime.display import Display, ShownPart, display, part_text
from postroom_wire.mime.encoded_word import decode_words
from postroom_wire.mime.header_writer import HeaderError
from postroom_wire.mime.html_text import html_to_text
from postroom_wire.mime.limits import Limit, Limits
from postroom_wire.mime.part import Extent, Part, PartPath, PartTable
from postroom_wire.mime.part_codec import PartTableError, decode_parts, encode_parts
from postroom_wire.mime.scan import SCANNER_VERSION, Attachment, ScannedMessage, scan
from postroom_wire.mime.transfer import Decoder, decode_transfer, decoder

__all__ = [
    "SCANNER_VERSION",
    "Action",
    "Address",
    "Attachment",
    "Decoder",
    "DeliveryReport",
    "Display",
    "Extent",
    "HeaderError",
    "Limit",
    "Limits",
    "Mailbox",
    "OutgoingAttachment",
    "OutgoingMessage",
    "Part",
    "PartPath",
    "PartTable",
    "PartTableError",
    "RecipientStatus",
    "ScannedMessage",
    "ShownPart",
    "clean_line",
    "clean_text",
    "compose",
    "compose_delivery_report",
    "decode_parts",
    "decode_text",
    "decode_transfer",
    "decode_words",
    "decoder",
    "display",
    "encode_parts",
    "format_date",
    "html_to_text",
    "parse_date",
    "part_text",
    "scan",
    "written_date",
]
