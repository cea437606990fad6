"""A client of SCRAM-SHA-256 (RFC 5802), written from the RFC and not from our server."""

import base64
import hashlib
import hmac
import secrets


class ScramClient:
    """One exchange; `binding` is the GS2 header with the data of the channel binding."""

    def __init__(self, user: str, password: str, *, header: bytes = b"n,,", binding: bytes = b"") -> None:
        name = user.replace("=", "=3D").replace(",", "=2C")
        self.first_bare = f"n={name},r={secrets.token_urlsafe(18)}".encode()
        self.first = header + self.first_bare
        self.without_proof = b""
        self.proof = b""
        self._password = password.encode()
        self._cbind = base64.b64encode(header + binding)
        self._signature = b""

    def answer(self, server_first: bytes) -> bytes:
        """client-final-message."""
        fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
        salt, iterations = base64.b64decode(fields[b"s"]), int(fields[b"i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        self.without_proof = b"c=" + self._cbind + b",r=" + fields[b"r"]
        message = b",".join((self.first_bare, server_first, self.without_proof))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        stored_key = hashlib.sha256(client_key).digest()
        signature = hmac.digest(stored_key, message, "sha256")
        self.proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return self.without_proof + b",p=" + base64.b64encode(self.proof)

    def trusts(self, server_final: bytes) -> bool:
        """Whether the server knows the password too."""
        return server_final == b"v=" + base64.b64encode(self._signature)
