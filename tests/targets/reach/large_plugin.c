/* large_plugin: the library of `plugin`, with 300,000 further functions, whose unwind tables take five megabytes. */
#include "plugin.c"

__asm__(".text\n"
        ".rept 300000\n"
        ".cfi_startproc\n"
        "push %rbx\n"
        ".cfi_def_cfa_offset 16\n"
        "pop %rbx\n"
        ".cfi_def_cfa_offset 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".endr\n");
