/* jumper: a program with an allocator of its own, which a signal handler leaves by longjmp at random instants.
 *
 * Truth: `malloc` and `free` here are the program's own, and safe to be left at any time. A timer interrupts every 200 us and
 * jumps back to the loop, often out of `malloc`. On each `go` it jumps JUMPS times and prints `jumped JUMPS`, then makes
 * ROUNDS blocks at `by_site` undisturbed and frees every other; it prints `site by_site allocated N BYTES live N BYTES` with
 * the totals so far, and `done`. Commands: go, stop.
 */
#include "../c/target.h"
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

enum { JUMPS = 300, ROUNDS = 100, SIZE = 40, SLOT = 64, SLOTS = 1 << 20 };

static char memory[SLOTS][SLOT] __attribute__((aligned(64)));
static _Atomic unsigned next;

/* Slots are handed out in turn: whoever leaves in between wastes one at most. */
FRAME void *malloc(size_t size)
{
    if (size > SLOT * 16)
        return NULL;
    unsigned slots = (unsigned)(size + SLOT - 1) / SLOT + (size == 0), first = atomic_fetch_add(&next, slots);
    for (volatile int work = 0; work < 200; work++)
        ;
    return memory[first % (SLOTS - 16)];
}

FRAME void free(void *block) { USED(block); }
FRAME void *calloc(size_t count, size_t size)
{
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}
FRAME void *realloc(void *old, size_t size)
{
    void *block = malloc(size);
    return block && old ? memmove(block, old, size < SLOT ? size : SLOT) : block;
}

static sigjmp_buf loop;
static volatile unsigned jumps;

static void jump(int signal)
{
    (void)signal;
    /* The timer may fire once more before it is stopped. */
    if (jumps < JUMPS)
        jumps++;
    siglongjmp(loop, 1);
}

static void every(int microseconds)
{
    struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };
    setitimer(ITIMER_REAL, &timer, NULL);
}

static uint64_t allocated, live;

FRAME void *by_site(void)
{
    void *b = malloc(SIZE);
    USED(b);
    return b;
}

static FRAME void disturbed(void)
{
    void *b = malloc(SIZE);
    USED(b);
    free(b);
}

static void go(void)
{
    jumps = 0;
    sigsetjmp(loop, 1);
    every(200);
    while (jumps < JUMPS)
        disturbed();
    every(0);
    for (int round = 0; round < ROUNDS; round++) {
        void *block = by_site();
        allocated++;
        live++;
        if (round % 2) {
            live--;
            free(block);
        }
    }
}

int main(void)
{
    signal(SIGALRM, jump);
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        go();
        printf("jumped %u\n", jumps);
        printf("site by_site allocated %llu %llu live %llu %llu\n", (unsigned long long)allocated,
               (unsigned long long)allocated * SIZE, (unsigned long long)live, (unsigned long long)live * SIZE);
        puts("done");
    }
}
