"""What all sessions of a process share."""

from dataclasses import dataclass

from mail_access.account_store import AccountStore
from mail_access.content import ContentReader
from mail_access.finder import Finder
from mail_access.login import Logins
from mail_access.settings import Settings
from mail_access.store import MailStore
from mail_access.views import OpenMailboxes
from mail_access.watching import Watches
from postroom_runtime.budget import ByteBudget
from postroom_runtime.tls import CertificateReloader
from postroom_runtime.transfer import Transfers


@dataclass(frozen=True, slots=True)
class Resources:
    """Made once, in `serve`. `tls` is None where no certificate is configured."""

    settings: Settings
    logins: Logins
    accounts: AccountStore
    store: MailStore
    finder: Finder
    mailboxes: OpenMailboxes
    watches: Watches
    reader: ContentReader
    budget: ByteBudget
    transfers: Transfers
    tls: CertificateReloader | None
