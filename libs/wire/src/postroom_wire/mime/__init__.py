"""MIME and message format (RFC 5322, RFC 2045): a linear, bounded scanner, and the composer of what we send.

`scan` is for all mail and never raises; `compose` and `compose_delivery_report` write new messages.
"""

from postroom_wire.mime.addresses import Address
from postroom_wire.mime.charset import clean_line, clean_text, decode_text
from postroom_wire.mime.display import Display, ShownPart, display, part_text
from postroom_wire.mime.encoded_word import decode_words
from postroom_wire.mime.limits import Limit, Limits
from postroom_wire.mime.part import Extent, Part, PartPath, PartTable
from postroom_wire.mime.part_codec import PartTableError, decode_parts, encode_parts
from postroom_wire.mime.scan import SCANNER_VERSION, Attachment, ScannedMessage, scan
from postroom_wire.mime.transfer import Decoder, decode_transfer, decoder

__all__ = [
    "SCANNER_VERSION",
    "Address",
    "Attachment",
    "Decoder",
    "Display",
    "Extent",
    "Limit",
    "Limits",
    "Part",
    "PartPath",
    "PartTable",
    "PartTableError",
    "ScannedMessage",
    "ShownPart",
    "clean_line",
    "clean_text",
    "decode_parts",
    "decode_text",
    "decode_transfer",
    "decode_words",
    "decoder",
    "display",
    "encode_parts",
    "part_text",
    "scan",
]
