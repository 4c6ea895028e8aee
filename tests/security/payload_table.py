r"""JSON texts that a publisher may send as `data`, and ones that must be refused.

Modelled on JSONTestSuite; each is a value by itself (RFC 8259).
  What is accepted must come out at the other end byte for byte.
"""

from __future__ import annotations

from typing import Final

MOST_LEVELS: Final = 64


def nested(levels: int, opening: str = "[", inner: str = "", closing: str = "]") -> str:
    """Return `levels` arrays (or what `opening` begins) inside each other."""
    return opening * levels + inner + closing * levels


ACCEPTED: Final = (
    # structures
    "[]", "{}", "[[]]", "[{}]", '{"":0}', '{"a":[]}', "[1]", "[1,2]", "[ ]", "{ }", " [1]", "[1] ",
    "[\t\r\n 1]",
    '{"a":1,"b":2}', '{"a":{"b":{"c":null}}}', '["a"]', "[null]", "[null,1,\"1\",{}]", "[1,null,null,null,2]",
    '{"a":1,"a":2}', '{"a":"b","a":"b"}', '{"a\\u0000b":1}', '{"min":-1.0e+28,"max":1.0e+28}',
    '{"x":[{"id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}],"id":"x"}',
    nested(MOST_LEVELS), nested(MOST_LEVELS, '{"a":', "1", "}"), nested(32, '[{"a":', "1", "}]"),
    "[" + ",".join("[]" for _ in range(5000)) + "]", "[" + ",".join("1" for _ in range(10_000)) + "]",
    # scalars
    "true", "false", "null", "0", "-0", "1", '""', '" "', '"a"', " 1 ", "\n1\n", "0.5", "-1.5",
    # numbers
    "123e65", "0e+1", "0e1", "1E22", "1E-2", "1E+2", "123e45", "123.456e78", "1e-2", "1e+2", "123",
    "123.456789",
    "-1", "-123", "-0.0",
    "-0.000000000000000000000000000000000000000000000000000000000000000000000000000001",
    "9007199254740993", "18446744073709551615", "-9223372036854775808", "9223372036854775808",
    "1e-10000", "1.7976931348623157e308", "5e-324", "0." + "0" * 500 + "1", "0.1" + "1" * 500,
    # strings
    r'"\u0060\u012a\u12AB"', r'"\uD801\udc37"', r'"\ud83d\ude39\ud83d\udc8d"', r'"\"\\\/\b\f\n\r\t"',
    r'"\\u0000"', r'"\""', '"a/*b*/c/*d//e"', r'"\\a"', r'"\\n"', r'"\u0012"', '"\uffff"', r'"\uFFFF"',
    '"\U0010ffff"', '"asd"', r'"\uDBFF\uDFFF"', r'"new\u00A0line"', '"\u007f"', r'"\u0000"', r'"\u002c"',
    '"π"',
    '"\u2028"', '"\u2029"', r'"\u0061\u30af\u30EA\u30b9"', r'"new\u000Aline"', '"⍂㈴⍂"', r'"\u005C"',
    r'"\u0022"',
    r'"\u200B"', r'"\u2064"', r'"\uFDD0"', r'"\uFFFE"', '"€𝄞"', r'"aa"', '"' + "x" * 20_000 + '"', '"\u202e"',
    '"<script>alert(1)</script>"', '{"__proto__":{"admin":true}}', '{"constructor":1}', '"\ufeff"',
)  # fmt: skip

REFUSED: Final = (
    # structures
    "[1 true]", "[1,,2]", "[1,]", "[,1]", "[,]", "[1", "[", "]", "[[1]", "[1]]", "[1}", "{", "{]", "[}",
    "[1:2]",
    '{"a"', '{"a":', '{"a":1', '{"a":1,}', '{"a" 1}', '{"a"::1}', '{a:1}', "{1:1}", "{'a':1}",
    '{"a":1,,"b":2}',
    '{"a":1 "b":2}', '{[:"x"}', '{null:null}', "{:1}", '{"a",1}', '["a" "b"]', '["a",\n4\n,1,', "[\v1]",
    "[1]x", "[1] [2]", "1 2", '"a" "b"', "{}{}", "[1]//x", "[1]/**/", "[/*x*/1]", "[1]#x", "<null>",
    "[<null>]", "*",
    "@", "", " ", "\u2060", "[\u2060]", "\xa01", "[1\x00]", "(1)", "[a]", "[nul]", "nul", "nulll", "True",
    "tru",
    "FALSE", "undefined", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "[Infinity]", "None",
    "function(){}",
    nested(MOST_LEVELS + 1), nested(MOST_LEVELS + 1, '{"a":', "1", "}"), nested(33, '[{"a":', "1", "}]"),
    nested(500), nested(1500), nested(10_000), nested(20_000, "["  , "", ""), nested(5_000, '{"a":', "1",
    "}"),
    nested(3000, '[{"":', "", ""),
    # numbers
    "01", "-01", "+1", "++1", "--1", "-", ".5", "-.5", "1.", "2.e3", "0.e1", "0e", "0e+", "0E", "1.0e",
    "1.0e-",
    "1e+", "1 000", "1_000", "0x1", "0x", "1eE2", "1ea", "9.e+3", "1+2", "1a", "-a", "-1x", "1.2.3", "\uff11",
    "1e1.5",
    "012", "-012", "0b1", "1e400", "-1e400", "1" * 400 + "e400", "[1e999999999]", "1,2",
    # strings
    '"', '"a', "'a'", '["\\"', '"\\"', r'"\x00"', r'"\a"', r'"\u"', r'"\u1"', r'"\u12"', r'"\u123"',
    r'"\u00G0"',
    r'"\uD800"', r'"\uDC00"', r'"\uD800\uD800"', r'"\uD800\n"', r'"\uD834\u00e5"', r'"\uDd1e\uD834"',
    r'"\uD800\u"',
    r'["\uD888\u1234"]', r'{"\uD800":1}', '"\t"', '"\n"', '"\x00"', '"\x1f"', '"\r"', r'"\{"', r'"\ "',
    "\\u0020", '"a"b', 'a"', '"\\', "\ufeff1", '\ufeff{"a":1}', "`a`",
)  # fmt: skip

NOT_UTF8: Final = (
    b'"\xff"',
    b'"\x80"', b'"\xc0\xaf"', b'"\xe0\xff"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"', b'"\xed\xb0\x80"',
    b'"\xf4\xbf\xbf\xbf"', b'"\xf8\x88\x80\x80\x80"', b'"\xfc\x83\xbf\xbf\xbf\xbf"', b'"\xe9"', b'"\xc3"',
    b'"\xf0\x9f\x98"',
    b'"\xfe"', b"\xff\xfe1\x00", b"[\xa4]", b"\xe5", b'"\x81"', b'{"\xb9":"0"}', b'"\xc1\x81"',
)  # fmt: skip

MESSAGES: Final = (
    # whole messages that are no command, or not quite one
    "", " ", "\n", "null", "1", "-1", "true", '"ping"', "{}", "[[]]", "[1]", "[null]", '["ping"]', "[{}]",
    "[{},{}]",
    "[[[]]]", '{"id":1}', '{"type":null}', '{"type":1}', '{"type":[]}', '{"type":{}}', '{"type":""}',
    '{"Type":"ping"}',
    '{"type":"PING"}', '{"type":"ping "}', '{"type":"call"}', '{"type":"malformedcommand","message":"x"}',
    '{"type":"command"}', '{"type":"hello"}', '{"type":"message"}', '{"type":"ping"',
    '{"type":"ping","id":-1}', '{"type":"ping","id":1.5}', '{"type":"ping","id":"1"}',
    '{"type":"ping","id":true}',
    '{"type":"ping","id":null}', '{"type":"ping","id":[]}', '{"type":"ping","id":1e400}',
    '{"type":"ping","id":01}',
    '{"type":"ping","id":9007199254740992}', '{"type":"ping","id":18446744073709551616}',
    '{"type":"ping","id":' + "9" * 5000 + "}", '{"type":"ping","id":-' + "9" * 5000 + "}",
    '{"type":"ping","id":1e2}',
    '{"type":"subscribe"}', '{"type":"subscribe","channel":null}', '{"type":"subscribe","channel":1}',
    '{"type":"subscribe","channel":[]}', '{"type":"subscribe","channel":{"a":1}}',
    '{"type":"subscribe","channel":""}',
    '{"type":"subscribe","channel":"' + "x" * 201 + '"}',
    '{"type":"subscribe","channel":"' + "x" * 60_000 + '"}',
    '{"type":"subscribe","channel":"a b"}', '{"type":"subscribe","channel":"a\\nb"}',
    '{"type":"subscribe","channel":"a\\u0000"}', '{"type":"subscribe","channel":"ü"}',
    '{"type":"subscribe","channel":"\\ud800"}', '{"type":"subscribe","channel":"a\\u202eb"}',
    '{"type":"subscribe","channel":"../../etc/passwd%00"}', '{"type":"subscribe","channel":"a*"}',
    '{"type":"subscribe","channel":"c","since":1}', '{"type":"subscribe","channel":"c","since":{}}',
    '{"type":"subscribe","channel":"c","since":{"epoch":1,"offset":1}}',
    '{"type":"subscribe","channel":"c","since":{"epoch":"x","offset":-1}}',
    '{"type":"subscribe","channel":"c","since":{"epoch":"x","offset":1e9}}',
    '{"type":"subscribe","channel":"c","since":{"epoch":"x","offset":99999999999999999999}}',
    '{"type":"unsubscribe","channel":7}', '{"type":"publish","channel":"c"}', '{"type":"publish","data":1}',
    '{"type":"publish","channel":"c","data":1,"data64":"QQ=="}',
    '{"type":"publish","channel":"c","data64":"Q"}',
    '{"type":"publish","channel":"c","data64":"QQ"}', '{"type":"publish","channel":"c","data64":"@@@@"}',
    '{"type":"publish","channel":"c","data64":1}', '{"type":"publish","channel":"c","data64":"ü"}',
    '{"type":"publish","channel":"c","data":1,"key":1}',
    '{"type":"publish","channel":"c","data":1,"key":"' + "k" * 201 + '"}',
    '{"type":"publish","channel":"a\\nb","data":1}', '{"type":"history","channel":"c","limit":-1}',
    '{"type":"history","channel":"c","limit":0}', '{"type":"history","channel":"c","limit":"50"}',
    '{"type":"history","channel":"c","before":-1}', '{"type":"history","channel":"c","before":1e300}',
    '{"type":"history","channel":"c","before":99999999999999999999}', '{"type":"history","channel":5}',
    '{"type":"presence"}', '{"type":"presence","channel":false}', '{"type":"presence","channel":"a b"}',
    '{"type":"connect","token":1}', '{"type":"connect","session":{}}', '{"type":"connect","since":[]}',
    '{"type":"connect","since":{"c":1}}', '{"type":"connect","since":{"c":{"epoch":"x","offset":-1}}}',
    '{"type":"ping"}x', '{"type":"ping"}{"type":"ping"}', '\ufeff{"type":"ping"}', "{'type':'ping'}",
    "{type:'ping'}",
    '{"type":"ping","\\ud800":1}', "[" + '{"type":"ping"},' * 200 + '{"type":"ping"}]',
    "[" * 60_000, "{" * 60_000, '{"a":' * 10_000, '[{"type":' * 5_000, "[" * 30_000 + "]" * 30_000,
    '{"type":"ping","x":' + "[" * 20_000 + "]" * 20_000 + "}",
)  # fmt: skip
