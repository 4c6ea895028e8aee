# cython: language_level=3, boundscheck=False, wraparound=False
"""The two events of which there are most, as JSON text, without a record and an encoder in between.

A publication is encoded once for all who hear it, and a publish is answered once; making the record took
longer than making its text.  It knows records, and no sessions.  What always holds: the text is, byte for
byte, what msgspec makes of the record; so what is rare (a name with a character that JSON escapes, bytes,
patches) is left to it.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

import msgspec

from gateway.message.events import Reply
from gateway.message.views import message_of, patch_of

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    _MOST_DIGITS = 20

cdef object encode_record = msgspec.json.Encoder().encode


cdef struct Text:
    const char* at
    Py_ssize_t size


cdef inline int take(object value, Text* text) except -1:
    """Take a str in UTF-8; tell whether it may stand between quotes as it is (RFC 8259 section 7)."""
    cdef Py_ssize_t i
    cdef unsigned char c
    text.at = PyUnicode_AsUTF8AndSize(value, &text.size)
    for i in range(text.size):
        c = text.at[i]
        if c < 0x20 or c == c'"' or c == c"\\":
            return 0
    return 1


cdef inline char* put(char* at, const char* data, Py_ssize_t size) noexcept:
    memcpy(at, data, size)
    return at + size


cdef inline char* put_number(char* at, unsigned long long left) noexcept:
    cdef char digits[_MOST_DIGITS]
    cdef int i = _MOST_DIGITS
    while True:
        i -= 1
        digits[i] = <char>(48 + left % 10)
        left //= 10
        if not left:
            break
    return put(at, digits + i, _MOST_DIGITS - i)


def encode_publication(channel, publication):
    """Return the event of a publication to a channel, its JSON data byte for byte."""
    cdef Text name, id, client, user
    cdef bytes data, text
    cdef char* at
    cdef long long offset, time_ms
    cdef Py_ssize_t most
    id_held, client_held, user_held = publication.id, publication.client, publication.user
    data = publication.data
    offset = publication.offset
    time_ms = publication.time_ms
    if publication.patch:
        return encode_record(patch_of(channel, publication))
    if (publication.binary or offset < 0 or time_ms < 0
            or not (take(channel, &name) and take(id_held, &id)
                    and take(client_held, &client) and take(user_held, &user))):
        return encode_record(message_of(channel, publication))
    # what stands between the values takes 96 bytes
    most = 96 + 2 * _MOST_DIGITS + name.size + id.size + PyBytes_GET_SIZE(data) + client.size + user.size
    text = PyBytes_FromStringAndSize(NULL, most)
    at = PyBytes_AS_STRING(text)
    at = put(at, b'{"type":"message","channel":"', 29)
    at = put(at, name.at, name.size)
    if offset:
        at = put(at, b'","offset":', 11)
        at = put_number(at, offset)
        at = put(at, b',"id":"', 7)
    else:
        at = put(at, b'","id":"', 8)
    at = put(at, id.at, id.size)
    at = put(at, b'","data":', 9)
    at = put(at, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    if client.size or user.size:
        at = put(at, b',"from":{', 9)
        if client.size:
            at = put(at, b'"client":"', 10)
            at = put(at, client.at, client.size)
            at = put(at, b'",' if user.size else b'"', 2 if user.size else 1)
        if user.size:
            at = put(at, b'"user":"', 8)
            at = put(at, user.at, user.size)
            at = put(at, b'"', 1)
        at = put(at, b'}', 1)
    at = put(at, b',"time":', 8)
    at = put_number(at, time_ms)
    at = put(at, b'}', 1)
    return text[:at - PyBytes_AS_STRING(text)]


def encode_placed(long long number, channel, epoch, long long offset, bint duplicate):
    """Return the `reply` to a publish that was carried out."""
    cdef Text name, life
    cdef bytes text
    cdef char* at
    if number < 0 or offset < 0 or not (take(channel, &name) and take(epoch, &life)):
        reply = Reply(id=number, channel=channel, epoch=epoch, offset=offset, duplicate=duplicate)
        return encode_record(reply)
    # what stands between the values takes 80 bytes
    text = PyBytes_FromStringAndSize(NULL, 80 + 2 * _MOST_DIGITS + name.size + life.size)
    at = PyBytes_AS_STRING(text)
    at = put(at, b'{"type":"reply","id":', 21)
    at = put_number(at, number)
    at = put(at, b',"channel":"', 12)
    at = put(at, name.at, name.size)
    at = put(at, b'","epoch":"', 11)
    at = put(at, life.at, life.size)
    at = put(at, b'","offset":', 11)
    at = put_number(at, offset)
    if duplicate:
        at = put(at, b',"duplicate":true', 17)
    at = put(at, b'}', 1)
    return text[:at - PyBytes_AS_STRING(text)]
