// SPDX-License-Identifier: MIT
// Everything but hob::testing and the optional components.
#pragma once

#include <hob/as_result.hpp>
#include <hob/debug/task_dump.hpp>
#include <hob/executor/run_in_executor.hpp>
#include <hob/executor/thread_pool.hpp>
#include <hob/finally.hpp>
#include <hob/fs/file.hpp>
#include <hob/fs/whole_file.hpp>
#include <hob/gather.hpp>
#include <hob/net/tcp.hpp>
#include <hob/race.hpp>
#include <hob/run.hpp>
#include <hob/shield.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>
#include <hob/task_group.hpp>
#include <hob/task_handle.hpp>
#include <hob/timeout.hpp>
