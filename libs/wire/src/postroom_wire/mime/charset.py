"""Octets to text, whatever they are labelled with; nothing here raises (RFC 2045 s5.1, RFC 2046 s4.1.2)."""

import re
from encodings.aliases import aliases
from typing import Final

# Not text, quadratic, or able to name code points that no text has.
_REFUSED: Final = {
    "base64_codec",
    "bz2_codec",
    "hex_codec",
    "idna",
    "mbcs",
    "oem",
    "punycode",
    "quopri_codec",
    "raw_unicode_escape",
    "rot_13",
    "undefined",
    "unicode_escape",
    "uu_codec",
    "zlib_codec",
}
# What senders mean by these labels is the larger set (WHATWG Encoding).
_LARGER: Final = {
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "tis_620": "cp874",
    "iso8859_11": "cp874",
}


def _codecs() -> dict[str, str]:
    """Label to codec. A fixed table: the interpreter's own lookup caches each unknown label for ever."""
    known = {alias: name for alias, name in aliases.items() if name not in _REFUSED}
    known |= {name: name for name in known.values()}
    known |= {name: name for name in ("cp874", "cp1252", "iso8859_15", "koi8_r", "koi8_u", "utf_8_sig")}
    known |= {"ks_c_5601_1987": "cp949", "x_sjis": "cp932", "unicode_1_1_utf_7": "utf_7", "cp_1252": "cp1252"}
    return {label: _LARGER.get(name, name) for label, name in known.items()}


_CODECS: Final = _codecs()
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
# C0 and C1 controls but tab, line feed and carriage return; lone surrogates. Postgres refuses NUL.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LINE_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]+")
_MAX_LABEL: Final = 64
_PLAIN: Final = bytes({0x09, 0x0A, 0x0D, *range(0x20, 0x7F)})
_ASCII_SUPERSETS: Final = {"us-ascii", "ascii", "utf-8", "utf8", "iso-8859-1", "iso-8859-15", "windows-1252"}


def codec_of(label: str) -> str | None:
    """The name of the codec for a charset label, or None where we know of none."""
    if len(label) > _MAX_LABEL:
        return None
    return _CODECS.get(_SEPARATORS.sub("_", label.lower()).strip("_"))


def decode_text(octets: bytes, label: str | None = None) -> str:
    """Text in the labelled charset; unlabelled, US-ASCII and unknown text is UTF-8 if it can be, else cp1252.

    What does not fit becomes U+FFFD. The result has no NUL and no lone surrogate.
    """
    if octets.isascii() and not octets.translate(None, _PLAIN) and _is_ascii_superset(label):
        return octets.decode("ascii")
    codec = "ascii" if label is None else codec_of(label)
    if codec is None or codec in {"ascii", "utf_8"}:
        try:
            return clean_text(octets.decode())
        except UnicodeDecodeError:
            codec = "utf_8" if codec == "utf_8" else "cp1252"
    return clean_text(octets.decode(codec, "replace"))


def decode_line(octets: bytes) -> str:
    """Unlabelled text as one clean line."""
    if octets.isascii():
        text = octets.decode("ascii")
        return text if text.isprintable() else clean_line(text)
    return clean_line(decode_text(octets))


def clean_text(text: str) -> str:
    """The text without what a database or a terminal would choke on; its lines stay."""
    if text.isascii() and text.isprintable():
        return text
    return _SURROGATE.sub("\ufffd", _CONTROLS.sub("", text))


def clean_line(text: str) -> str:
    """The text as one line: NUL is left out, other controls become a space, lone surrogates U+FFFD."""
    if text.isprintable():
        return text
    return _SURROGATE.sub("\ufffd", _LINE_CONTROLS.sub(" ", text.replace("\0", "")))


def _is_ascii_superset(label: str | None) -> bool:
    return label is None or label.lower() in _ASCII_SUPERSETS
