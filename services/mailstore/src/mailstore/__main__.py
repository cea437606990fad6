"""`python -m mailstore serve|migrate|check`."""

from mailstore.serve import check, migrate, serve
from mailstore.settings import Settings
from postroom_runtime.service import Service, main

main(Service("mailstore", Settings, serve, migrate=migrate, check=check))
