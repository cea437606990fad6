"""`python -m ftp_gateway serve|check`."""

from ftp_gateway.serve import check, serve
from ftp_gateway.settings import Settings
from postroom_runtime.service import Service, main

main(Service("ftp-gateway", Settings, serve, check=check))
