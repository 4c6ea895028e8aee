"""All groups of a gateway, by name, and how they become those of another configuration.

It knows groups, and nothing of what is asked.  What always holds: a group that is in both configurations
stays the same object, whatever else of it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping

from .options import UpstreamOptions
from .upstream import Prepared, Upstream


class Upstreams:
    """All groups of a gateway, by name."""

    def __init__(self, upstreams: Collection[Upstream]) -> None:
        self._by_name = {upstream.name: upstream for upstream in upstreams}

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Upstream:
        """Return a group.  Raises KeyError."""
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    async def prepare(self, wanted: Mapping[str, UpstreamOptions]) -> dict[str, Prepared]:
        """Return what those of these groups that are there need to take other options."""
        there = [name for name in wanted if name in self._by_name]
        prepared = await asyncio.gather(*(self._by_name[name].prepare(wanted[name]) for name in there))
        return dict(zip(there, prepared, strict=True))

    def change(
        self, names: Collection[str], prepared: Mapping[str, Prepared], fresh: Upstreams
    ) -> list[Upstream]:
        """Give groups other options, and add fresh ones that run; return those not needed any more.

        `names` are all that there are from now on.
        """
        before = self._by_name
        self._by_name = {name: before[name] if name in before else fresh[name] for name in names}
        for name, options in prepared.items():
            self._by_name[name].change(options)
        return [group for name, group in before.items() if name not in self._by_name]

    async def start(self) -> None:
        """Start every group."""
        await asyncio.gather(*(upstream.start() for upstream in self._by_name.values()))

    async def stop(self) -> None:
        """Stop every group.  Idempotent."""
        await asyncio.gather(*(upstream.stop() for upstream in self._by_name.values()))
