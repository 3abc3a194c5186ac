// SPDX-License-Identifier: MIT
// Live tasks as text: a tree with the async stack of each.
#pragma once

#include <hob/core/reactor.hpp>
#include <hob/core/task_scope.hpp>

#include <source_location>
#include <string>
#include <string_view>
#include <unordered_map>

namespace hob::detail {

/// Writes tasks as a tree: name, state, what each waits for, and the file, line and function of
/// each await, innermost first; below it the branches and children that it waits for.
class task_tree {
  public:
    explicit task_tree(const reactor& loop) {
        // A coroutine that is ready or running is known to nobody but the queue it stands in.
        loop.for_each_ready([this](ready_node& node) {
            if (!node.is_callback()) {
                auto& leaf = static_cast<promise_base&>(node);
                leaves_.try_emplace(&leaf.owner(), &leaf);
            }
        });
        if (promise_base* const running = loop.running())
            leaves_.try_emplace(&running->owner(), running);
    }

    void add(scope& each) {
        const std::string indent(depth_ * 4, ' ');
        // Nobody reads on, and each level takes some of the stack.
        if (depth_ == most_levels) {
            text_ +=
                indent + "and more below, deeper than " + std::to_string(most_levels) + " levels\n";
            return;
        }
        task_scope* const task = each.as_task();
        text_ += indent +
                 (task != nullptr ? "task '" + task->name() + "'" : std::string("branch")) + ": " +
                 state_of(each) + "\n";
        append_frames(leaf_of(each), indent, text_);
        if (waited_for* const operation = each.waiting()) {
            children visitor(*this);
            ++depth_;
            operation->visit_children(visitor);
            --depth_;
        }
    }

    [[nodiscard]] std::string& text() noexcept { return text_; }

    /// One line of an async stack.
    [[nodiscard]] static std::string line_of(const std::source_location& position) {
        return std::string("  at ") + position.file_name() + ":" + std::to_string(position.line()) +
               " in " + std::string(readable(position.function_name())) + "\n";
    }

    /// The async stack of one scope, from its innermost frame to the root of its task.
    [[nodiscard]] std::string stack(scope& innermost) {
        std::string lines;
        for (scope* each = &innermost; each != nullptr; each = each->parent())
            append_frames(leaf_of(*each), "", lines);
        return lines;
    }

    /// GCC names the function that it made of a coroutine's body, whose one parameter is the frame
    /// `SIGNATURE::_ZMANGLED.Frame*`. The signature is what a reader wants to see.
    [[nodiscard]] static std::string_view readable(std::string_view name) noexcept {
        constexpr std::string_view frame_parameter = ".Frame*)";
        if (!name.ends_with(frame_parameter))
            return name;
        std::size_t open = name.size() - 1;
        for (int depth = 1; depth != 0 && open != 0;) {
            --open;
            depth += name[open] == ')' ? 1 : name[open] == '(' ? -1 : 0;
        }
        const std::size_t mangled = name.find("::_Z", open);
        return mangled == std::string_view::npos ? name : name.substr(open + 1, mangled - open - 1);
    }

    [[nodiscard]] promise_base* leaf_of(scope& each) const {
        if (promise_base* const leaf = each.leaf())
            return leaf;
        const auto found = leaves_.find(&each);
        return found == leaves_.end() ? nullptr : found->second;
    }

    [[nodiscard]] static std::string state_of(scope& each) {
        std::string state = each.state_name();
        if (waited_for* const operation = each.waiting())
            state += " for " + operation->describe();
        return state;
    }

  private:
    static constexpr std::size_t most_levels = 500;

    class children : public scope_visitor {
      public:
        explicit children(task_tree& tree) noexcept : tree_(tree) {}
        void visit(scope& child) override { tree_.add(child); }

      private:
        task_tree& tree_;
    };

    static void append_frames(const promise_base* innermost, const std::string& indent,
                              std::string& text) {
        for (const promise_base* frame = innermost; frame != nullptr; frame = frame->caller())
            if (frame->is_shown())
                text += indent + line_of(frame->position);
    }

    std::unordered_map<const scope*, promise_base*> leaves_;
    std::string text_;
    std::size_t depth_ = 0;
};

} // namespace hob::detail
