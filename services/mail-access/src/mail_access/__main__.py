"""`python -m mail_access serve|check`."""

from mail_access.serve import serve
from mail_access.settings import Settings
from postroom_runtime.service import Service, main

main(Service("mail-access", Settings, serve))
