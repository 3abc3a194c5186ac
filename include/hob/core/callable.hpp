#pragma once
namespace hob::detail { template <class F> consteval void check_callable() {} }
