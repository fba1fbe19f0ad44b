/* idle: never calls the allocator after `ready`. A tool that says "no leak" here has seen nothing: it is blind.
 *
 * Truth: no call of the allocator. Commands: stop; each other line is answered by `alive`.
 */
#include "target.h"

int main(void)
{
    ready();
    for (;;) {
        const char *command = command_within(-1);
        if (command && strcmp(command, "stop") == 0)
            return 0;
        if (command)
            puts("alive");
    }
}
