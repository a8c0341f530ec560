/* Texts → shingle sets, signatures, band keys and digests: the scheme of factory/minhash/scheme.py, hash for hash. */

#include "kernel.h"

struct fk_scheme fk_scheme;
static uint64_t powers[256]; /* base**0 … base**255 */
static uint8_t lowered[256]; /* ASCII in lower case, every white character a space */

FK_EXPORT int64_t fk_abi(void)
{
    return FK_ABI;
}

/* Take over the constants, in the order of struct fk_scheme; FK_BROKEN where their number is another one. */
FK_EXPORT int64_t fk_configure(const uint64_t *values, int64_t count)
{
    if (count != (int64_t)(sizeof fk_scheme / sizeof(uint64_t)))
        return FK_BROKEN;
    memcpy(&fk_scheme, values, sizeof fk_scheme);
    powers[0] = 1;
    for (int i = 1; i < 256; i++)
        powers[i] = powers[i - 1] * fk_scheme.base;
    for (int i = 0; i < 256; i++) {
        int white = (i >= 9 && i <= 13) || (i >= 28 && i <= 32);
        lowered[i] = (uint8_t)(white ? ' ' : i >= 'A' && i <= 'Z' ? i + 32 : i);
    }
    return FK_OK;
}

int fk_reserve(void **held, int64_t *room, int64_t wanted, size_t item)
{
    if (wanted <= *room)
        return FK_OK;
    int64_t grown = *room + *room / 2;
    grown = grown < wanted ? wanted : grown;
    if ((uint64_t)grown > SIZE_MAX / item)
        return FK_NO_MEMORY;
    void *moved = realloc(*held, (size_t)grown * item);
    if (!moved)
        return FK_NO_MEMORY;
    *held = moved;
    *room = grown;
    return FK_OK;
}

/* ---- Sorting: hashes are spread evenly, so one pass by their top bits leaves little to do. ---------------------- */

static void insert_sort(uint64_t *values, int64_t count)
{
    for (int64_t i = 1; i < count; i++) {
        uint64_t value = values[i];
        int64_t j = i;
        for (; j > 0 && values[j - 1] > value; j--)
            values[j] = values[j - 1];
        values[j] = value;
    }
}

void fk_sort(uint64_t *values, uint64_t *spare, int64_t count, int top)
{
    int64_t ends[2048];
    if (count <= 24) {
        insert_sort(values, count);
        return;
    }
    if (top <= 0)
        return; /* all equal */
    int bits = 5;
    while (bits < 11 && (INT64_C(1) << bits) < count)
        bits++;
    bits = bits < top ? bits : top;
    int shift = top - bits, buckets = 1 << bits;
    uint64_t mask = (uint64_t)buckets - 1;
    memset(ends, 0, (size_t)buckets * sizeof *ends);
    for (int64_t i = 0; i < count; i++)
        ends[(values[i] >> shift) & mask]++;
    int64_t sum = 0, most = 0;
    for (int b = 0; b < buckets; b++) {
        int64_t size = ends[b];
        most = size > most ? size : most;
        ends[b] = sum;
        sum += size;
    }
    for (int64_t i = 0; i < count; i++)
        spare[ends[(values[i] >> shift) & mask]++] = values[i];
    memcpy(values, spare, (size_t)count * sizeof *values);
    if (most <= 24) {
        insert_sort(values, count);
        return;
    }
    /* Depth is at most 64 / 5: every level settles at least five bits. */
    for (int64_t b = 0, start = 0; b < buckets; start = ends[b++])
        if (ends[b] - start > 1)
            fk_sort(values + start, spare + start, ends[b] - start, shift);
}

/* Make ascending values distinct; returns how many there are. */
static int64_t distinct(uint64_t *values, int64_t count)
{
    int64_t kept = count > 0;
    for (int64_t i = 1; i < count; i++) {
        values[kept] = values[i];
        kept += values[i] != values[kept - 1];
    }
    return kept;
}

/* ---- Signatures -------------------------------------------------------------------------------------------------- */

FK_CLONES static void sign_block(const uint32_t *restrict low, int64_t count, const uint32_t *restrict odd,
                                 const uint32_t *restrict add, uint32_t *restrict minima)
{
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        uint32_t a = low[i], b = low[i + 1], c = low[i + 2], d = low[i + 3];
        for (int p = 0; p < FK_PERMUTATIONS; p++) {
            uint32_t one = a * odd[p] + add[p], two = b * odd[p] + add[p];
            uint32_t three = c * odd[p] + add[p], four = d * odd[p] + add[p];
            one = one < two ? one : two;
            three = three < four ? three : four;
            one = one < three ? one : three;
            minima[p] = minima[p] < one ? minima[p] : one;
        }
    }
    for (; i < count; i++)
        for (int p = 0; p < FK_PERMUTATIONS; p++) {
            uint32_t one = low[i] * odd[p] + add[p];
            minima[p] = minima[p] < one ? minima[p] : one;
        }
}

void fk_sign(const uint64_t *set, int64_t count, uint32_t minima[FK_PERMUTATIONS])
{
    uint32_t low[256], odd[FK_PERMUTATIONS], add[FK_PERMUTATIONS];
    for (int p = 0; p < FK_PERMUTATIONS; p++) {
        odd[p] = (uint32_t)fk_scheme.odd[p];
        add[p] = (uint32_t)fk_scheme.add[p];
        minima[p] = UINT32_MAX;
    }
    for (int64_t start = 0; start < count; start += 256) {
        int64_t block = count - start < 256 ? count - start : 256;
        for (int64_t i = 0; i < block; i++)
            low[i] = fk_scramble(set[start + i]);
        sign_block(low, block, odd, add, minima);
    }
}

/* ---- Digests: BLAKE2b (RFC 7693), 16 bytes, no key --------------------------------------------------------------- */

static const uint64_t blake_iv[8] = {
    UINT64_C(0x6A09E667F3BCC908), UINT64_C(0xBB67AE8584CAA73B), UINT64_C(0x3C6EF372FE94F82B),
    UINT64_C(0xA54FF53A5F1D36F1), UINT64_C(0x510E527FADE682D1), UINT64_C(0x9B05688C2B3E6C1F),
    UINT64_C(0x1F83D9ABFB41BD6B), UINT64_C(0x5BE0CD19137E2179),
};
static const uint8_t blake_order[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

static inline uint64_t turned(uint64_t value, int by)
{
    return value >> by | value << (64 - by);
}

static inline void blake_quarter(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

static void blake_block(uint64_t state[8], const uint8_t *block, uint64_t counted, int last)
{
    uint64_t v[16], m[16];
    for (int i = 0; i < 16; i++) {
        m[i] = 0;
        for (int k = 0; k < 8; k++)
            m[i] |= (uint64_t)block[8 * i + k] << (8 * k);
    }
    memcpy(v, state, 8 * sizeof *v);
    memcpy(v + 8, blake_iv, sizeof blake_iv);
    v[12] ^= counted;
    v[14] ^= last ? UINT64_MAX : 0;
    for (int round = 0; round < 12; round++) {
        const uint8_t *o = blake_order[round];
        blake_quarter(v, 0, 4, 8, 12, m[o[0]], m[o[1]]);
        blake_quarter(v, 1, 5, 9, 13, m[o[2]], m[o[3]]);
        blake_quarter(v, 2, 6, 10, 14, m[o[4]], m[o[5]]);
        blake_quarter(v, 3, 7, 11, 15, m[o[6]], m[o[7]]);
        blake_quarter(v, 0, 5, 10, 15, m[o[8]], m[o[9]]);
        blake_quarter(v, 1, 6, 11, 12, m[o[10]], m[o[11]]);
        blake_quarter(v, 2, 7, 8, 13, m[o[12]], m[o[13]]);
        blake_quarter(v, 3, 4, 9, 14, m[o[14]], m[o[15]]);
    }
    for (int i = 0; i < 8; i++)
        state[i] ^= v[i] ^ v[i + 8];
}

static void digest_of(const uint8_t *text, int64_t length, uint64_t digest[2])
{
    uint64_t state[8];
    uint8_t last[128] = {0};
    memcpy(state, blake_iv, sizeof state);
    state[0] ^= 0x01010010;
    int64_t done = 0;
    for (; length - done > 128; done += 128)
        blake_block(state, text + done, (uint64_t)done + 128, 0);
    if (length > done)
        memcpy(last, text + done, (size_t)(length - done));
    blake_block(state, last, (uint64_t)length, 1);
    digest[0] = state[0];
    digest[1] = state[1];
}

/* ---- Shingles ---------------------------------------------------------------------------------------------------- */

/* Working room that grows with the longest text, and the sets made so far. */
struct fk_sets {
    uint8_t *text;
    uint64_t *words, *points, *sums, *spare, *sets;
    int64_t text_room, words_room, points_room, sums_room, spare_room, sets_room;
    int64_t text_size, words_size, sets_size;
};

FK_EXPORT void fk_sets_free(struct fk_sets *sets)
{
    if (!sets)
        return;
    free(sets->text);
    free(sets->words);
    free(sets->points);
    free(sets->sums);
    free(sets->spare);
    free(sets->sets);
    free(sets);
}

/* Copy the sets of the last `fk_fingerprint` to `out`, which has room for as many values as it returned. */
FK_EXPORT void fk_sets_copy(const struct fk_sets *sets, uint64_t *out)
{
    if (sets->sets_size)
        memcpy(out, sets->sets, (size_t)sets->sets_size * sizeof *out);
}

/* One pass: the text in lower case with single spaces, and the hash of each of its words. */
static int read_words(struct fk_sets *work, const uint8_t *text, int64_t length)
{
    if (fk_reserve((void **)&work->text, &work->text_room, length + 1, 1)
        || fk_reserve((void **)&work->words, &work->words_room, length / 2 + 2, sizeof(uint64_t)))
        return FK_NO_MEMORY;
    uint8_t *out = work->text;
    uint64_t *words = work->words;
    int64_t at = 0, written = 0, count = 0;
    for (;;) {
        while (at < length && lowered[text[at]] == ' ')
            at++;
        if (at == length)
            break;
        if (count)
            out[written++] = ' ';
        uint64_t sum = 0, power = powers[255];
        int64_t start = at;
        uint8_t byte;
        for (; at < length && at - start < 256 && (byte = lowered[text[at]]) != ' '; at++) {
            out[written++] = byte;
            sum += fk_scheme.bytes[byte] * powers[at - start];
        }
        for (; at < length && (byte = lowered[text[at]]) != ' '; at++) {
            power *= fk_scheme.base;
            out[written++] = byte;
            sum += fk_scheme.bytes[byte] * power;
        }
        words[count++] = fk_mix(sum);
    }
    work->text_size = written;
    work->words_size = count;
    return FK_OK;
}

/* The code points of UTF-8, surrogates as they are; bytes that are no UTF-8 give some values, within bounds. */
static int64_t read_points(const uint8_t *text, int64_t length, uint64_t *points)
{
    int64_t count = 0, at = 0;
    while (at < length) {
        uint32_t lead = text[at++];
        int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
        uint32_t point = more == 3 ? lead & 0x07 : more == 2 ? lead & 0x0F : more == 1 ? lead & 0x1F : lead;
        for (; more > 0 && at < length; more--)
            point = point << 6 | (text[at++] & 0x3F);
        points[count++] = point;
    }
    return count;
}

/* Code points of scripts written without spaces: [from, to) pairs, as in scheme.py. */
static const uint32_t unspaced[] = {
    0x0E00, 0x10A0, 0x1780, 0x1800, 0x2E80, 0x3000, 0x3005, 0x3008, 0x3040, 0x3130, 0x31A0,
    0x3200, 0x3400, 0x4DC0, 0x4E00, 0xA000, 0xF900, 0xFB00, 0x1B000, 0x1B170, 0x20000, 0x40000,
};

static int is_unspaced(const uint64_t *points, int64_t count)
{
    int64_t inside = 0, visible = 0;
    for (int64_t i = 0; i < count; i++) {
        visible += points[i] != ' ';
        for (size_t k = 0; points[i] >= unspaced[0] && k < sizeof unspaced / sizeof *unspaced; k += 2)
            if (points[i] >= unspaced[k] && points[i] < unspaced[k + 1]) {
                inside++;
                break;
            }
    }
    return 4 * inside >= visible;
}

/* The hashes of the word 5-grams; returns how many. */
static int64_t word_grams(const uint64_t *restrict words, int64_t count, uint64_t *restrict grams)
{
    const uint64_t *f = fk_scheme.words;
    int64_t made = count - FK_WORD_GRAM + 1;
    for (int64_t i = 0; i < made; i++)
        grams[i] = fk_mix(words[i] * f[0] + words[i + 1] * f[1] + words[i + 2] * f[2] + words[i + 3] * f[3]
                          + words[i + 4] * f[4]);
    return made;
}

/* The hashes of the character n-grams of a text that is not empty; `points` are overwritten. Returns how many. */
static int64_t char_grams(uint64_t *points, uint64_t *sums, int64_t count, uint64_t *grams)
{
    int64_t longest = count < FK_LONGEST ? count : FK_LONGEST;
    int64_t shortest = longest < FK_SHORTEST ? longest : FK_SHORTEST;
    int64_t made = 0;
    for (int64_t i = 0; i < count; i++) {
        points[i] = fk_mix(points[i] + fk_scheme.char_salt);
        sums[i] = 0;
    }
    for (int64_t length = 1; length <= longest; length++) {
        int64_t whole = count - length + 1;
        uint64_t factor = fk_scheme.chars[length - 1], salt = fk_scheme.lengths[length - 1];
        for (int64_t i = 0; i < whole; i++)
            sums[i] += points[i + length - 1] * factor;
        if (length >= shortest)
            for (int64_t i = 0; i < whole; i++)
                grams[made++] = fk_mix(sums[i] + salt);
    }
    return made;
}

/* The set of the text that `read_words` read, written after the sets made so far; returns its size. */
static int64_t make_set(struct fk_sets *work, int wide)
{
    int64_t length = work->text_size, words = work->words_size, points = -1, most;
    if (!length)
        return 0;
    if (words < FK_FEWEST_WORDS || wide) {
        if (fk_reserve((void **)&work->points, &work->points_room, length, sizeof(uint64_t)))
            return FK_NO_MEMORY;
        points = read_points(work->text, length, work->points);
        if (words >= FK_FEWEST_WORDS && !is_unspaced(work->points, points))
            points = -1;
    }
    most = points < 0 ? words : points * (FK_LONGEST - FK_SHORTEST + 1);
    if (fk_reserve((void **)&work->sets, &work->sets_room, work->sets_size + most, sizeof(uint64_t))
        || fk_reserve((void **)&work->spare, &work->spare_room, most, sizeof(uint64_t))
        || (points >= 0 && fk_reserve((void **)&work->sums, &work->sums_room, points, sizeof(uint64_t))))
        return FK_NO_MEMORY;
    uint64_t *set = work->sets + work->sets_size;
    int64_t count = points < 0 ? word_grams(work->words, words, set)
                               : char_grams(work->points, work->sums, points, set);
    fk_sort(set, work->spare, count, 64);
    return distinct(set, count);
}

/* Fingerprint `rows` texts: text i is data[offsets[i] … offsets[i + 1]). One with wide[i] has characters beyond ASCII,
 * which are normalised and casefolded already.
 *
 * Writes ends[rows], keys[rows * bands], digests[2 * rows] and, unless NULL, signatures[128 * rows]. *made then holds
 * the sets: `fk_sets_copy` them and `fk_sets_free` it. Returns how many values they have, or FK_NO_MEMORY.
 */
FK_EXPORT int64_t fk_fingerprint(const uint8_t *data, const int64_t *offsets, const uint8_t *wide, int64_t rows,
                                 int64_t bands, int64_t size, int64_t *ends, uint64_t *keys, uint64_t *digests,
                                 uint32_t *signatures, struct fk_sets **made)
{
    uint32_t own[FK_PERMUTATIONS];
    struct fk_sets *work = calloc(1, sizeof *work);
    *made = work;
    if (!work)
        return FK_NO_MEMORY;
    for (int64_t row = 0; row < rows; row++) {
        if (read_words(work, data + offsets[row], offsets[row + 1] - offsets[row]))
            return FK_NO_MEMORY;
        int64_t count = make_set(work, wide[row]);
        if (count < 0)
            return FK_NO_MEMORY;
        uint32_t *minima = signatures ? signatures + row * FK_PERMUTATIONS : own;
        fk_sign(work->sets + work->sets_size, count, minima);
        for (int64_t band = 0; band < bands; band++)
            keys[row * bands + band] = fk_band_key(minima, band, size);
        digest_of(work->text, work->text_size, digests + 2 * row);
        work->sets_size += count;
        ends[row] = work->sets_size;
    }
    return work->sets_size;
}

/* Sign one set and hash its bands. */
FK_EXPORT void fk_keys_of_set(const uint64_t *set, int64_t count, int64_t bands, int64_t size, uint64_t *keys)
{
    uint32_t minima[FK_PERMUTATIONS];
    fk_sign(set, count, minima);
    for (int64_t band = 0; band < bands; band++)
        keys[band] = fk_band_key(minima, band, size);
}
