/* mixed: small and large blocks side by side, allocated, resized and freed all the time.
 *
 * Truth: each of T threads has W blocks at a time; SHARE of 256 are of 8 KiB to 1 MiB, the others of 16 to 1,024 bytes. One in four
 * is resized to another size before it is freed. After `pause` nothing is allocated, and `drain` then frees every block.
 *
 * Options: --threads T (2) --window W (200) --share SHARE (16)
 * Commands, each answered by a line: pause, go, drain, stop.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS_MAX = 16, WINDOW_MAX = 4096 };

struct worker {
    uint64_t random;
    char *window[WINDOW_MAX];
};

static struct worker workers[THREADS_MAX];
static unsigned threads, window, share;
static _Atomic int paused, stopped, resting;

static uint64_t next_random(struct worker *worker)
{
    worker->random = worker->random * 6364136223846793005u + 1442695040888963407u;
    return worker->random >> 33;
}

static size_t next_size(struct worker *worker)
{
    uint64_t random = next_random(worker);
    return random % 256 < share ? 8192 + (random >> 8) % (1 << 20) : 16 + (random >> 8) % 1009;
}

/* Both ends are written, and were not written to by anybody else when the block goes. */
static char *marked(char *block, size_t size)
{
    if (!block)
        abort();
    memcpy(block, &size, sizeof size);
    block[size - 1] = (char)size;
    return block;
}

static void check(const char *block)
{
    size_t size;
    memcpy(&size, block, sizeof size);
    if (block[size - 1] != (char)size)
        abort();
}

static FRAME void replace_one(struct worker *worker)
{
    char **place = &worker->window[next_random(worker) % window];
    if (*place) {
        check(*place);
        if (next_random(worker) % 4 == 0) {
            size_t size = next_size(worker);
            *place = marked(realloc(*place, size), size);
            check(*place);
        }
        free(*place);
    }
    size_t size = next_size(worker);
    *place = marked(malloc(size), size);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    while (!stopped) {
        if (paused) {
            resting++;
            while (paused && !stopped)
                pause_ms(1);
            resting--;
        } else {
            replace_one(worker);
        }
    }
    return NULL;
}

int main(int count, char **words)
{
    threads = option(count, words, "--threads", 2), window = option(count, words, "--window", 200);
    share = option(count, words, "--share", 16);
    if (threads > THREADS_MAX || window == 0 || window > WINDOW_MAX)
        return 2;
    pthread_t started[THREADS_MAX];
    for (unsigned i = 0; i < threads; i++) {
        workers[i].random = i * 0x9e3779b97f4a7c15u + 1;
        if (pthread_create(&started[i], NULL, work, &workers[i]) != 0)
            abort();
    }
    ready();
    for (const char *command; !(command = command_within(1000)) || strcmp(command, "stop") != 0;) {
        if (!command)
            continue;
        if (strcmp(command, "pause") == 0) {
            for (paused = 1; resting < (int)threads;)
                pause_ms(1);
            puts("paused");
        } else if (strcmp(command, "go") == 0) {
            paused = 0;
            puts("going");
        } else if (strcmp(command, "drain") == 0) {
            for (unsigned i = 0; i < threads * window; i++) {
                char **place = &workers[i / window].window[i % window];
                free(*place);
                *place = NULL;
            }
            puts("drained");
        }
    }
    stopped = 1;
    for (unsigned i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
    return 0;
}
