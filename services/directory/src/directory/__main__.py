"""`python -m directory serve|migrate|check`."""

from directory.main import check, migrate, serve
from directory.settings import Settings
from postroom_runtime.service import Service, main

if __name__ == "__main__":
    main(Service("directory", Settings, serve, migrate, check))
