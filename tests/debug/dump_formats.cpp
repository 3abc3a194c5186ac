// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/debug/task_dump.hpp>
#include <hob/gather.hpp>
#include <hob/task_group.hpp>

#include <cstdio>
#include <string>

using test::contains;
using test::gate;

namespace {

/// What Python's reader of JSON makes of a text: "ok", or what is wrong.
std::string read_as_json(const std::string& text) {
    const std::string command = "python3 -c 'import json, sys\n"
                                "data = json.load(sys.stdin)\n"
                                "ids = {each[\"id\"] for each in data}\n"
                                "assert all(each[\"parent\"] in ids | {None} for each in data)\n"
                                "assert all(each[\"joins\"] in ids | {None} for each in data)\n"
                                "assert any(each[\"frames\"] for each in data)'";
    std::FILE* const reader = ::popen(command.c_str(), "w");
    if (reader == nullptr)
        return "popen failed";
    std::fwrite(text.data(), 1, text.size(), reader);
    return ::pclose(reader) == 0 ? "ok" : "refused";
}

} // namespace

TEST_CASE("a dump as JSON names every task, its parent and whom it joins", "[dump-json]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto target = hob::create_task(test::value_after(open, 1));
        target.set_name("a \"quoted\" \\ name\n");
        auto joining = [&]() -> hob::task<> {
            co_await hob::gather(target, test::value_after(open, 2));
        };
        const auto joiner = hob::create_task(joining());
        joiner.set_name("joiner");
        co_await test::settle();
        const std::string text = hob::dump_tasks(hob::dump_format::json);
        CHECK_THAT(text, contains(R"("name": "joiner")") && contains(R"("kind": "branch")") &&
                             contains(R"("a \"quoted\" \\ name\n")") &&
                             contains("dump_formats.cpp"));
        CHECK(read_as_json(text) == "ok");
        open.open();
        co_await joiner;
    };
    program.run(main());
}

TEST_CASE("a dump as JSON is UTF-8, whatever a task is called", "[dump-json]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto named = hob::create_task(test::value_after(open, 1));
        named.set_name("caf\xc3\xa9 \xff latin \xe9");
        co_await test::settle();
        const std::string text = hob::dump_tasks(hob::dump_format::json);
        CHECK_THAT(text, contains("\"caf\xc3\xa9 \xef\xbf\xbd latin \xef\xbf\xbd\""));
        CHECK(read_as_json(text) == "ok");
        open.open();
        co_await named;
    };
    program.run(main());
}

TEST_CASE("a dump as a graph has owned and joined edges", "[dump-dot]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto target = hob::create_task(test::value_after(open, 1));
        target.set_name("target");
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.create_task(test::value_after(open, 2)).set_name("child");
            co_await target;
        };
        auto owning = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
        const auto owner = hob::create_task(owning());
        co_await test::settle();
        const std::string text = hob::dump_tasks(hob::dump_format::dot);
        CHECK_THAT(text, contains("digraph tasks {") && contains("[style=dashed]") &&
                             contains("shape=ellipse") && contains("label=\"child\\nwaiting"));
        open.open();
        co_await owner;
    };
    program.run(main());
}

TEST_CASE("tasks that wait for each other in a circle are named, also in a deadlock",
          "[dump-cycle][deadlock]") {
    test::program program(test::any_loop());
    hob::task_handle<> first;
    hob::task_handle<> second;
    auto join = [](hob::task_handle<>& other) -> hob::task<> {
        co_await hob::yield();
        co_await hob::gather(other);
    };
    auto main = [&]() -> hob::task<> {
        first = hob::create_task(join(second));
        first.set_name("hen");
        second = hob::create_task(join(first));
        second.set_name("egg");
        co_await first;
    };
    std::string message;
    try {
        program.run(main());
    } catch (const hob::deadlock_error& error) {
        message = error.what();
    }
    CHECK_THAT(message, contains("a circle of waiting tasks: 'hen' -> 'egg' -> 'hen'") ||
                            contains("a circle of waiting tasks: 'egg' -> 'hen' -> 'egg'"));
    program.runner().close();
}
