/* leaky: grows at a steady rate and never frees what leak_here allocates; scratch_here frees all it allocates.
 *
 * Truth: leaks --rate KB a second (1024) in touched blocks of --block bytes (4096) at LEAK-LINE; prints at `stop`
 * `leaked N blocks B bytes at LEAK-LINE since mark`. Ends by itself after --milliseconds M (0: never).
 * Commands: mark, leak on, leak off, stop. --leak-later 1 starts with leaking off.
 */
#include "target.h"

static uint64_t blocks, bytes;

static FRAME void leak_here(size_t size)
{
    char *block = malloc(size); /* LEAK-LINE */
    if (!block)
        abort();
    memset(block, 'x', size);
    USED(block);
    blocks++;
    bytes += size;
}

static FRAME void scratch_here(size_t size)
{
    char *block = malloc(size);
    USED(block);
    free(block);
}

int main(int count, char **words)
{
    unsigned rate = option(count, words, "--rate", 1024), block = option(count, words, "--block", 4096);
    unsigned life = option(count, words, "--milliseconds", 0);
    int leaking = !option(count, words, "--leak-later", 0);
    uint64_t marked_blocks = 0, marked_bytes = 0, started = now_ns(), last = started;
    double due = 0;
    ready();
    while (!life || now_ns() - started < life * 1000000ull) {
        const char *command = command_within(10);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "mark") == 0) {
            marked_blocks = blocks;
            marked_bytes = bytes;
            puts("marked");
        } else if (command && strncmp(command, "leak o", 6) == 0) {
            leaking = command[6] == 'n';
            puts(command);
        }
        uint64_t now = now_ns();
        due += (double)(now - last) * rate * 1024 / 1e9;
        last = now;
        for (; due >= block; due -= block) {
            if (leaking)
                leak_here(block);
            scratch_here(block / 2);
        }
    }
    printf("leaked %llu blocks %llu bytes at LEAK-LINE since mark\n", (unsigned long long)(blocks - marked_blocks),
           (unsigned long long)(bytes - marked_bytes));
    return 0;
}
