// SPDX-License-Identifier: MIT
// A crawler: follows the links of a site, so many pages at a time, with a limit on the time for
// each page and a second try for those that fail.
//
//   crawler                        crawls a site that it serves itself, with its faults
//   crawler ADDRESS PORT [PATH]    crawls a plain HTTP server, for example python3 -m http.server
#include <hob/hob.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace {

using namespace std::chrono_literals;

constexpr int pages_at_once = 8;
constexpr int tries_per_page = 2;
constexpr auto time_per_try = 250ms;
constexpr std::size_t largest_page = 1024 * 1024;

/// Everything that comes until the other side closes, or `end` has come.
hob::task<std::string> read_until(const hob::tcp_stream& stream, std::string_view end) {
    std::string text;
    std::array<std::byte, 4096> buffer;
    while (end.empty() || text.find(end) == std::string::npos) {
        const std::size_t count = co_await stream.read_some(buffer);
        if (count == 0)
            break;
        text.append(reinterpret_cast<const char*>(buffer.data()), count);
        if (text.size() > largest_page)
            throw std::runtime_error("more than " + std::to_string(largest_page) + " bytes");
    }
    co_return text;
}

hob::task<> write_text(const hob::tcp_stream& stream, std::string text) {
    co_await stream.write_all(std::as_bytes(std::span(text)));
}

hob::task<std::string> fetch(hob::address server, std::string path) {
    const hob::tcp_stream stream = co_await hob::tcp_stream::connect(server);
    co_await write_text(stream, "GET " + path + " HTTP/1.0\r\n\r\n");
    const std::string answer = co_await read_until(stream, {});
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == std::string::npos)
        throw std::runtime_error("no answer");
    if (answer.compare(8, 5, " 200 ") != 0)
        throw std::runtime_error("status " + answer.substr(9, 3));
    co_return answer.substr(head + 4);
}

/// The targets of `href="..."` that stay on the site.
std::set<std::string> links_of(std::string_view page) {
    constexpr std::string_view mark = "href=\"";
    std::set<std::string> links;
    for (std::size_t at = page.find(mark); at != std::string_view::npos; at = page.find(mark, at)) {
        at += mark.size();
        std::string link(page.substr(at, page.find('"', at) - at));
        if (!link.starts_with('/') && link.find("//") == std::string::npos)
            link.insert(0, "/");
        if (link.starts_with('/') && !link.starts_with("//"))
            links.insert(std::move(link));
    }
    return links;
}

class crawler {
  public:
    explicit crawler(hob::address server) : server_(std::move(server)) {}

    /// Ends when every page that can be reached from `start` has been visited.
    hob::task<> crawl(std::string start) {
        seen_.insert(start);
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(visit(group, std::move(start)));
            co_return;
        };
        co_await hob::with_task_group(body);
    }

    [[nodiscard]] std::size_t pages() const noexcept { return pages_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] int most_at_once() const noexcept { return most_at_once_; }
    [[nodiscard]] const std::map<std::string, std::string>& failures() const noexcept {
        return failures_;
    }

  private:
    hob::task<> visit(hob::task_group& group, std::string path) {
        std::string page;
        {
            const hob::semaphore_permit place = co_await places_.acquire();
            most_at_once_ = std::max(most_at_once_, ++at_once_);
            // One page that fails must not end the crawl, as an exception here would.
            std::string problem = co_await try_to_fetch(path, page);
            --at_once_;
            if (!problem.empty()) {
                failures_.emplace(std::move(path), std::move(problem));
                co_return;
            }
        }
        ++pages_;
        bytes_ += page.size();
        for (const std::string& link : links_of(page))
            if (seen_.insert(link).second)
                group.start(visit(group, link));
    }

    /// Returns what went wrong the last time; nothing if `page` is there.
    hob::task<std::string> try_to_fetch(const std::string& path, std::string& page) {
        std::string problem;
        for (int attempt = 0; attempt != tries_per_page; ++attempt) {
            try {
                page = co_await hob::timeout(time_per_try, fetch(server_, path));
                co_return std::string();
            } catch (const std::exception& error) {
                problem = error.what();
            }
        }
        co_return problem;
    }

    hob::address server_;
    hob::semaphore places_{pages_at_once};
    std::set<std::string> seen_;
    std::map<std::string, std::string> failures_;
    std::size_t pages_ = 0;
    std::size_t bytes_ = 0;
    int at_once_ = 0;
    int most_at_once_ = 0;
};

/// A site of 200 pages that link to each other, one that never answers, one that breaks off, one
/// that is missing, and one that fails the first time.
class site {
  public:
    hob::task<> serve(const hob::tcp_listener& listener) {
        auto body = [&](hob::task_group& clients) -> hob::task<> {
            for (;;)
                clients.start(answer(co_await listener.accept()));
        };
        co_await hob::with_task_group(body);
    }

  private:
    static constexpr int page_count = 200;

    hob::task<> answer(hob::tcp_stream client) {
        // A client that gives up resets the connection, which is its good right.
        [[maybe_unused]] const auto outcome = co_await hob::as_result(respond(client));
    }

    hob::task<> respond(hob::tcp_stream& client) {
        const std::string request = co_await read_until(client, "\r\n\r\n");
        const std::size_t from = request.find(' ') + 1;
        const std::string path = request.substr(from, request.find(' ', from) - from);
        co_await hob::sleep_for(2ms);
        if (path == "/silent")
            co_await hob::sleep_for(1h);
        if (path == "/broken" || (path == "/moody" && ++moods_ == 1)) {
            client.abort();
            co_return;
        }
        if (path == "/missing") {
            co_await write_text(client, "HTTP/1.0 404 Not Found\r\n\r\n");
            co_return;
        }
        co_await write_text(client, "HTTP/1.0 200 OK\r\n\r\n" + page(path));
    }

    [[nodiscard]] static std::string page(const std::string& path) {
        int number = 0;
        std::from_chars(path.data() + std::min<std::size_t>(path.size(), 6),
                        path.data() + path.size(), number);
        std::string text = "<h1>" + path + "</h1>";
        for (const int next : {2 * number + 1, 2 * number + 2})
            if (next < page_count)
                text += "<a href=\"/page/" + std::to_string(next) + "\">on</a>";
        if (path == "/")
            text += R"(<a href="/silent"><a href="/broken"><a href="/missing"><a href="/moody">)";
        return text;
    }

    int moods_ = 0;
};

hob::task<> crawl_and_tell(hob::address server, std::string start) {
    crawler visitor(std::move(server));
    const auto before = std::chrono::steady_clock::now();
    co_await visitor.crawl(std::move(start));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - before;
    std::printf("%zu pages, %zu bytes, at most %d at once, in %.2f s\n", visitor.pages(),
                visitor.bytes(), visitor.most_at_once(), taken.count());
    for (const auto& [path, problem] : visitor.failures())
        std::printf("  %s: %s\n", path.c_str(), problem.c_str());
}

hob::task<> crawl_own_site() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    site own;
    // The crawler ends, and wins; the server never does, and is cancelled with its connections.
    co_await hob::race(crawl_and_tell(listener.local_address(), "/"), own.serve(listener));
}

} // namespace

int main(int count, char** arguments) {
    try {
        if (count < 3)
            return hob::run(crawl_own_site());
        const int port = std::stoi(arguments[2]);
        const hob::address server(arguments[1], static_cast<std::uint16_t>(port));
        return hob::run(crawl_and_tell(server, count > 3 ? arguments[3] : "/"));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "crawler: %s\n", error.what());
        return 1;
    }
}
