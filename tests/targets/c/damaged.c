/* damaged: every file of a folder, mapped as code, whatever is in it.
 *
 * Truth: it says `mapped N`, then `ready`; it allocates and frees until it is told to stop, and never runs what it mapped.
 * Arguments: --folder F. Commands: stop.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "target.h"

static int map_all(const char *folder)
{
    char path[4096];
    int mapped = 0;
    DIR *all = opendir(folder);
    for (struct dirent *entry; all && (entry = readdir(all));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int file = open(path, O_RDONLY);
        struct stat data;
        if (file < 0)
            continue;
        if (fstat(file, &data) == 0 && S_ISREG(data.st_mode) && data.st_size > 0)
            mapped += mmap(NULL, (size_t)data.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) != MAP_FAILED;
        close(file);
    }
    if (all)
        closedir(all);
    return mapped;
}

int main(int argc, char **argv)
{
    printf("mapped %d\n", argc > 2 ? map_all(argv[2]) : 0);
    ready();
    for (;;) {
        void *block = malloc(100);
        USED(block);
        free(block);
        const char *command = command_within(1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
    }
}
