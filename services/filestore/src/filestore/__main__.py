"""`python -m filestore serve|migrate|check`."""

from filestore.serve import check, migrate, serve
from filestore.settings import Settings
from postroom_runtime.service import Service, main

main(Service("filestore", Settings, serve, migrate=migrate, check=check))
