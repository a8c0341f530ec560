/* The kept texts of an index, and what finds a duplicate among those whose buckets are too full to be searched. */
#ifndef FACTORY_INDEX_H
#define FACTORY_INDEX_H

#include "table.h"

#define FK_TEXT_BITS 16

/* A kept text: its sorted distinct shingles, and where it stands among the hub members (0: nowhere, else place + 1). */
struct fk_text {
    const uint64_t *set;
    uint32_t size, member;
};

/* A text that some overfull bucket holds. `bits`: one bit of 256 for each shingle, turned over. */
struct fk_member {
    uint32_t place, size, seen;
    uint64_t bits[4];
};

struct fk_hubs {
    struct fk_member *members;
    int64_t count, room, built_at;
    uint32_t *rarity; /* how often shingles occur among the members, by their low bits, when the keys were made */
    struct fk_table tokens;
    uint64_t bytes;
    uint32_t asked;
    uint64_t *order, *spare; /* working room */
    int64_t order_room, spare_room;
    int32_t *needs;
    int64_t needs_room;
};

struct fk_index {
    double threshold;
    int64_t bands, size;
    uint32_t hub;
    int broken;
    int64_t count, empty, hub_queries;
    struct fk_text **texts;
    int64_t chunks, chunks_room;
    uint64_t *arena;
    int64_t arena_left;
    struct fk_arena {
        void *pages;
        size_t bytes;
    } *arenas;
    int64_t arenas_count, arenas_room;
    struct fk_table buckets;
    struct fk_hubs hubs;
    uint64_t bytes;
    uint64_t *pairs, *spare; /* working room */
    int64_t pairs_room, spare_room;
};

static inline struct fk_text *fk_text(const struct fk_index *index, int64_t place)
{
    return &index->texts[place >> FK_TEXT_BITS][place & ((INT64_C(1) << FK_TEXT_BITS) - 1)];
}

/* The fewest members that a set must share with one of `total` to be its duplicate; also the least size of such a set.
 * Similarities are compared as doubles everywhere, so bounds are too: rounding can shut out no pair. */
int64_t fk_least(double threshold, int64_t total);
/* The largest size of a set that can be a duplicate of one of `total`. */
int64_t fk_largest(double threshold, int64_t total);
/* The fewest members that two sets of these sizes must share. */
int64_t fk_need(double threshold, int64_t one, int64_t other);
/* How many members two sets share, or -1 as soon as it is clear that they are fewer than `need`. */
int64_t fk_overlap(const uint64_t *one, int64_t ones, const uint64_t *other, int64_t others, int64_t need);

/* Take a kept text in, if it is not there yet. */
int fk_hubs_add(struct fk_index *index, int64_t place);
/* The earliest member before *best that shares a band and is similar enough becomes *best. */
int fk_hubs_find(struct fk_index *index, const uint64_t *set, int64_t size, const uint64_t *keys, int64_t *best,
                 double *similarity);
void fk_hubs_free(struct fk_hubs *hubs);

#endif
