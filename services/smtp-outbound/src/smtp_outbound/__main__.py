"""`python -m smtp_outbound serve|check`."""

from postroom_runtime.service import Service, main
from smtp_outbound.serve import check, serve
from smtp_outbound.settings import Settings

main(Service("smtp-outbound", Settings, serve, check=check))
