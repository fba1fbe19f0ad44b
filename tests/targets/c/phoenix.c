/* phoenix: a program that becomes another one, or ends, whenever it is told to, also while its first thread is held.
 *
 * Truth: `exec` is obeyed by a thread that is not the first: it executes this program anew, which then prints `executed`
 * instead of `ready`. Meanwhile two more threads allocate and free. Commands: ping (answered by `alive`), exec, stop.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>

static _Atomic int stopping;

static void *allocate(void *argument)
{
    (void)argument;
    for (unsigned size = 16; !stopping; size = 16 + size % 500) {
        char *block = malloc(size);
        USED(block);
        free(block);
    }
    return NULL;
}

static void *obey(void *argument)
{
    char *const words[] = { argument, "again", NULL };
    for (;;) {
        const char *line = command_within(-1);
        if (line && strcmp(line, "ping") == 0)
            puts("alive");
        if (line && strcmp(line, "exec") == 0)
            execv("/proc/self/exe", words);
        if (line && strcmp(line, "stop") == 0) {
            stopping = 1;
            return NULL;
        }
    }
}

int main(int count, char **words)
{
    pthread_t threads[3];
    /* The first thread is what a remote call is made in, and what others wait for. */
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    ready();
    if (count > 1)
        puts("executed");
    pthread_create(&threads[2], NULL, obey, words[0]);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
