"""What control messages ask of the clients of a node.

It knows the node and its sessions.  What always holds: a message that is aimed at nobody here does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .broker import Control, ControlKind

if TYPE_CHECKING:
    from .node import Node
    from .session import Session


def carry_out(node: Node, control: Control) -> int:
    """Carry out a control message; return how many connections it reached."""
    if control.kind is ControlKind.REVOKE:
        return node.door.on_control(control) if node.door is not None else 0
    if control.kind is ControlKind.CLOSE_BARE:
        return node.bare.on_control(control)
    if control.client:
        session = node.sessions.get(control.client)
        targets = [session] if session is not None else []
    else:
        targets = list(node.users.get(control.user, {}).values())
    for session in targets:
        _apply(node, session, control)
    return len(targets)


def _apply(node: Node, session: Session, control: Control) -> None:
    if control.kind is ControlKind.DISCONNECT:
        session.connection.close(control.close_code, control.reason)
    elif control.kind is ControlKind.SEND and control.publication is not None:
        session.send_directly(control.publication)
    elif control.kind is ControlKind.SUBSCRIBE:
        node.spawn(session.subscribe_by_server(control.channel))
    elif control.kind is ControlKind.UNSUBSCRIBE:
        node.spawn(session.end_subscription(control.channel, "unsubscribed"))
