// SPDX-License-Identifier: MIT
// The program of the three consumers.
#include <hob/hob.hpp>

hob::task<int> answer() {
    co_return 42;
}

int main() {
    return hob::run(answer()) == 42 ? 0 : 1;
}
