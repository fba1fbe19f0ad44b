/* sleeper: waits where its stack still holds what earlier calls have left there.
 *
 * Truth: at each `go` it takes and frees a block and a descriptor as deep on its stack as the room is in which it waits for the next command, which it never
 * writes to but for one byte, and prints `done`. Leaks nothing. Commands: go, stop.
 */
#include "../c/target.h"

FRAME void take_and_free(void)
{
    volatile char below_others[4000];
    below_others[0] = 1;
    void *block = malloc(100);
    USED(block);
    free(block);
    close(dup(below_others[0] - 1));
}

FRAME const char *wait_here(void)
{
    volatile char room[12000];
    room[0] = 1;
    const char *command = command_within(-1);
    return room[0] ? command : NULL;
}

int main(void)
{
    ready();
    for (;;) {
        const char *command = wait_here();
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        take_and_free();
        puts("done");
    }
}
