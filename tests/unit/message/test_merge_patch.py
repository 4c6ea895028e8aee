"""JSON Merge Patch: the examples of RFC 7396, and any texts against the specification on values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.message.merge_patch import merge_patch
from tests.support.rfc7396 import merge_patch as specified

# Appendix A of RFC 7396: target, patch, result.
EXAMPLES = (
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
)


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_examples_of_the_rfc(target: str, patch: str, result: str) -> None:
    assert merge_patch(target.encode(), patch.encode()) == result.encode()
    assert specified(json.loads(target), json.loads(patch)) == json.loads(result)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ("null", "{}", "{}"),
        (' {"a" : 1.50 } ', '\n{ "b" : [ 1e5, null ] }\t', '{"a":1.50,"b":[ 1e5, null ]}'),
        (
            '{"n":123456789012345678901234567890}',
            '{"m":-0.0}',
            '{"n":123456789012345678901234567890,"m":-0.0}',
        ),
        (r'{"\u00e4":1}', '{"ä":null}', "{}"),
        (r'{"a\"\\":{"x":1}}', r'{"a\"\\":{"y":2}}', r'{"a\"\\":{"x":1,"y":2}}'),
        ('{"a":1,"a":{"b":2}}', '{"a":{"c":1,"c":null}}', '{"a":{"b":2}}'),
        ('{"":1}', '{"":{"":{"":null}}}', '{"":{"":{}}}'),
        ('{"a":[]}', '{"b":{}}', '{"a":[],"b":{}}'),
    ],
)
def test_what_is_not_changed_stays_the_text_that_it_was(target: str, patch: str, result: str) -> None:
    assert merge_patch(target.encode(), patch.encode()).decode() == result


NAMES = st.sampled_from(["a", "b", "ä", "", '"\\', "\u2028"]) | st.text(max_size=3)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.lists(VALUES, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_patches_one_after_the_other_give_what_is_specified(
    target: Any, patches: list[Any], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(target, indent=indent, ensure_ascii=ascii_only).encode()
    for patch in patches:
        text = merge_patch(text, json.dumps(patch, indent=indent, ensure_ascii=ascii_only).encode())
        target = specified(target, patch)
        assert json.loads(text) == target


def test_patch_of_the_greatest_depth_is_applied_at_every_depth() -> None:
    depth = 64
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    assert merge_patch(b"null", deep) == deep
    assert merge_patch(deep, deep.replace(b"1", b"2")) == deep.replace(b"1", b"2")
    assert merge_patch(deep, deep.replace(b"1", b"null")) == deep.replace(b'"a":1', b"")
