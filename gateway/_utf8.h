/* Incremental validation of UTF-8 (RFC 3629), failing at the first byte that cannot be right.
 *
 * The state between calls is one number: 0 at the boundary of a character, else how many
 * continuation bytes are missing and the range the next one must be in (which is what
 * refuses overlong forms, surrogates and what lies beyond U+10FFFF at their second byte).
 */
#ifndef RINGGATE_UTF8_H
#define RINGGATE_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RG_UTF8_ACCEPT 0u
#define RG_UTF8_REJECT 0xffffffffu

static inline uint32_t rg_utf8_state(uint32_t missing, uint32_t low, uint32_t high)
{
    return missing | low << 8 | high << 16;
}

/* State after the first byte, not ASCII, of a character (RFC 3629 section 4). */
static inline uint32_t rg_utf8_lead(unsigned char byte)
{
    if (byte < 0xc2 || byte > 0xf4)
        return RG_UTF8_REJECT;
    if (byte < 0xe0)
        return rg_utf8_state(1, 0x80, 0xbf);
    if (byte < 0xf0)
        return rg_utf8_state(2, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf);
    return rg_utf8_state(3, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf);
}

/* How many bytes at the start of `text` are ASCII. */
static inline size_t rg_ascii_run(const unsigned char *text, size_t n)
{
    size_t i = 0;
    uint64_t words[4];

    for (; i + 32 <= n; i += 32) {
        memcpy(words, text + i, 32);
        if ((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080u)
            break;
    }
    for (; i + 8 <= n; i += 8) {
        memcpy(words, text + i, 8);
        if (words[0] & 0x8080808080808080u)
            break;
    }
    while (i < n && text[i] < 0x80)
        i++;
    return i;
}

/* State after `n` more bytes of `text`, from `state`. */
static inline uint32_t rg_utf8_check(uint32_t state, const char *data, size_t n)
{
    const unsigned char *text = (const unsigned char *)data;
    size_t i = 0;

    while (i < n) {
        if (state == RG_UTF8_ACCEPT) {
            if (text[i] < 0x80) {
                i += rg_ascii_run(text + i, n - i);
                continue;
            }
            state = rg_utf8_lead(text[i++]);
            if (state == RG_UTF8_REJECT)
                return state;
        } else {
            if (text[i] < (state >> 8 & 0xff) || text[i] > (state >> 16 & 0xff))
                return RG_UTF8_REJECT;
            i++;
            state = (state & 0xff) == 1 ? RG_UTF8_ACCEPT : rg_utf8_state((state & 0xff) - 1, 0x80, 0xbf);
        }
    }
    return state;
}

#endif
