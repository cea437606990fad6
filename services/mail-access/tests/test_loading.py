"""A mailbox that changes while it is loaded."""

from collections.abc import AsyncGenerator
from typing import cast
from uuid import UUID

from mail_access.login import Login
from mail_access.open_mailbox import OpenMailbox
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.ids import new_id


class ChangingStore(MailStore):
    """Between the first page and the rows somebody stores a keyword that nobody had before."""

    def __init__(self) -> None:
        """It asks nobody."""

    async def load_mailbox(
        self, login: Login, mailbox_id: UUID
    ) -> AsyncGenerator[mailbox_pb2.LoadMailboxResponse]:
        mailbox = mailbox_pb2.Mailbox(uid_validity=1, uid_next=2, highest_modseq=2)
        yield mailbox_pb2.LoadMailboxResponse(mailbox=mailbox, modseq=2)
        rows = mailbox_pb2.Rows(uids=[1], flags=[0], keywords=[1], modseqs=[3], sizes=[9], internal_dates=[0])
        named = [mailbox_pb2.Keyword(bit=0, name="$Late")]
        yield mailbox_pb2.LoadMailboxResponse(rows=rows, keywords=named)


async def test_a_keyword_that_is_new_while_a_mailbox_is_loaded_has_its_name() -> None:
    mailbox = OpenMailbox(ChangingStore(), new_id())
    await mailbox.refresh(cast(Login, None), 2)
    word = mailbox.rows.word(1)
    assert word is not None
    assert mailbox.names.flag_list(word) == "($Late)"
