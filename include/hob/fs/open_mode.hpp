// SPDX-License-Identifier: MIT
// hob::open_mode: how a file is opened.
#pragma once

#include <fcntl.h>

namespace hob {

/// Flags, joined by `|`. Exactly one of `read`, `write` and `read_write` is among them.
enum class open_mode : unsigned {
    read = O_RDONLY,
    write = O_WRONLY,
    read_write = O_RDWR,
    create = O_CREAT,        ///< makes the file if it does not exist
    exclusive = O_EXCL,      ///< with `create`: fails with EEXIST if it does
    truncate = O_TRUNC,      ///< drops what the file holds
    append = O_APPEND,       ///< every write goes to the end, whatever its offset
    direct = O_DIRECT,       ///< past the page cache; buffers, sizes and offsets have to be aligned
    data_sync = O_DSYNC,     ///< a write completes when the data is on the disk
    directory = O_DIRECTORY, ///< fails with ENOTDIR for anything else
    no_follow = O_NOFOLLOW,  ///< fails with ELOOP if the path ends in a symbolic link
};

[[nodiscard]] constexpr open_mode operator|(open_mode left, open_mode right) noexcept {
    return static_cast<open_mode>(static_cast<unsigned>(left) | static_cast<unsigned>(right));
}

} // namespace hob
