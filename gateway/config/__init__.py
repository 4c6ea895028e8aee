"""Configuration: one table of options, read from a TOML file, the environment and flags.

`schema` is the table and the frozen dataclasses, `kinds`, `lists` and `endpoints` the types of values, `load`
merges the three sources, `rules` checks across options, `render` prints.  Nothing here opens
sockets or knows what an option is used for.
"""

from .endpoints import Bound, Endpoint, FromSystemd, UnixPath
from .kinds import Address, Secret
from .load import Loaded, from_mapping, load
from .problems import InvalidConfigError, Problem
from .schema import (
    ApiOptions,
    AuthOptions,
    Config,
    NamespaceOptions,
    ServerOptions,
    SessionOptions,
    WebSocketOptions,
)

__all__ = [
    "Address",
    "ApiOptions",
    "AuthOptions",
    "Bound",
    "Config",
    "Endpoint",
    "FromSystemd",
    "InvalidConfigError",
    "Loaded",
    "NamespaceOptions",
    "Problem",
    "Secret",
    "ServerOptions",
    "SessionOptions",
    "UnixPath",
    "WebSocketOptions",
    "from_mapping",
    "load",
]
