/* hoarder: frees nothing, so that a static program of it has no `free` at all.
 *
 * Truth: on each `go`, by_malloc makes ROUNDS blocks of 48 bytes that it keeps; prints `site by_malloc allocated N BYTES live N BYTES` with the
 * totals so far, and `done`. Commands: go, stop.
 */
#include "../c/target.h"

enum { ROUNDS = 300, SIZE = 48 };

static FRAME void by_malloc(void)
{
    char *block = malloc(SIZE);
    memset(block, 'h', SIZE);
    USED(block);
}

int main(void)
{
    unsigned long long made = 0;
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        for (int round = 0; round < ROUNDS; round++, made++)
            by_malloc();
        printf("site by_malloc allocated %llu %llu live %llu %llu\n", made, made * SIZE, made, made * SIZE);
        puts("done");
    }
}
