/* Runs a command under a seccomp filter that refuses ptrace with EPERM, as containers do: filtered COMMAND ARGUMENTS…
 *
 * Truth: what it becomes is that program, with all else as it was.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EPERM_VERDICT (SECCOMP_RET_ERRNO | 1)

int main(int count, char **arguments)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, EPERM_VERDICT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog all = { sizeof program / sizeof *program, program };
    if (count < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all))
        return 3;
    execv(arguments[1], arguments + 1);
    perror(arguments[1]);
    return 4;
}
