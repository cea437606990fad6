"""The issuer's keys: read again for an unknown one, kept while the issuer is away."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

from directory.bearer_tokens import IssuerKeys
from directory.limits import Limits
from directory.settings import Settings
from postroom_contracts.errors import InvalidCredentialsError, UnavailableError

LIMITS = Limits()


def jwks(*key_ids: str | None, use: str = "sig") -> bytes:
    """A set of keys."""
    jwk = json.loads(ECAlgorithm.to_jwk(generate_private_key(SECP256R1()).public_key()))
    named = [{"kid": key_id} if key_id is not None else {} for key_id in key_ids]
    return json.dumps({"keys": [{**jwk, "use": use, **name} for name in named]}).encode()


class Issuer:
    """Publishes what it has, or is away."""

    def __init__(self, *key_ids: str | None) -> None:
        self.octets = jwks(*key_ids)
        self.away = False
        self.asked = 0
        self.now = 1_000.0
        self.keys = IssuerKeys(self._fetch, LIMITS, lambda: self.now)

    async def _fetch(self) -> bytes:
        self.asked += 1
        if self.away:
            raise OSError("nobody there")
        return self.octets


async def test_keys_are_read_once_for_a_while() -> None:
    issuer = Issuer("one", "two")
    for key_id in ("one", "two", "one"):
        assert (await issuer.keys.key(key_id)).key_id == key_id
    assert issuer.asked == 1
    issuer.now += LIMITS.jwks_seconds
    await issuer.keys.key("one")
    assert issuer.asked == 2


async def test_an_unknown_key_is_looked_for_but_not_all_the_time() -> None:
    issuer = Issuer("one")
    await issuer.keys.key("one")
    issuer.octets = jwks("two")
    for _ in range(3):
        with pytest.raises(InvalidCredentialsError):
            await issuer.keys.key("two")
    assert issuer.asked == 1
    issuer.now += LIMITS.jwks_again_seconds
    assert (await issuer.keys.key("two")).key_id == "two"
    with pytest.raises(InvalidCredentialsError):
        await issuer.keys.key("one")
    assert issuer.asked == 2


async def test_known_keys_stay_good_while_the_issuer_is_away() -> None:
    issuer = Issuer("one")
    await issuer.keys.key("one")
    issuer.away = True
    issuer.now += LIMITS.jwks_seconds
    assert (await issuer.keys.key("one")).key_id == "one"
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "octets",
    [None, b"<html>", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "EC"}]}', jwks("one", use="enc")],
)
async def test_without_any_key_nobody_is_refused_for_good(octets: bytes | None) -> None:
    issuer = Issuer("one")
    issuer.away, issuer.octets = octets is None, octets or b""
    with pytest.raises(UnavailableError):
        await issuer.keys.key("one")


async def test_a_token_that_names_no_key_is_of_the_only_one() -> None:
    assert await Issuer("one").keys.key(None)
    assert await Issuer(None).keys.key(None)
    with pytest.raises(InvalidCredentialsError):
        await Issuer("one", "two").keys.key(None)


@pytest.mark.parametrize("jwks_at", ["http://id.example.com/keys", "keys.json", "file:///keys"])
def test_keys_come_from_https_or_a_file_only(jwks_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(monkeypatch, jwks_at=str(Path("/keys.json")))
    with pytest.raises(ValueError, match="oauth_jwks"):
        _settings(monkeypatch, jwks_at=jwks_at)
    with pytest.raises(ValueError, match="belong together"):
        _settings(monkeypatch, jwks_at=None)


def _settings(monkeypatch: pytest.MonkeyPatch, jwks_at: str | None) -> Settings:
    monkeypatch.setenv("POSTROOM_NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("POSTROOM_DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    return Settings.model_validate({"oauth_issuer": "https://id.example.com", "oauth_jwks": jwks_at})
