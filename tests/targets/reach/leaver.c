/* leaver: a program that leaves its pool by longjmp, as an interpreter does that raises an error, and goes on deeper on its stack.
 *
 * Truth: on each `go` it is ROUNDS times that `pool_alloc(size)` jumps back to the loop, from which a block is made at `by_site` each
 * time, deeper than the pool was called from; every other is freed. Each time a block is made at `by_pool` as well, by `pool_take(size)`, and
 * `pool_grow(block, size)` jumps back; every other is then freed by `pool_give(block)`. It prints `site NAME allocated N BYTES live N BYTES` of
 * both with the totals so far, and `done`. After `leave` it jumps once more, prints `left`, and calls no allocator until the next command.
 * With `away` the pool goes on to another stack, prints `away`, and returns by its own at `back`, with `left`. With `sleep` a coroutine
 * enters the pool, which goes on to the main stack from within; before and after that a block is made and freed there, and `asleep` printed. At `wake` the pool goes
 * on, and `awake` is printed; at `fork` it does so in a child, and `child STATUS` is printed.
 * Commands: go, leave, away, back, sleep, wake, fork, stop.
 */
#include "../c/target.h"
#include <setjmp.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { ROUNDS = 100, SIZE = 40, DEPTH = 100 };

static jmp_buf loop;
static ucontext_t pool, other;
static char others_stack[64 * 1024];
static ucontext_t coroutine, thread;
static char coroutines_stack[64 * 1024];
static char memory[1 << 20];
static size_t used;

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
    if (size == 3 * SIZE) {
        swapcontext(&coroutine, &thread);
        return others_stack;
    }
    getcontext(&other);
    other.uc_stack.ss_sp = others_stack;
    other.uc_stack.ss_size = sizeof others_stack;
    makecontext(&other, wait_for_back, 0);
    swapcontext(&pool, &other);
    return NULL;
}

FRAME void *pool_take(size_t size)
{
    used += size;
    if (used > sizeof memory)
        abort();
    return memory + used - size;
}

FRAME void *pool_grow(void *block, size_t size)
{
    USED(block);
    longjmp(loop, size != 0);
}

FRAME void pool_give(void *block) { USED(block); }

FRAME void *by_pool(void)
{
    void *b = pool_take(SIZE);
    USED(b);
    return b;
}

static FRAME void grow(void *block)
{
    if (setjmp(loop) == 0)
        pool_grow(block, 2 * SIZE);
}

static void enter_pool(void)
{
    for (;;) {
        if (pool_alloc(3 * SIZE) != others_stack)
            abort();
        swapcontext(&coroutine, &thread);
    }
}

static FRAME void allocate(void)
{
    void *block = malloc(SIZE);
    USED(block);
    free(block);
}

/* The main stack calls the allocator while the coroutine sleeps, and the next time it enters the pool. */
static FRAME void sleep_in_pool(void)
{
    static int is_made;
    if (!is_made++) {
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = coroutines_stack;
        coroutine.uc_stack.ss_size = sizeof coroutines_stack;
        makecontext(&coroutine, enter_pool, 0);
    }
    allocate();
    swapcontext(&thread, &coroutine);
    allocate();
    puts("asleep");
}

static FRAME void wake_in_child(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        swapcontext(&thread, &coroutine);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("child %d\n", status);
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
        block = by_pool();
        grow(block);
        if (round % 2)
            pool_give(block);
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
        if (command && strcmp(command, "sleep") == 0)
            sleep_in_pool();
        if (command && strcmp(command, "wake") == 0) {
            swapcontext(&thread, &coroutine);
            puts("awake");
        }
        if (command && strcmp(command, "fork") == 0)
            wake_in_child();
        if (!command || strcmp(command, "go") != 0)
            continue;
        go();
        printf("site by_pool allocated %llu %llu live %llu %llu\n", (unsigned long long)allocated,
               (unsigned long long)allocated * SIZE, (unsigned long long)live, (unsigned long long)live * SIZE);
        printf("site by_site allocated %llu %llu live %llu %llu\n", (unsigned long long)allocated,
               (unsigned long long)allocated * SIZE, (unsigned long long)live, (unsigned long long)live * SIZE);
        puts("done");
    }
}
