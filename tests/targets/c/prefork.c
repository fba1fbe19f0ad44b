/* prefork: a server with workers of its own, and children that come and go.
 *
 * Truth: the parent loses nothing; each of two workers loses a block of 96 bytes every 10 ms in worker_loses, from before `ready`
 * until `stop`; at `spawn` a child does so in child_loses for --life milliseconds (3000) and ends; at `exec` a child executes this
 * program again with --lone 1, which loses blocks in lone_loses; at `become` one loses blocks as after `spawn`, and does
 * that then; at `busy` a child makes and frees blocks without a pause. With --grow N
 * the parent keeps N KiB more every 50 ms. Commands: spawn, exec, become, busy, stop. Children end with their parent.
 */
#include "target.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static FRAME void worker_loses(void)
{
    char *block = malloc(96);
    USED(block);
}

static FRAME void child_loses(void)
{
    char *block = malloc(97);
    USED(block);
}

static FRAME void lone_loses(void)
{
    char *block = malloc(98);
    USED(block);
}

static FRAME void keep(size_t bytes)
{
    static char **kept;
    char **block = malloc(sizeof *block + bytes);
    memset(block + 1, 'k', bytes);
    *block = (char *)kept;
    kept = block;
}

static FRAME void make_and_free(void)
{
    char *block = malloc(100);
    USED(block);
    free(block);
}

static void lose(void (*how)(void), unsigned milliseconds)
{
    uint64_t began = now_ns();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!milliseconds || now_ns() - began < milliseconds * 1000000ull) {
        how();
        pause_ms(10);
    }
}

int main(int count, char **words)
{
    if (option(count, words, "--lone", 0)) {
        lose(lone_loses, 0);
        return 1;
    }
    unsigned life = option(count, words, "--life", 3000);
    size_t grow = option(count, words, "--grow", 0) * 1024ul;
    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            lose(worker_loses, 0);
    ready();
    for (;;) {
        const char *command = command_within(50);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "spawn") == 0 && fork() == 0) {
            lose(child_loses, life);
            _exit(0);
        }
        if (grow && !command)
            keep(grow);
        if (command && strcmp(command, "busy") == 0 && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                make_and_free();
        }
        int becomes = command && strcmp(command, "become") == 0;
        if (command && (becomes || strcmp(command, "exec") == 0) && fork() == 0) {
            if (becomes)
                lose(child_loses, life);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            execl(words[0], words[0], "--lone", "1", (char *)NULL);
            _exit(1);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    printf("stopped\n");
    return 0;
}
