/* offspring: forks one child each time it is told to; parent and children allocate and check their blocks all the time.
 *
 * Truth: leaks nothing. `fork` is answered by `child PID`. A child ends with its parent's pipe: when the parent stops, children see the end
 * of theirs and end with code 7 if all their blocks were right. Prints at `stop` `children N bad M`. Commands: fork, stop.
 */
#include "target.h"
#include <sys/wait.h>

enum { BLOCKS = 64, CHILDREN_MAX = 16, CHILD_CODE = 7 };

static FRAME int allocate_and_check(unsigned seed)
{
    unsigned char *blocks[BLOCKS];
    int bad = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t size = 16 + (seed * 31 + i * 17) % 2000;
        blocks[i] = malloc(size);
        if (!blocks[i])
            abort();
        memset(blocks[i], (int)(i & 255), size);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        bad |= blocks[i][15] != (i & 255);
        free(blocks[i]);
    }
    return bad;
}

/* Works until the pipe ends. */
static int live(int pipe_end)
{
    int bad = 0;
    for (unsigned seed = 0;; seed++) {
        struct pollfd end = { pipe_end, POLLIN, 0 };
        bad |= allocate_and_check(seed);
        if (poll(&end, 1, 1) > 0)
            return bad ? 1 : CHILD_CODE;
    }
}

int main(void)
{
    int ends[2], children = 0, bad = 0;
    pid_t pids[CHILDREN_MAX];
    if (pipe(ends) != 0)
        abort();
    ready();
    for (unsigned seed = 0;; seed++) {
        const char *command = command_within(1);
        bad += allocate_and_check(seed);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (command && strcmp(command, "fork") == 0 && children < CHILDREN_MAX) {
            pid_t child = fork();
            if (child == 0) {
                close(ends[1]);
                close(STDIN_FILENO);
                _exit(live(ends[0]));
            }
            pids[children++] = child;
            printf("child %d\n", child);
        }
    }
    close(ends[1]);
    for (int i = 0; i < children; i++) {
        int status = 0;
        bad += waitpid(pids[i], &status, 0) != pids[i] || !WIFEXITED(status) || WEXITSTATUS(status) != CHILD_CODE;
    }
    printf("children %d bad %d\n", children, bad);
    return 0;
}
