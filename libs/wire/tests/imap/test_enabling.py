"""RFC 5161 and RFC 7162 s3.2.3."""

from postroom_wire.imap.enabling import Extension, wanted_extensions, with_implied


def test_what_is_not_offered_or_not_known_is_ignored() -> None:
    offered = (b"IMAP4rev1", b"CONDSTORE", b"UTF8=ACCEPT")
    asked = (b"CONDSTORE", b"QRESYNC", b"UTF8=ACCEPT", b"X-NONSENSE", b"CONDSTORE")
    assert wanted_extensions(asked, offered) == [Extension.CONDSTORE, Extension.UTF8_ACCEPT]


def test_names_are_asked_for_in_any_case() -> None:
    assert wanted_extensions([b"IMAP4REV2"], [b"IMAP4rev2"]) == [Extension.IMAP4REV2]


def test_qresync_brings_condstore_along() -> None:
    assert with_implied([Extension.QRESYNC]) == {Extension.QRESYNC, Extension.CONDSTORE}
    assert with_implied([Extension.CONDSTORE]) == {Extension.CONDSTORE}
    assert with_implied([]) == frozenset()
