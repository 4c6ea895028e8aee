"""Certificates for tests: an authority of one's own, and what it issues for gateways on this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """A certificate authority, and the files of certificates that it makes for the gateway."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.renew()

    def renew(self) -> None:
        """Write a new certificate and its key."""
        issued = self.ca.issue_cert("127.0.0.1", "localhost")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes a gateway use them."""
        return "--tls-cert", str(self.cert), "--tls-key", str(self.key)

    def server(self) -> ssl.SSLContext:
        """Return what a service needs to have a certificate of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Return what a client needs to trust the gateway."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context
