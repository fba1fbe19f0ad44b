// cancelled: threads that are cancelled at any instant while they open and close descriptors.
//
// Truth: leaks what the C library itself loses when a thread is cancelled between the system call of `open` and its return (glibc bug
// 12683): at `stop` it prints `cancelled N unwound U lost L`. N threads were cancelled and U of them had the destructors of their frames
// run, which must be as many; L descriptors are open that were not before. Commands: mark (threads are cancelled only from then on; answered
// by `marked`), rest (no more of them; answered by `resting`), stop.
#include "../c/target.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <atomic>

static std::atomic<unsigned> unwound;
static std::atomic<int> begun;

struct Frame {
    ~Frame() { unwound++; }
};

static FRAME int open_here()
{
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC); // OPEN-LINE
    return file;
}

static void *work(void *)
{
    Frame frame;
    begun = 1;
    for (;;) {
        int file = open_here();
        if (file >= 0)
            close(file);
    }
}

static unsigned open_files()
{
    unsigned count = 0;
    for (int file = 0; file < 4096; file++)
        count += fcntl(file, F_GETFD) >= 0;
    return count;
}

static void cancel_one(uint64_t random)
{
    pthread_t thread;
    void *result = nullptr;
    begun = 0;
    if (pthread_create(&thread, nullptr, work, nullptr) != 0)
        abort();
    while (!begun)
        sched_yield();
    for (uint64_t until = now_ns() + random % 60000; now_ns() < until;) {}
    pthread_cancel(thread);
    if (pthread_join(thread, &result) != 0 || result != PTHREAD_CANCELED)
        abort();
}

int main()
{
    unsigned before = open_files(), cancelled = 0;
    bool working = false;
    uint64_t random = 0x2545f4914f6cdd1du;
    ready();
    for (;;) {
        const char *command = command_within(working ? 0 : 20);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command) {
            working = strcmp(command, "mark") == 0;
            puts(working ? "marked" : "resting");
        }
        if (!working)
            continue;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        cancel_one(random >> 20);
        // What it lost stays open, up to a limit.
        cancelled++;
        if (open_files() > 900)
            working = false;
    }
    printf("cancelled %u unwound %u lost %u\n", cancelled, unwound.load(), open_files() - before);
    return 0;
}
