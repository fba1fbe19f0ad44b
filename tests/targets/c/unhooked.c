/* unhooked: grows by memory that no function hands out: it asks the kernel itself, as runtimes with a heap of their own do.
 *
 * Truth: 1 MiB every 20 ms is mapped by a system call in line and written to; malloc is called for 100 bytes now and then, and freed.
 * A tool that says "no leak" here has looked in the wrong place. Commands: stop.
 */
#include "target.h"
#include <sys/mman.h>
#include <sys/syscall.h>

static void *pages(size_t size)
{
    register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS;
    register long file __asm__("r8") = -1;
    register long offset __asm__("r9") = 0;
    void *at;
    __asm__ volatile("syscall"
                     : "=a"(at)
                     : "a"(SYS_mmap), "D"(0l), "S"(size), "d"((long)(PROT_READ | PROT_WRITE)), "r"(flags), "r"(file), "r"(offset)
                     : "rcx", "r11", "memory");
    return at;
}

int main(void)
{
    ready();
    for (;;) {
        const char *command = command_within(20);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        memset(pages(1 << 20), 1, 1 << 20);
        void *block = malloc(100);
        USED(block);
        free(block);
    }
}
