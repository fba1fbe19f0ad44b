/* kinds: ends with blocks of every kind.
 *
 * Truth: 3 blocks of 100 bytes definitely lost from lose, 5 blocks of 40 bytes indirectly lost behind one of 24 bytes that is
 * definitely lost (a list made by list), 2 blocks of 200 bytes possibly lost from interior, 4 blocks of 64 bytes still
 * reachable from keep (one from a static variable, one from that one, one from a thread-local, one from a thread's stack).
 * Exit status: the first argument, 0 without one.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME __attribute__((noinline, noclone))
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

void **root;
char *inside[2];
__thread void **local;
static int waiting[2];

static FRAME void lose(void)
{
    for (int i = 0; i < 3; i++) {
        char *block = malloc(100);
        USED(block);
    }
}

static FRAME void list(void)
{
    void **head = malloc(24);
    for (int i = 0; i < 5; i++) {
        void **next = calloc(1, 40);
        *head = next;
        head = next;
    }
    USED(head);
}

static FRAME void interior(void)
{
    for (int i = 0; i < 2; i++)
        inside[i] = (char *)malloc(200) + 100;
}

static FRAME void *keep(void *to)
{
    void **block = malloc(64);
    *block = to;
    return block;
}

static void *hold(void *unused)
{
    void *volatile block = keep(unused);
    if (write(waiting[1], "x", 1) != 1)
        abort();
    for (;;)
        pause();
    USED(block);
    return NULL;
}

/* Overwrites what the calls before have left on the stack and in registers. */
static FRAME void forget(void)
{
    volatile char bytes[16384];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0;
    __asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi" : : : "rax",
                     "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
}

int main(int count, char **words)
{
    pthread_t thread;
    char byte;
    lose();
    list();
    interior();
    root = keep(keep(NULL));
    local = keep(NULL);
    if (pipe(waiting) || pthread_create(&thread, NULL, hold, NULL) || read(waiting[0], &byte, 1) != 1)
        return 1;
    char *freed = malloc(10);
    USED(freed);
    free(freed);
    forget();
    puts("output of the program");
    fflush(stdout);
    USED(local);
    return count > 1 ? atoi(words[1]) : 0;
}
