/* allocators: calls what every allocator offers, C and C++, a known number of times, each from a function of its own; many
 * blocks of 8 and 16 bytes, so that neighbours stand as close as the allocator puts them. Sizes of aligned operators are
 * multiples of the alignment, to which libstdc++ rounds them before it asks the allocator.
 *
 * Truth: on each `go`, every site below makes ROUNDS calls; it prints one line a site `site NAME allocated N BYTES live N
 * BYTES` with the totals so far, and then `done`. Requested sizes are counted. Half of the blocks of each site stay live.
 * `throw` asks for more than there is by every operator that throws, catches std::bad_alloc from each, and prints
 * `caught N of N`; `handler` does so with a new_handler that gives up at its third call and prints `handled N`.
 * Commands: go, throw, handler, stop.
 */
#include "../c/target.h"
#include <new>

enum { ROUNDS = 500 };

#define SITES(X) X(by_malloc_8) X(by_malloc_16) X(by_malloc_large) X(by_calloc) X(by_realloc) X(before_realloc) \
    X(by_aligned_alloc) X(by_posix_memalign) X(by_new) X(by_new_array) X(by_new_nothrow) X(by_new_aligned) \
    X(by_new_array_aligned) X(by_new_aligned_nothrow) X(by_new_sized)
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

static const std::align_val_t wide = std::align_val_t(64);

static FRAME void *by_malloc_8() { void *b = malloc(8); return took(SITE_by_malloc_8, b, 8); }
static FRAME void *by_malloc_16() { void *b = malloc(16); return took(SITE_by_malloc_16, b, 16); }
static FRAME void *by_malloc_large(size_t n) { void *b = malloc(n); return took(SITE_by_malloc_large, b, n); }
static FRAME void *by_calloc(size_t n) { void *b = calloc(n, 3); return took(SITE_by_calloc, b, 3 * n); }
static FRAME void *before_realloc(size_t n) { void *b = malloc(n); return took(SITE_before_realloc, b, n); }
static FRAME void *by_realloc(void *old, size_t n) { void *b = realloc(old, n); return took(SITE_by_realloc, b, n); }
static FRAME void *by_aligned_alloc(size_t n) { void *b = aligned_alloc(64, n); return took(SITE_by_aligned_alloc, b, n); }
static FRAME void *by_posix_memalign(size_t n)
{
    void *b = NULL;
    if (posix_memalign(&b, 256, n) != 0)
        abort();
    return took(SITE_by_posix_memalign, b, n);
}
static FRAME void *by_new(size_t n) { void *b = operator new(n); return took(SITE_by_new, b, n); }
static FRAME void *by_new_sized(size_t n) { void *b = operator new(n); return took(SITE_by_new_sized, b, n); }
static FRAME void *by_new_array(size_t n) { void *b = operator new[](n); return took(SITE_by_new_array, b, n); }
static FRAME void *by_new_nothrow(size_t n) { void *b = operator new(n, std::nothrow); return took(SITE_by_new_nothrow, b, n); }
static FRAME void *by_new_aligned(size_t n) { void *b = operator new(n, wide); return took(SITE_by_new_aligned, b, n); }
static FRAME void *by_new_array_aligned(size_t n)
{
    void *b = operator new[](n, wide);
    return took(SITE_by_new_array_aligned, b, n);
}
static FRAME void *by_new_aligned_nothrow(size_t n)
{
    void *b = operator new(n, wide, std::nothrow);
    return took(SITE_by_new_aligned_nothrow, b, n);
}

#define KEEP_OR(release, site, n, make) do { \
    void *b = make; \
    if (round % 2) { \
        gave(SITE_##site, n); \
        release; \
    } \
} while (0)

static void go(int round)
{
    size_t n = 24 + (size_t)round;
    KEEP_OR(free(b), by_malloc_8, 8, by_malloc_8());
    KEEP_OR(free(b), by_malloc_16, 16, by_malloc_16());
    KEEP_OR(free(b), by_malloc_large, n * 1000, by_malloc_large(n * 1000));
    KEEP_OR(free(b), by_calloc, 3 * n, by_calloc(n));
    void *old = before_realloc(n);
    gave(SITE_before_realloc, n);
    KEEP_OR(free(b), by_realloc, n * 10, by_realloc(old, n * 10));
    KEEP_OR(free(b), by_aligned_alloc, n * 64, by_aligned_alloc(n * 64));
    KEEP_OR(free(b), by_posix_memalign, n, by_posix_memalign(n));
    KEEP_OR(operator delete(b), by_new, n, by_new(n));
    KEEP_OR(operator delete(b, n), by_new_sized, n, by_new_sized(n));
    KEEP_OR(operator delete[](b), by_new_array, n, by_new_array(n));
    KEEP_OR(operator delete(b, std::nothrow), by_new_nothrow, n, by_new_nothrow(n));
    KEEP_OR(operator delete(b, wide), by_new_aligned, n * 64, by_new_aligned(n * 64));
    KEEP_OR(operator delete[](b, n * 64, wide), by_new_array_aligned, n * 64, by_new_array_aligned(n * 64));
    KEEP_OR(operator delete(b, wide, std::nothrow), by_new_aligned_nothrow, n * 64, by_new_aligned_nothrow(n * 64));
}

/* Too large for any allocator, and not known to the compiler. */
static volatile size_t impossible = (size_t)1 << 62;
static unsigned caught;

/* Holds callee-saved registers and a destructor over the throw, so that a wrong unwinding shows. */
struct Witness {
    unsigned *count;
    ~Witness() { ++*count; }
};

template <class Make> static FRAME void catching(Make make)
{
    unsigned destroyed = 0;
    uint64_t before = now_ns() | 1, copy = before;
    USED(copy);
    try {
        Witness witness = { &destroyed };
        void *b = make(impossible);
        USED(b);
    } catch (const std::bad_alloc &) {
        caught += destroyed == 1 && copy == before;
    }
}

static void throw_from_each()
{
    catching([](size_t n) { return operator new(n); });
    catching([](size_t n) { return operator new[](n); });
    catching([](size_t n) { return operator new(n, wide); });
    catching([](size_t n) { return operator new[](n, wide); });
}

static unsigned handled;
static void give_up()
{
    if (++handled % 3 == 0)
        throw std::bad_alloc();
}

int main()
{
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command && strcmp(command, "throw") == 0) {
            caught = 0;
            for (int round = 0; round < 100; round++)
                throw_from_each();
            if (operator new(impossible, std::nothrow) || operator new(impossible, wide, std::nothrow))
                abort();
            printf("caught %u of 400\n", caught);
        }
        if (command && strcmp(command, "handler") == 0) {
            caught = handled = 0;
            std::set_new_handler(give_up);
            throw_from_each();
            std::set_new_handler(nullptr);
            printf("handled %u caught %u\n", handled, caught);
        }
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
