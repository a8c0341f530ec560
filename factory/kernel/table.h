/* A map from well mixed 64-bit keys to lists of numbers: one 8-byte slot a key, lists only for keys with several.
 *
 * The key's top 8 bits choose one of 256 parts; each part is an open table with linear probing that grows by half on its
 * own, so that growing copies a 256th of the map at a time. A slot is 32 bits of the key (which also give its home) and
 * 32 bits of value: 40 bits tell keys apart. Two keys that agree in them share a list, so that who asks must check.
 */
#ifndef FACTORY_TABLE_H
#define FACTORY_TABLE_H

#include "kernel.h"

#define FK_PARTS 256
#define FK_LIST UINT32_C(0x80000000)
#define FK_MOST UINT32_C(0x7FFFFFF0)

struct fk_part {
    uint64_t *slots;
    uint64_t room, used;
};

/* Numbers under one key, in the order in which they came. */
struct fk_list {
    uint32_t count, room;
    uint32_t numbers[];
};

struct fk_table {
    struct fk_part parts[FK_PARTS];
    void **lists; /* by the value of a slot that has FK_LIST: what the owner of the table puts there */
    int64_t lists_count, lists_room;
    uint64_t bytes;
};

/* What a slot holds: 0 nothing, number + 1, or FK_LIST | place in `lists`. */
static inline uint32_t fk_value(uint64_t slot)
{
    return (uint32_t)slot;
}

static inline uint64_t fk_home(const struct fk_part *part, uint64_t key)
{
    return ((key & UINT32_MAX) * part->room) >> 32;
}

static inline struct fk_part *fk_part(struct fk_table *table, uint64_t key)
{
    return &table->parts[key >> 56];
}

static inline void fk_table_prefetch(struct fk_table *table, uint64_t key)
{
    const struct fk_part *part = fk_part(table, key);
    if (part->room) {
        const uint64_t *home = part->slots + fk_home(part, key);
        FK_PREFETCH(home);
        FK_PREFETCH(home + 8);
    }
}

/* The key's slot, or NULL. */
uint64_t *fk_table_find(struct fk_table *table, uint64_t key);
/* The key's slot, a new one with value 0 if need be; NULL where memory is short. Valid until the next call. */
uint64_t *fk_table_claim(struct fk_table *table, uint64_t key);
/* Put `item` in `lists` and make the slot stand for it. */
int fk_table_put(struct fk_table *table, uint64_t *slot, void *item);
/* Free the slots and the array of lists, not what the lists are; the table is then empty. */
void fk_table_clear(struct fk_table *table);

/* Append to a list, made where it is NULL; its bytes are counted in *bytes. NULL where memory is short: the old stays. */
struct fk_list *fk_list_append(struct fk_list *list, uint32_t number, uint64_t *bytes);

/* Memory in whole pages, zeroed, given back to the system as soon as it is freed. */
void *fk_pages(size_t bytes);
void fk_pages_free(void *pages, size_t bytes);

#endif
