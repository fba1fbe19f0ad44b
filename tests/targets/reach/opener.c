/* opener: descriptors that are opened by way of another function of the C library.
 *
 * Truth: on each `go` each of the functions called by_ opens one that stays open, COUNT times; `tidy` opens and closes a directory and a
 * pipe to a command in `tidy_both`, as often. It prints `done`. Uses nothing that musl lacks. Commands: go, stop.
 */
#include "../c/target.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

enum { COUNT = 4 };

static void check(int good)
{
    if (!good)
        abort();
}

FRAME void by_mkstemp(void)
{
    char name[] = "/tmp/leakline-opener-XXXXXX";
    check(mkstemp(name) >= 0);
    unlink(name);
}

FRAME void by_mkostemp(void)
{
    char name[] = "/tmp/leakline-opener-XXXXXX";
    check(mkostemp(name, O_CLOEXEC) >= 0);
    unlink(name);
}

FRAME void by_opendir(void)
{
    check(opendir("/tmp") != NULL);
}

FRAME void by_popen(void)
{
    check(popen("true", "r") != NULL);
}

FRAME void by_shm_open(void)
{
    char name[64];
    snprintf(name, sizeof name, "/leakline-opener-%d", getpid());
    check(shm_open(name, O_CREAT | O_RDWR, 0600) >= 0);
    shm_unlink(name);
}

FRAME void tidy_both(void)
{
    check(closedir(opendir("/tmp")) == 0);
    check(pclose(popen("true", "r")) == 0);
}

int main(void)
{
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        for (int i = 0; i < COUNT; i++) {
            by_mkstemp();
            by_mkostemp();
            by_opendir();
            by_popen();
            by_shm_open();
            tidy_both();
        }
        puts("done");
    }
}
