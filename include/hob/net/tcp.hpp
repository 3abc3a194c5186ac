// SPDX-License-Identifier: MIT
// TCP: hob::tcp_stream and hob::tcp_listener.
#pragma once

#include <hob/net/tcp_listener.hpp>
#include <hob/net/tcp_options.hpp>
#include <hob/net/tcp_stream.hpp>
