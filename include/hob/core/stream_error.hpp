// SPDX-License-Identifier: MIT
// The errors of streams that no errno stands for.
#pragma once

#include <cstddef>
#include <string>
#include <system_error>
#include <type_traits>

namespace hob {

enum class stream_errc {
    incomplete_read = 1, ///< the stream ended before `read_exactly` had all its bytes
    broken_write,        ///< an earlier `write_all` was cancelled half-way
};

} // namespace hob

template <> struct std::is_error_code_enum<hob::stream_errc> : std::true_type {};

namespace hob {
namespace detail {

class stream_error_category final : public std::error_category {
  public:
    [[nodiscard]] const char* name() const noexcept override { return "hob.stream"; }
    [[nodiscard]] std::string message(int code) const override {
        switch (static_cast<stream_errc>(code)) {
        case stream_errc::incomplete_read:
            return "the stream ended before all bytes had arrived";
        case stream_errc::broken_write:
            return "an earlier write was cancelled half-way, so the peer could not tell where "
                   "this one begins";
        }
        return "unknown error " + std::to_string(code);
    }
};

} // namespace detail

[[nodiscard]] inline const std::error_category& stream_category() noexcept {
    static const detail::stream_error_category category;
    return category;
}
[[nodiscard]] inline std::error_code make_error_code(stream_errc code) noexcept {
    return {static_cast<int>(code), stream_category()};
}

/// Thrown by an exact read when the stream or file ends early. Its code is
/// `stream_errc::incomplete_read`.
class incomplete_read_error : public std::system_error {
  public:
    incomplete_read_error(std::size_t received, std::size_t expected)
        : std::system_error(make_error_code(stream_errc::incomplete_read),
                            std::to_string(received) + " of " + std::to_string(expected) +
                                " bytes"),
          received_(received), expected_(expected) {}

    /// How many bytes arrived; they are at the front of the caller's buffer.
    [[nodiscard]] std::size_t received() const noexcept { return received_; }
    [[nodiscard]] std::size_t expected() const noexcept { return expected_; }

  private:
    std::size_t received_;
    std::size_t expected_;
};

/// Thrown by every write after a `write_all` that was cancelled when the kernel had taken some of
/// its bytes: what follows would not stand where the peer expects it. Its code is
/// `stream_errc::broken_write`. Reading goes on; close or abort the stream when done.
class broken_write_error : public std::system_error {
  public:
    broken_write_error(const std::string& what, std::size_t taken)
        : std::system_error(make_error_code(stream_errc::broken_write),
                            what + " (" + std::to_string(taken) + " bytes of it had been taken)"),
          taken_(taken) {}

    /// How many bytes of the cancelled write the kernel had taken.
    [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

  private:
    std::size_t taken_;
};

namespace detail {

// Operations keep their outcome in an int: a value, or a negative errno, or one of these, which lie
// beyond every errno of the kernel.
inline constexpr int first_stream_error = -4096;
inline constexpr int incomplete_read =
    first_stream_error - static_cast<int>(stream_errc::incomplete_read);
inline constexpr int broken_write =
    first_stream_error - static_cast<int>(stream_errc::broken_write);

[[nodiscard]] inline std::error_code error_code_of(int result) noexcept {
    if (result < first_stream_error)
        return static_cast<stream_errc>(first_stream_error - result);
    return {-result, std::system_category()};
}

} // namespace detail
} // namespace hob
