/* spawner: allocates in one thread while another starts children by vfork, posix_spawn and fork, all of which end by _exit or
 * exec, some of them in vain.
 *
 * Truth: loses nothing; prints `children N bad M` at its end, and M is 0 whatever watches it. Exit status: 0 if M is 0.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 40 };
static volatile int over;
extern char **environ;

static void *allocate(void *unused)
{
    while (!over) {
        char *block = malloc(100);
        if (!block)
            abort();
        memset(block, 1, 100);
        __asm__ volatile("" : : "r"(block) : "memory");
        free(block);
    }
    return unused;
}

static int ended_with(pid_t child, int code)
{
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == code;
}

int main(void)
{
    static char *works[] = {"/bin/true", NULL};
    pthread_t thread;
    int children = 0, bad = 0;
    if (pthread_create(&thread, NULL, allocate, NULL))
        return 2;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (i & 1)
                execve("/no/such/program", works, environ);
            else
                execve("/bin/true", works, environ);
            _exit(9);
        }
        bad += !ended_with(child, i & 1 ? 9 : 0);
        if (posix_spawn(&child, "/bin/true", NULL, NULL, works, environ))
            bad++;
        else
            bad += !ended_with(child, 0);
        bad += posix_spawn(&child, "/no/such/program", NULL, NULL, works, environ) == 0;
        child = fork();
        if (child == 0) {
            free(malloc(50));
            _exit(5);
        }
        bad += !ended_with(child, 5);
        children += 4;
    }
    over = 1;
    pthread_join(thread, NULL);
    printf("children %d bad %d\n", children, bad);
    return bad != 0;
}
