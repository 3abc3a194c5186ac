# SPDX-License-Identifier: MIT
# The installed package: headers, the target hob::hob, and what find_package(hob) reads.

include(CMakePackageConfigHelpers)

set(package_dir share/cmake/hob)
install(DIRECTORY include/hob DESTINATION include FILES_MATCHING PATTERN *.hpp)
install(TARGETS hob EXPORT hobTargets)
install(EXPORT hobTargets NAMESPACE hob:: DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/hobConfigVersion.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
    cmake/hobConfig.cmake
    cmake/FindLiburing.cmake
    ${PROJECT_BINARY_DIR}/hobConfigVersion.cmake
    DESTINATION ${package_dir})
