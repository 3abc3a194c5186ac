// SPDX-License-Identifier: MIT
// The main function of every test executable; with Catch2 2 also the body of that library.
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

int main(int argc, char* argv[]) {
    return Catch::Session().run(argc, argv);
}
