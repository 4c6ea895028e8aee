"""Line numbers of keys in TOML texts, past strings, comments, arrays and inline tables."""

from __future__ import annotations

import tomllib

from gateway.config.scan import key_lines, line_of

TEXT = '''\
# listen = "no"
top = 1 # [nor.this]

[server] # x = 1
listen = "a # b = 1"
text = """
fake = 1
[fake]
"""
raw = \'\'\'
fake = "2
\'\'\'
list = [ # fake = [
  "fake = 1",
  ["]"],
  'x]',
]
after = { inner = 1 }
[ "a.b" . c ]
'd e' . f = 1
"g\\u0041" = 2
[[many]]
one = 1
[[many]]
one = 2
last = 3'''


def test_key_lines_finds_every_key_on_its_line_and_nothing_else() -> None:
    tomllib.loads(TEXT)
    assert key_lines(TEXT) == {
        ("top",): 2,
        ("server",): 4,
        ("server", "listen"): 5,
        ("server", "text"): 6,
        ("server", "raw"): 10,
        ("server", "list"): 13,
        ("server", "after"): 18,
        ("a.b", "c"): 19,
        ("a.b", "c", "d e", "f"): 20,
        ("a.b", "c", "gA"): 21,
        ("many",): 22,
        ("many", "one"): 23,
        ("many", "last"): 26,
    }


def test_line_of_a_key_in_an_inline_table_is_that_of_the_table() -> None:
    lines = key_lines(TEXT)
    assert line_of(lines, ("server", "after", "inner")) == 18
    assert line_of(lines, ("nowhere",)) is None
