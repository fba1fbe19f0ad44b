/* plugin: a library that is loaded and unloaded by `loader` while leakline watches. Leaks what by_plugin allocates. */
#include <stdlib.h>
#include <string.h>

__attribute__((noinline, noclone, noipa)) void *by_plugin(size_t size)
{
    void *block = malloc(size);
    if (block)
        memset(block, 1, size);
    return block;
}
