"""On well-formed messages the scanner sees what the standard library sees."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final, TypeAlias, cast

from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime import PartPath, decode_transfer, scan

WORDS: Final = st.text("abcXYZ 019-.,é€漢\U0001f600'\"()<>@;:\\", max_size=40).map(
    lambda text: " ".join(text.split())
)
BODIES: Final = st.lists(st.text("abc .-=é€\t", max_size=30), max_size=6).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)
LEAVES = st.one_of(
    st.tuples(st.just("plain"), BODIES),
    st.tuples(st.just("html"), BODIES),
    st.tuples(st.just("octets"), st.binary(max_size=60)),
)
TREES = st.recursive(
    LEAVES,
    lambda children: st.one_of(
        st.tuples(
            st.sampled_from(("mixed", "alternative", "related")), st.lists(children, min_size=1, max_size=3)
        ),
        st.tuples(st.just("message"), children),
    ),
    max_leaves=8,
)
ADDRESSES: Final = st.lists(
    # The library's generator breaks lists with empty names and with names that are not ASCII.
    st.tuples(
        WORDS.filter(lambda name: name.isascii() and bool(name)),
        st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True),
    ),
    min_size=1,
    max_size=4,
)


Tree: TypeAlias = "tuple[str, str | bytes | Tree | list[Tree]]"


def build(tree: Tree) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    match tree:
        case (subtype, str(text)):
            message.set_content(text, subtype=subtype)
        case (_, bytes(octets)):
            message.set_content(octets, maintype="application", subtype="x", filename="naïve name.bin")
        case (subtype, list(children)):
            message["Content-Type"] = f"multipart/{subtype}"
            for child in children:
                message.attach(build(child))
        case (_, inner):
            nested = build(inner)
            nested["Subject"] = "inner"
            message.set_content(nested)
    return message


def shape(part: EmailMessage, path: PartPath = ()) -> dict[PartPath, tuple[str, bytes]]:
    """Path to type and decoded content of each leaf, numbered as IMAP does."""
    found: dict[PartPath, tuple[str, bytes]] = {}
    children = [cast("EmailMessage", child) for child in part.iter_parts()]
    if part.get_content_type() == "message/rfc822":
        inner = cast("list[EmailMessage]", part.get_payload())[0]
        return shape(inner, path if inner.get_content_maintype() == "multipart" else (*path, 1))
    if part.is_multipart():
        for number, child in enumerate(children, 1):
            found |= shape(child, (*path, number))
        return found
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return {path: (part.get_content_type(), content)}


@given(TREES)
def test_the_same_leaves_with_the_same_content(tree: Tree) -> None:
    message = build(tree)
    message["Subject"] = "outer"
    octets = message.as_bytes()
    reference = message_from_bytes(octets, policy=policy.default)
    expected = shape(reference, () if reference.get_content_maintype() == "multipart" else (1,))
    table = scan(octets).table
    found = {
        part.path: (
            part.media_type,
            decode_transfer(octets[part.extent.body_offset :][: part.extent.body_length], part.encoding),
        )
        for part in table.parts
        if part.media_type != "message/rfc822" and not part.is_multipart
    }
    assert found == expected


@given(subject=WORDS, to=ADDRESSES)
def test_the_same_subject_and_addresses(subject: str, to: list[tuple[str, str]]) -> None:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = subject
    message["To"] = ", ".join(f'"{quoted(name)}" <{local}@example.com>' for name, local in to)
    message.set_content("hi")
    octets = message.as_bytes()
    reference = message_from_bytes(octets, policy=policy.default)
    scanned = scan(octets)
    assert scanned.subject == str(reference["Subject"])
    assert [address.address for address in scanned.to] == [
        address.addr_spec for address in reference["To"].addresses
    ]
    # Not the library's: it shows the white space between adjacent encoded-words (RFC 2047 s6.2 does not).
    assert [address.name for address in scanned.to] == [name for name, _ in to]


def quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def test_a_file_name_is_the_same() -> None:
    octets = build(("octets", b"x")).as_bytes()
    reference = message_from_bytes(octets, policy=policy.default)
    (part,) = scan(octets).table.parts
    assert part.name == reference.get_filename() == "naïve name.bin"
