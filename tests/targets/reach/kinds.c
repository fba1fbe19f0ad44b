/* kinds: the same few calls of the C library's allocator, for every way in which a program can be built and linked.
 *
 * Truth: on each `go`, every site below makes ROUNDS calls, in the main thread; it prints one line a site
 * `site NAME allocated N BYTES live N BYTES` with the totals so far, and then `done`. Half of the blocks of each site stay
 * live. Uses nothing that musl lacks. Commands: go, stop.
 */
#include "../c/target.h"

enum { ROUNDS = 300 };

#define SITES(X) X(by_malloc) X(by_calloc) X(before_realloc) X(by_realloc) X(by_aligned_alloc) X(by_posix_memalign)
enum {
#define NUMBER(name) SITE_##name,
    SITES(NUMBER)
    SITE_COUNT
};
static struct { const char *name; uint64_t allocated, allocated_bytes, live, live_bytes; } tally[SITE_COUNT] = {
#define NAME(name) { #name, 0, 0, 0, 0 },
    SITES(NAME)
};

static void *took(int site, void *block, size_t size)
{
    if (!block)
        abort();
    memset(block, site, size);
    tally[site].allocated++;
    tally[site].allocated_bytes += size;
    tally[site].live++;
    tally[site].live_bytes += size;
    return block;
}

static void gave(int site, size_t size)
{
    tally[site].live--;
    tally[site].live_bytes -= size;
}

FRAME void *by_malloc(size_t n) { void *b = malloc(n); return took(SITE_by_malloc, b, n); }
FRAME void *by_calloc(size_t n) { void *b = calloc(n, 3); return took(SITE_by_calloc, b, 3 * n); }
FRAME void *before_realloc(size_t n) { void *b = malloc(n); return took(SITE_before_realloc, b, n); }
FRAME void *by_realloc(void *old, size_t n) { void *b = realloc(old, n); return took(SITE_by_realloc, b, n); }
FRAME void *by_aligned_alloc(size_t n) { void *b = aligned_alloc(64, n); return took(SITE_by_aligned_alloc, b, n); }
FRAME void *by_posix_memalign(size_t n)
{
    void *b = NULL;
    if (posix_memalign(&b, 256, n) != 0)
        abort();
    return took(SITE_by_posix_memalign, b, n);
}

static void keep_or_free(int round, int site, void *block, size_t size)
{
    USED(block);
    if (round % 2 == 0)
        return;
    gave(site, size);
    free(block);
}

static void go(int round)
{
    size_t n = 1 + (size_t)round;
    keep_or_free(round, SITE_by_malloc, by_malloc(n), n);
    keep_or_free(round, SITE_by_calloc, by_calloc(n), 3 * n);
    void *old = before_realloc(n);
    gave(SITE_before_realloc, n);
    keep_or_free(round, SITE_by_realloc, by_realloc(old, n * 10), n * 10);
    keep_or_free(round, SITE_by_aligned_alloc, by_aligned_alloc(n * 64), n * 64);
    keep_or_free(round, SITE_by_posix_memalign, by_posix_memalign(n), n);
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
        for (int site = 0; site < SITE_COUNT; site++)
            printf("site %s allocated %llu %llu live %llu %llu\n", tally[site].name, (unsigned long long)tally[site].allocated,
                   (unsigned long long)tally[site].allocated_bytes, (unsigned long long)tally[site].live,
                   (unsigned long long)tally[site].live_bytes);
        puts("done");
    }
}
