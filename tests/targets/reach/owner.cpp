/* owner: operators new and delete of the program's own, and a pool whose functions throw and have many parameters. Neither ends in malloc.
 *
 * Each call of theirs takes a backtrace, and then memory from `malloc` that is not to be counted beside what it returns.
 *
 * Truth: on each `go` it makes ROUNDS blocks by `new` and by `pool_alloc` each and frees every other; between them both throw, which
 * is caught, and the pool's blocks are grown in vain, which throws as well; the parameters of every call of the pool and the destructors that an exception must run are checked; with the word `busy` three threads throw through the pool all the time. It prints
 * `site NAME allocated N BYTES live N BYTES` with the totals so far, and `done`. Commands: go, stop.
 */
#include "../c/target.h"
#include <execinfo.h>
#include <new>
#include <pthread.h>

enum { ROUNDS = 200, TOO_MUCH = 1 << 20 };

static char memory[64 << 20];
static size_t used;

static void *take(size_t size)
{
    if (size >= TOO_MUCH)
        throw std::bad_alloc();
    used = (used + size + 15) & ~(size_t)15;
    if (used > sizeof memory)
        abort();
    return memory + used - ((size + 15) & ~(size_t)15);
}

/* Looks at its callers, as a debugging allocator does, and leaves none of them. */
static FRAME void look()
{
    void *callers[8];
    if (backtrace(callers, 8) < 2)
        abort();
    void *block = malloc(24);
    USED(block);
    free(block);
}

FRAME void *operator new(size_t size)
{
    look();
    return take(size);
}

FRAME void operator delete(void *block) noexcept { asm volatile("" : : "r"(block)); }
FRAME void operator delete(void *block, size_t) noexcept { asm volatile("" : : "r"(block)); }

struct Wide { long words[4]; };
struct Result { void *block; size_t size; };

static void expect(bool holds)
{
    if (!holds)
        abort();
}

/* Parameters in registers, on the stack and in vector registers; two results. */
extern "C" FRAME Result pool_alloc(size_t size, const char *file, int line, const char *function, long five, long six, long seven,
                                   Wide wide, double real)
{
    expect(strcmp(file, "file") == 0 && strcmp(function, "function") == 0 && line == 3);
    expect(five == 5 && six == 6 && seven == 7 && wide.words[0] == 8 && wide.words[3] == 11 && real == 0.5);
    look();
    return { take(size), size };
}

extern "C" FRAME void *pool_grow(void *, size_t size)
{
    look();
    return take(size);
}

extern "C" FRAME double pool_free(double real, void *block, long two, long three, long four, const char *five)
{
    expect(block && two == 2 && three == 3 && four == 4 && strcmp(five, "five") == 0);
    return 2 * real;
}

static struct { const char *name; unsigned long long allocated, bytes, live, live_bytes; } tally[] = {
    { "from_new", 0, 0, 0, 0 }, { "from_pool", 0, 0, 0, 0 },
};

static void took(int site, void *block, size_t size)
{
    memset(block, 1, size);
    tally[site].allocated++;
    tally[site].bytes += size;
    tally[site].live++;
    tally[site].live_bytes += size;
}

static void gave(int site, size_t size)
{
    tally[site].live--;
    tally[site].live_bytes -= size;
}

static int unwound;
struct Guard { ~Guard() { unwound++; } };

static FRAME void *from_new(size_t size)
{
    Guard guard;
    return operator new(size);
}

static FRAME void *from_pool(size_t size)
{
    Guard guard;
    Result result = pool_alloc(size, "file", 3, "function", 5, 6, 7, Wide { { 8, 9, 10, 11 } }, 0.5);
    expect(result.size == size);
    return result.block;
}

template <typename Make> static FRAME void fails(Make make)
{
    int before = unwound;
    try {
        Guard guard;
        make(TOO_MUCH);
        abort();
    } catch (const std::bad_alloc &) {
        expect(unwound > before);
    }
}

static void go(int round)
{
    size_t size = 8 + (size_t)round;
    fails(from_new);
    void *block = from_new(size);
    took(0, block, size);
    fails(from_pool);
    void *pooled = from_pool(2 * size);
    took(1, pooled, 2 * size);
    fails([pooled](size_t much) { return pool_grow(pooled, much); });
    if (round % 2 == 0)
        return;
    gave(0, size);
    operator delete(block);
    gave(1, 2 * size);
    expect(pool_free(1.25, pooled, 2, 3, 4, "five") == 2.5);
}

/* Exceptions through the pool, whatever happens to its hooks meanwhile. */
static void *throws(void *)
{
    for (;;)
        try {
            pool_grow(nullptr, TOO_MUCH);
            abort();
        } catch (const std::bad_alloc &) {
        }
    return nullptr;
}

int main(int count, char **)
{
    pthread_t thread;
    for (int i = 0; count > 1 && i < 3; i++)
        if (pthread_create(&thread, nullptr, throws, nullptr))
            abort();
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        for (int round = 0; round < ROUNDS; round++)
            go(round);
        for (auto &site : tally)
            printf("site %s allocated %llu %llu live %llu %llu\n", site.name, site.allocated, site.bytes, site.live, site.live_bytes);
        puts("done");
    }
}
