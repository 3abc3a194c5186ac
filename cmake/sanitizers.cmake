# SPDX-License-Identifier: MIT
# hob_sanitizers: what HOB_SANITIZE asks for. The first finding ends the program.

set(HOB_SANITIZE "" CACHE STRING "Sanitizers, e.g. \"address,undefined\" or \"thread\"")

add_library(hob_sanitizers INTERFACE)
if(HOB_SANITIZE)
    target_compile_options(hob_sanitizers INTERFACE
        -fsanitize=${HOB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(hob_sanitizers INTERFACE -fsanitize=${HOB_SANITIZE})
endif()
