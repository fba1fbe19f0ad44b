/* filled: keeps as many blocks as it is told to, for what the records of live blocks and of stacks take.
 *
 * Truth: `fill N` makes each of T threads allocate N blocks of LOW to HIGH bytes (uniform), touch all of each, and keep them;
 * `stacks N` allocates and keeps N blocks of 16 bytes, each from a call stack of its own that is 30 frames deep (N at most
 * 4,096). Both are answered by a line that says what is kept since the start. Nothing is given back before `stop`.
 *
 * Options: --threads T (1) --low LOW (16) --high HIGH (64)
 * Lines:   filled N blocks B bytes / stacked N blocks
 */
#include "target.h"
#include <pthread.h>
#include <sys/mman.h>

enum { THREADS_MAX = 64, BLOCKS_MAX = 4 << 20, LEVELS = 12 };

struct worker {
    unsigned low, high;
    uint64_t count, bytes, random;
};

static char **kept;
static uint64_t kept_count, kept_bytes;
static _Atomic uint64_t next_place;

static FRAME char *filled(size_t size)
{
    char *block = malloc(size);
    if (!block)
        abort();
    memset(block, 7, size);
    return block;
}

static void *fill(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t made = 0; made < worker->count; made++) {
        worker->random = worker->random * 6364136223846793005u + 1442695040888963407u;
        size_t size = worker->low + (worker->random >> 33) % (worker->high - worker->low + 1);
        kept[next_place++] = filled(size);
        worker->bytes += size;
    }
    return NULL;
}

static void fill_all(unsigned threads, unsigned low, unsigned high, uint64_t count)
{
    static struct worker workers[THREADS_MAX];
    pthread_t started[THREADS_MAX];
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (struct worker) { low, high, count, 0, i * 0x9e3779b97f4a7c15u + 1 };
        if (pthread_create(&started[i], NULL, fill, &workers[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(started[i], NULL);
        kept_bytes += workers[i].bytes;
    }
    kept_count += threads * count;
}

/* Two frames a level, and six around them. Each bit of the number decides which of two functions stands at a level. */
static void level_one(unsigned level, uint64_t number);
static void level_other(unsigned level, uint64_t number);

static FRAME void next_level(unsigned level, uint64_t number)
{
    if (level == 0)
        kept[next_place++] = filled(16);
    else if (number & 1)
        level_one(level - 1, number >> 1);
    else
        level_other(level - 1, number >> 1);
    USED(number);
}

static FRAME void level_one(unsigned level, uint64_t number)
{
    next_level(level, number);
    USED(number);
}

static FRAME void level_other(unsigned level, uint64_t number)
{
    next_level(level, number);
    USED(level);
}

int main(int count, char **words)
{
    unsigned threads = option(count, words, "--threads", 1);
    unsigned low = option(count, words, "--low", 16), high = option(count, words, "--high", 64);
    /* Some allocators would write all of it at once. */
    kept = mmap(NULL, BLOCKS_MAX * sizeof *kept, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (kept == MAP_FAILED || threads > THREADS_MAX || low > high)
        return 2;
    ready();
    for (const char *command; !(command = command_within(1000)) || strcmp(command, "stop") != 0;) {
        unsigned long asked = 0;
        if (!command)
            continue;
        if (sscanf(command, "fill %lu", &asked) == 1 && next_place + asked * threads <= BLOCKS_MAX) {
            fill_all(threads, low, high, asked);
            printf("filled %llu blocks %llu bytes\n", (unsigned long long)kept_count, (unsigned long long)kept_bytes);
        } else if (sscanf(command, "stacks %lu", &asked) == 1 && asked <= 1 << LEVELS) {
            for (unsigned long number = 0; number < asked; number++)
                next_level(LEVELS, number);
            printf("stacked %lu blocks\n", asked);
        }
    }
    return 0;
}
