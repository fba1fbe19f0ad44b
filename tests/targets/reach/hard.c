/* hard: processes that make an attach difficult, one way each.
 *
 * Truth: on each `go` it makes blocks in the way that its first argument names and frees every other; then prints
 * `site NAME allocated N BYTES live N BYTES` with the totals so far, and `done`. All threads use the same site.
 *   threads     200 threads that live as long as the program work at the same time
 *   spawn       while the program lives, another thread starts and joins threads all the time, uncounted (`noise`)
 *   tiny        threads with the smallest stack that there is
 *   coroutines  blocks are made on stacks of swapcontext
 *   altstack    blocks are made by a signal handler on an alternate stack
 *   jit         blocks are made through code written at run time, with and without a frame pointer
 *   private     the program forbids dumps of itself (PR_SET_DUMPABLE)
 *   filtered    a seccomp filter refuses memfd_create and executable mappings
 *   strict      a seccomp filter ends the program for them
 *   plain       none of these: for programs that are difficult from outside
 * Commands: go, stop.
 */
#include "../c/target.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { THREADS = 200, ROUNDS = 100, SIZE = 40, STACK = 64 * 1024 };

static _Atomic uint64_t allocated, live;

static void *took(void *block)
{
    if (!block)
        abort();
    memset(block, 1, SIZE);
    allocated++;
    live++;
    return block;
}

FRAME void *by_site(void) { void *b = malloc(SIZE); return took(b); }

static FRAME void noise(void)
{
    void *b = malloc(100);
    USED(b);
    free(b);
}

static void some(int rounds)
{
    for (int round = 0; round < rounds; round++) {
        void *block = by_site();
        if (round % 2) {
            live--;
            free(block);
        }
    }
}

/* Threads. */

static pthread_barrier_t begin, end;

static void *in_turns(void *unused)
{
    for (;;) {
        pthread_barrier_wait(&begin);
        some(ROUNDS);
        pthread_barrier_wait(&end);
    }
    return unused;
}

static void *once(void *unused)
{
    some(ROUNDS);
    return unused;
}

static void *short_life(void *unused)
{
    noise();
    return unused;
}

static void *spawner(void *unused)
{
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, short_life, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return unused;
}

static void start_one(void *(*body)(void *), size_t stack, int wait)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack);
    if (pthread_create(&thread, &attributes, body, NULL) != 0)
        abort();
    pthread_attr_destroy(&attributes);
    if (wait)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
}

/* Other stacks. */

static ucontext_t home, away;
static char stack_of_its_own[STACK];

static void coroutine(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        some(1);
        swapcontext(&away, &home);
    }
}

static void coroutines(void)
{
    getcontext(&away);
    away.uc_stack.ss_sp = stack_of_its_own;
    away.uc_stack.ss_size = sizeof stack_of_its_own;
    away.uc_link = &home;
    makecontext(&away, coroutine, 0);
    for (int round = 0; round <= ROUNDS; round++)
        swapcontext(&home, &away);
}

static void handler(int signal)
{
    (void)signal;
    some(2);
}

static void altstack(void)
{
    for (int round = 0; round < ROUNDS; round++)
        raise(SIGUSR1);
}

/* Code that no table describes: it calls its first argument and returns. */

static void jit(void)
{
    static const unsigned char with[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };
    static const unsigned char without[] = { 0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3 };
    static unsigned char *code;
    if (!code) {
        code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(code, with, sizeof with);
        memcpy(code + 64, without, sizeof without);
        mprotect(code, 4096, PROT_READ | PROT_EXEC);
    }
    for (int round = 0; round < ROUNDS; round++) {
        void *kept = ((void *(*)(void *(*)(void)))code)(by_site);
        void *freed = ((void *(*)(void *(*)(void)))(code + 64))(by_site);
        USED(kept);
        live--;
        free(freed);
    }
}

/* What an attach needs is forbidden. */

static void filter(unsigned verdict)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, verdict),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog all = { sizeof program / sizeof *program, program };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all))
        abort();
}

static void prepare(const char *way)
{
    if (strcmp(way, "threads") == 0) {
        pthread_barrier_init(&begin, NULL, THREADS + 1);
        pthread_barrier_init(&end, NULL, THREADS + 1);
        for (int i = 0; i < THREADS; i++)
            start_one(in_turns, STACK, 0);
    }
    if (strcmp(way, "altstack") == 0) {
        stack_t stack = { .ss_sp = stack_of_its_own, .ss_size = sizeof stack_of_its_own };
        struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
        sigaltstack(&stack, NULL);
        sigaction(SIGUSR1, &action, NULL);
    }
    /* With the first thread, glibc sets up signals. */
    if (strcmp(way, "tiny") == 0)
        start_one(short_life, STACK, 1);
    if (strcmp(way, "spawn") == 0)
        start_one(spawner, STACK, 0);
    if (strcmp(way, "private") == 0)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (strcmp(way, "filtered") == 0)
        filter(SECCOMP_RET_ERRNO | EPERM);
    if (strcmp(way, "strict") == 0)
        filter(SECCOMP_RET_KILL_PROCESS);
}

static void go(const char *way)
{
    if (strcmp(way, "threads") == 0) {
        pthread_barrier_wait(&begin);
        pthread_barrier_wait(&end);
    } else if (strcmp(way, "tiny") == 0) {
        for (int i = 0; i < 20; i++)
            start_one(once, (size_t)sysconf(_SC_THREAD_STACK_MIN), 1);
    } else if (strcmp(way, "coroutines") == 0) {
        coroutines();
    } else if (strcmp(way, "altstack") == 0) {
        altstack();
    } else if (strcmp(way, "jit") == 0) {
        jit();
    } else {
        some(ROUNDS);
    }
}

int main(int count, char **words)
{
    const char *way = count > 1 ? words[1] : "plain";
    prepare(way);
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (!command || strcmp(command, "go") != 0)
            continue;
        go(way);
        printf("site by_site allocated %llu %llu live %llu %llu\n", (unsigned long long)allocated,
               (unsigned long long)allocated * SIZE, (unsigned long long)live, (unsigned long long)live * SIZE);
        puts("done");
    }
}
