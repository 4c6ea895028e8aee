"""Correct runs out of thin air: a gateway of a few lines that keeps every promise, and its clients' logs.

The judge has to find nothing in what `history` returns, for any seed; mutations of it (mutations.py)
have to be found.  It knows the records and the client protocol.  What always holds: the same
seed gives the same logs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .records import (
    Acknowledged,
    AnyRecord,
    Connected,
    Delivered,
    Failed,
    Fault,
    Gap,
    Healed,
    Intent,
    Kind,
    Left,
    Logs,
    Lost,
    Sample,
    Setting,
    Subscribed,
    Subscribing,
    Unknown,
    Unsubscribed,
)

CHANNELS: Final = {"plain:a": 0, "long:a": 1000, "long:b": 1000}
USERS: Final = ("", "ada", "bob")
TICK_S: Final = 0.01


@dataclass
class Line:
    """A channel: its epoch, and the messages of it."""

    name: str
    keeps: bool
    epoch: str = "e1"
    messages: list[str] = field(default_factory=list)


@dataclass
class Client:
    """A client, what it stands at in each channel, and what is on its way to it."""

    name: str
    user: str
    log: list[AnyRecord]
    connected: bool = False
    stands: dict[str, tuple[str, int]] = field(default_factory=dict)
    lost: dict[str, tuple[str, int]] = field(default_factory=dict)


class Model:
    """One run.  Each method is something that can happen, and logs what people would see of it."""

    def __init__(self, seed: int, *, epochs_change: bool = False) -> None:
        self.dice = random.Random(seed)  # noqa: S311
        self.at = 0.0
        self.lines = {name: Line(name, keeps > 0) for name, keeps in CHANNELS.items()}
        self.logs = Logs()
        self.clients = [
            Client(f"c{n}", USERS[n % 3], self.logs.clients.setdefault(f"c{n}", [])) for n in range(6)
        ]
        self.published = 0
        self.gaps = 0
        self.dropped = 0
        self.private: dict[str, int] = {}
        self.logs.publishers = {"p0": [], "p1": []}
        self.logs.run.append(Setting(at=0, row="model", seed=seed, epochs_change=epochs_change, killed=False))
        self.logs.run += [Kind(at=0, channel=name, history=keeps) for name, keeps in CHANNELS.items()]
        self.sample("start")

    def now(self) -> float:
        """Let a moment pass."""
        self.at += TICK_S
        return self.at

    def sample(self, phase: str) -> None:
        values = {"ringgate_connections": 0.0, "ringgate_channels": 0.0, "rig_descriptors": 20.0}
        values["ringgate_gaps_total"] = 7.0 + self.gaps
        values['ringgate_frames_dropped_total{reason="slow_skip"}'] = float(self.dropped)
        self.logs.run.append(Sample(at=self.now(), gateway="g0", phase=phase, values=values))

    # -- what publishers do -----------------------------------------------------------------

    def publish(self, channel: str = "") -> None:
        """Publish to a channel, with one of the outcomes that a publish can have."""
        line = self.lines[channel or self.dice.choice(list(self.lines))]
        log = self.logs.publishers[self.dice.choice(["p0", "p1"])]
        self.published += 1
        text = f"m{self.published}"
        log.append(Intent(at=self.now(), message=text, channel=line.name, key=f"k-{text}"))
        outcome = 0.0 if channel else self.dice.random()
        if outcome > 0.95:
            log.append(Failed(at=self.now(), message=text, code="unavailable"))
            return
        if outcome > 0.9:
            log.append(Unknown(at=self.now(), message=text, code="timeout"))
            return
        line.messages.append(text)
        position = (line.epoch, len(line.messages))
        if outcome > 0.8:
            log.append(Unknown(at=self.now(), message=text, code="reset"))
        if outcome < 0.85:
            known = outcome > 0.8
            answer = Acknowledged(
                at=self.now(), message=text, epoch=position[0], offset=position[1], duplicate=known
            )
            log.append(answer)

    def send(self) -> None:
        """Send to a user; each connection of hers hears it at once."""
        user = self.dice.choice(USERS[1:])
        self.published += 1
        text, channel = f"m{self.published}", f"@{user}"
        offset = self.private[channel] = self.private.get(channel, 0) + 1
        log = self.logs.publishers["p0"]
        log.append(Intent(at=self.now(), message=text, channel=channel, user=user))
        log.append(Acknowledged(at=self.now(), message=text, epoch="p", offset=offset))
        for client in self.clients:
            if client.connected and client.user == user:
                here = Delivered(
                    at=self.now(), channel=channel, epoch="", offset=offset, message=text, id=text
                )
                client.log.append(here)

    # -- what happens to clients --------------------------------------------------------------

    def deliver(self, client: Client, channel: str, most: int = 1000) -> None:
        """Bring a subscriber messages that it has not had."""
        line, (epoch, offset) = self.lines[channel], client.stands[channel]
        assert epoch == line.epoch
        for number, text in enumerate(line.messages[offset : offset + most], offset + 1):
            client.log.append(
                Delivered(
                    at=self.now(), channel=channel, epoch=epoch, offset=number, message=text, id=f"i-{text}"
                )
            )
            client.stands[channel] = (epoch, number)

    def connect(self, client: Client) -> None:
        """Connect, and resume what it was subscribed to."""
        if client.connected:
            return
        client.connected = True
        client.log.append(
            Connected(at=self.now(), client=f"{client.name}-{len(client.log)}", user=client.user)
        )
        for channel, since in client.lost.items():
            line = self.lines[channel]
            top = len(line.messages)
            recovered = since[0] == line.epoch and (line.keeps or since[1] == top)
            client.log.append(Subscribing(at=self.now(), channel=channel, epoch=since[0], offset=since[1]))
            reply = Subscribed(
                at=self.now(), channel=channel, epoch=line.epoch, offset=top, recovered=recovered
            )
            client.log.append(reply)
            client.stands[channel] = since if recovered else (line.epoch, top)
        client.lost = {}

    def lose(self, client: Client) -> None:
        """Lose the connection."""
        if client.connected:
            client.connected = False
            client.log.append(Lost(at=self.now(), code=4202))
            client.lost, client.stands = client.stands, {}

    def subscribe(self, client: Client) -> None:
        channel = self.dice.choice(list(self.lines))
        if client.connected and channel not in client.stands:
            line = self.lines[channel]
            client.log.append(Subscribing(at=self.now(), channel=channel))
            top = len(line.messages)
            client.log.append(Subscribed(at=self.now(), channel=channel, epoch=line.epoch, offset=top))
            client.stands[channel] = (line.epoch, top)

    def unsubscribe(self, client: Client) -> None:
        if client.connected and client.stands:
            channel = self.dice.choice(list(client.stands))
            self.deliver(client, channel)
            client.log.append(Unsubscribed(at=self.now(), channel=channel))
            del client.stands[channel]

    def skip(self, client: Client) -> None:
        """A slow client loses what it has not had, and is told."""
        for channel, (epoch, offset) in client.stands.items():
            top = len(self.lines[channel].messages)
            if top > offset:
                self.gaps, self.dropped = self.gaps + 1, self.dropped + top - offset
                client.log.append(
                    Gap(at=self.now(), channel=channel, first=offset + 1, last=top, reason="slow")
                )
                client.stands[channel] = (epoch, top)

    def renew_sometimes(self) -> None:
        if self.dice.random() < 0.1:
            self.renew()

    def renew(self) -> None:
        """A channel loses its data; its count begins anew, and everybody is told."""
        line = self.lines[self.dice.choice(list(self.lines))]
        for client in self.clients:
            if line.name in client.stands:
                self.deliver(client, line.name)
        number = int(line.epoch[1:]) + 1
        line.epoch, line.messages = f"e{number}", []
        self.logs.run.append(Fault(at=self.now(), name=f"{line.name} was lost"))
        for client in self.clients:
            if line.name in client.stands:
                client.log.append(Gap(at=self.now(), channel=line.name, epoch=line.epoch, reason="lost"))
                client.stands[line.name] = (line.epoch, 0)

    def finish(self) -> Logs:
        """Heal, publish a last message to each channel, bring everybody to the head, and let all leave."""
        self.logs.run.append(Healed(at=self.now()))
        for client in self.clients:
            self.connect(client)
        for channel in self.lines:
            self.publish(channel)
        for client in self.clients:
            for channel in client.stands:
                self.deliver(client, channel)
            client.log.append(Left(at=self.now()))
        self.sample("end")
        return self.logs


def history(seed: int, steps: int = 150, *, epochs_change: bool = False) -> Logs:
    """Return the logs of a correct run of so many steps."""
    model = Model(seed, epochs_change=epochs_change)
    for client in model.clients:
        model.connect(client)
        model.subscribe(client)
        model.subscribe(client)
    common: list[Callable[[], None]] = [model.publish, model.publish, model.publish, model.send]
    if epochs_change:
        common.append(model.renew_sometimes)
    touching = (model.subscribe, model.unsubscribe, model.lose, model.connect, model.connect, model.skip)
    for _ in range(steps):
        client = model.dice.choice(model.clients)
        roll = model.dice.random()
        if roll < 0.5:
            model.dice.choice(common)()
        elif roll < 0.8:
            for channel in client.stands:
                model.deliver(client, channel, model.dice.randint(1, 5))
        else:
            model.dice.choice(touching)(client)
    return model.finish()
