"""The parts of authentication, made from the configuration: keys, key sets, rules of claims, the door.

It knows the configuration and the parts, and does nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable

from .auth.claims import ClaimRules
from .auth.credentials import Places
from .auth.jwks import JwksOptions, KeySet
from .auth.keys import VerifyKey, import_key
from .auth.revocations import Revocations
from .auth.tokens import TokenVerifier, VerifierOptions
from .config import AuthOptions, Config
from .door import Door, DoorOptions
from .node import Node


def make_door(config: Config, node: Node) -> Door:
    """Return the door of a node, which lets clients in by it from now on."""
    revocations = Revocations()
    verifier = make_verifier(config.auth, revocations, node.loop.time, lambda: node.wall_ms() / 1000)
    return Door(node, verifier, door_options(config), revocations)


def change_door(config: Config, door: Door) -> None:
    """Have a door use what a new configuration says; who is in stays in."""
    node = door.node
    verifier = make_verifier(config.auth, door.revocations, node.loop.time, lambda: node.wall_ms() / 1000)
    door.change(verifier, door_options(config))


def make_verifier(
    options: AuthOptions, revocations: Revocations, clock: Callable[[], float], now_s: Callable[[], float]
) -> TokenVerifier:
    """Return what verifies tokens by the configured keys."""
    fetching = JwksOptions(
        algorithms=frozenset(options.algorithms),
        max_age_s=options.jwks_max_age,
        cooldown_s=options.jwks_cooldown,
        timeout_s=options.jwks_timeout,
    )
    return TokenVerifier(
        make_keys(options),
        [KeySet(place, fetching, clock=clock) for place in options.jwks],
        VerifierOptions(rules=_claim_rules(options), cache_size=options.cache_size),
        revocations=revocations,
        now_s=now_s,
    )


def make_keys(options: AuthOptions) -> list[VerifyKey]:
    """Return the configured keys, in order."""
    return [import_key(key.algorithm, key.kid, key.material) for key in options.keys]


def _claim_rules(options: AuthOptions) -> ClaimRules:
    return ClaimRules(
        issuers=frozenset(options.issuer),
        audiences=frozenset(options.audience),
        leeway_s=options.leeway,
        user=options.user_claim,
        info=options.info_claim,
        channels=options.channels_claim,
        permissions=options.permissions_claim,
        login=options.login_claim,
    )


def door_options(config: Config) -> DoorOptions:
    """Return the options of a door."""
    options = config.auth
    return DoorOptions(
        places=Places(cookie=options.cookie, query=options.query),
        anonymous=options.anonymous,
        has_keys=options.configured,
        asks=bool(config.hooks.connect),
        connect_timeout_s=options.connect_timeout,
        leeway_s=options.leeway,
        revocation_ttl_s=options.revocation_ttl,
    )
