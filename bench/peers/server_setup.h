// SPDX-License-Identifier: MIT
// What every C echo server here does before it serves: options, listening socket, the line that
// says where.
#ifndef HOB_BENCH_PEERS_SERVER_SETUP_H
#define HOB_BENCH_PEERS_SERVER_SETUP_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { buffer_size = 16 * 1024, listen_backlog = 4096 };

struct server_options {
    uint16_t port;
    int multishot; // only the io_uring server has this variant
};

static inline void die(const char* what, int error_number) {
    fprintf(stderr, "%s: %s\n", what, strerror(error_number));
    exit(1);
}

static inline struct server_options parse_options(int argc, char** argv, int accepts_multishot) {
    struct server_options options = {0, 0};
    for (int i = 1; i < argc; ++i) {
        char* end = NULL;
        if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            const unsigned long port = strtoul(argv[++i], &end, 10);
            if (*argv[i] != '\0' && *end == '\0' && port <= UINT16_MAX) {
                options.port = (uint16_t)port;
                continue;
            }
        } else if (accepts_multishot && strcmp(argv[i], "--multishot") == 0) {
            options.multishot = 1;
            continue;
        }
        fprintf(stderr, "usage: %s [--port N]%s\n", argv[0],
                accepts_multishot ? " [--multishot]" : "");
        exit(2);
    }
    return options;
}

static inline void end_of_service(int signal_number) {
    (void)signal_number;
    _exit(0);
}

// Leaves from the handler: a flag tested by the loop could be set just after the test and before
// the wait.
static inline void end_on_sigterm(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = end_of_service;
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static inline void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline void announce(uint16_t port) {
    printf("listening on 127.0.0.1:%u\n", (unsigned)port);
    fflush(stdout);
}

static inline void set_no_delay(int socket_fd) {
    const int on = 1;
    setsockopt(socket_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Returns a listening socket on the loopback address; `type_flags` may hold SOCK_NONBLOCK.
static inline int listen_on_loopback(uint16_t port, int type_flags) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);
    if (listener < 0)
        die("socket", errno);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr*)&address, length) != 0)
        die("bind", errno);
    if (listen(listener, listen_backlog) != 0)
        die("listen", errno);
    if (getsockname(listener, (struct sockaddr*)&address, &length) != 0)
        die("getsockname", errno);
    raise_descriptor_limit();
    end_on_sigterm();
    announce(ntohs(address.sin_port));
    return listener;
}

#endif
