/* family: calls every function of the malloc family a known number of times, each from a function of its own.
 *
 * Truth: on each `go`, every site below makes ROUNDS calls; it prints one line a site
 * `site NAME allocated N BYTES live N BYTES` with the totals of all rounds so far, and then `done`. Requested sizes are
 * counted; a block that realloc moves or resizes is a free of the old site and an allocation by the new one; a call
 * that fails allocates nothing and frees nothing. Half of the blocks of each site stay live. Commands: go, stop.
 */
#include "target.h"
#include <malloc.h>

enum { ROUNDS = 200 };

#define SITES(X) X(by_malloc) X(by_malloc_zero) X(by_calloc) X(by_realloc_of_null) X(before_realloc) X(by_realloc) \
    X(by_reallocarray) X(by_memalign) X(by_aligned_alloc) X(by_posix_memalign) X(by_valloc) X(by_pvalloc) \
    X(before_realloc_to_zero) X(before_failing_realloc)
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

static void failed(void *block)
{
    if (block)
        abort();
}

/* Too large for any allocator, and not known to the compiler. */
static volatile size_t impossible = (size_t)1 << 62;

/* Each of these calls the allocator exactly once, so that function and line name the site. */
static FRAME void *by_malloc(size_t n) { void *b = malloc(n); return took(SITE_by_malloc, b, n); }
static FRAME void *by_malloc_zero(void) { void *b = malloc(0); return took(SITE_by_malloc_zero, b, 0); }
static FRAME void *by_calloc(size_t n) { void *b = calloc(n, 3); return took(SITE_by_calloc, b, 3 * n); }
static FRAME void *by_realloc_of_null(size_t n) { void *b = realloc(NULL, n); return took(SITE_by_realloc_of_null, b, n); }
static FRAME void *before_realloc(size_t n) { void *b = malloc(n); return took(SITE_before_realloc, b, n); }
static FRAME void *by_realloc(void *old, size_t n) { void *b = realloc(old, n); return took(SITE_by_realloc, b, n); }
static FRAME void *by_reallocarray(size_t n) { void *b = reallocarray(NULL, n, 5); return took(SITE_by_reallocarray, b, 5 * n); }
static FRAME void *by_memalign(size_t n) { void *b = memalign(64, n); return took(SITE_by_memalign, b, n); }
static FRAME void *by_aligned_alloc(size_t n) { void *b = aligned_alloc(128, n); return took(SITE_by_aligned_alloc, b, n); }
static FRAME void *by_posix_memalign(size_t n)
{
    void *b = NULL;
    if (posix_memalign(&b, 256, n) != 0)
        abort();
    return took(SITE_by_posix_memalign, b, n);
}
static FRAME void *by_valloc(size_t n) { void *b = valloc(n); return took(SITE_by_valloc, b, n); }
static FRAME void *by_pvalloc(size_t n) { void *b = pvalloc(n); return took(SITE_by_pvalloc, b, n); }
static FRAME void *before_realloc_to_zero(size_t n) { void *b = malloc(n); return took(SITE_before_realloc_to_zero, b, n); }
static FRAME void *before_failing_realloc(size_t n) { void *b = malloc(n); return took(SITE_before_failing_realloc, b, n); }

static void keep_or_free(int round, int site, void *block, size_t size)
{
    USED(block);
    if (round % 2 == 0)
        return;
    gave(site, size);
    free(block);
}

static void grow(int round, size_t size)
{
    void *block = before_realloc(size);
    /* Sometimes in place, sometimes moved: a small step now, a large one next time. */
    size_t larger = round % 4 < 2 ? size + 1 : size * 100;
    gave(SITE_before_realloc, size);
    keep_or_free(round, SITE_by_realloc, by_realloc(block, larger), larger);
}

static void fail(int round, size_t size)
{
    void *block = before_failing_realloc(size), *out = NULL;
    failed(realloc(block, impossible));
    failed(reallocarray(block, impossible, 16));
    keep_or_free(round, SITE_before_failing_realloc, block, size);
    failed(malloc(impossible));
    failed(calloc(impossible, 16));
    failed(memalign(64, impossible));
    if (posix_memalign(&out, 3, 64) == 0 || posix_memalign(&out, 64, impossible) == 0)
        abort();
    free(out);
}

static void vanish(size_t size)
{
    void *block = before_realloc_to_zero(size);
    gave(SITE_before_realloc_to_zero, size);
    /* glibc frees the block and returns NULL. */
    failed(realloc(block, impossible & 1));
}

static void go(int round)
{
    size_t n = 16 + (size_t)round;
    keep_or_free(round, SITE_by_malloc, by_malloc(n), n);
    keep_or_free(round, SITE_by_malloc_zero, by_malloc_zero(), 0);
    keep_or_free(round, SITE_by_calloc, by_calloc(n), 3 * n);
    keep_or_free(round, SITE_by_realloc_of_null, by_realloc_of_null(n), n);
    keep_or_free(round, SITE_by_reallocarray, by_reallocarray(n), 5 * n);
    keep_or_free(round, SITE_by_memalign, by_memalign(n), n);
    keep_or_free(round, SITE_by_aligned_alloc, by_aligned_alloc(n * 128), n * 128);
    keep_or_free(round, SITE_by_posix_memalign, by_posix_memalign(n), n);
    keep_or_free(round, SITE_by_valloc, by_valloc(n), n);
    keep_or_free(round, SITE_by_pvalloc, by_pvalloc(4096), 4096);
    grow(round, n);
    fail(round, n);
    vanish(n);
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
