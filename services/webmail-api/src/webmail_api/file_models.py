"""Documents of files and directories."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from postroom.filestore.v1 import file_pb2 as pb
from webmail_api.identifiers import encode
from webmail_api.mail_models import Id, Input

Path = Annotated[str, Field(min_length=1, max_length=4096, examples=["/photos"])]


class Node(BaseModel):
    """A file or a directory."""

    id: Id
    path: str = Field(description="Absolute.", examples=["/photos/cat.jpg"])
    name: str = Field(examples=["cat.jpg"])
    kind: Literal["file", "directory"]
    size: int = Field(description="Octets.", examples=[20480])
    sha256: str | None = Field(description="Of the octets, in hexadecimal, where it is known.")
    modified_at: datetime
    created_at: datetime


class NodeList(BaseModel):
    """A page of a directory, by name."""

    items: list[Node]
    next_cursor: str | None = None


class NewDirectory(Input):
    """A directory to make."""

    path: Path


class NodeMove(Input):
    """A new path."""

    path: Path


def node_of(node: pb.Node) -> Node:
    """The document."""
    return Node(
        id=encode(node.id),
        path=node.path,
        name=node.name,
        kind="directory" if node.directory else "file",
        size=node.size,
        sha256=node.digest.hex() or None,
        modified_at=node.modified_at.ToDatetime(UTC),
        created_at=node.created_at.ToDatetime(UTC),
    )
