"""TLS on the edge: the certificate and key that clients see, and how they are renewed.

It knows `ssl` and files, but no sockets.  Modern clients only: TLS 1.2 and 1.3
with OpenSSL's own choice of ciphers, no renegotiation, no compression.  What always holds: a
certificate that cannot be used never replaces one that can.
"""

from __future__ import annotations

import logging
import ssl
from typing import Final

from .config import Config
from .errors import ConfigError

_CERT: Final = "server.tls_cert"
_KEY: Final = "server.tls_key"
_log = logging.getLogger("gateway.server")


class EdgeTls:
    """The TLS side of one edge.  `context` stays the same object; new handshakes use what was loaded last."""

    def __init__(self, cert: str, key: str) -> None:
        self._cert = cert
        self._key = key
        self.context = _load(cert, key)

    def reload(self) -> None:
        """Read both files again, for handshakes from now on; keep what there is if they cannot be used."""
        try:
            _load(self._cert, self._key)
        except ConfigError as problem:
            _log.error("the certificate was not renewed: %s", problem)
            return
        self.context.load_cert_chain(self._cert, self._key)
        _log.info("certificate loaded", extra={"file": self._cert})


def edge_tls(config: Config) -> EdgeTls | None:
    """Return what the configuration asks for: None without a certificate.  Raises ConfigError."""
    options = config.server
    return EdgeTls(options.tls_cert, options.tls_key) if options.tls_cert else None


def _load(cert: str, key: str) -> ssl.SSLContext:
    """Return a new context.  Raises ConfigError naming the option, the file and what is wrong with it."""
    for option, path in ((_CERT, cert), (_KEY, key)):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as problem:
            raise ConfigError(f"{option}: cannot read {path}: {problem.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as problem:
        reason = (problem.reason or "not PEM").lower().replace("_", " ")
        raise ConfigError(f"{_CERT}, {_KEY}: {cert} and {key} do not make a certificate: {reason}") from None
    except _EncryptedKeyError:
        raise ConfigError(f"{_KEY}: {key} is encrypted; a server needs a key without a passphrase") from None
    return context


class _EncryptedKeyError(Exception):
    """The key asks for a passphrase."""


def _no_password() -> str:
    raise _EncryptedKeyError
