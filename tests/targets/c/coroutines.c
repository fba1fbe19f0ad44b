/* coroutines: every thread runs on a small stack that is a block of the heap, with a block of somebody else's right below it.
 *
 * Truth: `guarded` bytes below each stack keep their value, whatever is done to the program from outside. A tool that uses the
 * room below a stack pointer as if it were a thread's own stack overwrites them.
 * --threads N (1) runs N more threads so, which never leave their coroutine. The main thread leaves its own one for a
 * millisecond after each round as long as the last command was `home`, and never after `away`.
 * Commands: home, away, check, stop. Prints `home`, `away`, `guarded ok` or `guarded BYTES changed`.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>
#include <ucontext.h>

enum { GUARD = 16 * 1024, STACK = 64 * 1024, LOW = 2048, THREADS_MAX = 16 };

struct place {
    unsigned char *block;
    ucontext_t home, away;
};

static struct place places[THREADS_MAX + 1];
static unsigned place_count;
static atomic_int go_home, running = 1;

static void make(struct place *place)
{
    place->block = malloc(GUARD + STACK);
    if (!place->block)
        abort();
    memset(place->block, 0xa5, GUARD);
}

static unsigned long changed(void)
{
    unsigned long bytes = 0;
    for (unsigned i = 0; i < place_count; i++)
        for (unsigned at = 0; at < GUARD; at++)
            bytes += places[i].block[at] != 0xa5;
    return bytes;
}

FRAME static void use_allocator(void)
{
    void *block = malloc(100);
    USED(block);
    free(block);
}

/* Sleeps with the stack pointer just above the end of the stack. */
FRAME static void rest_low(struct place *place)
{
    unsigned char *here = __builtin_frame_address(0);
    volatile unsigned char *room = __builtin_alloca((size_t)(here - (place->block + GUARD)) - LOW);
    room[0] = 1;
    use_allocator();
    pause_ms(1);
}

static void in_coroutine(unsigned low, unsigned high)
{
    struct place *place = (struct place *)((uintptr_t)low | (uintptr_t)high << 32);
    while (running) {
        rest_low(place);
        if (place == places && go_home)
            swapcontext(&place->away, &place->home);
    }
}

static void enter(struct place *place)
{
    getcontext(&place->away);
    place->away.uc_stack.ss_sp = place->block + GUARD;
    place->away.uc_stack.ss_size = STACK;
    place->away.uc_link = &place->home;
    makecontext(&place->away, (void (*)(void))in_coroutine, 2, (unsigned)(uintptr_t)place,
                (unsigned)((uintptr_t)place >> 32));
}

static void *other_thread(void *place)
{
    enter(place);
    swapcontext(&((struct place *)place)->home, &((struct place *)place)->away);
    return NULL;
}

/* A thread of its own answers, so that the main thread may stay in its coroutine. */
static void *answer(void *unused)
{
    for (;;) {
        const char *command = command_within(-1);
        if (!command)
            continue;
        if (strcmp(command, "home") == 0 || strcmp(command, "away") == 0) {
            go_home = command[0] == 'h';
            puts(command);
        }
        if (strcmp(command, "check") == 0) {
            unsigned long bytes = changed();
            if (bytes)
                printf("guarded %lu changed\n", bytes);
            else
                puts("guarded ok");
        }
        if (strcmp(command, "stop") == 0)
            break;
    }
    running = 0;
    return unused;
}

int main(int count, char **words)
{
    /* The linker binds a function at its first call, for which a small stack has no room. */
    use_allocator();
    pause_ms(1);
    unsigned threads = option(count, words, "--threads", 1);
    place_count = 1 + (threads < THREADS_MAX ? threads : THREADS_MAX);
    go_home = 1;
    for (unsigned i = 0; i < place_count; i++)
        make(&places[i]);
    pthread_t others[THREADS_MAX + 1], answers;
    for (unsigned i = 1; i < place_count; i++)
        pthread_create(&others[i], NULL, other_thread, &places[i]);
    /* A stack of its own that is a block of the heap: nobody may take it for one of the C library's. */
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, aligned_alloc(4096, STACK), STACK);
    pthread_create(&answers, &attributes, answer, NULL);
    enter(&places[0]);
    ready();
    while (running) {
        swapcontext(&places[0].home, &places[0].away);
        pause_ms(1);
    }
    for (unsigned i = 1; i < place_count; i++)
        pthread_join(others[i], NULL);
    pthread_join(answers, NULL);
    return changed() != 0;
}
