/* Kept texts in memory, first wins: what factory/minhash/arrays.py does, with the same matches. */

#include "index.h"

#define ARENA (INT64_C(1) << 20) /* shingles in a chunk: 8 MB */

FK_EXPORT void fk_index_free(struct fk_index *index)
{
    if (!index)
        return;
    for (int64_t i = 0; i < index->buckets.lists_count; i++)
        free(index->buckets.lists[i]);
    fk_table_clear(&index->buckets);
    fk_hubs_free(&index->hubs);
    for (int64_t i = 0; i < index->arenas_count; i++)
        fk_pages_free(index->arenas[i].pages, index->arenas[i].bytes);
    for (int64_t i = 0; i < index->chunks; i++)
        fk_pages_free(index->texts[i], sizeof(struct fk_text) << FK_TEXT_BITS);
    free(index->arenas);
    free(index->texts);
    free(index->pairs);
    free(index->spare);
    free(index);
}

/* An empty index, or NULL where memory is short. */
FK_EXPORT struct fk_index *fk_index_new(double threshold, int64_t bands, int64_t size, int64_t hub)
{
    struct fk_index *index = calloc(1, sizeof *index);
    if (!index)
        return NULL;
    index->threshold = threshold;
    index->bands = bands;
    index->size = size;
    index->hub = hub > FK_MOST ? FK_MOST : (uint32_t)hub;
    index->empty = -1;
    return index;
}

FK_EXPORT int64_t fk_index_count(const struct fk_index *index)
{
    return index->count;
}

FK_EXPORT int64_t fk_index_hub_queries(const struct fk_index *index)
{
    return index->hub_queries;
}

/* Bytes held, spare room included. */
FK_EXPORT int64_t fk_index_bytes(const struct fk_index *index)
{
    const struct fk_hubs *hubs = &index->hubs;
    uint64_t bytes = sizeof *index + index->bytes + index->buckets.bytes + hubs->tokens.bytes + hubs->bytes;
    bytes += (uint64_t)hubs->room * sizeof *hubs->members + (hubs->rarity ? (uint64_t)4 << 20 : 0);
    return (int64_t)bytes;
}

/* The set of a kept text: its address in *set; returns its size, or -1 where there is no such text. */
FK_EXPORT int64_t fk_index_set(const struct fk_index *index, int64_t place, const uint64_t **set)
{
    if (place < 0 || place >= index->count)
        return -1;
    const struct fk_text *text = fk_text(index, place);
    *set = text->set;
    return text->size;
}

/* A copy of a set that stays where it is, or NULL. */
static const uint64_t *store(struct fk_index *index, const uint64_t *set, int64_t size)
{
    static const uint64_t nothing;
    if (!size)
        return &nothing;
    if (size > index->arena_left) {
        int64_t room = size > ARENA ? size : ARENA;
        size_t bytes = (size_t)room * sizeof *set;
        if ((uint64_t)room > SIZE_MAX / sizeof *set
            || fk_reserve((void **)&index->arenas, &index->arenas_room, index->arenas_count + 1, sizeof *index->arenas))
            return NULL;
        uint64_t *pages = fk_pages(bytes);
        if (!pages)
            return NULL;
        index->arenas[index->arenas_count].pages = pages;
        index->arenas[index->arenas_count++].bytes = bytes;
        index->bytes += bytes;
        index->arena = pages;
        index->arena_left = room;
    }
    uint64_t *held = index->arena;
    memcpy(held, set, (size_t)size * sizeof *set);
    index->arena += size;
    index->arena_left -= size;
    return held;
}

/* A bucket becomes a hub: what it holds is found by its rarest shingles from now on. NULL stands for its list. */
static int make_hub(struct fk_index *index, struct fk_list *list)
{
    int failed = FK_OK;
    for (uint32_t i = 0; list && i < list->count && !failed; i++)
        failed = fk_hubs_add(index, list->numbers[i]);
    return failed;
}

static int add_under(struct fk_index *index, uint64_t key, int64_t place)
{
    struct fk_table *buckets = &index->buckets;
    uint64_t *slot = fk_table_claim(buckets, key);
    if (!slot)
        return FK_NO_MEMORY;
    uint32_t value = fk_value(*slot);
    if (!value && index->hub) {
        *slot |= (uint32_t)place + 1;
        return FK_OK;
    }
    if (!(value & FK_LIST)) { /* the second under this key, or the first where even that is too many */
        struct fk_list *list = NULL;
        int failed = FK_OK;
        if (value && index->hub > 1) {
            list = fk_list_append(NULL, value - 1, &index->bytes);
            if (!list)
                return FK_NO_MEMORY;
            list = fk_list_append(list, (uint32_t)place, &index->bytes);
        }
        failed = fk_table_put(buckets, slot, list);
        if (failed) {
            free(list);
            return failed;
        }
        if (list)
            return FK_OK;
        failed = value ? fk_hubs_add(index, value - 1) : FK_OK;
        return failed ? failed : fk_hubs_add(index, place);
    }
    struct fk_list **held = (struct fk_list **)&buckets->lists[value & ~FK_LIST];
    if (*held && (*held)->count < index->hub) {
        struct fk_list *list = fk_list_append(*held, (uint32_t)place, &index->bytes);
        if (!list)
            return FK_NO_MEMORY;
        *held = list;
        return FK_OK;
    }
    if (*held) {
        int failed = make_hub(index, *held);
        if (failed)
            return failed;
        index->bytes -= sizeof **held + (uint64_t)(*held)->room * sizeof(uint32_t);
        free(*held);
        *held = NULL;
    }
    return fk_hubs_add(index, place);
}

static int add(struct fk_index *index, const uint64_t *set, int64_t size, const uint64_t *keys)
{
    int64_t place = index->count;
    if (place >= FK_MOST || size > INT32_MAX)
        return FK_FULL;
    if (place >> FK_TEXT_BITS == index->chunks) {
        if (fk_reserve((void **)&index->texts, &index->chunks_room, index->chunks + 1, sizeof *index->texts))
            return FK_NO_MEMORY;
        struct fk_text *chunk = fk_pages(sizeof *chunk << FK_TEXT_BITS);
        if (!chunk)
            return FK_NO_MEMORY;
        index->texts[index->chunks++] = chunk;
        index->bytes += sizeof *chunk << FK_TEXT_BITS;
    }
    const uint64_t *held = store(index, set, size);
    if (!held)
        return FK_NO_MEMORY;
    struct fk_text *text = fk_text(index, place);
    text->set = held;
    text->size = (uint32_t)size;
    index->count++;
    if (!size) {
        index->empty = index->empty < 0 ? place : index->empty;
        return FK_OK;
    }
    int failed = FK_OK;
    for (int64_t band = 0; band < index->bands && !failed; band++)
        failed = add_under(index, keys[band], place);
    return failed;
}

/* One band's key of a set. */
FK_CLONES static uint64_t band_key_of(const uint64_t *restrict set, int64_t count, int64_t band, int64_t size)
{
    uint32_t minima[FK_BAND];
    uint64_t sum = fk_scheme.band_salts[band];
    for (int64_t k = 0; k < size; k++) {
        uint32_t odd = (uint32_t)fk_scheme.odd[band * size + k], more = (uint32_t)fk_scheme.add[band * size + k];
        uint32_t least = UINT32_MAX;
        for (int64_t i = 0; i < count; i++) {
            uint32_t image = fk_scramble(set[i]) * odd + more;
            least = least < image ? least : image;
        }
        minima[k] = least;
    }
    for (int64_t k = 0; k < size; k++)
        sum += minima[k] * fk_scheme.bands[k];
    return fk_mix(sum);
}

/* Under the keys: pairs (place << 8 | band) in index->pairs, ascending. Returns how many; *hub: a bucket is a hub. */
static int64_t collect(struct fk_index *index, const uint64_t *keys, int *hub)
{
    int64_t count = 0;
    for (int64_t band = 0; band < index->bands; band++) {
        const uint64_t *slot = fk_table_find(&index->buckets, keys[band]);
        if (!slot)
            continue;
        uint32_t value = fk_value(*slot);
        const struct fk_list *list = value & FK_LIST ? index->buckets.lists[value & ~FK_LIST] : NULL;
        if (value & FK_LIST && !list) {
            *hub = 1;
            continue;
        }
        int64_t more = list ? list->count : 1;
        if (fk_reserve((void **)&index->pairs, &index->pairs_room, count + more, sizeof(uint64_t)))
            return FK_NO_MEMORY;
        for (int64_t i = 0; i < more; i++)
            index->pairs[count++] = (uint64_t)(list ? list->numbers[i] : value - 1) << 8 | (uint64_t)band;
    }
    if (fk_reserve((void **)&index->spare, &index->spare_room, count, sizeof(uint64_t)))
        return FK_NO_MEMORY;
    fk_sort(index->pairs, index->spare, count, 40);
    return count;
}

/* The earliest duplicate of a set: *place (-1: none) and *similarity. */
static int find(struct fk_index *index, const uint64_t *set, int64_t size, const uint64_t *keys, int64_t *place,
                double *similarity)
{
    *place = -1;
    *similarity = 0.0;
    if (!size) {
        *place = index->empty;
        *similarity = index->empty < 0 ? 0.0 : 1.0;
        return FK_OK;
    }
    if (size > INT32_MAX)
        return FK_FULL;
    int hub = 0;
    int64_t count = collect(index, keys, &hub);
    if (count < 0)
        return FK_NO_MEMORY;
    int64_t smallest = 0, largest = 0;
    if (count) {
        smallest = fk_least(index->threshold, size);
        largest = fk_largest(index->threshold, size);
    }
    for (int64_t i = 0, next; i < count && *place < 0; i = next) {
        int64_t other = (int64_t)(index->pairs[i] >> 8);
        for (next = i + 1; next < count && (int64_t)(index->pairs[next] >> 8) == other; next++)
            ;
        const struct fk_text *text = fk_text(index, other);
        if (text->size < smallest || text->size > largest)
            continue;
        int64_t shared = fk_overlap(set, size, text->set, text->size, fk_need(index->threshold, size, text->size));
        for (int64_t k = i; k < next && shared >= 0; k++) {
            int64_t band = (int64_t)(index->pairs[k] & 255);
            if (band_key_of(text->set, text->size, band, index->size) == keys[band]) {
                *place = other;
                *similarity = (double)shared / (double)(size + text->size - shared);
                break;
            }
        }
    }
    if (!hub)
        return FK_OK;
    index->hub_queries++;
    return fk_hubs_find(index, set, size, keys, place, similarity);
}

/* Keep a text, whether or not it has a duplicate; returns its place or what went wrong. */
FK_EXPORT int64_t fk_index_add(struct fk_index *index, const uint64_t *set, int64_t size, const uint64_t *keys)
{
    if (index->broken)
        return FK_BROKEN;
    int failed = add(index, set, size, keys);
    index->broken = failed != FK_OK;
    return failed ? failed : index->count - 1;
}

/* First wins: for each text its earliest duplicate among those kept before it (-1: none) and the similarity.
 *
 * Set i is shingles[ends[i - 1] … ends[i]), sorted and distinct. With `keep`, a text without a duplicate is kept. After
 * anything but FK_OK the index is of no more use.
 */
FK_EXPORT int64_t fk_index_walk(struct fk_index *index, const uint64_t *shingles, const int64_t *ends,
                                const uint64_t *keys, int64_t rows, int64_t keep, int64_t *places, double *similarity)
{
    int failed = index->broken ? FK_BROKEN : FK_OK;
    for (int64_t row = 0, start = 0; row < rows && !failed; start = ends[row++]) {
        const uint64_t *mine = keys + row * index->bands;
        for (int64_t band = 0; row + 1 < rows && band < index->bands; band++)
            fk_table_prefetch(&index->buckets, mine[index->bands + band]);
        failed = find(index, shingles + start, ends[row] - start, mine, places + row, similarity + row);
        if (!failed && keep && places[row] < 0)
            failed = add(index, shingles + start, ends[row] - start, mine);
    }
    index->broken = failed != FK_OK;
    return failed;
}
