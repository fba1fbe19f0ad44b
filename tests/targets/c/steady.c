/* steady: sixteen threads that notice whatever an attach might disturb.
 *
 * Truth: leaks nothing. Twelve threads allocate, verify and free blocks, and check that no call changed `errno`; two hand a
 * turn to one another through a condition variable, two through pipes that they poll. It has no children, no timers, and a
 * handler for SIGCHLD that only counts. So all of these stay zero, whatever stops and resumes it:
 *
 *     counts errno N eintr N sigchld N lost N turns T
 *
 * (changed errno, calls that ended with EINTR, stray signals, wake-ups that did not come within ten seconds), while the turns
 * grow. Commands: counts, stop; both are answered by that line. `hash ok` at the end: no block was overwritten.
 */
#include "target.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { ALLOCATING = 12, BLOCKS = 400, MARK = 4711 };

static _Atomic uint64_t errno_changed, interrupted, child_signals, lost, turns;
static _Atomic int stopping;

static void child(int signal)
{
    (void)signal;
    child_signals++;
}

static void check_errno(void)
{
    if (errno != MARK)
        errno_changed++;
    errno = MARK;
}

static unsigned *made(unsigned size, unsigned way)
{
    unsigned *block = way % 3 == 0 ? calloc(size, sizeof *block) : malloc(size * sizeof *block);
    if (way % 5 == 0)
        block = realloc(block, (size + 40) * sizeof *block);
    if (!block)
        abort();
    block[0] = size;
    block[size - 1] = size;
    return block;
}

static FRAME void give_back(unsigned *block)
{
    if (block && (block[0] < 2 || block[block[0] - 1] != block[0])) {
        fprintf(stderr, "steady: hash broken: a block was overwritten\n");
        abort();
    }
    free(block);
}

static void *allocate(void *argument)
{
    unsigned *blocks[BLOCKS] = { NULL };
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    errno = MARK;
    while (!stopping) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        unsigned place = (unsigned)(random >> 20) % BLOCKS, size = 2 + (unsigned)(random >> 40) % 300;
        give_back(blocks[place]);
        check_errno();
        blocks[place] = made(size, (unsigned)(random >> 8));
        check_errno();
    }
    for (int place = 0; place < BLOCKS; place++)
        give_back(blocks[place]);
    return NULL;
}

/* Turns through a condition variable. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void *take_turns(void *argument)
{
    int mine = argument != NULL;
    pthread_mutex_lock(&mutex);
    while (!stopping) {
        while (turn != mine && !stopping) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += 10;
            if (pthread_cond_timedwait(&changed, &mutex, &until) == ETIMEDOUT)
                lost++;
        }
        turn = !mine;
        turns++;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* Turns through pipes. */
static int there[2], back[2];

static void *pass_on(void *argument)
{
    int from = argument ? there[0] : back[0], to = argument ? back[1] : there[1];
    while (!stopping) {
        struct pollfd input = { from, POLLIN, 0 };
        int found = poll(&input, 1, 10000);
        if (found < 0 && errno == EINTR)
            interrupted++;
        lost += found == 0;
        char byte;
        if (found > 0 && read(from, &byte, 1) != 1)
            interrupted += errno == EINTR;
        struct timespec short_time = { 0, 100000 };
        if (nanosleep(&short_time, NULL) != 0)
            interrupted++;
        turns++;
        if (write(to, "x", 1) != 1)
            interrupted += errno == EINTR;
    }
    return NULL;
}

static void counts(void)
{
    printf("counts errno %llu eintr %llu sigchld %llu lost %llu turns %llu\n", (unsigned long long)errno_changed,
           (unsigned long long)interrupted, (unsigned long long)child_signals, (unsigned long long)lost,
           (unsigned long long)turns);
}

int main(void)
{
    pthread_t threads[ALLOCATING + 4];
    struct sigaction action = { .sa_handler = child };
    sigaction(SIGCHLD, &action, NULL);
    if (pipe(there) != 0 || pipe(back) != 0 || write(there[1], "x", 1) != 1)
        return 1;
    for (uintptr_t i = 0; i < ALLOCATING; i++)
        pthread_create(&threads[i], NULL, allocate, (void *)(i + 1));
    for (uintptr_t i = 0; i < 2; i++) {
        pthread_create(&threads[ALLOCATING + i], NULL, take_turns, (void *)i);
        pthread_create(&threads[ALLOCATING + 2 + i], NULL, pass_on, (void *)i);
    }
    ready();
    for (const char *line; !(line = command_within(-1)) || strcmp(line, "stop") != 0;)
        if (line)
            counts();
    counts();
    stopping = 1;
    pthread_cond_broadcast(&changed);
    for (int i = 0; i < ALLOCATING + 4; i++)
        pthread_join(threads[i], NULL);
    puts("hash ok");
    return 0;
}
