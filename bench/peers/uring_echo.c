// SPDX-License-Identifier: MIT
// TCP echo server on liburing, one thread, one io_uring_enter per batch: the baseline of every
// comparison.
#define _GNU_SOURCE
#include "server_setup.h"

#include <liburing.h>
#include <stdbool.h>

// Older liburing headers lack these; their values are fixed by the kernel's interface.
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

enum { submission_entries = 1024, completion_entries = 8192 };

static void set_up_ring(struct io_uring* ring) {
    const unsigned flag_choices[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    int result = -EINVAL;
    for (size_t i = 0; result == -EINVAL && i < sizeof flag_choices / sizeof flag_choices[0]; ++i) {
        struct io_uring_params parameters;
        memset(&parameters, 0, sizeof parameters);
        parameters.flags = flag_choices[i] | IORING_SETUP_CQSIZE;
        parameters.cq_entries = completion_entries;
        result = io_uring_queue_init_params(submission_entries, ring, &parameters);
    }
    if (result < 0)
        die("io_uring_setup", -result);
    io_uring_register_ring_fd(
        ring); // saves looking the descriptor up at each enter; optional, so may fail
}

static struct io_uring_sqe* next_sqe(struct io_uring* ring) {
    struct io_uring_sqe* sqe = io_uring_get_sqe(ring);
    while (sqe == NULL) {
        const int result = io_uring_submit(ring);
        if (result < 0 && result != -EINTR && result != -EBUSY)
            die("io_uring_submit", -result);
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}

static void submit_and_wait(struct io_uring* ring) {
    const int result = io_uring_submit_and_wait(ring, 1);
    if (result < 0 && result != -EINTR && result != -EBUSY)
        die("io_uring_enter", -result);
}

static bool worth_retrying(int result) {
    return result == -EINTR || result == -EAGAIN;
}

static void check_accept(int result) {
    if (result < 0 && result != -ECONNABORTED && !worth_retrying(result))
        die("accept", -result);
}

// --- Plain: each connection has exactly one receive or send in flight; user data is the
// connection. ---

struct plain_connection {
    int socket;
    bool sending;
    unsigned received;
    unsigned sent;
    char buffer[buffer_size];
};

static void plain_accept(struct io_uring* ring, int listener) {
    struct io_uring_sqe* sqe = next_sqe(ring);
    io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, NULL);
}

static void plain_receive(struct io_uring* ring, struct plain_connection* connection) {
    struct io_uring_sqe* sqe = next_sqe(ring);
    io_uring_prep_recv(sqe, connection->socket, connection->buffer, buffer_size, 0);
    io_uring_sqe_set_data(sqe, connection);
    connection->sending = false;
}

static void plain_send(struct io_uring* ring, struct plain_connection* connection) {
    struct io_uring_sqe* sqe = next_sqe(ring);
    io_uring_prep_send(sqe, connection->socket, connection->buffer + connection->sent,
                       connection->received - connection->sent, MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, connection);
    connection->sending = true;
}

static void plain_open(struct io_uring* ring, int socket) {
    struct plain_connection* connection = malloc(sizeof *connection);
    if (connection == NULL)
        die("malloc", ENOMEM);
    set_no_delay(socket);
    connection->socket = socket;
    plain_receive(ring, connection);
}

static void plain_advance(struct io_uring* ring, struct plain_connection* connection, int result) {
    if (result <= 0 && !worth_retrying(result)) {
        close(connection->socket);
        free(connection);
    } else if (!connection->sending) {
        if (result < 0) {
            plain_receive(ring, connection);
        } else {
            connection->received = (unsigned)result;
            connection->sent = 0;
            plain_send(ring, connection);
        }
    } else {
        if (result > 0)
            connection->sent += (unsigned)result;
        if (connection->sent < connection->received) {
            plain_send(ring, connection);
        } else {
            plain_receive(ring, connection);
        }
    }
}

static void serve_plain(struct io_uring* ring, int listener) {
    plain_accept(ring, listener);
    for (;;) {
        submit_and_wait(ring);
        struct io_uring_cqe* cqe;
        unsigned head;
        unsigned count = 0;
        io_uring_for_each_cqe(ring, head, cqe) {
            ++count;
            struct plain_connection* connection = io_uring_cqe_get_data(cqe);
            if (connection != NULL) {
                plain_advance(ring, connection, cqe->res);
            } else {
                check_accept(cqe->res);
                if (cqe->res >= 0)
                    plain_open(ring, cqe->res);
                plain_accept(ring, listener);
            }
        }
        io_uring_cq_advance(ring, count);
    }
}

// --- Multishot: accept and receive stay armed, data arrives in buffers that the kernel picks from
// a ring. ---

enum {
    buffer_group = 0,
    buffer_count = 1024,
    // A power of two would put the start of every buffer into the same few cache sets.
    buffer_stride = buffer_size + 64,
    no_buffer = -1,
};

struct multishot_connection {
    int socket;
    bool receiving;
    bool failed;
    unsigned sent;    // of the first queued buffer
    int first_queued; // buffers that wait to be sent, in order of arrival; the first one's send is
                      // in flight
    int last_queued;
    struct multishot_connection* next_starved;
};

struct received_buffer {
    int next;
    unsigned length;
};

struct multishot_server {
    struct io_uring* ring;
    int listener;
    struct io_uring_buf_ring* buffer_ring;
    char* memory;
    unsigned available;                   // buffers the kernel may fill
    unsigned given_back;                  // buffers added in this batch, published together
    struct multishot_connection* starved; // their receive ended because no buffer was left
    struct received_buffer buffers[buffer_count];
};

// User data is the connection's address; its lowest bit tells a send from a receive.
static const uintptr_t send_mark = 1;

static char* buffer_memory(const struct multishot_server* server, int buffer) {
    return server->memory + (size_t)buffer * buffer_stride;
}

static void give_back(struct multishot_server* server, int buffer) {
    io_uring_buf_ring_add(server->buffer_ring, buffer_memory(server, buffer), buffer_size,
                          (unsigned short)buffer, io_uring_buf_ring_mask(buffer_count),
                          (int)server->given_back);
    ++server->given_back;
}

static void publish_buffers(struct multishot_server* server) {
    if (server->given_back == 0)
        return;
    io_uring_buf_ring_advance(server->buffer_ring, (int)server->given_back);
    server->available += server->given_back;
    server->given_back = 0;
}

static void set_up_buffers(struct multishot_server* server) {
    const size_t page = 4096;
    void* entries = NULL;
    if (posix_memalign(&entries, page, buffer_count * sizeof(struct io_uring_buf)) != 0)
        die("posix_memalign", ENOMEM);
    server->buffer_ring = entries;
    server->memory = malloc((size_t)buffer_count * buffer_stride);
    if (server->memory == NULL)
        die("malloc", ENOMEM);
    struct io_uring_buf_reg registration;
    memset(&registration, 0, sizeof registration);
    registration.ring_addr = (uintptr_t)entries;
    registration.ring_entries = buffer_count;
    registration.bgid = buffer_group;
    const int result = io_uring_register_buf_ring(server->ring, &registration, 0);
    if (result != 0)
        die("io_uring_register_buf_ring", -result);
    io_uring_buf_ring_init(server->buffer_ring);
    for (int buffer = 0; buffer < buffer_count; ++buffer)
        give_back(server, buffer);
    publish_buffers(server);
}

static void multishot_accept(struct multishot_server* server) {
    struct io_uring_sqe* sqe = next_sqe(server->ring);
    io_uring_prep_multishot_accept(sqe, server->listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, 0);
}

static void multishot_receive(struct multishot_server* server,
                              struct multishot_connection* connection) {
    struct io_uring_sqe* sqe = next_sqe(server->ring);
    io_uring_prep_recv_multishot(sqe, connection->socket, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
    io_uring_sqe_set_data64(sqe, (uintptr_t)connection);
    connection->receiving = true;
}

static void multishot_send(struct multishot_server* server,
                           struct multishot_connection* connection) {
    const int buffer = connection->first_queued;
    struct io_uring_sqe* sqe = next_sqe(server->ring);
    io_uring_prep_send(sqe, connection->socket, buffer_memory(server, buffer) + connection->sent,
                       server->buffers[buffer].length - connection->sent, MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, (uintptr_t)connection | send_mark);
}

static void multishot_open(struct multishot_server* server, int socket) {
    struct multishot_connection* connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        die("calloc", ENOMEM);
    set_no_delay(socket);
    connection->socket = socket;
    connection->first_queued = no_buffer;
    multishot_receive(server, connection);
}

static void close_when_idle(struct multishot_connection* connection) {
    if (connection->receiving || connection->first_queued != no_buffer)
        return;
    close(connection->socket);
    free(connection);
}

static void take_received(struct multishot_server* server, struct multishot_connection* connection,
                          const struct io_uring_cqe* cqe) {
    const bool armed = (cqe->flags & IORING_CQE_F_MORE) != 0;
    connection->receiving = armed;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        const int buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        --server->available;
        if (cqe->res <= 0 || connection->failed) {
            give_back(server, buffer);
        } else {
            server->buffers[buffer].length = (unsigned)cqe->res;
            server->buffers[buffer].next = no_buffer;
            const bool idle = connection->first_queued == no_buffer;
            if (idle) {
                connection->first_queued = buffer;
                connection->sent = 0;
            } else {
                server->buffers[connection->last_queued].next = buffer;
            }
            connection->last_queued = buffer;
            if (idle)
                multishot_send(server, connection);
        }
    }
    if (armed)
        return;
    if (connection->failed) {
        close_when_idle(connection);
    } else if (cqe->res > 0 || worth_retrying(cqe->res)) {
        multishot_receive(server, connection);
    } else if (cqe->res == -ENOBUFS) {
        connection->receiving = true; // it will be armed again as soon as a buffer is back
        connection->next_starved = server->starved;
        server->starved = connection;
    } else {
        close_when_idle(connection);
    }
}

static void take_sent(struct multishot_server* server, struct multishot_connection* connection,
                      int result) {
    const int buffer = connection->first_queued;
    if (result > 0)
        connection->sent += (unsigned)result;
    if (result <= 0 && !worth_retrying(result)) {
        connection->failed = true;
        shutdown(connection->socket, SHUT_RDWR); // ends the armed receive
        for (int queued = buffer; queued != no_buffer; queued = server->buffers[queued].next)
            give_back(server, queued);
        connection->first_queued = no_buffer;
    } else if (connection->sent < server->buffers[buffer].length) {
        multishot_send(server, connection);
        return;
    } else {
        connection->first_queued = server->buffers[buffer].next;
        connection->sent = 0;
        give_back(server, buffer);
        if (connection->first_queued != no_buffer)
            multishot_send(server, connection);
    }
    close_when_idle(connection);
}

static void feed_starved(struct multishot_server* server) {
    while (server->starved != NULL && server->available > 0) {
        struct multishot_connection* connection = server->starved;
        server->starved = connection->next_starved;
        multishot_receive(server, connection);
    }
}

static void serve_multishot(struct io_uring* ring, int listener) {
    struct multishot_server* server = calloc(1, sizeof *server);
    if (server == NULL)
        die("calloc", ENOMEM);
    server->ring = ring;
    server->listener = listener;
    set_up_buffers(server);
    multishot_accept(server);
    for (;;) {
        submit_and_wait(ring);
        struct io_uring_cqe* cqe;
        unsigned head;
        unsigned count = 0;
        io_uring_for_each_cqe(ring, head, cqe) {
            ++count;
            const uintptr_t mark = (uintptr_t)cqe->user_data & send_mark;
            struct multishot_connection* connection =
                (void*)((uintptr_t)cqe->user_data & ~send_mark);
            if (connection == NULL) {
                check_accept(cqe->res);
                if (cqe->res >= 0)
                    multishot_open(server, cqe->res);
                if ((cqe->flags & IORING_CQE_F_MORE) == 0)
                    multishot_accept(server);
            } else if (mark == send_mark) {
                take_sent(server, connection, cqe->res);
            } else {
                take_received(server, connection, cqe);
            }
        }
        io_uring_cq_advance(ring, count);
        publish_buffers(server);
        feed_starved(server);
    }
}

int main(int argc, char** argv) {
    const struct server_options options = parse_options(argc, argv, 1);
    struct io_uring ring;
    set_up_ring(&ring);
    const int listener = listen_on_loopback(options.port, 0);
    if (options.multishot) {
        serve_multishot(&ring, listener);
    } else {
        serve_plain(&ring, listener);
    }
}
