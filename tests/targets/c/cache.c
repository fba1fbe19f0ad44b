/* cache: fills a cache up to its bound, then replaces the oldest entry by each new one. It must not be accused.
 *
 * Truth: leaks nothing. At most --mb MiB (32) are held, in entries of 4096 bytes, all of them from fill_cache. It is full
 * before it prints `ready`, unless --fill-later 1; then it fills at --rate KB a second (8192) and prints `full` when it is.
 * Command: stop.
 */
#include "target.h"

enum { ENTRY = 4096 };

static FRAME char *fill_cache(void)
{
    char *entry = malloc(ENTRY); /* CACHE-LINE */
    if (!entry)
        abort();
    memset(entry, 'c', ENTRY);
    return entry;
}

int main(int count, char **words)
{
    size_t bound = (size_t)option(count, words, "--mb", 32) * 1024 * 1024 / ENTRY, next = 0;
    unsigned rate = option(count, words, "--rate", 8192);
    char **entries = calloc(bound, sizeof *entries);
    if (!entries)
        return 1;
    if (!option(count, words, "--fill-later", 0))
        for (; next < bound; next++)
            entries[next] = fill_cache();
    ready();
    double due = 0;
    for (uint64_t last = now_ns();;) {
        const char *command = command_within(10);
        if (command && strcmp(command, "stop") == 0)
            break;
        uint64_t now = now_ns();
        due += (double)(now - last) * rate * 1024 / 1e9;
        last = now;
        for (; due >= ENTRY; due -= ENTRY, next++) {
            free(entries[next % bound]);
            entries[next % bound] = fill_cache();
            if (next + 1 == bound)
                puts("full");
        }
    }
    puts("leaked 0 blocks 0 bytes");
    return 0;
}
