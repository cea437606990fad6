"""What all requests of a process share."""

from collections.abc import Mapping
from dataclasses import dataclass

from postroom.directory.v1.credential_pb2_grpc import CredentialServiceStub
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.doctor.v1.doctor_pb2_grpc import DoctorServiceStub
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom.mailstore.v1.queue_pb2_grpc import QueueServiceStub
from postroom.mailstore.v1.retention_pb2_grpc import RetentionServiceStub
from postroom_runtime.budget import ByteBudget
from webmail_api.content import ContentReader
from webmail_api.files import Files
from webmail_api.limits import Limits
from webmail_api.mail_store import MailStore
from webmail_api.message_view import Viewer
from webmail_api.sending import Sender
from webmail_api.sessions import Sessions
from webmail_api.settings import Settings


@dataclass(frozen=True, slots=True)
class House:
    """Made once, in `serve`. `sending` bounds the octets of messages that are being sent.

    `doctors` are those of each core service, by its service's name.
    """

    settings: Settings
    limits: Limits
    sessions: Sessions
    directory: DirectoryServiceStub
    credentials: CredentialServiceStub
    queue: QueueServiceStub
    mailboxes: MailboxServiceStub
    retention: RetentionServiceStub
    doctors: Mapping[str, DoctorServiceStub]
    store: MailStore
    reader: ContentReader
    viewer: Viewer
    sender: Sender
    files: Files
    sending: ByteBudget
