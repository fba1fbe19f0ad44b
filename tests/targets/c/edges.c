/* edges: a pool whose functions begin at the end of a page.
 *
 * Truth: leaks 100 blocks of 56 bytes at EDGE-LINE when it is told `leak` (answered by `leaked`). The first instruction of
 * `edge_take` and of `edge_give` has two bytes on the next page, so that a jump of five bytes ends with the page; a jump at `cut_give`
 * would lie on two pages. A thread uses the pool all the time and checks its blocks. Commands: leak, ping (answered by `alive N`, the
 * calls so far), stop; `hash ok` at the end.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>

enum { SIZE = 48, LOST = 56, PLACES = 1024 };

static char places[PLACES][64] __attribute__((aligned(64))), lost[PLACES][64] __attribute__((aligned(64)));
static _Atomic unsigned next, next_lost;
static _Atomic uint64_t calls;
static _Atomic int stopping;

/* The first instruction makes the second argument: the functions go wrong where it does not run whole. */
#define AT_PAGE_END(name, left, second, real)                                                                      \
    ".p2align 12\n.skip 4096 - " #left "\n.globl " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n" \
    ".byte 0x48, 0xc7, 0xc6\n.long " #second "\n jmp " #real "\n.cfi_endproc\n.size " #name ", .-" #name "\n"
__asm__(".text\n" AT_PAGE_END(edge_take, 5, 0x01020304, take) AT_PAGE_END(edge_give, 5, 0x05060708, give)
            AT_PAGE_END(cut_give, 4, 0x05060708, give) ".p2align 12\n");

__attribute__((used, noinline)) void *take(size_t size, size_t second)
{
    if (second != 0x01020304)
        abort();
    return size == SIZE ? places[next++ % PLACES] : lost[next_lost++ % PLACES];
}

__attribute__((used, noinline)) void give(void *place, size_t second)
{
    if (!place || second != 0x05060708)
        abort();
    calls++;
}

void *edge_take(size_t);
void edge_give(void *);

static void *work(void *unused)
{
    while (!stopping) {
        char *place = edge_take(SIZE);
        memset(place, 7, SIZE);
        edge_give(place);
    }
    return unused;
}

static FRAME void leak_here(void)
{
    for (int i = 0; i < 100; i++) {
        void *place = edge_take(LOST); /* EDGE-LINE */
        USED(place);
    }
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    ready();
    for (const char *line; !(line = command_within(-1)) || strcmp(line, "stop") != 0;) {
        if (line && strcmp(line, "leak") == 0) {
            leak_here();
            puts("leaked");
        } else if (line) {
            printf("alive %llu\n", (unsigned long long)calls);
        }
    }
    stopping = 1;
    pthread_join(thread, NULL);
    puts("hash ok");
    return 0;
}
