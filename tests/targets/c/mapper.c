/* mapper: threads that map, unmap, open and close as fast as they can, and one that sleeps in accept and is cancelled there.
 *
 * Truth: every call has the result and the errno that it must have, and a cancelled thread runs its clean-up; anything else ends the
 * program by abort. Gives back all that it takes. Commands: check (answers `good`), stop. --threads N (3).
 */
#include "target.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { PAGE = 4096 };

static volatile int stopping;
static uint64_t cleaned;

static void check(int good)
{
    if (!good) {
        perror("mapper");
        abort();
    }
}

static void *work(void *argument)
{
    while (!stopping) {
        errno = 4711;
        char *at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(at != MAP_FAILED && errno == 4711);
        at[0] = 1;
        at = mremap(at, 4 * PAGE, 9 * PAGE, MREMAP_MAYMOVE);
        check(at != MAP_FAILED && at[0] == 1 && munmap(at, 9 * PAGE) == 0);
        int file = open("/dev/null", O_RDWR | O_CLOEXEC), copy = dup(file), two[2];
        check(file > 2 && copy > 2 && file != copy && close(copy) == 0);
        check(pipe2(two, O_CLOEXEC) == 0 && write(two[1], "x", 1) == 1);
        char read_back = 0;
        check(read(two[0], &read_back, 1) == 1 && read_back == 'x' && close(two[0]) == 0 && close(two[1]) == 0);
        check(fcntl(file, F_GETFD) == FD_CLOEXEC && errno == 4711 && close(file) == 0);
        check(open("/nowhere", O_RDONLY) == -1 && errno == ENOENT);
    }
    return argument;
}

static void clean(void *argument)
{
    (void)argument;
    __atomic_fetch_add(&cleaned, 1, __ATOMIC_RELAXED);
}

static void *sleep_in_accept(void *argument)
{
    pthread_cleanup_push(clean, NULL);
    for (;;)
        accept(*(int *)argument, NULL, NULL);
    pthread_cleanup_pop(1);
    return NULL;
}

int main(int count, char **words)
{
    unsigned threads = option(count, words, "--threads", 3);
    static pthread_t workers[64];
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)) == 0 && listen(listener, 8) == 0);
    for (unsigned i = 0; i < threads && i < 64; i++)
        check(pthread_create(&workers[i], NULL, work, NULL) == 0);
    pthread_t sleeper;
    check(pthread_create(&sleeper, NULL, sleep_in_accept, &listener) == 0);
    ready();
    uint64_t cancelled = 0;
    for (;;) {
        const char *command = command_within(30);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "check") == 0)
            puts("good");
        /* It may be on its way into accept, in it, or in a hook. */
        check(pthread_cancel(sleeper) == 0 && pthread_join(sleeper, NULL) == 0);
        check(__atomic_load_n(&cleaned, __ATOMIC_RELAXED) == ++cancelled);
        check(pthread_create(&sleeper, NULL, sleep_in_accept, &listener) == 0);
    }
    stopping = 1;
    for (unsigned i = 0; i < threads && i < 64; i++)
        check(pthread_join(workers[i], NULL) == 0);
    printf("cancelled %llu\n", (unsigned long long)cancelled);
    return 0;
}
