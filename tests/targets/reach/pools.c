/* pools: allocators of the program's own, which only its author can name.
 *
 * Truth: on each `go` it makes ROUNDS blocks by `pool_alloc(pool, size)` and frees every other by `pool_free(pool, block)`;
 * and ROUNDS objects by `object_new(count, size)`, each of which it grows by `object_grow(object, size)`, freeing every
 * other by `object_delete(object)`, which ends in `free`. It prints one line a site
 * `site NAME allocated N BYTES live N BYTES` with the totals so far, and then `done`. Commands: go, stop.
 */
#include "../c/target.h"

enum { ROUNDS = 250 };

static struct { const char *name; uint64_t allocated, allocated_bytes, live, live_bytes; } tally[] = {
    { "from_pool", 0, 0, 0, 0 }, { "from_objects", 0, 0, 0, 0 }, { "from_growing", 0, 0, 0, 0 },
};

static void took(int site, void *block, size_t size)
{
    if (!block)
        abort();
    memset(block, 1, size);
    tally[site].allocated++;
    tally[site].allocated_bytes += size;
    tally[site].live++;
    tally[site].live_bytes += size;
}

static void gave(int site, size_t size)
{
    tally[site].live--;
    tally[site].live_bytes -= size;
}

struct pool { char *next; void *freed; };
static char memory[64 << 20];
static struct pool pool = { memory, NULL };

FRAME void *pool_alloc(struct pool *from, size_t size)
{
    void *block = from->freed;
    if (block) {
        memcpy(&from->freed, block, sizeof block);
        return block;
    }
    if (from->next + 1024 > memory + sizeof memory || size > 1024)
        return NULL;
    block = from->next;
    from->next += 1024;
    return block;
}

FRAME void pool_free(struct pool *to, void *block)
{
    memcpy(block, &to->freed, sizeof to->freed);
    to->freed = block;
}

FRAME void *object_new(size_t count, size_t size)
{
    char *block = malloc(count * size + 16);
    return block ? block + 16 : NULL;
}

FRAME void *object_grow(void *object, size_t size)
{
    char *block = realloc((char *)object - 16, size + 16);
    return block ? block + 16 : NULL;
}

FRAME void object_delete(void *object) { free((char *)object - 16); }

static FRAME void *from_pool(size_t n) { void *b = pool_alloc(&pool, n); took(0, b, n); return b; }
static FRAME void *from_objects(size_t n) { void *b = object_new(2, n); took(1, b, 2 * n); return b; }
static FRAME void *from_growing(void *old, size_t n) { void *b = object_grow(old, n); took(2, b, n); return b; }

static void go(int round)
{
    size_t n = 8 + (size_t)round;
    void *block = from_pool(n), *object = from_objects(n);
    gave(1, 2 * n);
    object = from_growing(object, 9 * n);
    if (round % 2 == 0)
        return;
    gave(0, n);
    pool_free(&pool, block);
    gave(2, 9 * n);
    object_delete(object);
}

int main(void)
{
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        for (int round = 0; round < ROUNDS; round++)
            go(round);
        for (int site = 0; site < 3; site++)
            printf("site %s allocated %llu %llu live %llu %llu\n", tally[site].name, (unsigned long long)tally[site].allocated,
                   (unsigned long long)tally[site].allocated_bytes, (unsigned long long)tally[site].live,
                   (unsigned long long)tally[site].live_bytes);
        puts("done");
    }
}
