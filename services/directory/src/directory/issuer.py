"""Somebody whose access tokens we take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken. `jwks` is a file, or an https URL; `address_claim` says whose account it is."""

    issuer: str
    audience: str
    jwks: str
    address_claim: str = "email"
