"""`python -m directory serve|migrate|check|declare|drift`."""

from directory.declaring import declare, drift
from directory.main import check, migrate, serve
from directory.settings import Settings, SetupSettings
from postroom_runtime.service import Service, Verb, main

VERBS = {"declare": Verb(SetupSettings, declare), "drift": Verb(SetupSettings, drift)}

if __name__ == "__main__":
    main(Service("directory", Settings, serve, migrate, check, VERBS))
