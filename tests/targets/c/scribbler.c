/* scribbler: leaks, then writes random words all over the memory that a tool shares with it.
 *
 * Truth: `scribble` overwrites random words of every page of shared mappings that `find` found to be resident. From then on,
 * until the tool has gone, it calls no allocator: a program whose own stray writes hit what a hook relies on has no promise.
 * A tool must survive that, and say that what it read was overwritten.
 * Commands: leak N; find; scribble; stop. Prints `leaked`, `found PAGES`, `scribbled`.
 */
#include "target.h"
#include <fcntl.h>
#include <sys/mman.h>

#define PAGE 4096ul

static uint64_t random_word(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

FRAME static void leak_here(void)
{
    void *block = malloc(100);
    USED(block);
}

static unsigned long found[1 << 16];
static size_t found_count;

/* Pages that nobody touched stay untouched: the point is what a reader makes of nonsense, not how much memory there is. */
static void find_resident(unsigned long from, unsigned long to)
{
    static unsigned char resident[1 << 20];
    for (unsigned long at = from; at < to; at += sizeof resident * PAGE) {
        unsigned long size = to - at < sizeof resident * PAGE ? to - at : sizeof resident * PAGE;
        if (mincore((void *)at, size, resident) != 0)
            continue;
        for (unsigned long page = 0; page < size / PAGE; page++)
            if (resident[page] & 1 && found_count < sizeof found / sizeof found[0])
                found[found_count++] = at + page * PAGE;
    }
}

/* Reads the list of mappings without stdio, which would allocate. */
static void find_shared(void)
{
    static char maps[1 << 20];
    size_t length = 0;
    int file = open("/proc/self/maps", O_RDONLY);
    for (ssize_t got; length < sizeof maps - 1 && (got = read(file, maps + length, sizeof maps - 1 - length)) > 0;)
        length += (size_t)got;
    close(file);
    for (char *line = maps; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        unsigned long from, to;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && strcmp(rights, "rw-s") == 0)
            find_resident(from, to);
    }
}

static void scribble(void)
{
    for (size_t page = 0; page < found_count; page++)
        for (int i = 0; i < 64; i++)
            ((volatile uint64_t *)found[page])[random_word() % (PAGE / 8)] = random_word();
}

int main(void)
{
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command && strncmp(command, "leak ", 5) == 0) {
            for (long left = atol(command + 5); left > 0; left--)
                leak_here();
            puts("leaked");
        }
        if (command && strcmp(command, "find") == 0) {
            find_shared();
            printf("found %zu\n", found_count);
        }
        if (command && strcmp(command, "scribble") == 0) {
            scribble();
            puts("scribbled");
        }
    }
}
