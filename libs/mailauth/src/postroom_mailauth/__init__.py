"""Mail authentication: SPF, DKIM, DMARC and ARC, with DNS answers passed in through a port."""
