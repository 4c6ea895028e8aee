"""What the Redis broker counts, with the names and texts under which it is shown.

It knows no format of metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

METRICS: Final = {
    "connected": ("gauge", "processes whose connections to Redis stand"),
    "reconnects": ("counter", "connections to Redis that were lost and made anew"),
    "in_flight": ("gauge", "commands that wait for Redis' reply"),
    "queued_bytes": ("gauge", "bytes of commands that have not left"),
    "subscriptions": ("gauge", "pub/sub channels that are wanted of Redis"),
    "unconfirmed": ("gauge", "of these, how many Redis has not confirmed"),
    "messages": ("counter", "messages that came by pub/sub"),
    "ignored": ("counter", "messages of channels that nobody here hears any more"),
    "channels_heard": ("gauge", "channels heard through Redis"),
    "channels_behind": ("gauge", "of these, how many are not known to be whole now"),
    "interruptions": ("counter", "breaks of subscriptions"),
    "fetched": ("counter", "publications that pub/sub lost and history had"),
    "lost_announced": (
        "counter",
        "losses, and lives of channels that ended, that were announced to the node",
    ),
    "lives_ended": ("counter", "lives of channels that this node ended because their count went back"),
    "nodes_reaped": ("counter", "nodes without a sign of life whose members this node took out"),
    "members_reaped": ("counter", "members that were taken out so"),
    "leases_lost": ("counter", "times this node was taken for dead"),
    "members_here": ("gauge", "members of this node"),
    "publish_calls": ("counter", "calls that publish; each holds what one turn brought for a channel"),
    "history_reads": ("counter", "reads of channels' histories"),
    "servers_unreachable": ("gauge", "servers from which the last probe did not come back"),
    "round_trip_seconds": ("gauge", "time of the last probe through Redis and back"),
    "probe_age_seconds": ("gauge", "time since a probe came back"),
}


def metrics(
    samples: Iterable[tuple[str, str, float]],
) -> Iterator[tuple[str, str, str, Mapping[str, str], float]]:
    """Yield name, kind, text, labels and value of samples (shard, name, value)."""
    for shard, name, value in samples:
        if name in METRICS:
            kind, text = METRICS[name]
            yield f"ringgate_broker_{name}", kind, text, {"shard": shard}, value
