/* loader: loads the library that its first argument names, allocates in it and unloads it, again and again.
 *
 * Truth: on each `go` it does so ROUNDS times, the first time for a second and a half, and keeps what `by_plugin` allocated; it
 * prints `site by_plugin allocated N BYTES live N BYTES` with the totals so far, and `done`. With a second argument `busy`
 * another thread loads and unloads it all the time; at `load` it loads it for good and prints `loaded`. Commands: go, load, stop.
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
    if (count > 2)
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
        for (int round = 0; round < ROUNDS; round++, blocks += BLOCKS)
            once(BLOCKS, round == 0 ? 1500 : 0);
        printf("site by_plugin allocated %llu %llu live %llu %llu\n", (unsigned long long)blocks,
               (unsigned long long)blocks * SIZE, (unsigned long long)blocks, (unsigned long long)blocks * SIZE);
        puts("done");
    }
}
