"""ENABLE (RFC 5161)."""

from mail_access.imap.authenticating import capability_list
from mail_access.imap.context import Context, Done
from postroom_wire.imap import responses
from postroom_wire.imap.commands import Enable
from postroom_wire.imap.enabling import wanted_extensions, with_implied


def enable(context: Context, command: Enable) -> Done:
    """ENABLE: tells what is newly on; what we do not know or have on already is ignored (s3.1, s3.2)."""
    found = wanted_extensions(command.capabilities, capability_list(context))
    context.output.write(responses.enabled(each.value for each in found if each not in context.enabled))
    context.enabled |= with_implied(found)
    if context.utf8:
        context.engine.enable_utf8()
    if context.selected is not None and not context.tells_recent:
        context.selected.recent.clear()
    return Done(b"ENABLE completed")
