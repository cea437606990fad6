"""`python -m smtp_inbound serve|check`."""

from postroom_runtime.service import Service, main
from smtp_inbound.serve import check, serve
from smtp_inbound.settings import Settings

main(Service("smtp-inbound", Settings, serve, check=check))
