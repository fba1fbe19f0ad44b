/* threads: threads start and end all the time; blocks are also freed by other threads than their own.
 *
 * Truth: each thread allocates 20 blocks of 100 bytes in share_here, which the next thread frees, and while leaking is on
 * one of 64 bytes at LEAK-LINE that nobody frees. Prints at `stop` `leaked N blocks B bytes at LEAK-LINE since mark` and
 * `threads N`. Commands: mark, leak on, leak off, stop. --alive A (4): threads that live at the same time.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>

enum { SHARED = 20, ALIVE_MAX = 64 };

static _Atomic uint64_t leaked, started;
static _Atomic int leaking;
static char *shared[SHARED];
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static FRAME void leak_here(void)
{
    char *block = malloc(64); /* LEAK-LINE */
    if (!block)
        abort();
    USED(block);
    leaked++;
}

static FRAME char *share_here(void)
{
    char *block = malloc(100);
    if (!block)
        abort();
    memset(block, 's', 100);
    return block;
}

static void *short_life(void *argument)
{
    (void)argument;
    started++;
    for (int i = 0; i < SHARED; i++) {
        char *mine = share_here();
        pthread_mutex_lock(&shared_lock);
        char *theirs = shared[i];
        shared[i] = mine;
        pthread_mutex_unlock(&shared_lock);
        if (theirs && theirs[99] != 's')
            abort();
        free(theirs);
    }
    if (leaking)
        leak_here();
    return NULL;
}

int main(int count, char **words)
{
    unsigned alive = option(count, words, "--alive", 4);
    pthread_t threads[ALIVE_MAX];
    uint64_t marked = 0;
    if (alive < 1 || alive > ALIVE_MAX)
        return 1;
    ready();
    for (;;) {
        const char *command = command_within(1);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "mark") == 0) {
            marked = leaked;
            puts("marked");
        } else if (command && strncmp(command, "leak o", 6) == 0) {
            leaking = command[6] == 'n';
            puts(command);
        }
        for (unsigned i = 0; i < alive; i++)
            if (pthread_create(&threads[i], NULL, short_life, NULL) != 0)
                abort();
        for (unsigned i = 0; i < alive; i++)
            pthread_join(threads[i], NULL);
    }
    printf("leaked %llu blocks %llu bytes at LEAK-LINE since mark\n", (unsigned long long)(leaked - marked),
           (unsigned long long)(leaked - marked) * 64);
    printf("threads %llu\n", (unsigned long long)started);
    return 0;
}
