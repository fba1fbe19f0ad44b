/* leaver: a program that leaves its pool by longjmp, as an interpreter does that raises an error, and goes on deeper on its stack.
 *
 * Truth: on each `go` it is ROUNDS times that `pool_alloc(size)` jumps back to the loop, from which a block is made at `by_site` each
 * time, deeper than the pool was called from; every other is freed. It prints `site by_site allocated N BYTES live N BYTES` with the totals
 * so far, and `done`. After `leave` it jumps once more, prints `left`, and calls no allocator until the next command. With `away` the pool
 * goes on to another stack, prints `away`, and returns by its own at `back`, with `left`. Commands: go, leave, away, back, stop.
 */
#include "../c/target.h"
#include <setjmp.h>
#include <ucontext.h>

enum { ROUNDS = 100, SIZE = 40, DEPTH = 100 };

static jmp_buf loop;
static ucontext_t pool, other;
static char others_stack[64 * 1024];

static void wait_for_back(void)
{
    puts("away");
    const char *command;
    do
        command = command_within(-1);
    while (!command || strcmp(command, "back") != 0);
    swapcontext(&other, &pool);
}

FRAME void *pool_alloc(size_t size)
{
    if (size == SIZE)
        longjmp(loop, 1);
    getcontext(&other);
    other.uc_stack.ss_sp = others_stack;
    other.uc_stack.ss_size = sizeof others_stack;
    makecontext(&other, wait_for_back, 0);
    swapcontext(&pool, &other);
    return NULL;
}

FRAME void *by_site(void)
{
    void *b = malloc(SIZE);
    USED(b);
    return b;
}

/* Each frame writes over what was left where it lies. */
FRAME void *deeper(int depth)
{
    void *volatile words[8] = { 0 };
    if (depth == 0)
        return by_site();
    words[depth % 8] = deeper(depth - 1);
    return words[depth % 8];
}

static FRAME void leave(size_t size)
{
    if (setjmp(loop) == 0)
        pool_alloc(size);
}

static uint64_t allocated, live;

static FRAME void go(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        leave(SIZE);
        void *block = deeper(DEPTH);
        allocated++;
        live++;
        leave(SIZE);
        if (round % 2) {
            live--;
            free(block);
        }
    }
}

int main(void)
{
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command && (strcmp(command, "leave") == 0 || strcmp(command, "away") == 0)) {
            leave(strcmp(command, "leave") == 0 ? SIZE : 2 * SIZE);
            puts("left");
        }
        if (!command || strcmp(command, "go") != 0)
            continue;
        go();
        printf("site by_site allocated %llu %llu live %llu %llu\n", (unsigned long long)allocated,
               (unsigned long long)allocated * SIZE, (unsigned long long)live, (unsigned long long)live * SIZE);
        puts("done");
    }
}
