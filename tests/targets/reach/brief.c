/* brief: a library that is loaded for an instant. Leaks ten blocks of 48 bytes in its constructor, by way of two functions. */
#include <stdlib.h>
#include <string.h>

static __attribute__((noinline, noclone, noipa)) void *by_constructor(size_t size)
{
    void *block = malloc(size);
    if (block)
        memset(block, 1, size);
    return block;
}

static __attribute__((constructor, noinline, noclone, noipa)) void begins(void)
{
    for (int i = 0; i < 10; i++)
        by_constructor(48);
}
