/* late_free: frees its blocks, but late: each lives for --life milliseconds (1500). Its stack is to be demoted.
 *
 * Truth: leaks nothing; one block of 1000 bytes at LATE-LINE each 20 ms, freed after its life. At `stop` it frees the
 * rest and prints `allocated N freed N`.
 */
#include "target.h"

enum { HELD_MAX = 4096 };

static FRAME char *allocate_late(void)
{
    char *block = malloc(1000); /* LATE-LINE */
    if (!block)
        abort();
    USED(block);
    return block;
}

int main(int count, char **words)
{
    static struct { char *block; uint64_t born; } held[HELD_MAX];
    uint64_t life = option(count, words, "--life", 1500) * 1000000ull;
    uint64_t first = 0, next = 0;
    ready();
    for (;;) {
        const char *command = command_within(20);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (next - first < HELD_MAX) {
            held[next % HELD_MAX].block = allocate_late();
            held[next++ % HELD_MAX].born = now_ns();
        }
        for (; first < next && now_ns() - held[first % HELD_MAX].born >= life; first++)
            free(held[first % HELD_MAX].block);
    }
    for (; first < next; first++)
        free(held[first % HELD_MAX].block);
    printf("allocated %llu freed %llu\n", (unsigned long long)next, (unsigned long long)first);
    return 0;
}
