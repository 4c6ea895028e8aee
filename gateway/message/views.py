"""Publications as answers show them; the same for the WebSocket and the HTTP side."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from .events import From, PublicationView
from .publication import Publication


def view_publication(publication: Publication) -> PublicationView:
    """Return a publication as an answer shows it: JSON data as it stands, bytes as base64."""
    p = publication
    return PublicationView(
        offset=p.offset,
        id=p.id,
        time=p.time_ms,
        data=None if p.binary else msgspec.Raw(p.data),
        data64=b64encode(p.data).decode() if p.binary else None,
        from_=From(p.client, p.user) if p.client or p.user else None,
    )
