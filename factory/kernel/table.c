/* The map of table.h. */

#include "table.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define FK_MAPPED 1
#if !defined(MAP_ANONYMOUS) && defined(MAP_ANON)
#define MAP_ANONYMOUS MAP_ANON
#endif
#endif

#define SMALL (64 * 1024)
#define FIRST_ROOM 32

void *fk_pages(size_t bytes)
{
#ifdef FK_MAPPED
    if (bytes >= SMALL) {
        void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return pages == MAP_FAILED ? NULL : pages;
    }
#endif
    return calloc(1, bytes);
}

void fk_pages_free(void *pages, size_t bytes)
{
#ifdef FK_MAPPED
    if (pages && bytes >= SMALL) {
        munmap(pages, bytes);
        return;
    }
#else
    (void)bytes;
#endif
    free(pages);
}

uint64_t *fk_table_find(struct fk_table *table, uint64_t key)
{
    const struct fk_part *part = fk_part(table, key);
    if (!part->room)
        return NULL;
    uint32_t tag = (uint32_t)key;
    for (uint64_t at = fk_home(part, key);; at = at + 1 == part->room ? 0 : at + 1) {
        uint64_t *slot = part->slots + at;
        if (!fk_value(*slot))
            return NULL;
        if (*slot >> 32 == tag)
            return slot;
    }
}

static int grow(struct fk_table *table, struct fk_part *part)
{
    struct fk_part grown = {NULL, part->room ? part->room + part->room / 2 : FIRST_ROOM, part->used};
    if (grown.room > SIZE_MAX / sizeof(uint64_t) / 2)
        return FK_NO_MEMORY;
    grown.slots = fk_pages(grown.room * sizeof(uint64_t));
    if (!grown.slots)
        return FK_NO_MEMORY;
    for (uint64_t i = 0; i < part->room; i++) {
        uint64_t slot = part->slots[i];
        if (!fk_value(slot))
            continue;
        uint64_t at = fk_home(&grown, slot >> 32);
        while (fk_value(grown.slots[at]))
            at = at + 1 == grown.room ? 0 : at + 1;
        grown.slots[at] = slot;
    }
    fk_pages_free(part->slots, part->room * sizeof(uint64_t));
    table->bytes += (grown.room - part->room) * sizeof(uint64_t);
    *part = grown;
    return FK_OK;
}

uint64_t *fk_table_claim(struct fk_table *table, uint64_t key)
{
    struct fk_part *part = fk_part(table, key);
    /* At most three quarters full: there is always a free slot, where every search ends. */
    if (4 * (part->used + 1) > 3 * part->room && grow(table, part))
        return NULL;
    uint32_t tag = (uint32_t)key;
    for (uint64_t at = fk_home(part, key);; at = at + 1 == part->room ? 0 : at + 1) {
        uint64_t *slot = part->slots + at;
        if (!fk_value(*slot)) {
            *slot = (uint64_t)tag << 32;
            part->used++;
            return slot;
        }
        if (*slot >> 32 == tag)
            return slot;
    }
}

int fk_table_put(struct fk_table *table, uint64_t *slot, void *item)
{
    int64_t room = table->lists_room;
    if (table->lists_count >= FK_MOST)
        return FK_FULL;
    if (fk_reserve((void **)&table->lists, &table->lists_room, table->lists_count + 1, sizeof *table->lists))
        return FK_NO_MEMORY;
    table->bytes += (uint64_t)(table->lists_room - room) * sizeof *table->lists;
    table->lists[table->lists_count] = item;
    *slot = (*slot & ~(uint64_t)UINT32_MAX) | FK_LIST | (uint32_t)table->lists_count++;
    return FK_OK;
}

void fk_table_clear(struct fk_table *table)
{
    for (int i = 0; i < FK_PARTS; i++)
        fk_pages_free(table->parts[i].slots, table->parts[i].room * sizeof(uint64_t));
    free(table->lists);
    memset(table, 0, sizeof *table);
}

struct fk_list *fk_list_append(struct fk_list *list, uint32_t number, uint64_t *bytes)
{
    if (!list || list->count == list->room) {
        if (list && list->room > UINT32_MAX / 2)
            return NULL;
        uint32_t room = list ? 2 * list->room : 2, count = list ? list->count : 0;
        struct fk_list *grown = realloc(list, sizeof *grown + (size_t)room * sizeof(uint32_t));
        if (!grown)
            return NULL;
        *bytes += sizeof *grown * !count + (uint64_t)(room - (count ? count : 0)) * sizeof(uint32_t);
        grown->count = count;
        grown->room = room;
        list = grown;
    }
    list->numbers[list->count++] = number;
    return list;
}
