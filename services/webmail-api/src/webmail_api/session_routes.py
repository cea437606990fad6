"""`/session`: logging in and out."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, SecretStr

from webmail_api.access import PROBLEMS, CurrentUser, PrivatePeer, SessionToken, Shared
from webmail_api.identifiers import uuid_text
from webmail_api.mail_models import Input

router = APIRouter(tags=["session"], responses=PROBLEMS)


class Credentials(Input):
    """An address and its password."""

    address: Annotated[str, Field(min_length=1, max_length=320, examples=["alice@postroom.test"])]
    password: Annotated[SecretStr, Field(max_length=1024, examples=["correct horse battery"])]


class SessionDocument(BaseModel):
    """What other requests carry: `Authorization: Bearer <token>`."""

    token: str
    expires_at: datetime


class Who(BaseModel):
    """Whose session it is."""

    account_id: str
    address: str = Field(examples=["alice@postroom.test"])
    display_name: str = Field(examples=["Alice"])


@router.post("/session", operation_id="createSession", status_code=201)
async def create_session(credentials: Credentials, peer: PrivatePeer, house: Shared) -> SessionDocument:
    """Log in."""
    password = credentials.password.get_secret_value()
    session = await house.sessions.log_in(credentials.address, password, peer)
    return SessionDocument(token=session.token, expires_at=session.expires_at)


@router.get("/session", operation_id="getSession")
async def get_session(user: CurrentUser) -> Who:
    """Who am I."""
    return Who(account_id=uuid_text(user.account_id), address=user.address, display_name=user.display_name)


@router.delete("/session", operation_id="deleteSession", status_code=204, response_class=Response)
async def delete_session(token: SessionToken, user: CurrentUser, house: Shared) -> None:
    """Log out."""
    del user
    house.sessions.end(token)
