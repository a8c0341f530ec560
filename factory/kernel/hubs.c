/* Overfull buckets: their members, found by their rarest shingles, so that no bucket is ever walked from end to end.
 *
 * In one fixed order of all shingles (rare ones first) let two sets of n and m members share o or more. Then the first
 * shingle that both have is among the n - o + 1 first of the one and the m - o + 1 first of the other (Chaudhuri et al.
 * 2006). o follows from both sizes: members are looked up by shingle and by size, and a shingle at place i is asked only
 * for the sizes with n - i >= o. Texts that share boilerplate and differ in enough else never meet.
 * What is found is first compared by a map of 256 bits (as many bits differ as shingles do, at most), then exactly.
 */

#include "index.h"

#define SLOTS (1u << 20)
#define TOGETHER 32 /* members of a shingle from which on they are kept apart by size */

/* Members of one shingle: in one list, or by size. */
struct token {
    struct fk_list *all;
    struct by_size {
        uint32_t size_class;
        struct fk_list *members;
    } *classes;
    int64_t count, room;
};

/* Sizes that are looked up together: one by one up to 256, then 128 to an octave. */
static uint32_t class_of(int64_t size)
{
    if (size < 256)
        return (uint32_t)size;
    int octave = 8;
    while (size >> (octave + 1))
        octave++;
    return 256u + (uint32_t)(octave - 8) * 128u + (uint32_t)((size >> (octave - 7)) & 127);
}

int64_t fk_least(double threshold, int64_t total)
{
    int64_t least = (int64_t)(threshold * (double)total);
    while (least < total && (double)least / (double)total < threshold)
        least++;
    while (least > 1 && (double)(least - 1) / (double)total >= threshold)
        least--;
    return least > 0 ? least : 1;
}

int64_t fk_largest(double threshold, int64_t total)
{
    int64_t largest = (int64_t)((double)total / threshold) + 1;
    while (largest > total && (double)total / (double)largest < threshold)
        largest--;
    return largest;
}

int64_t fk_need(double threshold, int64_t one, int64_t other)
{
    int64_t both = one + other, need = (int64_t)(threshold / (1 + threshold) * (double)both) - 1;
    need = need < 1 ? 1 : need;
    while (need < both && (double)need / (double)(both - need) < threshold)
        need++;
    while (need > 1 && (double)(need - 1) / (double)(both - need + 1) >= threshold)
        need--;
    return need;
}

int64_t fk_overlap(const uint64_t *one, int64_t ones, const uint64_t *other, int64_t others, int64_t need)
{
    int64_t i = 0, j = 0, shared = 0;
    while (i < ones && j < others) {
        int64_t left = ones - i < others - j ? ones - i : others - j;
        if (shared + left < need)
            return -1;
        for (int64_t step = left < 16 ? left : 16; step > 0; step--) {
            uint64_t a = one[i], b = other[j];
            shared += a == b;
            i += a <= b;
            j += b <= a;
        }
    }
    return shared >= need ? shared : -1;
}

static void bits_of(const uint64_t *set, int64_t size, uint64_t bits[4])
{
    memset(bits, 0, 4 * sizeof *bits);
    for (int64_t i = 0; i < size; i++)
        bits[(set[i] >> 32) & 3] ^= UINT64_C(1) << ((set[i] >> 34) & 63);
}

/* The places of a set's members, the rarest first, in hubs->order. */
static int put_in_order(struct fk_hubs *hubs, const uint64_t *set, int64_t size)
{
    uint64_t most = 0;
    int place_bits = 1, top;
    if (fk_reserve((void **)&hubs->order, &hubs->order_room, size, sizeof(uint64_t))
        || fk_reserve((void **)&hubs->spare, &hubs->spare_room, size, sizeof(uint64_t)))
        return FK_NO_MEMORY;
    while (size >> place_bits)
        place_bits++;
    for (int64_t i = 0; i < size; i++) {
        uint64_t value = (uint64_t)hubs->rarity[set[i] & (SLOTS - 1)] << place_bits | (uint64_t)i;
        most = value > most ? value : most;
        hubs->order[i] = value;
    }
    for (top = 1; top < 64 && most >> top; top++)
        ;
    fk_sort(hubs->order, hubs->spare, size, top);
    for (int64_t i = 0; i < size; i++)
        hubs->order[i] &= (UINT64_C(1) << place_bits) - 1;
    return FK_OK;
}

static int add_by_size(struct fk_hubs *hubs, struct token *token, uint32_t number)
{
    uint32_t size_class = class_of(hubs->members[number].size);
    int64_t low = 0, high = token->count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (token->classes[middle].size_class < size_class)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == token->count || token->classes[low].size_class != size_class) {
        int64_t room = token->room;
        if (fk_reserve((void **)&token->classes, &token->room, token->count + 1, sizeof *token->classes))
            return FK_NO_MEMORY;
        hubs->bytes += (uint64_t)(token->room - room) * sizeof *token->classes;
        memmove(token->classes + low + 1, token->classes + low, (size_t)(token->count - low) * sizeof *token->classes);
        token->classes[low].size_class = size_class;
        token->classes[low].members = NULL;
        token->count++;
    }
    struct fk_list *list = fk_list_append(token->classes[low].members, number, &hubs->bytes);
    if (!list)
        return FK_NO_MEMORY;
    token->classes[low].members = list;
    return FK_OK;
}

static int add_to_token(struct fk_hubs *hubs, struct token *token, uint32_t number)
{
    if (token->count)
        return add_by_size(hubs, token, number);
    struct fk_list *list = fk_list_append(token->all, number, &hubs->bytes);
    if (!list)
        return FK_NO_MEMORY;
    token->all = list;
    if (list->count < TOGETHER)
        return FK_OK;
    for (uint32_t i = 0; i < list->count; i++)
        if (add_by_size(hubs, token, list->numbers[i]))
            return FK_NO_MEMORY;
    hubs->bytes -= sizeof *list + (uint64_t)list->room * sizeof(uint32_t);
    free(list);
    token->all = NULL;
    return FK_OK;
}

static int add_under(struct fk_hubs *hubs, uint64_t shingle, uint32_t number)
{
    uint64_t *slot = fk_table_claim(&hubs->tokens, shingle);
    if (!slot)
        return FK_NO_MEMORY;
    uint32_t value = fk_value(*slot);
    if (!value) {
        *slot |= number + 1;
        return FK_OK;
    }
    if (value & FK_LIST)
        return add_to_token(hubs, hubs->tokens.lists[value & ~FK_LIST], number);
    struct token *token = calloc(1, sizeof *token);
    if (!token)
        return FK_NO_MEMORY;
    hubs->bytes += sizeof *token;
    int failed = fk_table_put(&hubs->tokens, slot, token);
    if (failed) {
        free(token);
        return failed;
    }
    failed = add_to_token(hubs, token, value - 1);
    return failed ? failed : add_to_token(hubs, token, number);
}

/* Put a member under its rarest shingles. */
static int add_keys(struct fk_index *index, uint32_t number)
{
    struct fk_hubs *hubs = &index->hubs;
    const struct fk_text *text = fk_text(index, hubs->members[number].place);
    int failed = put_in_order(hubs, text->set, text->size);
    int64_t keys = (int64_t)text->size - fk_least(index->threshold, text->size) + 1;
    for (int64_t i = 0; i < keys && !failed; i++)
        failed = add_under(hubs, text->set[hubs->order[i]], number);
    return failed;
}

static void clear_tokens(struct fk_hubs *hubs)
{
    for (int64_t i = 0; i < hubs->tokens.lists_count; i++) {
        struct token *token = hubs->tokens.lists[i];
        for (int64_t k = 0; k < token->count; k++)
            free(token->classes[k].members);
        free(token->classes);
        free(token->all);
        free(token);
    }
    fk_table_clear(&hubs->tokens);
    hubs->bytes = 0;
}

/* Count anew how rare shingles are, and make the keys of every member in that order. */
static int rebuild(struct fk_index *index)
{
    struct fk_hubs *hubs = &index->hubs;
    int failed = FK_OK;
    if (!hubs->rarity && !(hubs->rarity = fk_pages(SLOTS * sizeof *hubs->rarity)))
        return FK_NO_MEMORY;
    memset(hubs->rarity, 0, SLOTS * sizeof *hubs->rarity);
    clear_tokens(hubs);
    for (int64_t number = 0; number < hubs->count; number++) {
        const struct fk_text *text = fk_text(index, hubs->members[number].place);
        for (uint32_t i = 0; i < text->size; i++)
            hubs->rarity[text->set[i] & (SLOTS - 1)] += 1;
    }
    hubs->built_at = hubs->count;
    for (int64_t number = 0; number < hubs->count && !failed; number++)
        failed = add_keys(index, (uint32_t)number);
    return failed;
}

int fk_hubs_add(struct fk_index *index, int64_t place)
{
    struct fk_hubs *hubs = &index->hubs;
    struct fk_text *text = fk_text(index, place);
    if (text->member)
        return FK_OK;
    if (fk_reserve((void **)&hubs->members, &hubs->room, hubs->count + 1, sizeof *hubs->members))
        return FK_NO_MEMORY;
    struct fk_member *member = &hubs->members[hubs->count++];
    memset(member, 0, sizeof *member);
    member->place = (uint32_t)place;
    member->size = text->size;
    bits_of(text->set, text->size, member->bits);
    text->member = (uint32_t)hubs->count;
    return hubs->count >= 2 * hubs->built_at ? rebuild(index) : add_keys(index, text->member - 1);
}

/* A text that is looked for. */
struct query {
    const uint64_t *set, *keys;
    int64_t size, smallest, largest, best;
    double similarity;
    uint64_t bits[4];
};

static void compare(struct fk_index *index, struct query *asked, uint32_t number)
{
    struct fk_member *member = &index->hubs.members[number];
    int64_t size = member->size;
    if (member->seen == index->hubs.asked)
        return;
    member->seen = index->hubs.asked;
    if (member->place >= asked->best || size < asked->smallest || size > asked->largest)
        return;
    int64_t need = index->hubs.needs[size - asked->smallest];
    int64_t differing = 0;
    for (int i = 0; i < 4; i++)
        differing += FK_POPCOUNT(member->bits[i] ^ asked->bits[i]);
    if (differing > asked->size + size - 2 * need)
        return;
    const struct fk_text *text = fk_text(index, member->place);
    int64_t shared = fk_overlap(asked->set, asked->size, text->set, text->size, need);
    if (shared < 0)
        return;
    uint32_t minima[FK_PERMUTATIONS];
    fk_sign(text->set, text->size, minima);
    for (int64_t band = 0; band < index->bands; band++)
        if (fk_band_key(minima, band, index->size) == asked->keys[band]) {
            asked->best = member->place;
            asked->similarity = (double)shared / (double)(asked->size + size - shared);
            return;
        }
}

/* Compare with the members under one shingle whose size is at most `largest`. */
static void compare_under(struct fk_index *index, struct query *asked, uint64_t shingle, int64_t largest)
{
    struct fk_table *tokens = &index->hubs.tokens;
    const uint64_t *slot = fk_table_find(tokens, shingle);
    if (!slot)
        return;
    uint32_t value = fk_value(*slot);
    if (!(value & FK_LIST)) {
        compare(index, asked, value - 1);
        return;
    }
    const struct token *token = tokens->lists[value & ~FK_LIST];
    if (token->all)
        for (uint32_t i = 0; i < token->all->count; i++)
            compare(index, asked, token->all->numbers[i]);
    uint32_t first = class_of(asked->smallest), last = class_of(largest);
    for (int64_t k = 0; k < token->count && token->classes[k].size_class <= last; k++)
        if (token->classes[k].size_class >= first)
            for (uint32_t i = 0; i < token->classes[k].members->count; i++)
                compare(index, asked, token->classes[k].members->numbers[i]);
}

int fk_hubs_find(struct fk_index *index, const uint64_t *set, int64_t size, const uint64_t *keys, int64_t *best,
                 double *similarity)
{
    struct fk_hubs *hubs = &index->hubs;
    struct query asked = {set, keys, size, fk_least(index->threshold, size), fk_largest(index->threshold, size), 0,
                          0.0, {0}};
    if (!hubs->count)
        return FK_OK;
    int64_t sizes = asked.largest - asked.smallest + 1;
    if (put_in_order(hubs, set, size)
        || fk_reserve((void **)&hubs->needs, &hubs->needs_room, sizes, sizeof *hubs->needs))
        return FK_NO_MEMORY;
    for (int64_t i = 0; i < sizes; i++)
        hubs->needs[i] = (int32_t)fk_need(index->threshold, size, asked.smallest + i);
    bits_of(set, size, asked.bits);
    if (++hubs->asked == 0) {
        for (int64_t i = 0; i < hubs->count; i++)
            hubs->members[i].seen = 0;
        hubs->asked = 1;
    }
    asked.best = *best < 0 ? INT64_MAX : *best;
    int64_t largest = asked.largest;
    for (int64_t i = 0; i < size; i++) {
        while (largest >= asked.smallest && hubs->needs[largest - asked.smallest] > size - i)
            largest--;
        if (largest < asked.smallest)
            break;
        compare_under(index, &asked, set[hubs->order[i]], largest);
    }
    if (asked.best != INT64_MAX && (*best < 0 || asked.best < *best)) {
        *best = asked.best;
        *similarity = asked.similarity;
    }
    return FK_OK;
}

void fk_hubs_free(struct fk_hubs *hubs)
{
    clear_tokens(hubs);
    fk_pages_free(hubs->rarity, SLOTS * sizeof *hubs->rarity);
    free(hubs->members);
    free(hubs->order);
    free(hubs->spare);
    free(hubs->needs);
}
