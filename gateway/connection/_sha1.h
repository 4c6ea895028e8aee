/* SHA-1 of one message of at most 119 bytes (RFC 3174): for the opening handshake and nothing else.
 *
 * RFC 6455 section 4.2.2 asks for it; it protects nothing.  A call of the standard library's takes as long as
 * the rest of a handshake. */
#ifndef RINGGATE_SHA1_H
#define RINGGATE_SHA1_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t rg_rol(uint32_t word, int bits)
{
    return word << bits | word >> (32 - bits);
}

static void rg_sha1_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, k, next;

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rg_rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        if (i < 20)
            f = (b & c) | (~b & d), k = 0x5A827999;
        else if (i < 40)
            f = b ^ c ^ d, k = 0x6ED9EBA1;
        else if (i < 60)
            f = (b & c) | (b & d) | (c & d), k = 0x8F1BBCDC;
        else
            f = b ^ c ^ d, k = 0xCA62C1D6;
        next = rg_rol(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rg_rol(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

/* `n` is at most 119: two blocks with their padding. */
static void rg_sha1(unsigned char digest[20], const char *message, size_t n)
{
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char padded[128] = {0};
    size_t size = n < 56 ? 64 : 128;

    memcpy(padded, message, n);
    padded[n] = 0x80;
    padded[size - 2] = (unsigned char)(n >> 5);
    padded[size - 1] = (unsigned char)(n << 3);
    for (size_t at = 0; at < size; at += 64)
        rg_sha1_block(h, padded + at);
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
}

#endif
