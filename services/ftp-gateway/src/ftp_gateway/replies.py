"""Which reply tells of which error: the one table."""

from collections.abc import Mapping
from typing import Final

from postroom_contracts import errors
from postroom_wire.ftp import Reply
from postroom_wire.ftp import standard_replies as replies

_REPLIES: Final[Mapping[type[errors.PostroomError], Reply]] = {
    errors.NodeNotFoundError: replies.NO_SUCH_FILE,
    errors.NotADirectoryError: replies.NOT_A_DIRECTORY,
    errors.IsADirectoryError: replies.NOT_A_FILE,
    errors.NodeExistsError: replies.ALREADY_EXISTS,
    errors.DirectoryNotEmptyError: replies.DIRECTORY_NOT_EMPTY,
    errors.NotPermittedError: replies.PERMISSION_DENIED,
    errors.InvalidNameError: replies.NAME_NOT_ALLOWED,
    errors.InvalidRequestError: replies.NAME_NOT_ALLOWED,
    errors.ContentMismatchError: replies.FILE_BUSY,
    errors.OverQuotaError: replies.QUOTA_EXCEEDED,
    errors.LimitError: replies.QUOTA_EXCEEDED,
}
_LOGIN_REPLIES: Final[Mapping[type[errors.PostroomError], Reply]] = {
    errors.InvalidCredentialsError: replies.LOGIN_FAILED,
    errors.InvalidRequestError: replies.LOGIN_FAILED,
    errors.TooManyAttemptsError: replies.LOGIN_UNAVAILABLE,
}


def reply_to(error: errors.PostroomError) -> Reply:
    """For a command or a transfer; what is not in the table is our trouble, and temporary."""
    return _REPLIES.get(type(error), replies.LOCAL_ERROR)


def login_reply_to(error: errors.PostroomError) -> Reply:
    """For PASS."""
    return _LOGIN_REPLIES.get(type(error), replies.LOGIN_UNAVAILABLE)
