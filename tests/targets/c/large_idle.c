/* large_idle: holds much memory and does nothing. It must not be accused: to be large is not to grow.
 *
 * Truth: leaks nothing. Holds --mb MiB (1024), all touched before `ready`. Command: stop.
 */
#include "target.h"

int main(int count, char **words)
{
    size_t size = (size_t)option(count, words, "--mb", 1024) * 1024 * 1024;
    char *block = malloc(size);
    if (!block)
        return 1;
    memset(block, 'i', size);
    USED(block);
    ready();
    for (const char *command = NULL; !command || strcmp(command, "stop") != 0;)
        command = command_within(-1);
    free(block);
    puts("leaked 0 blocks 0 bytes");
    return 0;
}
