// SPDX-License-Identifier: MIT
// TCP echo server on Asio with callbacks; built once on epoll and once on io_uring.
#include <unistd.h>

#include <array>
#include <asio.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

using asio::ip::tcp;

// Owned by itself: deleted when no operation of it is left to start.
class session {
  public:
    explicit session(tcp::socket socket) : socket_{std::move(socket)} {
        socket_.set_option(tcp::no_delay{true});
    }

    void read() {
        socket_.async_read_some(asio::buffer(buffer_),
                                [this](std::error_code error, std::size_t count) {
                                    if (error) {
                                        delete this;
                                    } else {
                                        write(count);
                                    }
                                });
    }

  private:
    void write(std::size_t count) {
        asio::async_write(socket_, asio::buffer(buffer_.data(), count),
                          [this](std::error_code error, std::size_t) {
                              if (error) {
                                  delete this;
                              } else {
                                  read();
                              }
                          });
    }

    tcp::socket socket_;
    std::array<char, 16 * 1024> buffer_;
};

void accept_next(tcp::acceptor& acceptor) {
    acceptor.async_accept([&acceptor](std::error_code error, tcp::socket socket) {
        if (error)
            throw std::system_error{error, "accept"};
        auto owned = std::make_unique<session>(std::move(socket));
        owned.release()->read();
        accept_next(acceptor);
    });
}

std::uint16_t parse_port(int argument_count, char** arguments) {
    if (argument_count == 1)
        return 0;
    if (argument_count == 3 && std::string_view{arguments[1]} == "--port") {
        char* end = nullptr;
        const unsigned long port = std::strtoul(arguments[2], &end, 10);
        if (*arguments[2] != '\0' && *end == '\0' && port <= UINT16_MAX)
            return static_cast<std::uint16_t>(port);
    }
    std::fprintf(stderr, "usage: %s [--port N]\n", arguments[0]);
    std::exit(2);
}

} // namespace

int main(int argument_count, char** arguments) {
    const std::uint16_t port = parse_port(argument_count, arguments);
    std::signal(SIGTERM, [](int) { _exit(0); });
    std::signal(SIGPIPE, SIG_IGN);
    try {
        asio::io_context context{ASIO_CONCURRENCY_HINT_UNSAFE}; // one thread: no locks
        tcp::acceptor acceptor{context, tcp::endpoint{asio::ip::address_v4::loopback(), port}};
        std::printf("listening on 127.0.0.1:%u\n", unsigned{acceptor.local_endpoint().port()});
        std::fflush(stdout);
        accept_next(acceptor);
        context.run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
