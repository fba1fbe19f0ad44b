/* prologue: threads that stand in the first instructions of `malloc` nearly all the time.
 *
 * Truth: leaks nothing. `malloc` and `free` are the program's own; the first instructions of `malloc` are slow ones, so that a
 * stopped thread most likely stands between them, where a hook wants to put its jump. What each call returns and the registers
 * that it must keep are checked. Commands: ping (answered by `alive N`, the calls so far), stop; `hash ok` at the end.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, SIZE = 64 };

static char memory[1 << 22] __attribute__((aligned(64)));
static _Atomic size_t next;
static _Atomic uint64_t calls;
static _Atomic int stopping;

__attribute__((used, noinline)) void *take(size_t size)
{
    size_t length = (size + 63) & ~(size_t)63, first = atomic_fetch_add(&next, length) % (sizeof memory / 2);
    return length > sizeof memory / 2 ? NULL : memory + first;
}

/* Each of these pairs takes some twenty cycles, and a jump of five bytes displaces the first four instructions. */
__asm__(".globl malloc\n.type malloc, @function\n.p2align 4\nmalloc:\n.cfi_startproc\n"
        "push %rbx\n.cfi_adjust_cfa_offset 8\n push %rbp\n.cfi_adjust_cfa_offset 8\n xchg %rdi, (%rsp)\n xchg %rdi, (%rsp)\n"
        "push %rdi\n.cfi_adjust_cfa_offset 8\n call take\n add $8, %rsp\n.cfi_adjust_cfa_offset -8\n"
        "pop %rbp\n.cfi_adjust_cfa_offset -8\n pop %rbx\n.cfi_adjust_cfa_offset -8\n ret\n.cfi_endproc\n.size malloc, .-malloc\n");

FRAME void free(void *block) { USED(block); }
FRAME void *calloc(size_t count, size_t size)
{
    void *block = malloc(count * size);
    USED(block);
    return block ? memset(block, 0, count * size) : NULL;
}
FRAME void *realloc(void *old, size_t size)
{
    void *block = malloc(size);
    return block && old ? memmove(block, old, size) : block;
}

static void *work(void *argument)
{
    uint64_t kept = (uintptr_t)argument;
    while (!stopping) {
        char *block = malloc(SIZE);
        USED(block);
        if (block < memory || block >= memory + sizeof memory || (block - memory) % 64 || kept != (uintptr_t)argument) {
            fprintf(stderr, "prologue: hash broken: malloc went wrong\n");
            abort();
        }
        free(block);
        calls++;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    ready();
    for (const char *line; !(line = command_within(-1)) || strcmp(line, "stop") != 0;)
        if (line)
            printf("alive %llu\n", (unsigned long long)calls);
    stopping = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    puts("hash ok");
    return 0;
}
