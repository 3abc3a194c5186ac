// SPDX-License-Identifier: MIT
// TCP echo server on plain epoll: level-triggered, one thread, up to 256 events a turn.
#define _GNU_SOURCE
#include "server_setup.h"

#include <stdbool.h>
#include <sys/epoll.h>

enum { events_per_turn = 256 };

struct connection {
    int socket;
    bool waiting_to_write;
    size_t received;
    size_t sent;
    char buffer[buffer_size];
};

static bool would_block(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void close_connection(struct connection* connection) {
    close(connection->socket); // also leaves the epoll set: nobody else holds the descriptor
    free(connection);
}

static void watch(int epoll, struct connection* connection, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.ptr = connection}};
    if (epoll_ctl(epoll, operation, connection->socket, &event) != 0)
        die("epoll_ctl", errno);
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        const int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) {
            if (would_block() || errno == ECONNABORTED)
                return;
            die("accept4", errno);
        }
        struct connection* connection = malloc(sizeof *connection);
        if (connection == NULL)
            die("malloc", ENOMEM);
        connection->socket = socket;
        connection->waiting_to_write = false;
        set_no_delay(socket);
        watch(epoll, connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

// Writes what is left of the buffer; reading goes on only when all of it is written.
static void write_back(int epoll, struct connection* connection) {
    while (connection->sent < connection->received) {
        const ssize_t count = send(connection->socket, connection->buffer + connection->sent,
                                   connection->received - connection->sent, MSG_NOSIGNAL);
        if (count >= 0) {
            connection->sent += (size_t)count;
        } else if (!would_block()) {
            close_connection(connection);
            return;
        } else if (errno != EINTR) {
            if (!connection->waiting_to_write)
                watch(epoll, connection, EPOLL_CTL_MOD, EPOLLOUT);
            connection->waiting_to_write = true;
            return;
        }
    }
    if (connection->waiting_to_write) {
        watch(epoll, connection, EPOLL_CTL_MOD, EPOLLIN);
        connection->waiting_to_write = false;
    }
}

static void serve(int epoll, struct connection* connection) {
    if (!connection->waiting_to_write) {
        const ssize_t count = recv(connection->socket, connection->buffer, buffer_size, 0);
        if (count <= 0) {
            if (count == 0 || !would_block())
                close_connection(connection);
            return;
        }
        connection->received = (size_t)count;
        connection->sent = 0;
    }
    write_back(epoll, connection);
}

int main(int argc, char** argv) {
    const struct server_options options = parse_options(argc, argv, 0);
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1", errno);
    const int listener = listen_on_loopback(options.port, SOCK_NONBLOCK);
    struct epoll_event listener_event = {.events = EPOLLIN, .data = {.ptr = NULL}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listener_event) != 0)
        die("epoll_ctl", errno);

    struct epoll_event events[events_per_turn];
    for (;;) {
        const int count = epoll_wait(epoll, events, events_per_turn, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait", errno);
        for (int i = 0; i < count; ++i) {
            if (events[i].data.ptr == NULL) {
                accept_all(epoll, listener);
            } else {
                serve(epoll, events[i].data.ptr);
            }
        }
    }
}
