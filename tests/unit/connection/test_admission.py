"""Whose connection it is, and how many an address may have: what is counted is taken back."""

from __future__ import annotations

from gateway.connection.addresses import TrustedNetworks, parse_ip
from gateway.connection.admission import FLOOD, TURNED_AWAY, WELCOME, Admission
from gateway.connection.request import Request

PROXY = ("10.0.0.1", 999)


class Peer:
    """A connection's socket, as far as its other end is asked for."""

    def __init__(self, peername: object) -> None:
        self.peername = peername


def admission(most: int = 0, header: str = "none", refused: list[str] | None = None) -> Admission:
    return Admission(
        trusted=TrustedNetworks(["10.0.0.0/8", "unix"]),
        header=header,
        most=most,
        on_refused=(refused if refused is not None else []).append,
    )


def asking(*values: str) -> Request:
    return Request(b"", "GET", "/ws", True, [(b"x-forwarded-for", value.encode()) for value in values])


def test_peer_of_its_own_is_counted_when_it_arrives_and_forgotten_when_it_leaves() -> None:
    edge = admission(most=2)
    peers = [Peer(("203.0.113.7", port)) for port in range(1, 5)]
    assert [edge.arrive(peer) for peer in peers] == [WELCOME, WELCOME, TURNED_AWAY, TURNED_AWAY]
    assert edge.arrive(Peer(("203.0.113.8", 1))) == WELCOME
    assert edge.refusal(peers[2]).status == 429
    assert edge.refusal(peers[0]).status == 503
    assert edge.remote(peers[0]) == "203.0.113.7:1"
    for peer in peers[:1] * 2 + peers[2:]:
        edge.leave(peer)
    assert edge.arrive(Peer(("203.0.113.7", 9))) == WELCOME
    assert edge.arrive(Peer(("203.0.113.7", 10))) == TURNED_AWAY


def test_flood_of_one_address_is_dropped_beyond_those_who_are_told() -> None:
    refused: list[str] = []
    edge = admission(most=1, refused=refused)
    peers = [Peer(("203.0.113.7", port)) for port in range(1, 100)]
    fates = [edge.arrive(peer) for peer in peers]
    assert fates == [WELCOME] + [TURNED_AWAY] * 16 + [FLOOD] * 82
    assert refused == ["203.0.113.7"] * 98
    assert edge.arrive(Peer(("203.0.113.8", 1))) == WELCOME


def test_nothing_is_held_for_addresses_without_connections() -> None:
    edge = admission(most=1, header="x-forwarded-for")
    peers = [Peer((f"203.0.113.{n % 250}", n)) for n in range(1000)]
    peers += [Peer(PROXY) for _ in range(500)]
    for number, peer in enumerate(peers):
        edge.arrive(peer)
        edge.judge(peer, asking(f"198.51.100.{number % 200}"))
    assert len(edge) == 250 + 200 + 250  # who was let in, by address; and who waits to be refused
    for peer in peers:
        edge.leave(peer)
    assert len(edge) == 0


def test_behind_a_proxy_a_client_is_counted_once_its_header_is_read() -> None:
    edge = admission(most=1, header="x-forwarded-for")
    first, second, third = Peer(PROXY), Peer(PROXY), Peer(PROXY)
    assert [edge.arrive(peer) for peer in (first, second, third)] == [WELCOME] * 3
    assert edge.judge(first, asking("203.0.113.7")) is None
    refusal = edge.judge(second, asking("6.6.6.6", "203.0.113.7"))
    assert refusal is not None
    assert refusal.status == 429
    assert edge.judge(third, asking("203.0.113.8")) is None
    assert edge.remote(first) == "203.0.113.7"
    edge.leave(first)
    assert edge.judge(Peer(PROXY), asking("203.0.113.7")) is None


def test_header_of_a_peer_that_is_not_trusted_changes_nothing() -> None:
    edge = admission(most=1, header="x-forwarded-for")
    liar = Peer(("203.0.113.7", 5))
    edge.arrive(liar)
    assert edge.judge(liar, asking("198.51.100.1")) is None
    assert edge.remote(liar) == "203.0.113.7:5"


def test_client_that_a_proxy_header_names_may_itself_be_a_proxy() -> None:
    edge = admission(most=1, header="x-forwarded-for")
    peer = Peer(PROXY)
    inner = parse_ip("10.0.0.2")
    assert inner is not None
    edge.expect(peer, inner, 77)
    assert edge.arrive(peer) == WELCOME
    edge.judge(peer, asking("203.0.113.7"))
    assert edge.remote(peer) == "203.0.113.7"


def test_peers_without_an_address_are_not_bounded_by_it() -> None:
    edge = admission(most=1)
    for _ in range(3):
        peer = Peer("unix:pid=7")
        assert edge.arrive(peer) == WELCOME
        assert edge.remote(peer) == ""
