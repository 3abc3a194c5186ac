// SPDX-License-Identifier: MIT
// Live tasks as a graph: who waits for whom.
#pragma once

#include <hob/core/task_tree.hpp>
#include <hob/core/utf8.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <source_location>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hob::detail {

/// A snapshot of the tasks of a loop and their branches, as JSON or in the language of Graphviz.
class task_graph {
  public:
    explicit task_graph(reactor& loop) : tree_(loop) {
        loop.tasks().for_each([this](task_scope& each) { add(each, no_parent); });
        // The list grows while it is walked: what a scope waits for comes behind it.
        for (std::size_t index = 0; index != nodes_.size(); ++index)
            if (waited_for* const operation = nodes_[index].where->waiting()) {
                collector children(*this, index);
                operation->visit_children(children);
            }
        for (node& each : nodes_)
            if (waited_for* const operation = each.where->waiting())
                if (const auto found = indices_.find(operation->joined_task());
                    found != indices_.end())
                    each.joined = found->second;
    }

    /// An array of objects: id, parent (an id or null), kind, name, state, joins (an id or null),
    /// and the frames, innermost first.
    [[nodiscard]] std::string json() const {
        std::string text = "[";
        for (std::size_t index = 0; index != nodes_.size(); ++index) {
            const node& each = nodes_[index];
            text += index == 0 ? "\n" : ",\n";
            text += R"({"id": )" + std::to_string(index) + R"(, "parent": )" +
                    id_or_null(each.parent) + R"(, "kind": ")" +
                    (each.is_task() ? "task" : "branch") + R"(", "name": )" + quoted(each.name) +
                    R"(, "state": )" + quoted(each.state) + R"(, "joins": )" +
                    id_or_null(each.joined) + R"(, "frames": [)";
            const char* separator = "";
            for (const std::source_location& frame : each.frames) {
                text += separator + (R"({"file": )" + quoted(frame.file_name()) + R"(, "line": )" +
                                     std::to_string(frame.line()) + R"(, "function": )" +
                                     quoted(task_tree::readable(frame.function_name())) + "}");
                separator = ", ";
            }
            text += "]}";
        }
        return text + "\n]\n";
    }

    /// Boxes for tasks, ellipses for branches; full lines to what is owned, dashed ones to what is
    /// joined.
    [[nodiscard]] std::string dot() const {
        std::string text = "digraph tasks {\n";
        for (std::size_t index = 0; index != nodes_.size(); ++index) {
            const node& each = nodes_[index];
            std::string label = each.is_task() ? each.name + "\n" + each.state : each.state;
            if (!each.frames.empty())
                label += "\n" + std::string(each.frames.front().file_name()) + ":" +
                         std::to_string(each.frames.front().line());
            const std::string id = "  t" + std::to_string(index);
            text += id + " [shape=" + (each.is_task() ? "box" : "ellipse") +
                    ", label=" + quoted(label) + "];\n";
            if (each.parent != no_parent)
                text += "  t" + std::to_string(each.parent) + " ->" + id + ";\n";
            if (each.joined != no_parent)
                text += id + " -> t" + std::to_string(each.joined) + " [style=dashed];\n";
        }
        return text + "}\n";
    }

    /// A line for each circle of tasks that wait for each other; nothing if there is none.
    [[nodiscard]] std::string cycles() const {
        std::string text;
        std::vector<std::size_t> visit(nodes_.size(), 0);
        for (std::size_t start = 0; start != nodes_.size(); ++start) {
            std::size_t each = start;
            while (each != no_parent && visit[each] == 0) {
                visit[each] = start + 1;
                each = next_of(each);
            }
            if (each == no_parent || visit[each] != start + 1 || nodes_[each].joined == no_parent)
                continue;
            text += "a circle of waiting tasks:";
            const std::size_t first = each;
            do {
                text += " '" + nodes_[root_of(each)].name + "' ->";
                each = next_of(each);
            } while (each != first);
            text += " '" + nodes_[root_of(first)].name + "'\n";
        }
        return text;
    }

  private:
    static constexpr std::size_t no_parent = static_cast<std::size_t>(-1);

    class node {
      public:
        [[nodiscard]] bool is_task() const noexcept { return !name.empty(); }
        scope* where;
        std::size_t parent;
        std::size_t joined = no_parent;
        std::string name; ///< empty: a branch
        std::string state;
        std::vector<std::source_location> frames;
    };

    class collector final : public scope_visitor {
      public:
        collector(task_graph& graph, std::size_t parent) noexcept
            : graph_(graph), parent_(parent) {}
        void visit(scope& child) override { graph_.add(child, parent_); }

      private:
        task_graph& graph_;
        std::size_t parent_;
    };

    void add(scope& each, std::size_t parent) {
        node added;
        added.where = &each;
        added.parent = parent;
        if (task_scope* const task = each.as_task())
            added.name = task->name();
        added.state = task_tree::state_of(each);
        for (const promise_base* frame = tree_.leaf_of(each); frame != nullptr;
             frame = frame->caller())
            if (frame->is_shown())
                added.frames.push_back(frame->position);
        indices_.emplace(&each, nodes_.size());
        nodes_.push_back(std::move(added));
    }

    [[nodiscard]] std::size_t root_of(std::size_t index) const noexcept {
        while (!nodes_[index].is_task())
            index = nodes_[index].parent;
        return index;
    }
    /// The scope that a join of this one leads to: that of the joined task which joins on. Circles
    /// through several branches of one task are not looked for.
    [[nodiscard]] std::size_t next_of(std::size_t index) const noexcept {
        const std::size_t task = nodes_[index].joined;
        if (task == no_parent)
            return no_parent;
        for (std::size_t each = task; each != nodes_.size(); ++each)
            if (nodes_[each].joined != no_parent && root_of(each) == task)
                return each;
        return no_parent;
    }

    [[nodiscard]] static std::string id_or_null(std::size_t id) {
        return id == no_parent ? "null" : std::to_string(id);
    }
    /// A string of JSON, and of Graphviz. Both are UTF-8: a byte that is not becomes U+FFFD.
    [[nodiscard]] static std::string quoted(std::string_view raw) {
        std::string text = "\"";
        while (!raw.empty()) {
            const std::size_t length = utf8_length(raw);
            const char first = raw.front();
            if (length == 0) {
                text += "\xef\xbf\xbd";
            } else if (first == '"' || first == '\\') {
                text += '\\';
                text += first;
            } else if (first == '\n') {
                text += "\\n";
            } else if (static_cast<unsigned char>(first) < 0x20) {
                char code[8];
                std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(first));
                text += code;
            } else {
                text += raw.substr(0, length);
            }
            raw.remove_prefix(std::max<std::size_t>(length, 1));
        }
        return text + "\"";
    }

    task_tree tree_;
    std::vector<node> nodes_;
    std::unordered_map<const scope*, std::size_t> indices_;
};

} // namespace hob::detail
