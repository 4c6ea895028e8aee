"""Both clients can do the same by the same names: what each shows to applications is held to one table.

The JavaScript side is read from the types that are published with it.  Whatever is new on one side fails here
until the other has it, or a table says why not.  Settings: tests/integration/test_js_defaults.py.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from gateway.client import Client, Conflict, RinggateError, State, Status, Subscription
from gateway.client.errors import LOCAL_CODES
from gateway.client.subscription import Callbacks

TYPES = Path(__file__).resolve().parents[3] / "clients" / "js" / "dist"

ONLY_JS = {
    "Client.direct": "on_stray, or subscribe to the personal channel",
    "Client.settings": "the application's own Options",
    "Client.wake": "nothing tells a program that it woke",
    "Client.request": "for modules beside the client; in Python these are in the package",
    "Client.presence": "asks once; client.presence(...).ready() does in Python",
    "Subscription.members": "client.presence in Python",
    "SubscriptionEvents.members": "client.presence in Python",
    "SubscriptionEvents.event": "on_state and on_patch in Python",
    "ClientEvents.subscription": "on_stray in Python",
    "ClientEvents.error": "the log of the gateway and of this client have it in Python",
    "SubscribeOptions.presence": "client.presence in Python",
    "SubscribeOptions.state": "client.state in Python, for the module beside the client in JavaScript",
    "SubscribeOptions.resume": "in Python whoever does not want what was missed does not look at it",
    "PublishOptions.signal": "the future is cancelled in Python",
    "CallOptions.signal": "the future is cancelled in Python",
    "HistoryOptions.signal": "the future is cancelled in Python",
    "CallOptions.ttl": "timeout bounds the wait for a connection, too, in Python",
    "Conflict.from": "patches beside the state tell it in Python (on_patch)",
    "RinggateError.event": "the answer as it came, of use to modules beside the client",
}
ONLY_PYTHON = {
    "Client.online": "statuses are iterated, or waited for; in JavaScript on('status')",
    "Client.statuses": "an asynchronous iterator",
    "Client.on_stray": "client.direct and on('subscription') in JavaScript",
    "Client.on_raw": "for tools",
    "Client.state": "a function of its own module in JavaScript, which not every page wants to load",
    "Client.presence": "a live list; an option of subscribe in JavaScript",
    "Subscription.ready": "a coroutine; on('subscribed') in JavaScript",
    "Subscription.events": "an asynchronous iterator",
    "Callbacks.on_state": "ringgate/state in JavaScript",
    "Callbacks.on_patch": "ringgate/state in JavaScript",
    "State.ready": "a coroutine",
    "State.position": "confirmed.version in JavaScript",
    "Conflict.replace": "another update in JavaScript",
    "RinggateError.message": "of every Error in JavaScript",
}
INNER = {"tell", "abandon", "on_close", "current", "args"}
"""For the client's own parts, and what every exception has."""


def body_of(kind: str, name: str, file: str) -> str:
    """Return what stands between the braces of a declaration."""
    text = re.sub(r"/\*.*?\*/", "", (TYPES / file).read_text(), flags=re.DOTALL)
    found = re.search(rf"export (?:declare )?{kind} {name}\b[^{{]*{{(.*?)^}}", text, re.DOTALL | re.MULTILINE)
    assert found, f"{file} has no {kind} {name}"
    return found[1]


def javascript(kind: str, name: str, file: str) -> set[str]:
    """Return the members that an application may use, in the spelling of Python."""
    members = re.findall(
        r"^    (?:readonly |get )?(\w+)\??(?:<[^>]*>)?[(:]", body_of(kind, name, file), re.MULTILINE
    )
    return {snake(member) for member in members if member not in {"constructor", "name"}}


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def python(cls: type) -> set[str]:
    """Return its public attributes, also those that the constructor sets."""
    given = re.findall(r"self\.([a-z]\w*)(?::[^=]*)? = ", inspect.getsource(cls))
    names = {name for name in (*vars(cls), *given) if not name.startswith("_")}
    return names - INNER


def compare(group: str, theirs: set[str], mine: set[str]) -> None:
    """Hold two sets of names to the tables."""
    missing = {f"{group}.{name}" for name in theirs - mine} - set(ONLY_JS)
    assert not missing, f"Python lacks {missing}"
    extra = {f"{group}.{name}" for name in mine - theirs} - set(ONLY_PYTHON)
    assert not extra, f"JavaScript lacks {extra}"


@pytest.mark.parametrize(
    ("js", "file", "cls"),
    [
        ("Client", "client.d.ts", Client),
        ("Subscription", "channel.d.ts", Subscription),
        ("RinggateError", "errors.d.ts", RinggateError),
    ],
)
def test_classes_have_the_same_members(js: str, file: str, cls: type) -> None:
    mine = python(cls) - {"on_status"}
    compare(js, javascript("class", js, file), mine)


def test_shared_states_have_the_same_members() -> None:
    mine = python(State) - {"on_change", "on_conflict"}
    compare("State", javascript("class", "SharedState", "state.d.ts"), mine)
    compare(
        "Conflict",
        javascript("interface", "Conflict", "state.d.ts"),
        {"paths", "mine", "theirs"} | python(Conflict),
    )


def test_the_same_things_are_told() -> None:
    theirs = {f"on_{name}" for name in javascript("interface", "SubscriptionEvents", "channel.d.ts")}
    only_js = {f"on_{name.partition('.')[2]}" for name in ONLY_JS if name.startswith("SubscriptionEvents")}
    compare("Callbacks", theirs - only_js, set(Callbacks.__annotations__))
    told = {f"on_{name}" for name in javascript("interface", "ClientEvents", "client.d.ts")}
    assert told - {"on_subscription", "on_error"} == {"on_status"} <= set(vars(Client))
    told = {f"on_{name}" for name in javascript("interface", "StateEvents", "state.d.ts")}
    assert told - {"on_ended"} == {"on_change", "on_conflict"} <= set(vars(State))  # ready() raises the end


@pytest.mark.parametrize(
    ("js", "file", "method"),
    [
        ("SubscribeOptions", "channel.d.ts", Client.subscribe),
        ("PublishOptions", "client.d.ts", Client.publish),
        ("CallOptions", "client.d.ts", Client.call),
        ("HistoryOptions", "client.d.ts", Client.history),
    ],
)
def test_methods_take_the_same_options(js: str, file: str, method: Any) -> None:
    parameters = inspect.signature(method).parameters.values()
    mine = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    compare(js, javascript("interface", js, file), mine)


def test_statuses_and_codes_are_the_same() -> None:
    text = (TYPES / "status.d.ts").read_text()
    status = text[text.index("export type Status") : text.index("export interface Details")]
    hints = get_type_hints(Status)
    assert set(re.findall(r'state: "(\w+)"', status)) == set(hints["state"].__args__)
    assert set(re.findall(r"readonly (\w+)\??:", status)) == set(hints)
    theirs = dict(re.findall(r"readonly (\w+): (true|false)", (TYPES / "errors.d.ts").read_text()))
    only_js = {name.partition(".")[2] for name in ONLY_JS if name.startswith("LOCAL_CODES")}
    mine = {code: str(retry).lower() for code, retry in LOCAL_CODES.items()}
    assert {code: retry for code, retry in theirs.items() if code not in only_js} == mine


def test_tables_name_nothing_that_is_not_there() -> None:
    files = {"Client": "client", "Subscription": "channel", "RinggateError": "errors"}
    for group, file in files.items():
        there = javascript("class", group, f"{file}.d.ts")
        named = {name.partition(".")[2] for name in ONLY_JS if name.startswith(f"{group}.")}
        assert named <= there, f"{group} has no {named - there}"
    classes: dict[str, type] = {"Client": Client, "Subscription": Subscription, "State": State}
    for group, cls in classes.items():
        named = {name.partition(".")[2] for name in ONLY_PYTHON if name.startswith(f"{group}.")}
        assert named <= python(cls), f"{group} has no {named - python(cls)}"
