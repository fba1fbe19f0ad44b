/* holder: takes memory and descriptors in every way, gives back what the functions called tidy_ take, and keeps the rest.
 *
 * Truth: each `round` keeps, at the line with the mark:
 *   ANONYMOUS 1 mapping of 4 pages; PARTIAL 1 mapping of 4 pages less 1; GROWN 1 mapping of 2 pages and, by mremap, 3 more;
 *   FILE 1 private mapping of 1 page of this program; SHARED 1 shared mapping of 2 pages; SEGMENT 1 System V segment of 3 pages;
 *   THREAD 1 stack of 256 KiB and its guard page of a thread that ended and is not joined (--threads 0: none);
 *   SOCKET 1 descriptor; FILE-DESCRIPTOR 1; DUP 1; PIPE 2; ACCEPT 1.
 * At `stop` it prints `rounds N` and whether what it holds is still what it put there (`intact 1`).
 * Commands: round, tidy (one round of what is given back), stop.
 */
#include "target.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { PAGE = 4096, KEPT = 4096 };

extern char **environ;

static char *kept[KEPT];
static unsigned kept_count, rounds;
static int listener, threads = 1, held;
static const char *program;

/* Writes into a kept mapping what `intact` looks for. */
static void keep(void *at)
{
    if (at == MAP_FAILED || kept_count >= KEPT)
        abort();
    *(char **)at = at;
    kept[kept_count++] = at;
}

static int intact(void)
{
    for (unsigned i = 0; i < kept_count; i++)
        if (*(char **)kept[i] != kept[i])
            return 0;
    return 1;
}

static void check(int good)
{
    if (!good) {
        perror("holder");
        abort();
    }
}

static FRAME void *anonymous(size_t pages)
{
    void *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(at != MAP_FAILED);
    return at;
}

static FRAME void keep_anonymous(void)
{
    keep(anonymous(4)); /* ANONYMOUS */
}

static FRAME void keep_part(void)
{
    char *at = anonymous(4); /* PARTIAL */
    keep(at);
    check(munmap(at + 2 * PAGE, PAGE) == 0);
}

static FRAME void keep_grown(void)
{
    char *at = anonymous(2);
    at = mremap(at, 2 * PAGE, 5 * PAGE, MREMAP_MAYMOVE); /* GROWN */
    keep(at);
}

static FRAME void keep_file(void)
{
    int file = open(program, O_RDONLY | O_CLOEXEC);
    check(file >= 0);
    keep(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)); /* FILE */
    check(close(file) == 0);
}

static FRAME void keep_shared(void)
{
    keep(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)); /* SHARED */
}

static FRAME void keep_segment(void)
{
    int segment = shmget(IPC_PRIVATE, 3 * PAGE, 0600 | IPC_CREAT);
    check(segment >= 0);
    keep(shmat(segment, NULL, 0)); /* SEGMENT */
    check(shmctl(segment, IPC_RMID, NULL) == 0);
}

static void *nothing(void *argument)
{
    return argument;
}

static FRAME pthread_t make_thread(int detached)
{
    pthread_t thread;
    pthread_attr_t attributes;
    check(pthread_attr_init(&attributes) == 0);
    check(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    if (detached)
        check(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    check(pthread_create(&thread, &attributes, nothing, NULL) == 0);
    pthread_attr_destroy(&attributes);
    return thread;
}

static FRAME void keep_thread(void)
{
    make_thread(0); /* THREAD */
    __asm__ volatile("");
}

static FRAME void keep_socket(void)
{
    check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0); /* SOCKET */
}

static FRAME void keep_file_descriptor(void)
{
    check(fopen(program, "re") != NULL); /* FILE-DESCRIPTOR */
}

static FRAME void keep_dup(void)
{
    check(dup(STDIN_FILENO) > 2); /* DUP */
}

static FRAME void keep_pipe(void)
{
    int two[2];
    check(pipe2(two, O_CLOEXEC) == 0); /* PIPE */
}

/* An abstract name needs no file; the kernel chooses it. */
static void listen_somewhere(struct sockaddr_un *name, socklen_t *len)
{
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)name, sizeof(sa_family_t)) == 0 && listen(listener, 16) == 0);
    *len = sizeof *name;
    check(getsockname(listener, (struct sockaddr *)name, len) == 0);
}

static FRAME int accept_one(const struct sockaddr_un *name, socklen_t len)
{
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(client >= 0 && connect(client, (const struct sockaddr *)name, len) == 0);
    int served = accept(listener, NULL, NULL); /* ACCEPT */
    check(served >= 0 && close(client) == 0);
    return served;
}

static void one_round(const struct sockaddr_un *name, socklen_t len)
{
    keep_anonymous();
    keep_part();
    keep_grown();
    keep_file();
    keep_shared();
    keep_segment();
    if (threads)
        keep_thread();
    keep_socket();
    keep_file_descriptor();
    keep_dup();
    keep_pipe();
    accept_one(name, len);
    rounds++;
}

static FRAME void tidy_mappings(void)
{
    char *at = anonymous(8);
    check(munmap(at, 3 * PAGE) == 0 && munmap(at + 5 * PAGE, 3 * PAGE) == 0 && munmap(at + 3 * PAGE, 2 * PAGE) == 0);
    at = anonymous(2);
    at = mremap(at, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    check(at != MAP_FAILED && munmap(at, 4 * PAGE) == 0);
    /* A new mapping over an old one takes its place. */
    at = anonymous(2);
    check(mmap(at, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
    check(munmap(at, 2 * PAGE) == 0);
    errno = 0;
    check(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    check(munmap((void *)1, PAGE) == -1 && errno == EINVAL);
    char *old = sbrk(2 * PAGE);
    /* musl keeps the break to itself. */
    check(old == (void *)-1 ? errno == ENOMEM : sbrk(-2 * PAGE) == old + 2 * PAGE);
}

static FRAME void tidy_descriptors(const struct sockaddr_un *name, socklen_t len)
{
    int two[2];
    check(pipe(two) == 0 && close(two[0]) == 0 && close(two[1]) == 0);
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, two) == 0 && dup2(two[0], two[1]) == two[1]);
    check(close(two[0]) == 0 && close(two[1]) == 0);
    FILE *file = fopen(program, "re");
    check(file && fclose(file) == 0);
    DIR *folder = opendir("/");
    check(folder && readdir(folder) && closedir(folder) == 0);
    int copy = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 50);
    check(copy >= 50 && close(copy) == 0);
    errno = 0;
    check(open("/nowhere/at/all", O_RDONLY) == -1 && errno == ENOENT);
    check(close(-1) == -1 && errno == EBADF && fcntl(-1, F_DUPFD, 0) == -1 && errno == EBADF);
    check(close(accept_one(name, len)) == 0);
}

static FRAME void tidy_threads(void)
{
    check(pthread_join(make_thread(0), NULL) == 0);
    check(pthread_detach(make_thread(0)) == 0);
    make_thread(1);
}

/* A child of vfork or posix_spawn shares the memory and not the descriptors: what it closes stays open here. */
static FRAME void tidy_children(void)
{
    pid_t child = vfork();
    if (child == 0) {
        close(held);
        close(listener);
        _exit(7);
    }
    int status;
    check(child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
    posix_spawn_file_actions_t actions;
    check(posix_spawn_file_actions_init(&actions) == 0 && posix_spawn_file_actions_addclose(&actions, held) == 0);
    char *words[] = { "true", NULL };
    check(posix_spawnp(&child, "true", &actions, NULL, words, environ) == 0);
    check(waitpid(child, &status, 0) == child && status == 0);
    posix_spawn_file_actions_destroy(&actions);
    check(fcntl(held, F_GETFD) >= 0);
}

int main(int count, char **words)
{
    struct sockaddr_un name;
    socklen_t len;
    program = words[0];
    threads = option(count, words, "--threads", 1);
    listen_somewhere(&name, &len);
    ready();
    for (;;) {
        const char *command = command_within(1000);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "round") == 0) {
            one_round(&name, len);
            puts("round done");
        } else if (command && strcmp(command, "hold") == 0) {
            held = open(program, O_RDONLY); /* HELD */
            check(held >= 0);
            puts("held");
        } else if (command && strcmp(command, "tidy") == 0) {
            tidy_mappings();
            tidy_descriptors(&name, len);
            if (threads)
                tidy_threads();
            tidy_children();
            puts("tidy done");
        }
    }
    printf("rounds %u\nintact %d\n", rounds, intact());
    return intact() ? 0 : 1;
}
