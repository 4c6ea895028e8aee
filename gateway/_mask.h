/* Masking of RFC 6455 section 5.3: payload XOR a key of four bytes, again and again.
 *
 * `to` and `from` are the same memory, or do not overlap.  Nothing is read or written beyond
 * `n` bytes; nothing needs alignment (loads and stores are memcpy, which compiles to one
 * instruction).  On x86-64 the long loop is compiled twice, and AVX2 is used where the CPU has it:
 * __builtin_cpu_supports, not target_clones, since musl has no ifunc.
 */
#ifndef RINGGATE_MASK_H
#define RINGGATE_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define RG_MASK_AVX2 1
#endif

#define RG_MASK_LONG 256 /* bytes from which the jump into the wide loop pays */

/* XOR whole blocks of 64 bytes; the count of bytes done is returned. */
static inline __attribute__((always_inline)) size_t
rg_mask_blocks(char *to, const char *from, size_t n, uint64_t key)
{
    size_t i, j;
    uint64_t words[8];

    for (i = 0; i + 64 <= n; i += 64) {
        memcpy(words, from + i, 64);
        for (j = 0; j < 8; j++)
            words[j] ^= key;
        memcpy(to + i, words, 64);
    }
    return i;
}

#ifdef RG_MASK_AVX2
typedef long long rg_v32 __attribute__((vector_size(32)));

/* The same, 128 bytes at a time in registers of 32. */
__attribute__((target("avx2"), noinline)) static size_t
rg_mask_blocks_avx2(char *to, const char *from, size_t n, uint64_t key)
{
    rg_v32 a, b, c, d;
    const long long k = (long long)key;
    const rg_v32 keys = {k, k, k, k};
    size_t i;

    for (i = 0; i + 128 <= n; i += 128) {
        memcpy(&a, from + i, 32);
        memcpy(&b, from + i + 32, 32);
        memcpy(&c, from + i + 64, 32);
        memcpy(&d, from + i + 96, 32);
        a ^= keys;
        b ^= keys;
        c ^= keys;
        d ^= keys;
        memcpy(to + i, &a, 32);
        memcpy(to + i + 32, &b, 32);
        memcpy(to + i + 64, &c, 32);
        memcpy(to + i + 96, &d, 32);
    }
    return i;
}
#endif

/* XOR `n` bytes with `key`, whose byte `at` (0 to 3) meets the first of them. */
static inline void rg_mask(char *to, const char *from, size_t n, const unsigned char key[4], unsigned int at)
{
    unsigned char turned[8];
    uint64_t key8, word;
    size_t i = 0, j;

    for (j = 0; j < 8; j++)
        turned[j] = key[(at + j) & 3];
    memcpy(&key8, turned, 8);
#ifdef RG_MASK_AVX2
    if (n >= RG_MASK_LONG && __builtin_cpu_supports("avx2"))
        i = rg_mask_blocks_avx2(to, from, n, key8);
#endif
    i += rg_mask_blocks(to + i, from + i, n - i, key8);
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= key8;
        memcpy(to + i, &word, 8);
    }
    for (j = 0; i < n; i++, j++)
        to[i] = (char)(from[i] ^ turned[j]);
}

#endif
