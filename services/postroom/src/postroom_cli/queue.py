"""`postroom queue`: mail that waits."""

from typing import Annotated

import typer

from postroom_cli.api import Api, Document, segment
from postroom_cli.options import AsJson, Data
from postroom_cli.output import show, tell

queue = typer.Typer(help="Mail that waits.", no_args_is_help=True)

QueueId = Annotated[str, typer.Argument(help="As the 250 reply and the log show it.")]


@queue.command("list")
def list_queue(data: Data, as_json: AsJson = False) -> None:
    """All messages with unfinished recipients, oldest first."""
    with Api.find(data) as api:
        items = list(api.items("admin/queue"))
    if as_json:
        show(items, (), as_json=True)
        return
    rows = [_row(item, delivery) for item in items for delivery in item["deliveries"]]
    show(rows, ("id", "from", "to", "size", "attempts", "due_at", "state", "last_diagnostic"), as_json=False)


@queue.command("show")
def show_queued(queue_id: QueueId, data: Data, as_json: AsJson = False) -> None:
    """One message."""
    with Api.find(data) as api:
        item = api.ask("GET", f"admin/queue/{segment(queue_id)}")
    if as_json:
        tell(item, "", as_json=True)
        return
    rows = [_row(item, delivery) for delivery in item["deliveries"]]
    show(
        rows,
        ("id", "from", "to", "site", "attempts", "due_at", "state", "claimed_by", "last_diagnostic"),
        as_json=False,
    )


@queue.command("retry")
def retry_queued(queue_id: QueueId, data: Data, as_json: AsJson = False) -> None:
    """Try a message now."""
    with Api.find(data) as api:
        answer = api.ask("POST", f"admin/queue/{segment(queue_id)}/retry")
    tell(answer, f"{queue_id} is due now", as_json=as_json)


@queue.command("cancel")
def cancel_queued(queue_id: QueueId, data: Data, as_json: AsJson = False) -> None:
    """Do not send a message; its sender is not told."""
    with Api.find(data) as api:
        answer = api.ask("DELETE", f"admin/queue/{segment(queue_id)}")
    tell(answer, f"cancelled {queue_id}", as_json=as_json)


def _state(delivery: Document) -> str:
    """Why it is not tried, though it may be due."""
    if delivery["parked"]:
        return "parked"
    held_until = delivery["site_held_until"]
    return f"site held until {held_until}" if held_until else ""


def _row(item: Document, delivery: Document) -> Document:
    return {
        "id": item["id"],
        "from": item["reverse_path"] or "<>",
        "to": delivery["address"],
        "size": item["size"],
        "state": _state(delivery),
        **{name: delivery[name] for name in ("site", "attempts", "due_at", "claimed_by", "last_diagnostic")},
    }
