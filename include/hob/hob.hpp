// SPDX-License-Identifier: MIT
// Everything but the optional components.
#pragma once

#include <hob/as_result.hpp>
#include <hob/run.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>
