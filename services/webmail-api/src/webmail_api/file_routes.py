"""`/files`: the tree, and files up and down (RFC 9110 s14 for ranges)."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from webmail_api.access import PROBLEMS, CurrentUser, ListPage, PathId, Shared
from webmail_api.downloads import begun, disposition
from webmail_api.file_models import NewDirectory, Node, NodeList, NodeMove, node_of
from webmail_api.identifiers import encode, node_id, parse_text_cursor, text_cursor
from webmail_api.problems import RANGE_NOT_SATISFIABLE, ProblemError

router = APIRouter(prefix="/files", tags=["files"], responses=PROBLEMS)

FilePath = Annotated[str, Query(min_length=1, max_length=4096, examples=["/photos/cat.jpg"])]
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_OCTETS: Final = "application/octet-stream"
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_DOWNLOAD: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_OCTETS: {}}, "description": "The octets."},
    206: {"content": {_OCTETS: {}}, "description": "The octets of the range."},
    304: {"description": "The file is what it was."},
}


@router.get("", operation_id="listFiles")
async def list_files(page: ListPage, user: CurrentUser, house: Shared, path: FilePath = "/") -> NodeList:
    """What is in a directory, by name."""
    listed = await house.files.page(user, path, parse_text_cursor(page.cursor), page.limit)
    return NodeList(
        items=[node_of(node) for node in listed.nodes], next_cursor=text_cursor(listed.next_cursor)
    )


@router.post("", operation_id="createDirectory", status_code=201)
async def create_directory(wanted: NewDirectory, user: CurrentUser, house: Shared) -> Node:
    """A new directory."""
    return node_of(await house.files.create_directory(user, wanted.path))


@router.put("/content", operation_id="putFile", status_code=201, openapi_extra=_BODY)
async def put_file(
    path: FilePath,
    request: Request,
    user: CurrentUser,
    house: Shared,
    if_none_match: Annotated[str | None, Header(description='"*": only where no file is yet.')] = None,
) -> Node:
    """Write the file at a path. It is seen when it is whole and durable; 201 says so."""
    source = request.stream()
    return node_of(await house.files.write(user, path, source, exclusive=if_none_match == "*"))


@router.get("/{id}", operation_id="getFile")
async def get_file(given: PathId, user: CurrentUser, house: Shared) -> Node:
    """A file or directory."""
    return node_of(await house.files.node(user, node_id(given)))


@router.patch("/{id}", operation_id="moveFile")
async def move_file(given: PathId, wanted: NodeMove, user: CurrentUser, house: Shared) -> Node:
    """Another path."""
    return node_of(await house.files.move(user, node_id(given), wanted.path))


@router.delete("/{id}", operation_id="deleteFile", status_code=204, response_class=Response)
async def delete_file(given: PathId, user: CurrentUser, house: Shared) -> None:
    """A file or an empty directory less."""
    await house.files.delete(user, node_id(given))


@router.put("/{id}/content", operation_id="putFileContent", status_code=201, openapi_extra=_BODY)
async def put_file_content(given: PathId, request: Request, user: CurrentUser, house: Shared) -> Node:
    """Write a file anew; readers see the old one until the new one is whole."""
    path = (await house.files.node(user, node_id(given))).path
    return node_of(await house.files.write(user, path, request.stream()))


@router.get(
    "/{id}/content",
    operation_id="getFileContent",
    response_class=StreamingResponse,
    responses=_DOWNLOAD,
)
async def get_file_content(given: PathId, request: Request, user: CurrentUser, house: Shared) -> Response:
    """A file's octets, all of them or one range."""
    opened = await house.files.open(user, node_id(given))
    size, etag = opened.node.size, f'"{encode(opened.node.version)}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(opened.node.name),
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    span = None
    if request.headers.get("if-range", etag) == etag:
        span = parse_range(request.headers.get("range"), size)
    first, length = (0, size) if span is None else span
    if span is not None:
        headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
    headers["Content-Length"] = str(length)
    octets = await begun(house.files.read(opened, first, length))
    return StreamingResponse(octets, 200 if span is None else 206, headers, media_type=_OCTETS)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First octet and length of a range; None where all is to be sent (several ranges, other units).

    Raises `ProblemError` when the file has no octets there.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many
        length = min(int(found[2]), size)
        first = size - length
    else:
        first = int(found[1])
        last = min(int(found[2]), size - 1) if found[2] else size - 1
        if found[2] and int(found[2]) < first:
            return None  # RFC 9110 s14.1.1: not valid, so ignored
        length = last - first + 1
    if length <= 0:
        raise ProblemError(RANGE_NOT_SATISFIABLE, headers={"Content-Range": f"bytes */{size}"})
    return first, length
