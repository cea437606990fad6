"""`postroom status`: what runs, and how much waits."""

from postroom_cli.api import Api
from postroom_cli.options import AsJson, Data
from postroom_cli.output import tell


def status(data: Data, as_json: AsJson = False) -> None:
    """Say whether Postroom answers, and what it holds."""
    with Api.find(data) as api:
        document = {
            "url": api.url,
            "domains": sum(1 for _ in api.items("admin/domains")),
            "accounts": sum(1 for _ in api.items("admin/accounts")),
            "queued": sum(1 for _ in api.items("admin/queue")),
        }
    lines = (
        f"{document['url']} answers",
        f"{document['domains']} domains, {document['accounts']} accounts, {document['queued']} messages wait",
    )
    tell(document, "\n".join(lines), as_json=as_json)
