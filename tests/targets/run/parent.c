/* parent: starts two children and waits for them.
 *
 * Truth: the first child loses 7 blocks of 123 bytes in child_loses, the second executes the program that is the first argument; both
 * do so a second after they were started. The parent itself loses nothing. Exit status: 0 if both ended with 0.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME __attribute__((noinline, noclone))
#define USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

static FRAME void child_loses(void)
{
    for (int i = 0; i < 7; i++) {
        char *block = malloc(123);
        USED(block);
    }
}

int main(int count, char **words)
{
    int bad = 0;
    if (count < 2)
        return 2;
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            usleep(1500000);
            if (i == 0)
                child_loses();
            else
                execv(words[1], words + 1);
            exit(i);
        }
    }
    for (int i = 0; i < 2; i++) {
        int status = 0;
        bad += wait(&status) < 0 || status != 0;
    }
    return bad;
}
