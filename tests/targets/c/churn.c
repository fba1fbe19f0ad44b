/* churn: a busy program that allocates and frees all the time, and leaks only where and when it is told to.
 *
 * Truth: of the blocks allocated by leak_site (64 call stacks, one of them ends there) every Nth is never freed while
 * leaking is on; every other block is freed. At `stop` it prints exactly how many it lost since `mark`.
 *
 * Work: T threads, each with a window of W live blocks of 16..1024 bytes (uniform); one pair = one malloc of a random
 * one of 64 stacks of depth D + one free of the oldest block. A tool sees D + 3 frames (worker_main, start_thread, clone3).
 * Each block carries a pattern that is verified before its free; a broken one aborts the program.
 *
 * Options: --threads T (1) --depth D (5, 2..32) --window W (1000) --leak N (0: never) --leak-later (off until `leak on`)
 *          --check-full (patterns in whole blocks, not at both ends) --seconds S (0: until `stop`) --quiet (no line a second)
 *          --watch (a thread that wakes each 50 us, SCHED_FIFO where allowed, and records the longest gap)
 * Commands on stdin, each answered by a line: mark, leak on, leak off, rate, gap, pause, resume, drain (while paused:
 *          frees all windows), stop. The end of stdin is `stop`.
 * Lines:   ready watcher=fifo|normal|none
 *          second N pairs P ns_per_pair X wall_ns_per_pair Y      (X leaves out the time spent waiting for a cpu)
 *          rate pairs P ns_per_pair X wall_ns_per_pair Y          (since the last `rate`)
 *          gap_ns G                                               (longest since the last `gap`)
 *          leaked N blocks B bytes at LEAK-LINE since mark
 *          hash ok
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SITES 64u
#define DEPTH_MAX 32u
#define THREADS_MAX 256u
#define FRAME __attribute__((noinline, noclone, noipa))
#define KEEP(value) __asm__ volatile("" : "+m"(value))

struct slot {
    char *block;
    uint32_t size;
};

/* Written by its own thread only; a cache line of its own. */
struct worker {
    _Alignas(128) uint64_t random;
    uint64_t state;
    unsigned depth;
    size_t head;
    struct slot *ring;
    uint64_t hash_in, hash_out, hash_leaked, leak_turn;
    _Atomic uint64_t pairs, leaked_blocks, leaked_bytes;
    _Atomic int tid, paused, drained;
    pthread_t thread;
    _Alignas(128) char end[1];
};

static struct worker workers[THREADS_MAX];
static unsigned threads = 1, depth = 5, leak_every, seconds;
static size_t window = 1000;
static int check_full, watch, quiet, leak_later;

static _Alignas(128) _Atomic int stopping, pausing, draining, leaking;
static _Alignas(128) _Atomic uint64_t gap_longest;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "churn: %s\n", what);
    abort();
}

/* ---- the 64 stacks ---------------------------------------------------------------------------------------------- */

typedef char *step(struct worker *w, unsigned site, size_t size);

static FRAME char *leak_site(struct worker *w, unsigned site, size_t size)
{
    char *block = malloc(size); /* LEAK-LINE */
    w->state += site;
    return block;
}

#define SITE(n)                                                        \
    static FRAME char *site_##n(struct worker *w, unsigned site, size_t size) \
    {                                                                  \
        char *block = malloc(size);                                    \
        w->state += site + 0x##n;                                      \
        return block;                                                  \
    }
#define SITE_ROW(r) SITE(r##0) SITE(r##1) SITE(r##2) SITE(r##3) SITE(r##4) SITE(r##5) SITE(r##6) SITE(r##7) \
    SITE(r##8) SITE(r##9) SITE(r##a) SITE(r##b) SITE(r##c) SITE(r##d) SITE(r##e) SITE(r##f)
SITE_ROW(0) SITE_ROW(1) SITE_ROW(2) SITE_ROW(3)
#define NAME(n) site_##n
#define NAME_ROW(r) NAME(r##0), NAME(r##1), NAME(r##2), NAME(r##3), NAME(r##4), NAME(r##5), NAME(r##6), NAME(r##7), \
    NAME(r##8), NAME(r##9), NAME(r##a), NAME(r##b), NAME(r##c), NAME(r##d), NAME(r##e), NAME(r##f)
static step *const sites[SITES] = { NAME_ROW(0), NAME_ROW(1), NAME_ROW(2), NAME_ROW(3) };

static inline __attribute__((always_inline)) char *deeper(struct worker *w, unsigned level, unsigned site, size_t size);

/* Four functions a level with frames of different size; bits of the site choose the path, so that stacks share parts. */
#define LEVEL(l, v, words)                                                   \
    static FRAME char *level_##l##_##v(struct worker *w, unsigned site, size_t size) \
    {                                                                        \
        uint64_t locals[words];                                              \
        locals[0] = w->state + l;                                            \
        KEEP(locals[0]);                                                     \
        char *block = deeper(w, l + 1, site, size);                          \
        KEEP(locals[0]);                                                     \
        w->state = locals[0] + v;                                            \
        return block;                                                        \
    }
#define LEVEL_ROW(l) LEVEL(l, 0, 1) LEVEL(l, 1, 4) LEVEL(l, 2, 7) LEVEL(l, 3, 14)
#define LEVELS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30)
#define DECLARE_ROW(l) static step level_##l##_0, level_##l##_1, level_##l##_2, level_##l##_3;
#define TABLE_ROW(l) { level_##l##_0, level_##l##_1, level_##l##_2, level_##l##_3 },
LEVELS(DECLARE_ROW)
static step *const levels[DEPTH_MAX - 1][4] = { LEVELS(TABLE_ROW) };

static inline char *deeper(struct worker *w, unsigned level, unsigned site, size_t size)
{
    if (level >= DEPTH_MAX - 1 || level + 1 >= w->depth)
        return site == 0 ? leak_site(w, site, size) : sites[site](w, site, size);
    /* The first three levels tell the 64 stacks apart; the later ones vary less, as mispredicted calls would be the main cost. */
    unsigned variant = level < 3 ? (site >> (2 * level)) & 3 : 2 * (level & 1) + ((site >> (level & 4)) & 1);
    return levels[level][variant](w, site, size);
}
LEVELS(LEVEL_ROW)

/* ---- one thread ------------------------------------------------------------------------------------------------- */

static uint64_t pattern(const char *block, size_t size)
{
    return ((uint64_t)(uintptr_t)block * 0x9e3779b97f4a7c15u) ^ size;
}

static void fill(struct worker *w, struct slot slot)
{
    uint64_t word = pattern(slot.block, slot.size);
    for (size_t at = 0; check_full && at + 8 <= slot.size; at += 8)
        memcpy(slot.block + at, &word, 8);
    memcpy(slot.block, &word, 8);
    memcpy(slot.block + slot.size - 8, &word, 8);
    w->hash_in += word;
}

static void verify_and_free(struct worker *w, struct slot *slot)
{
    uint64_t word = pattern(slot->block, slot->size), first, last;
    memcpy(&last, slot->block + slot->size - 8, 8);
    memcpy(&first, slot->block, 8);
    if (last != word || (slot->size >= 16 && first != word))
        die("hash broken: a block was overwritten");
    for (size_t at = 0; check_full && at + 16 <= slot->size; at += 8)
        if (memcmp(slot->block + at, &word, 8) != 0)
            die("hash broken: a block was overwritten inside");
    w->hash_out += word;
    free(slot->block);
    slot->block = NULL;
}

static void drain(struct worker *w)
{
    for (size_t i = 0; i < window; i++)
        if (w->ring[i].block)
            verify_and_free(w, &w->ring[i]);
}

static void lose(struct worker *w, struct slot slot)
{
    w->hash_leaked += pattern(slot.block, slot.size);
    atomic_store_explicit(&w->leaked_blocks, w->leaked_blocks + 1, memory_order_relaxed);
    atomic_store_explicit(&w->leaked_bytes, w->leaked_bytes + slot.size, memory_order_relaxed);
}

static inline void pair(struct worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    unsigned site = (unsigned)(w->random >> 40) % SITES;
    uint32_t size = 16 + (uint32_t)(w->random >> 8) % 1009;
    struct slot slot = { levels[0][site & 3](w, site, size), size };
    if (!slot.block)
        die("out of memory");
    fill(w, slot);
    if (site == 0 && leak_every && atomic_load_explicit(&leaking, memory_order_relaxed) && ++w->leak_turn % leak_every == 0) {
        lose(w, slot);
    } else {
        struct slot *oldest = &w->ring[w->head];
        w->head = w->head + 1 == window ? 0 : w->head + 1;
        if (oldest->block)
            verify_and_free(w, oldest);
        *oldest = slot;
    }
    atomic_store_explicit(&w->pairs, w->pairs + 1, memory_order_relaxed);
}

static void rest(struct worker *w)
{
    const struct timespec millisecond = { 0, 1000000 };
    w->paused = 1;
    while (pausing && !stopping) {
        if (draining && !w->drained) {
            drain(w);
            w->drained = 1;
        }
        nanosleep(&millisecond, NULL);
    }
    w->paused = 0;
}

static FRAME void *worker_main(void *argument)
{
    struct worker *w = argument;
    w->tid = (int)syscall(SYS_gettid);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        pair(w);
        if (atomic_load_explicit(&pausing, memory_order_relaxed))
            rest(w);
    }
    drain(w);
    if (w->hash_in != w->hash_out + w->hash_leaked)
        die("hash broken: blocks went missing");
    return NULL;
}

/* ---- the clock watcher ------------------------------------------------------------------------------------------ */

static void *watcher_main(void *argument)
{
    (void)argument;
    prctl(PR_SET_TIMERSLACK, 1);
    const struct timespec beat = { 0, 50000 };
    for (uint64_t last = now_ns(); !stopping;) {
        nanosleep(&beat, NULL);
        uint64_t now = now_ns(), gap = now - last, longest = gap_longest;
        while (gap > longest && !atomic_compare_exchange_weak(&gap_longest, &longest, gap)) {}
        last = now;
    }
    return NULL;
}

static const char *start_watcher(pthread_t *thread)
{
    pthread_attr_t attributes;
    struct sched_param priority = { .sched_priority = 10 };
    pthread_attr_init(&attributes);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
    pthread_attr_setschedparam(&attributes, &priority);
    if (pthread_create(thread, &attributes, watcher_main, NULL) == 0)
        return "fifo";
    if (pthread_create(thread, NULL, watcher_main, NULL) != 0)
        die("cannot start the watcher");
    return "normal";
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

struct reading {
    uint64_t at, pairs, waited;
};

/* Second figure of schedstat: time that the thread could have run but waited for a cpu. No stdio: it would allocate. */
static uint64_t waited_ns(int tid)
{
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length < 0 ? 0 : length] = 0;
    unsigned long long ran = 0, waited = 0;
    sscanf(text, "%llu %llu", &ran, &waited);
    return waited;
}

static struct reading read_all(void)
{
    struct reading r = { now_ns(), 0, 0 };
    for (unsigned i = 0; i < threads; i++) {
        r.pairs += workers[i].pairs;
        r.waited += waited_ns(workers[i].tid);
    }
    return r;
}

static void print_rate(const char *head, struct reading *since)
{
    struct reading r = read_all();
    double pairs = (double)(r.pairs - since->pairs), wall = (double)(r.at - since->at) * threads;
    double busy = wall - (double)(r.waited - since->waited);
    printf("%s pairs %.0f ns_per_pair %.2f wall_ns_per_pair %.2f\n", head, pairs, pairs ? busy / pairs : 0.0,
           pairs ? wall / pairs : 0.0);
    *since = r;
}

static void leaked(uint64_t *blocks, uint64_t *bytes)
{
    *blocks = *bytes = 0;
    for (unsigned i = 0; i < threads; i++) {
        *blocks += workers[i].leaked_blocks;
        *bytes += workers[i].leaked_bytes;
    }
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

static struct reading since_second, since_rate;
static uint64_t marked_blocks, marked_bytes;

static void wait_all(size_t offset, int value)
{
    const struct timespec short_time = { 0, 200000 };
    for (unsigned i = 0; i < threads; i++)
        while (*(_Atomic int *)((char *)&workers[i] + offset) != value)
            nanosleep(&short_time, NULL);
}

static void command(const char *line)
{
    if (strcmp(line, "mark") == 0) {
        leaked(&marked_blocks, &marked_bytes);
        puts("marked");
    } else if (strcmp(line, "leak on") == 0 || strcmp(line, "leak off") == 0) {
        leaking = line[6] == 'n';
        puts(line);
    } else if (strcmp(line, "rate") == 0) {
        print_rate("rate", &since_rate);
    } else if (strcmp(line, "gap") == 0) {
        printf("gap_ns %llu\n", (unsigned long long)atomic_exchange(&gap_longest, 0));
    } else if (strcmp(line, "pause") == 0) {
        pausing = 1;
        wait_all(offsetof(struct worker, paused), 1);
        puts("paused");
    } else if (strcmp(line, "resume") == 0) {
        pausing = 0;
        wait_all(offsetof(struct worker, paused), 0);
        since_rate = read_all();
        puts("resumed");
    } else if (strcmp(line, "drain") == 0) {
        for (unsigned i = 0; i < threads; i++)
            workers[i].drained = 0;
        draining = pausing;
        if (pausing)
            wait_all(offsetof(struct worker, drained), 1);
        puts(pausing ? "drained" : "drain: pause first");
        draining = 0;
    } else if (strcmp(line, "stop") == 0) {
        stopping = 1;
    } else {
        printf("unknown command: %s\n", line);
    }
}

/* Commands may arrive in pieces; the end of stdin stops the program, so that it never outlives its starter. */
static void read_commands(int timeout_ms)
{
    static char text[256];
    static size_t length;
    struct pollfd input = { STDIN_FILENO, POLLIN, 0 };
    if (poll(&input, 1, timeout_ms) <= 0)
        return;
    ssize_t got = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
    if (got <= 0) {
        stopping = got == 0 || errno != EINTR;
        return;
    }
    length += (size_t)got;
    text[length] = 0;
    for (char *end; (end = strchr(text, '\n')) != NULL;) {
        *end = 0;
        command(text);
        length -= (size_t)(end + 1 - text);
        memmove(text, end + 1, length + 1);
    }
    if (length == sizeof text - 1)
        length = 0;
}

static void run(void)
{
    uint64_t started = now_ns();
    for (unsigned second = 0; !stopping && !(seconds && second >= seconds);) {
        uint64_t beat = started + (second + 1) * 1000000000ull, now = now_ns();
        if (now < beat) {
            read_commands((int)((beat - now) / 1000000) + 1);
            continue;
        }
        second++;
        if (!quiet) {
            char head[32];
            snprintf(head, sizeof head, "second %u", second);
            print_rate(head, &since_second);
        }
    }
    stopping = 1;
}

static void options(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        const char *word = words[i];
        unsigned value = i + 1 < count ? (unsigned)strtoul(words[i + 1], NULL, 10) : 0;
        int takes = 1;
        if (strcmp(word, "--threads") == 0) threads = value;
        else if (strcmp(word, "--depth") == 0) depth = value;
        else if (strcmp(word, "--window") == 0) window = value;
        else if (strcmp(word, "--leak") == 0) leak_every = value;
        else if (strcmp(word, "--seconds") == 0) seconds = value;
        else takes = 0;
        i += takes;
        if (strcmp(word, "--leak-later") == 0) leak_later = 1;
        else if (strcmp(word, "--check-full") == 0) check_full = 1;
        else if (strcmp(word, "--watch") == 0) watch = 1;
        else if (strcmp(word, "--quiet") == 0) quiet = 1;
        else if (!takes) die("unknown option; see the head of churn.c");
    }
    leaking = leak_every && !leak_later;
    if (threads < 1 || threads > THREADS_MAX || depth < 2 || depth > DEPTH_MAX || window < 1)
        die("threads 1..256, depth 2..32, window 1..");
}

int main(int count, char **words)
{
    static char output[4096];
    setvbuf(stdout, output, _IOLBF, sizeof output);
    options(count, words);
    pthread_t watcher;
    const char *kind = watch ? start_watcher(&watcher) : "none";
    for (unsigned i = 0; i < threads; i++) {
        workers[i].random = 0x2545f4914f6cdd1du * (i + 1);
        workers[i].depth = depth;
        workers[i].ring = calloc(window, sizeof *workers[i].ring);
        if (!workers[i].ring || pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
            die("cannot start a worker");
    }
    for (unsigned i = 0; i < threads; i++)
        while (workers[i].pairs < 2 * window)
            sched_yield();
    since_second = since_rate = read_all();
    gap_longest = 0;
    printf("ready watcher=%s\n", kind);
    run();
    for (unsigned i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
    if (watch)
        pthread_join(watcher, NULL);
    uint64_t blocks, bytes;
    leaked(&blocks, &bytes);
    printf("leaked %llu blocks %llu bytes at LEAK-LINE since mark\n", (unsigned long long)(blocks - marked_blocks),
           (unsigned long long)(bytes - marked_bytes));
    puts("hash ok");
    return 0;
}
