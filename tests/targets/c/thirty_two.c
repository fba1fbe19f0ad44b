/* thirty_two: a 32-bit program without any library; an attach must refuse it and leave it as it is.
 *
 * Truth: never allocates; prints `ready`, then `alive` for each line on stdin, and ends with stdin. Built by
 * gcc -m32 -nostdlib -static -ffreestanding, which needs no 32-bit libraries.
 */
static int call(int number, int a, const void *b, int c)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

enum { CALL_EXIT = 1, CALL_READ = 3, CALL_WRITE = 4 };

void _start(void)
{
    char byte;
    call(CALL_WRITE, 1, "ready\n", 6);
    while (call(CALL_READ, 0, &byte, 1) == 1)
        if (byte == '\n')
            call(CALL_WRITE, 1, "alive\n", 6);
    call(CALL_EXIT, 0, 0, 0);
}
