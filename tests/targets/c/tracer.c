/* tracer: traces another process and lets it run, as a debugger does. A second tracer must be refused, with its number.
 *
 * Truth: the process given by --pid has this one as its tracer from `ready` until `stop`. Never stops it.
 */
#include "target.h"
#include <sys/ptrace.h>

int main(int count, char **words)
{
    unsigned pid = option(count, words, "--pid", 0);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
        return 1;
    ready();
    for (const char *command = NULL; !command || strcmp(command, "stop") != 0;)
        command = command_within(-1);
    return 0;
}
