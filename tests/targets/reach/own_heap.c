/* own_heap: a static program without any C library. With GO it has the section by which Go's linker marks its programs.
 *
 * Truth: it has no malloc. Prints `ready` and ends at the end of stdin.
 */
static long call(long number, long a, const void *b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

#ifdef GO
__attribute__((section(".go.buildinfo"), used)) static const char mark[16] = "\xff Go buildinf:";
#endif

void _start(void)
{
    char input[64];
    call(1, 1, "ready\n", 6);
    while (call(0, 0, input, sizeof input) > 0)
        ;
    call(60, 0, 0, 0);
}
