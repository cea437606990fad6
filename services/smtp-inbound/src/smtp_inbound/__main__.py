"""`python -m smtp_inbound serve|check|reach`."""

from postroom_runtime.service import Service, Verb, main
from smtp_inbound.reaching import reach
from smtp_inbound.serve import check, serve
from smtp_inbound.settings import ReachSettings, Settings

main(Service("smtp-inbound", Settings, serve, check=check, verbs={"reach": Verb(ReachSettings, reach)}))
