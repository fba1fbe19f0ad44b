/* wide: calls what mimalloc and jemalloc offer beyond the C library, above all what takes more than three arguments.
 * Built with MIMALLOC or JEMALLOC and the library of that name.
 *
 * Truth: on each `go`, every site below makes ROUNDS calls; it prints one line a site `site NAME allocated N BYTES live N BYTES` with
 * the totals so far, and then `done`. Half of the blocks of each site stay live. What is resized counts as freed where it was made and
 * as allocated where it was resized; xallocx changes a block in place or leaves it as it is. Commands: go, stop.
 */
#include "../c/target.h"
#ifdef MIMALLOC
#include <mimalloc.h>
#define SITES(X) X(by_calloc_aligned_at) X(before_resize) X(by_realloc_aligned_at) X(by_rezalloc_aligned_at) X(by_recalloc_aligned) \
    X(by_recalloc_aligned_at) X(by_heap_malloc) X(by_heap_calloc) X(by_heap_mallocn) X(by_heap_malloc_aligned) X(by_heap_malloc_aligned_at) \
    X(by_heap_zalloc_aligned_at) X(by_heap_calloc_aligned) X(by_heap_calloc_aligned_at) X(by_heap_realloc) X(by_heap_rezalloc) \
    X(by_heap_reallocf) X(by_heap_realloc_aligned) X(by_heap_realloc_aligned_at) X(by_heap_rezalloc_aligned) \
    X(by_heap_rezalloc_aligned_at) X(by_heap_reallocn) X(by_heap_recalloc) X(by_heap_recalloc_aligned) X(by_heap_recalloc_aligned_at) \
    X(by_heap_alloc_new) X(by_heap_alloc_new_n) X(by_new_realloc) X(by_new_reallocn)
#else
#include <jemalloc/jemalloc.h>
#define SITES(X) X(by_mallocx) X(by_mallocx_aligned) X(before_resize) X(by_rallocx) X(by_xallocx)
#endif

enum { ROUNDS = 200, ALIGNMENT = 64, OFFSET = 8 };

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
    USED(block);
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

#ifdef MIMALLOC
static mi_heap_t *heap;

static FRAME void *before_resize(size_t n) { void *b = mi_malloc_aligned(n, ALIGNMENT); return took(SITE_before_resize, b, n); }

/* A site that makes a block of n bytes, and one that resizes a block to n bytes. */
#define MAKES(site, call) static FRAME void *site(size_t n) { void *b = call; return took(SITE_##site, b, n); }
#define RESIZES(site, call) static FRAME void *site(void *old, size_t n) { void *b = call; return took(SITE_##site, b, n); }

MAKES(by_calloc_aligned_at, mi_calloc_aligned_at(n / 8, 8, ALIGNMENT, OFFSET))
MAKES(by_heap_malloc, mi_heap_malloc(heap, n))
MAKES(by_heap_calloc, mi_heap_calloc(heap, n / 8, 8))
MAKES(by_heap_mallocn, mi_heap_mallocn(heap, n / 8, 8))
MAKES(by_heap_malloc_aligned, mi_heap_malloc_aligned(heap, n, ALIGNMENT))
MAKES(by_heap_malloc_aligned_at, mi_heap_malloc_aligned_at(heap, n, ALIGNMENT, OFFSET))
MAKES(by_heap_zalloc_aligned_at, mi_heap_zalloc_aligned_at(heap, n, ALIGNMENT, OFFSET))
MAKES(by_heap_calloc_aligned, mi_heap_calloc_aligned(heap, n / 8, 8, ALIGNMENT))
MAKES(by_heap_calloc_aligned_at, mi_heap_calloc_aligned_at(heap, n / 8, 8, ALIGNMENT, OFFSET))
MAKES(by_heap_alloc_new, mi_heap_alloc_new(heap, n))
MAKES(by_heap_alloc_new_n, mi_heap_alloc_new_n(heap, n / 8, 8))
RESIZES(by_new_realloc, mi_new_realloc(old, n))
RESIZES(by_new_reallocn, mi_new_reallocn(old, n / 8, 8))
RESIZES(by_realloc_aligned_at, mi_realloc_aligned_at(old, n, ALIGNMENT, OFFSET))
RESIZES(by_rezalloc_aligned_at, mi_rezalloc_aligned_at(old, n, ALIGNMENT, OFFSET))
RESIZES(by_recalloc_aligned, mi_recalloc_aligned(old, n / 8, 8, ALIGNMENT))
RESIZES(by_recalloc_aligned_at, mi_recalloc_aligned_at(old, n / 8, 8, ALIGNMENT, OFFSET))
RESIZES(by_heap_realloc, mi_heap_realloc(heap, old, n))
RESIZES(by_heap_rezalloc, mi_heap_rezalloc(heap, old, n))
RESIZES(by_heap_reallocf, mi_heap_reallocf(heap, old, n))
RESIZES(by_heap_realloc_aligned, mi_heap_realloc_aligned(heap, old, n, ALIGNMENT))
RESIZES(by_heap_realloc_aligned_at, mi_heap_realloc_aligned_at(heap, old, n, ALIGNMENT, OFFSET))
RESIZES(by_heap_rezalloc_aligned, mi_heap_rezalloc_aligned(heap, old, n, ALIGNMENT))
RESIZES(by_heap_rezalloc_aligned_at, mi_heap_rezalloc_aligned_at(heap, old, n, ALIGNMENT, OFFSET))
RESIZES(by_heap_reallocn, mi_heap_reallocn(heap, old, n / 8, 8))
RESIZES(by_heap_recalloc, mi_heap_recalloc(heap, old, n / 8, 8))
RESIZES(by_heap_recalloc_aligned, mi_heap_recalloc_aligned(heap, old, n / 8, 8, ALIGNMENT))
RESIZES(by_heap_recalloc_aligned_at, mi_heap_recalloc_aligned_at(heap, old, n / 8, 8, ALIGNMENT, OFFSET))

static void finish(int site, void *block, size_t size, int round)
{
    if (round % 2) {
        gave(site, size);
        mi_free(block);
    }
}
#define MADE(site) finish(SITE_##site, site(n), n, round)
#define RESIZED(site) do { void *old = before_resize(n); gave(SITE_before_resize, n); \
    finish(SITE_##site, site(old, 4 * n), 4 * n, round); } while (0)

static void go(int round)
{
    size_t n = 64 + 8 * (size_t)round;
    MADE(by_calloc_aligned_at); MADE(by_heap_malloc); MADE(by_heap_calloc); MADE(by_heap_mallocn); MADE(by_heap_malloc_aligned);
    MADE(by_heap_malloc_aligned_at); MADE(by_heap_zalloc_aligned_at); MADE(by_heap_calloc_aligned); MADE(by_heap_calloc_aligned_at);
    MADE(by_heap_alloc_new); MADE(by_heap_alloc_new_n); RESIZED(by_new_realloc); RESIZED(by_new_reallocn);
    RESIZED(by_realloc_aligned_at); RESIZED(by_rezalloc_aligned_at); RESIZED(by_recalloc_aligned); RESIZED(by_recalloc_aligned_at);
    RESIZED(by_heap_realloc); RESIZED(by_heap_rezalloc); RESIZED(by_heap_reallocf); RESIZED(by_heap_realloc_aligned);
    RESIZED(by_heap_realloc_aligned_at); RESIZED(by_heap_rezalloc_aligned); RESIZED(by_heap_rezalloc_aligned_at);
    RESIZED(by_heap_reallocn); RESIZED(by_heap_recalloc); RESIZED(by_heap_recalloc_aligned); RESIZED(by_heap_recalloc_aligned_at);
}
#else
static FRAME void *by_mallocx(size_t n) { void *b = mallocx(n, 0); return took(SITE_by_mallocx, b, n); }
static FRAME void *by_mallocx_aligned(size_t n)
{
    void *b = mallocx(n, MALLOCX_ALIGN(ALIGNMENT) | MALLOCX_ZERO);
    return took(SITE_by_mallocx_aligned, b, n);
}
static FRAME void *before_resize(size_t n) { void *b = mallocx(n, 0); return took(SITE_before_resize, b, n); }
static FRAME void *by_rallocx(void *old, size_t n) { void *b = rallocx(old, n, 0); return took(SITE_by_rallocx, b, n); }
/* Whether the block has n bytes now. */
static FRAME int by_xallocx(void *block, size_t n)
{
    if (xallocx(block, n, 0, 0) < n)
        return 0;
    took(SITE_by_xallocx, block, n);
    return 1;
}

static void go(int round)
{
    size_t n = 64 + 8 * (size_t)round;
    void *b = by_mallocx(n);
    if (round % 2) { gave(SITE_by_mallocx, n); dallocx(b, 0); }
    b = by_mallocx_aligned(n);
    if (round % 2) { gave(SITE_by_mallocx_aligned, n); sdallocx(b, n, MALLOCX_ALIGN(ALIGNMENT)); }
    b = before_resize(n);
    gave(SITE_before_resize, n);
    b = by_rallocx(b, 4 * n);
    if (round % 2) { gave(SITE_by_rallocx, 4 * n); dallocx(b, 0); }
    /* Within its size class; and far beyond it, where another block may be in the way. */
    size_t now = n;
    b = before_resize(n);
    size_t wanted[] = { n - 1, nallocx(n, 0), 64 * n };
    for (int i = 0; i < 3; i++) {
        if (!by_xallocx(b, wanted[i]))
            continue;
        gave(i == 0 ? SITE_before_resize : SITE_by_xallocx, now);
        now = wanted[i];
    }
    if (round % 2) { gave(SITE_by_xallocx, now); dallocx(b, 0); }
}
#endif

int main(void)
{
#ifdef MIMALLOC
    heap = mi_heap_new();
#endif
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
