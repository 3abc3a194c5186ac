// SPDX-License-Identifier: MIT
// TCP echo server on libuv: writes at once where the socket takes it, queues a write only for the
// rest.
#define _GNU_SOURCE
#include "server_setup.h"

#include <uv.h>

struct connection {
    uv_tcp_t stream; // first, so that a handle's address is its connection's
    uv_write_t write;
    char buffer[buffer_size];
};

static void check(const char* what, int result) {
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
    exit(1);
}

static void on_closed(uv_handle_t* handle) {
    free(handle);
}

static void close_connection(struct connection* connection) {
    uv_handle_t* handle = (uv_handle_t*)&connection->stream;
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void on_buffer_wanted(uv_handle_t* handle, size_t suggested, uv_buf_t* buffer) {
    (void)suggested;
    *buffer = uv_buf_init(((struct connection*)handle)->buffer, buffer_size);
}

static void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer);

static void on_written(uv_write_t* write, int status) {
    struct connection* connection = (struct connection*)write->handle;
    if (status < 0 || uv_read_start(write->handle, on_buffer_wanted, on_read) < 0)
        close_connection(connection);
}

static void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
    struct connection* connection = (struct connection*)stream;
    if (count < 0) {
        close_connection(connection);
        return;
    }
    if (count == 0)
        return;
    uv_buf_t rest = uv_buf_init(buffer->base, (unsigned)count);
    const int written = uv_try_write(stream, &rest, 1);
    if (written == (int)count)
        return;
    if (written < 0 && written != UV_EAGAIN) {
        close_connection(connection);
        return;
    }
    if (written > 0)
        rest = uv_buf_init(rest.base + written, (unsigned)(count - written));
    uv_read_stop(stream); // the buffer is busy until the rest is written
    if (uv_write(&connection->write, stream, &rest, 1, on_written) < 0)
        close_connection(connection);
}

static void on_connection(uv_stream_t* listener, int status) {
    check("accept", status);
    struct connection* connection = malloc(sizeof *connection);
    if (connection == NULL)
        die("malloc", ENOMEM);
    uv_stream_t* stream = (uv_stream_t*)&connection->stream;
    check("uv_tcp_init", uv_tcp_init(listener->loop, &connection->stream));
    check("uv_accept", uv_accept(listener, stream));
    uv_tcp_nodelay(&connection->stream, 1);
    if (uv_read_start(stream, on_buffer_wanted, on_read) < 0)
        close_connection(connection);
}

int main(int argc, char** argv) {
    const struct server_options options = parse_options(argc, argv, 0);
    uv_loop_t* loop = uv_default_loop();
    uv_tcp_t listener;
    check("uv_tcp_init", uv_tcp_init(loop, &listener));
    check("uv_tcp_open", uv_tcp_open(&listener, listen_on_loopback(options.port, SOCK_NONBLOCK)));
    check("uv_listen", uv_listen((uv_stream_t*)&listener, listen_backlog, on_connection));
    return uv_run(loop, UV_RUN_DEFAULT);
}
