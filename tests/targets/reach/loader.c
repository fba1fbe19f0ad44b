/* loader: loads the library that its first argument names, allocates in it and unloads it, again and again.
 *
 * Truth: on each `go` it does so ROUNDS times, the first time for a second and a half, and keeps what `by_plugin` allocated; it
 * prints `site by_plugin allocated N BYTES live N BYTES` with the totals so far, and `done`. With a second argument `busy`
 * another thread loads and unloads it all the time; at `load` it loads it for good and prints `loaded`. With `brief` it only loads and
 * unloads it, each time at once; the account is that of its constructor, `by_constructor`
 * (musl never unloads anything, so that it runs once). Commands: go, load, stop.
 */
#include "../c/target.h"
#include <dlfcn.h>
#include <pthread.h>

enum { ROUNDS = 40, BLOCKS = 10, SIZE = 48 };

static const char *path;

static void once(int blocks, unsigned milliseconds)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *(*by_plugin)(size_t) = library ? (void *(*)(size_t))dlsym(library, "by_plugin") : NULL;
    if (!by_plugin)
        abort();
    for (int i = 0; i < blocks; i++)
        by_plugin(SIZE);
    pause_ms(milliseconds);
    dlclose(library);
}

static void for_an_instant(void)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        abort();
    dlclose(library);
}

static void *busy(void *unused)
{
    for (;;)
        once(0, 0);
    return unused;
}

int main(int count, char **words)
{
    uint64_t blocks = 0;
    pthread_t thread;
    path = count > 1 ? words[1] : "";
    int is_brief = count > 2 && strcmp(words[2], "brief") == 0;
    if (count > 2 && !is_brief)
        pthread_create(&thread, NULL, busy, NULL);
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command && strcmp(command, "load") == 0)
            puts(dlopen(path, RTLD_NOW) ? "loaded" : "failed");
        if (!command || strcmp(command, "go") != 0)
            continue;
        for (int round = 0; round < ROUNDS; round++, blocks += BLOCKS) {
            if (is_brief)
                for_an_instant();
            else
                once(BLOCKS, round == 0 ? 1500 : 0);
        }
#ifndef __GLIBC__
        blocks = is_brief ? BLOCKS : blocks;
#endif
        printf("site %s allocated %llu %llu live %llu %llu\n", is_brief ? "by_constructor" : "by_plugin", (unsigned long long)blocks,
               (unsigned long long)blocks * SIZE, (unsigned long long)blocks, (unsigned long long)blocks * SIZE);
        puts("done");
    }
}
