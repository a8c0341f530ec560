/* What the two halves of the kernel share: the constants of the scheme, memory, sorting, signing.
 *
 * No function keeps a pointer that it was given, none calls back, none depends on locale, time or environment. Sizes and
 * offsets are checked by the caller in Python; whatever the bytes are, nothing is read or written out of bounds.
 * Functions that need memory return FK_NO_MEMORY where there is none.
 */
#ifndef FACTORY_KERNEL_H
#define FACTORY_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FK_ABI 1
#define FK_OK 0
#define FK_NO_MEMORY (-1)
#define FK_FULL (-2)
#define FK_BROKEN (-3)

#define FK_PERMUTATIONS 128
#define FK_WORD_GRAM 5
#define FK_SHORTEST 5
#define FK_LONGEST 8
#define FK_FEWEST_WORDS 8
#define FK_BAND 5

#if defined(_WIN32)
#define FK_EXPORT __declspec(dllexport)
#else
#define FK_EXPORT __attribute__((visibility("default")))
#endif

/* One function, several instruction sets, the best of which the loader picks: GCC and glibc on x86-64 can do that. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) && !defined(FK_PLAIN)
#define FK_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FK_CLONES
#endif

#if defined(__GNUC__)
#define FK_PREFETCH(address) __builtin_prefetch(address)
#define FK_POPCOUNT(value) __builtin_popcountll(value)
#else
#define FK_PREFETCH(address) ((void)(address))
static inline int FK_POPCOUNT(uint64_t value)
{
    int count = 0;
    for (; value; value &= value - 1)
        count++;
    return count;
}
#endif

/* The constants of the scheme, handed in by Python so that they stand in one place. */
struct fk_scheme {
    uint64_t bytes[256];
    uint64_t base;
    uint64_t words[FK_WORD_GRAM];
    uint64_t chars[FK_LONGEST];
    uint64_t char_salt;
    uint64_t lengths[FK_LONGEST];
    uint64_t bands[FK_BAND];
    uint64_t band_salts[FK_PERMUTATIONS];
    uint64_t odd[FK_PERMUTATIONS];
    uint64_t add[FK_PERMUTATIONS];
};

extern struct fk_scheme fk_scheme;

/* SplitMix64's finaliser. */
static inline uint64_t fk_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

/* The low half after MurmurHash3's finaliser: what the permutations start from. */
static inline uint32_t fk_scramble(uint64_t value)
{
    uint32_t low = (uint32_t)value;
    low = (low ^ (low >> 16)) * UINT32_C(0x85EBCA6B);
    low = (low ^ (low >> 13)) * UINT32_C(0xC2B2AE35);
    return low ^ (low >> 16);
}

/* Sort `count` values that differ in their low `top` bits only; `spare` has room for as many. */
void fk_sort(uint64_t *values, uint64_t *spare, int64_t count, int top);

/* The minimum of each permutation over a set, all ones bits for the empty set. */
void fk_sign(const uint64_t *set, int64_t count, uint32_t minima[FK_PERMUTATIONS]);

/* The hash of one band of a signature. */
static inline uint64_t fk_band_key(const uint32_t *minima, int64_t band, int64_t size)
{
    uint64_t sum = fk_scheme.band_salts[band];
    for (int64_t i = 0; i < size; i++)
        sum += minima[band * size + i] * fk_scheme.bands[i];
    return fk_mix(sum);
}

/* Room for `wanted` items of `item` bytes in *held, whose room is *room; what is there stays. */
int fk_reserve(void **held, int64_t *room, int64_t wanted, size_t item);

#endif
