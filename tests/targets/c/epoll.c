/* epoll: threads that sleep in system calls which a stop by a debugger may end early with EINTR.
 *
 * Truth: no signal is ever sent to it, so each EINTR was caused from outside. Prints at `stop` one line a call,
 * `eintr NAME N`. Each call is repeated until `stop` with a timeout of 100 ms or, --long 1, of an hour (then `stop`
 * ends the process without waiting). One more thread allocates and frees a little, so that hooks have something to see.
 */
#include "target.h"
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

static _Atomic int stopping;
static unsigned timeout_ms = 100;

static struct timespec timeout(void)
{
    return (struct timespec){ timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000 };
}

static int in_epoll_wait(void)
{
    static _Atomic int file = -1;
    struct epoll_event event;
    if (file < 0)
        file = epoll_create1(0);
    return epoll_wait(file, &event, 1, (int)timeout_ms);
}

static int in_nanosleep(void)
{
    struct timespec t = timeout();
    return nanosleep(&t, NULL);
}

static int in_futex(void)
{
    static uint32_t word;
    struct timespec t = timeout();
    return (int)syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static int in_poll(void)
{
    return poll(NULL, 0, (int)timeout_ms);
}

static int in_sigtimedwait(void)
{
    sigset_t set;
    struct timespec t = timeout();
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &t);
}

static int pipe_ends[2];

/* A read has no timeout of its own: it ends when main writes a byte. */
static int in_read(void)
{
    char byte;
    return (int)read(pipe_ends[0], &byte, 1);
}

static int in_allocator(void)
{
    char *block = malloc(100);
    USED(block);
    free(block);
    pause_ms(1);
    return 0;
}

static struct sleeper {
    const char *name;
    int (*call)(void);
    _Atomic unsigned interrupted;
} sleepers[] = {
    { "epoll_wait", in_epoll_wait, 0 }, { "nanosleep", in_nanosleep, 0 },       { "futex", in_futex, 0 },
    { "poll", in_poll, 0 },             { "sigtimedwait", in_sigtimedwait, 0 }, { "read", in_read, 0 },
    { "allocator", in_allocator, 0 },
};
enum { SLEEPERS = sizeof sleepers / sizeof *sleepers };

static void *sleep_on(void *argument)
{
    struct sleeper *sleeper = argument;
    while (!stopping) {
        errno = 0;
        if (sleeper->call() < 0 && errno == EINTR)
            sleeper->interrupted++;
    }
    return NULL;
}

int main(int count, char **words)
{
    pthread_t threads[SLEEPERS];
    int endless = option(count, words, "--long", 0) != 0;
    if (endless)
        timeout_ms = 3600000;
    if (pipe(pipe_ends) != 0)
        return 1;
    for (int i = 0; i < SLEEPERS; i++)
        if (pthread_create(&threads[i], NULL, sleep_on, &sleepers[i]) != 0)
            return 1;
    pause_ms(50);
    ready();
    for (const char *command = NULL; !command || strcmp(command, "stop") != 0;)
        command = command_within(-1);
    stopping = 1;
    if (write(pipe_ends[1], "x", 1) != 1)
        return 1;
    for (int i = 0; i < SLEEPERS && !endless; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SLEEPERS; i++)
        printf("eintr %s %u\n", sleepers[i].name, sleepers[i].interrupted);
    return 0;
}
