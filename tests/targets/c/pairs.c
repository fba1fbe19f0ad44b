/* pairs: what is taken and given back at once, again and again: a descriptor, a mapping, a thread.
 *
 * Truth: gives back all that it takes; a call that fails aborts. At `descriptors`, `mappings` or `threads` it does so for as many milliseconds as
 * --milliseconds says (200) and prints `pair N`, the nanoseconds of processor time that a pair took. Commands: those, stop.
 */
#include "target.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

enum { BATCH = 100, MAPPED = 1 << 16 };

static uint64_t used_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(int good)
{
    if (!good)
        abort();
}

static FRAME void descriptors(void)
{
    int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    check(descriptor >= 0 && close(descriptor) == 0);
}

static FRAME void mappings(void)
{
    void *at = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(at != MAP_FAILED && munmap(at, MAPPED) == 0);
}

static void *nothing(void *argument)
{
    return argument;
}

static FRAME void threads(void)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static void measure(void (*pair)(void), unsigned milliseconds)
{
    uint64_t began = used_ns(), until = now_ns() + milliseconds * 1000000ull, pairs = 0;
    do {
        for (int i = 0; i < BATCH; i++)
            pair();
        pairs += BATCH;
    } while (now_ns() < until);
    printf("pair %llu\n", (unsigned long long)((used_ns() - began) / pairs));
}

int main(int count, char **words)
{
    unsigned milliseconds = option(count, words, "--milliseconds", 200);
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command && strcmp(command, "descriptors") == 0)
            measure(descriptors, milliseconds);
        if (command && strcmp(command, "mappings") == 0)
            measure(mappings, milliseconds);
        if (command && strcmp(command, "threads") == 0)
            measure(threads, milliseconds);
    }
}
