/* fates: keeps allocating blocks that it never frees, by three functions that differ in what becomes of the pointers.
 *
 * Truth: lose_one loses every block; list_one puts each at the head of a list whose anchor is a block of before `ready`;
 * middle_one keeps only a pointer to the middle of each. Prints at `stop` how many of each it made. Commands: stop.
 */
#include "target.h"

struct node {
    struct node *next;
    char text[56];
};

static struct node **anchor;
char *middles[1 << 20];
static unsigned made;

static FRAME void lose_one(void)
{
    char *block = malloc(72);
    memset(block, 'l', 72);
    USED(block);
}

static FRAME void list_one(void)
{
    struct node *node = malloc(sizeof *node);
    memset(node->text, 'n', sizeof node->text);
    node->next = *anchor;
    *anchor = node;
}

static FRAME void middle_one(void)
{
    char *block = malloc(200);
    memset(block, 'm', 200);
    USED(block);
    middles[made] = block + 100;
}

/* Overwrites what the calls before have left on the stack: a stale pointer there would keep one block more. */
static FRAME void forget(void)
{
    volatile char bytes[4096];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0;
}

int main(void)
{
    anchor = calloc(1, sizeof *anchor);
    ready();
    for (;;) {
        const char *command = command_within(10);
        if (command && strcmp(command, "stop") == 0)
            break;
        if (made < sizeof middles / sizeof *middles) {
            lose_one();
            list_one();
            middle_one();
            made++;
            forget();
        }
    }
    printf("made %u of each\n", made);
    return 0;
}
