"""`python -m webmail_api serve|check`."""

from postroom_runtime.service import Service, main
from webmail_api.serve import serve
from webmail_api.settings import Settings

main(Service("webmail-api", Settings, serve))
