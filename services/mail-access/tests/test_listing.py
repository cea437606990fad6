"""LIST with its options (RFC 5258, RFC 5819, RFC 6154), after the examples of RFC 5258 s5."""

import pytest

from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def fruit(imap: Connect) -> ImapClient:
    """The mailboxes of RFC 5258 s5: Fruit/Peach is subscribed to and not there, Tofu is only a place."""
    alice = await imap()
    for name in ("Archive", "Drafts", "Junk", "Sent", "Trash"):
        await alice.ok(f"UNSUBSCRIBE {name}")
    for name in ("Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu", "Tofu/Soy", "Vegetable", "Vegetable/Corn"):
        await alice.ok(f"CREATE {name}")
    await alice.ok("DELETE Tofu")
    for name in ("Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli"):
        await alice.ok(f"SUBSCRIBE {name}")
    return alice


async def test_subscribed_names_are_listed_whether_or_not_they_exist(imap: Connect) -> None:
    alice = await fruit(imap)
    assert await alice.ok('LIST (SUBSCRIBED) "" "*"') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b'* LIST (\\HasNoChildren \\Subscribed) "/" "Fruit/Banana"',
        b'* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "Fruit/Peach"',
        b'* LIST (\\HasChildren \\Subscribed) "/" "Vegetable"',
        b'* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "Vegetable/Broccoli"',
    ]


async def test_what_is_above_a_subscribed_name_tells_so(imap: Connect) -> None:
    alice = await fruit(imap)
    assert await alice.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b'* LIST (\\HasChildren) "/" "Fruit" ("CHILDINFO" ("SUBSCRIBED"))',
        b'* LIST (\\HasChildren \\Subscribed) "/" "Vegetable" ("CHILDINFO" ("SUBSCRIBED"))',
    ]


async def test_what_is_above_is_not_told_when_all_below_is_told_itself(imap: Connect) -> None:
    alice = await fruit(imap)
    assert await alice.ok('LIST (RECURSIVEMATCH SUBSCRIBED) "" (Fruit* Vegetable)') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" "Fruit/Banana"',
        b'* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "Fruit/Peach"',
        b'* LIST (\\HasChildren \\Subscribed) "/" "Vegetable" ("CHILDINFO" ("SUBSCRIBED"))',
    ]


async def test_special_uses_are_found_below(imap: Connect) -> None:
    alice = await fruit(imap)
    await alice.ok("CREATE Fruit/Sent (USE (\\Sent))")
    assert await alice.ok('LIST (SPECIAL-USE RECURSIVEMATCH) "" (Fruit Sent)') == [
        b'* LIST (\\HasChildren) "/" "Fruit" ("CHILDINFO" ("SPECIAL-USE"))',
    ]
    assert await alice.ok('LIST (SPECIAL-USE SUBSCRIBED RECURSIVEMATCH) "" Fruit') == []
    await alice.ok("SUBSCRIBE Fruit/Sent")
    assert await alice.ok('LIST (SPECIAL-USE SUBSCRIBED RECURSIVEMATCH) "" Fruit') == [
        b'* LIST (\\HasChildren) "/" "Fruit" ("CHILDINFO" ("SPECIAL-USE" "SUBSCRIBED"))',
    ]


async def test_a_place_without_a_mailbox_is_listed_with_its_children(imap: Connect) -> None:
    alice = await fruit(imap)
    assert await alice.ok('LIST "" (Tofu Tofu/%) RETURN (CHILDREN)') == [
        b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Tofu"',
        b'* LIST (\\HasNoChildren) "/" "Tofu/Soy"',
    ]


async def test_a_name_that_several_patterns_match_is_listed_once(imap: Connect) -> None:
    alice = await fruit(imap)
    assert await alice.ok('LIST "" (Fruit F* %)') == await alice.ok('LIST "" (% F*)')
    assert len(await alice.ok('LIST "" (Fruit/Apple Fruit/A* "*/Apple")')) == 1


@pytest.mark.parametrize(
    "command", ['LIST () "" ""', 'LIST "" ("")', 'LIST "" "" RETURN ()', 'LIST (SUBSCRIBED) "Fruit" ""']
)
async def test_an_empty_pattern_of_an_extended_list_matches_nothing(imap: Connect, command: str) -> None:
    alice = await imap()
    assert await alice.ok(command) == []


async def test_an_empty_pattern_among_others_is_ignored(imap: Connect) -> None:
    alice = await imap()
    assert await alice.ok('LIST "" ("" INBOX)') == [b'* LIST (\\HasNoChildren) "/" INBOX']


async def test_status_comes_with_each_mailbox_and_with_no_other_name(imap: Connect) -> None:
    alice = await fruit(imap)
    await alice.append("Fruit/Apple", MAIL, "(\\Deleted)")
    assert await alice.ok('LIST "" (Tofu Fruit/Apple) RETURN (STATUS (MESSAGES SIZE DELETED))') == [
        b'* LIST (\\HasNoChildren) "/" "Fruit/Apple"',
        b'* STATUS "Fruit/Apple" (MESSAGES 1 SIZE %d DELETED 1)' % len(MAIL),
        b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Tofu"',
    ]


async def test_status_does_not_come_with_what_only_leads_to_a_match(imap: Connect) -> None:
    alice = await fruit(imap)
    assert await alice.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (STATUS (MESSAGES))') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b"* STATUS INBOX (MESSAGES 0)",
        b'* LIST (\\HasChildren) "/" "Fruit" ("CHILDINFO" ("SUBSCRIBED"))',
        b'* LIST (\\HasChildren \\Subscribed) "/" "Vegetable" ("CHILDINFO" ("SUBSCRIBED"))',
        b'* STATUS "Vegetable" (MESSAGES 0)',
    ]


async def test_status_tells_size_and_deleted_messages(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.append("INBOX", MAIL, "(\\Deleted)")
    assert await alice.ok("STATUS INBOX (SIZE DELETED)") == [
        b"* STATUS INBOX (SIZE %d DELETED 1)" % (2 * len(MAIL))
    ]


async def test_a_mailbox_is_made_for_a_use_that_another_loses(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("CREATE Posted (USE (\\sent))")
    assert await alice.ok('LIST "" (Posted Sent) RETURN (SPECIAL-USE)') == [
        b'* LIST (\\HasNoChildren \\Sent) "/" "Posted"',
        b'* LIST (\\HasNoChildren) "/" "Sent"',
    ]
    await alice.ok("CREATE Plain (USE ())")
    assert await alice.ok('LIST "" Plain') == [b'* LIST (\\HasNoChildren) "/" "Plain"']


@pytest.mark.parametrize("uses", ["\\All", "\\Flagged", "\\Sent \\Drafts", "\\Sent \\Unheard"])
async def test_a_use_that_no_mailbox_can_have_makes_no_mailbox(imap: Connect, uses: str) -> None:
    alice = await imap()
    refused = await alice.command(f"CREATE Everything (USE ({uses}))")
    assert refused.text == b"NO [USEATTR] No mailbox can have this special use"
    assert await alice.ok('LIST "" Everything') == []


async def test_the_list_family_is_offered(imap: Connect) -> None:
    alice = await imap()
    (offered,) = await alice.ok("CAPABILITY")
    wanted = {b"LIST-EXTENDED", b"LIST-STATUS", b"STATUS=SIZE", b"SPECIAL-USE", b"CREATE-SPECIAL-USE"}
    assert wanted <= set(offered.split())
