# SPDX-License-Identifier: MIT
# Checks that SNIPPET does not compile, that an error or note of the compiler matches the regular
# expression in its first line, and that it compiles with HOB_COMPILE_FAIL_CONTROL defined.

set(ENV{LC_ALL} C)
list(TRANSFORM INCLUDES PREPEND -I)
set(compile ${COMPILER} -std=c++20 -Wall -Wextra -Werror -fsyntax-only ${INCLUDES} ${SNIPPET})

file(STRINGS ${SNIPPET} first_line LIMIT_COUNT 1)
if(NOT first_line MATCHES "^// expect: (.+)$")
    message(FATAL_ERROR "${SNIPPET}: the first line must be \"// expect: REGEX\"")
endif()
set(expected "${CMAKE_MATCH_1}")

execute_process(COMMAND ${compile} RESULT_VARIABLE status ERROR_VARIABLE output)
if(status EQUAL 0)
    message(FATAL_ERROR "${SNIPPET} compiles")
endif()
# The quoted source lines do not count: they may hold the expected words by themselves.
string(REGEX MATCHALL "(error|note): [^\n]*" diagnostics "${output}")
if(NOT diagnostics MATCHES "${expected}")
    message(FATAL_ERROR "${SNIPPET}: nothing here matches \"${expected}\":\n${output}")
endif()

execute_process(COMMAND ${compile} -DHOB_COMPILE_FAIL_CONTROL RESULT_VARIABLE status)
if(NOT status EQUAL 0)
    message(FATAL_ERROR "${SNIPPET}: the control does not compile")
endif()
