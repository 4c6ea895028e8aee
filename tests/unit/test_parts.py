"""What is made of the configuration: the options of channels."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from gateway.config import Config, NamespaceOptions
from gateway.parts import DEMO_NAMESPACE, node_options


def with_namespaces(**namespaces: NamespaceOptions) -> Config:
    return replace(Config(), namespaces=MappingProxyType({"default": NamespaceOptions(), **namespaces}))


def test_the_board_of_the_demo_has_a_state_and_else_the_options_of_every_channel() -> None:
    closed = NamespaceOptions(publish=("nobody",), slow="skip", ring_bytes=1 << 14)
    options = node_options(with_namespaces(default=closed))
    board = options.namespaces[DEMO_NAMESPACE]
    assert board.broker.max_state_bytes == 65536
    assert board.ring.bound_bytes >= 2 * board.broker.max_state_bytes
    assert board.ring.policy == "disconnect"
    assert not board.may_publish
    assert options.default.broker.max_state_bytes == 0
    assert options.default.ring.bound_bytes == 1 << 14


def test_who_configures_the_namespace_of_the_demo_is_obeyed() -> None:
    options = node_options(with_namespaces(**{DEMO_NAMESPACE: NamespaceOptions(history_size=3)}))
    assert options.namespaces[DEMO_NAMESPACE].broker.history_size == 3
    assert options.namespaces[DEMO_NAMESPACE].broker.max_state_bytes == 0
