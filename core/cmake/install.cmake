# Headers, both libraries, reeve.pc and a CMake package. The static library is
# a component of its own, because it alone needs the dependencies' development
# files: find_package(reeve COMPONENTS static).
include(CMakePackageConfigHelpers)
set(REEVE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/reeve)

install(
    DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/core/include/
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING
    PATTERN "*.h")
install(TARGETS reeve EXPORT reeveTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS reeve_static EXPORT reeveStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT reeveTargets NAMESPACE reeve:: DESTINATION ${REEVE_PACKAGE_DIR})
install(EXPORT reeveStaticTargets NAMESPACE reeve::
        DESTINATION ${REEVE_PACKAGE_DIR})

configure_package_config_file(
    ${REEVE_CMAKE}/reeveConfig.cmake.in
    ${CMAKE_CURRENT_BINARY_DIR}/reeveConfig.cmake
    INSTALL_DESTINATION ${REEVE_PACKAGE_DIR})
write_basic_package_version_file(
    ${CMAKE_CURRENT_BINARY_DIR}/reeveConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/reeveConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/reeveConfigVersion.cmake
        DESTINATION ${REEVE_PACKAGE_DIR})

# reeve.pc finds its prefix from where it lies, so a package can be moved.
set(REEVE_PC_DIR ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH REEVE_PC_PREFIX ${REEVE_PC_DIR} ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH REEVE_PC_LIBDIR ${CMAKE_INSTALL_PREFIX}
     ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH REEVE_PC_INCLUDEDIR ${CMAKE_INSTALL_PREFIX}
     ${CMAKE_INSTALL_FULL_INCLUDEDIR})
# Not Requires.private: users of the shared library would need what it names.
string(JOIN " " REEVE_PC_PRIVATE ${HIREDIS_LDFLAGS} ${CJSON_LDFLAGS}
       ${OPENSSL_LDFLAGS} ${SQLITE_LDFLAGS} -pthread)
configure_file(${REEVE_CMAKE}/reeve.pc.in
               ${CMAKE_CURRENT_BINARY_DIR}/reeve.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/reeve.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
