/* sockets: one of each kind that an inspection tells apart, and nothing that moves.
 *
 * Truth: one socket listens on a port of the loopback (`port NUMBER`) and has 3 connections that the other end gave up and this one
 * never closed; one socket for UDP, a connected pair of the local machine, one that listens as `@leakline ESC[31m`, one of
 * netlink's family `route`. Commands: stop.
 */
#include "target.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { GIVEN_UP = 3 };

static int checked(int result)
{
    if (result < 0)
        abort();
    return result;
}

static int listening_on(struct sockaddr_in *place)
{
    socklen_t length = sizeof *place;
    int listener = checked(socket(AF_INET, SOCK_STREAM, 0));
    checked(bind(listener, (struct sockaddr *)place, length));
    checked(listen(listener, GIVEN_UP));
    checked(getsockname(listener, (struct sockaddr *)place, &length));
    return listener;
}

int main(void)
{
    struct sockaddr_in place = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = listening_on(&place);
    for (int i = 0; i < GIVEN_UP; i++) {
        int client = checked(socket(AF_INET, SOCK_STREAM, 0));
        checked(connect(client, (struct sockaddr *)&place, sizeof place));
        int served = checked(accept(listener, NULL, NULL));
        close(client);
        char byte;
        /* Nothing more comes: the end of the other side has arrived. */
        checked((int)read(served, &byte, 1));
    }
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    checked(bind(checked(socket(AF_INET, SOCK_DGRAM, 0)), (struct sockaddr *)&any, sizeof any));
    int pair[2];
    checked(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "leakline \033[31m%d", (int)getpid());
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name.sun_path + 1));
    int local = checked(socket(AF_UNIX, SOCK_STREAM, 0));
    checked(bind(local, (struct sockaddr *)&name, length));
    checked(listen(local, 1));
    /* One that was never bound is in no table of the kernel. */
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    checked(bind(checked(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)), (struct sockaddr *)&kernel, sizeof kernel));
    ready();
    printf("port %d\n", ntohs(place.sin_port));
    for (;;) {
        const char *command = command_within(1000);
        if (command && strcmp(command, "stop") == 0)
            return 0;
    }
}
