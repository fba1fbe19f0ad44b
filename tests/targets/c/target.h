/* What every test target shares: `ready`, commands on stdin, a clock. Allocates nothing, so that a target's own calls of
 * the allocator are the only ones. The end of stdin counts as the command `stop`: no target outlives its starter. */
#ifndef TARGET_H
#define TARGET_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRAME __attribute__((noinline, noclone, noipa))

/* The compiler must believe that the pointer is used, or it removes the pair of malloc and free. */
#define USED(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void pause_ms(unsigned milliseconds)
{
    struct timespec t = { milliseconds / 1000, (long)(milliseconds % 1000) * 1000000 };
    nanosleep(&t, NULL);
}

static inline void ready(void)
{
    static char output[4096];
    setvbuf(stdout, output, _IOLBF, sizeof output);
    puts("ready");
}

/* The next line from stdin, NULL when none came in time, "stop" at its end. A line is valid until the next call. */
static inline const char *command_within(int timeout_ms)
{
    static char text[256];
    static size_t length, taken;
    memmove(text, text + taken, length + 1 - taken);
    length -= taken;
    taken = 0;
    char *end = strchr(text, '\n');
    if (!end) {
        struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
        if (poll(&input, 1, timeout_ms) <= 0)
            return NULL;
        ssize_t got = read(STDIN_FILENO, text + length, sizeof text - 2 - length);
        if (got <= 0)
            return got < 0 && errno == EINTR ? NULL : "stop";
        length += (size_t)got;
        text[length] = 0;
        end = strchr(text, '\n');
    }
    if (!end)
        return NULL;
    *end = 0;
    taken = (size_t)(end + 1 - text);
    return text;
}

static inline unsigned option(int count, char **words, const char *name, unsigned otherwise)
{
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(words[i], name) == 0)
            return (unsigned)strtoul(words[i + 1], NULL, 10);
    return otherwise;
}
#endif
