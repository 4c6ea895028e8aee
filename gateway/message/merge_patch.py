"""JSON Merge Patch (RFC 7396) on JSON texts.

Knows nothing of channels or versions.  How it works: only what the patch changes is taken apart; every other
value stays the text that it was, so that a number of any size or form is never rounded.  Where a name stands
twice in an object the last one counts, as it does for the clients.  What always holds: the result is nested
no deeper than the deeper of both texts.
"""

from __future__ import annotations

from typing import Final

import msgspec

_NULL: Final = b"null"
_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def merge_patch(target: bytes, patch: bytes) -> bytes:
    """Return `target` with `patch` applied: "MergePatch" of RFC 7396 section 2.

    Both are valid JSON in UTF-8 whose nesting is bounded (`check_json`); so is the result.
    """
    return _merge(target.strip(), patch.strip())


def _merge(target: bytes, patch: bytes) -> bytes:
    if patch[:1] != b"{":
        return patch
    members = _members_of(target) if target[:1] == b"{" else {}
    for name, raw in _members_of(patch).items():
        value = bytes(raw)
        if value == _NULL:
            members.pop(name, None)
        else:
            members[name] = msgspec.Raw(_merge(bytes(members.get(name, b"")), value))
    return _encode(members)
