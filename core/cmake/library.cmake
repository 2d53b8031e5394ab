# The library: every core/src/**/*.c once as position-independent objects, then
# as libreeve.so.0 (public names only) and libreeve.a (also what tests link, for
# they reach the internals).
file(GLOB_RECURSE REEVE_SOURCES CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_SOURCE_DIR}/core/src/*.c)

add_library(reeve_code OBJECT ${REEVE_SOURCES} ${REEVE_SCRIPTS_SOURCE}
                              ${REEVE_SCRIPTS_HEADER})
set_target_properties(reeve_code PROPERTIES POSITION_INDEPENDENT_CODE ON
                                            C_VISIBILITY_PRESET hidden)
target_compile_definitions(
    reeve_code
    PUBLIC _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE
    PRIVATE REEVE_VERSION="${PROJECT_VERSION}")
target_include_directories(
    reeve_code PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/core/include
                      ${CMAKE_CURRENT_SOURCE_DIR}/core/src ${REEVE_GENERATED})
target_link_libraries(reeve_code PRIVATE reeve_warnings ${REEVE_DEPENDENCIES})

set(REEVE_PUBLIC_INCLUDE
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/core/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

add_library(reeve_static STATIC $<TARGET_OBJECTS:reeve_code>)
target_include_directories(reeve_static PUBLIC ${REEVE_PUBLIC_INCLUDE})
target_link_libraries(reeve_static PRIVATE ${REEVE_DEPENDENCIES})
set_target_properties(reeve_static PROPERTIES OUTPUT_NAME reeve LINKER_LANGUAGE
                                                                C)

add_library(reeve SHARED $<TARGET_OBJECTS:reeve_code>)
target_include_directories(reeve PUBLIC ${REEVE_PUBLIC_INCLUDE})
target_link_libraries(reeve PRIVATE ${REEVE_DEPENDENCIES})
set_target_properties(
    reeve
    PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE C)

# For tests: the static library plus the internal include paths.
add_library(reeve_objects INTERFACE)
target_include_directories(
    reeve_objects INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/core/src
                            ${REEVE_GENERATED})
target_compile_definitions(reeve_objects INTERFACE _POSIX_C_SOURCE=200809L
                                                   _DEFAULT_SOURCE)
target_link_libraries(reeve_objects INTERFACE reeve_static
                                              ${REEVE_DEPENDENCIES})
add_library(reeve::reeve ALIAS reeve)
