/* inspected: one of everything that an inspection tells apart, and nothing that moves unless it is told to.
 *
 * Truth: 5,000 blocks of 1,000 bytes on the heap, 3 MiB of anonymous memory that is touched and 7 MiB that is not, 2 MiB of shared memory
 * of POSIX and 1 MiB of System V (`segment ID`), 20 descriptors on /etc/hosts beside what a program has anyway, 5 threads called `red`
 * with an escape sequence in front. Commands: grow (64 blocks of 64 KiB and 10 descriptors more, says `grown`), stop.
 */
#include "target.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>

enum { BLOCKS = 5000, FILES = 20, THREADS = 5, MIB = 1 << 20 };

static void *wait_here(void *argument)
{
    (void)argument;
    prctl(PR_SET_NAME, "\033[31mred");
    for (;;)
        pause();
}

static void *touched(size_t size, int flags, int file)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, 0);
    if (memory == MAP_FAILED)
        abort();
    memset(memory, 1, size);
    return memory;
}

static void open_files(int count)
{
    for (int i = 0; i < count; i++)
        if (open("/etc/hosts", O_RDONLY) < 0)
            abort();
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < BLOCKS; i++) {
        char *block = malloc(1000);
        if (!block)
            abort();
        memset(block, 1, 1000);
        USED(block);
    }
    touched(3 * MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (mmap(NULL, 7 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
        abort();
    int shared = memfd_create("inspected", 0);
    if (shared < 0 || ftruncate(shared, 2 * MIB) != 0)
        abort();
    touched(2 * MIB, MAP_SHARED, shared);
    int segment = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
    char *attached = segment < 0 ? (void *)-1 : shmat(segment, NULL, 0);
    if (attached == (void *)-1)
        abort();
    memset(attached, 1, MIB);
    /* It goes away with the last process that has it. */
    shmctl(segment, IPC_RMID, NULL);
    open_files(FILES);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, wait_here, NULL) != 0)
            abort();
    ready();
    printf("segment %d\n", segment);
    for (;;) {
        const char *command = command_within(1000);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command && strcmp(command, "grow") == 0) {
            for (int i = 0; i < 64; i++) {
                char *block = malloc(64 << 10);
                if (!block)
                    abort();
                memset(block, 1, 64 << 10);
                USED(block);
            }
            open_files(10);
            puts("grown");
        }
    }
}
