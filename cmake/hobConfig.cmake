# SPDX-License-Identifier: MIT
include(CMakeFindDependencyMacro)

list(PREPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
find_dependency(Liburing)
list(POP_FRONT CMAKE_MODULE_PATH)
find_dependency(Threads)

include(${CMAKE_CURRENT_LIST_DIR}/hobTargets.cmake)
