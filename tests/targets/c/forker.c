/* forker: a busy parent that forks children all the time; a child allocates, checks what it allocated, and exits.
 *
 * Truth: leaks nothing in the parent. Prints at `stop` `children N bad M`; bad counts children that ended by a signal or
 * with another code than 7, and must be 0 whatever is attached to the parent. Command: stop.
 */
#include "target.h"
#include <sys/wait.h>

enum { BLOCKS = 1000, CHILD_CODE = 7 };

static FRAME int allocate_and_check(unsigned seed)
{
    static unsigned char *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        size_t size = 16 + (seed * 31 + i * 17) % 2000;
        blocks[i] = malloc(size);
        if (!blocks[i])
            return 1;
        memset(blocks[i], (int)(i & 255), size);
    }
    int bad = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        bad |= blocks[i][15] != (i & 255);
        free(blocks[i]);
    }
    return bad;
}

int main(void)
{
    unsigned children = 0, bad = 0;
    ready();
    for (;;) {
        const char *command = command_within(5);
        if (command && strcmp(command, "stop") == 0)
            break;
        bad += allocate_and_check(children) != 0;
        pid_t child = fork();
        if (child == 0)
            _exit(allocate_and_check(children + 1) == 0 ? CHILD_CODE : 1);
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child)
            abort();
        children++;
        bad += !WIFEXITED(status) || WEXITSTATUS(status) != CHILD_CODE;
    }
    printf("children %u bad %u\n", children, bad);
    return 0;
}
