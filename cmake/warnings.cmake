# SPDX-License-Identifier: MIT
# hob_warnings: the warnings that hob's own sources are free of.

option(HOB_WERROR "Treat warnings as errors" OFF)

add_library(hob_warnings INTERFACE)
target_compile_options(hob_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion $<$<BOOL:${HOB_WERROR}>:-Werror>)
