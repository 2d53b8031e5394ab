# tests/core/test_*.c and tests/contract/test_*.c: one cmocka executable each,
# known to ctest under the file's name. What the folder's other .c files hold is
# linked to all tests of that folder, tests/support to every test.
enable_testing()
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka>=1.1.5)

set(REEVE_TESTS_DIR ${CMAKE_CURRENT_SOURCE_DIR}/tests)

# A static library of helpers, or an interface when there are no files yet.
function(reeve_add_helpers target)
    if(ARGN)
        add_library(${target} STATIC ${ARGN})
        target_link_libraries(${target} PRIVATE reeve_warnings)
        set(scope PUBLIC)
    else()
        add_library(${target} INTERFACE)
        set(scope INTERFACE)
    endif()
    target_include_directories(${target} ${scope} ${REEVE_TESTS_DIR})
    target_link_libraries(${target} ${scope} reeve_objects PkgConfig::CMOCKA m)
endfunction()

file(GLOB sources CONFIGURE_DEPENDS ${REEVE_TESTS_DIR}/support/*.c)
reeve_add_helpers(reeve_support ${sources})

foreach(folder core contract)
    file(GLOB sources CONFIGURE_DEPENDS ${REEVE_TESTS_DIR}/${folder}/*.c)
    set(tests ${sources})
    list(FILTER tests INCLUDE REGEX "/test_[^/]*$")
    set(helpers ${sources})
    list(FILTER helpers EXCLUDE REGEX "/test_[^/]*$")
    reeve_add_helpers(reeve_${folder}_helpers ${helpers})
    foreach(source IN LISTS tests)
        get_filename_component(name ${source} NAME_WE)
        add_executable(${name} ${source})
        # Helpers first: they need what support and the library define.
        target_link_libraries(
            ${name} PRIVATE reeve_warnings reeve_${folder}_helpers
                            reeve_support)
        set_target_properties(
            ${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                               ${CMAKE_CURRENT_BINARY_DIR}/tests)
        add_test(NAME ${name} COMMAND ${name})
        set_tests_properties(
            ${name} PROPERTIES TIMEOUT 300
                               ENVIRONMENT REEVE_TESTS_DIR=${REEVE_TESTS_DIR})
    endforeach()
    if(helpers)
        target_link_libraries(reeve_${folder}_helpers PUBLIC reeve_support)
    endif()
endforeach()

# tests/bench/*.c: programs that the drivers there start.
file(GLOB programs CONFIGURE_DEPENDS ${REEVE_TESTS_DIR}/bench/*.c)
foreach(source IN LISTS programs)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE reeve_warnings reeve_objects)
    set_target_properties(
        ${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                           ${CMAKE_CURRENT_BINARY_DIR}/programs)
endforeach()

# tests/bench/peers/*/driver.c: the drivers written in C, one program a folder.
file(GLOB drivers CONFIGURE_DEPENDS ${REEVE_TESTS_DIR}/bench/peers/*/driver.c)
foreach(driver IN LISTS drivers)
    get_filename_component(folder ${driver} DIRECTORY)
    get_filename_component(name ${folder} NAME)
    file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c)
    add_executable(bench_${name} ${sources})
    target_link_libraries(bench_${name} PRIVATE reeve_warnings reeve_objects)
    set_target_properties(
        bench_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                 ${CMAKE_CURRENT_BINARY_DIR}/programs)
endforeach()

# What the Lua driver counts with; Lua's names come from the interpreter.
pkg_check_modules(LUA54 QUIET lua5.4)
if(LUA54_FOUND)
    add_library(bench_slots MODULE
                ${REEVE_TESTS_DIR}/bench/peers/reeve-lua/slots.c)
    target_include_directories(bench_slots SYSTEM
                               PRIVATE ${LUA54_INCLUDE_DIRS})
    target_link_libraries(bench_slots PRIVATE reeve_warnings)
    target_compile_definitions(bench_slots PRIVATE _GNU_SOURCE)
    set_target_properties(
        bench_slots PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY
                               ${CMAKE_CURRENT_BINARY_DIR}/programs)
endif()

# tests/e2e/e2e_*.c: the programs that tests/e2e/prove.py starts and kills. They
# link the shared library, so that they see only what a stranger sees.
file(GLOB sources CONFIGURE_DEPENDS ${REEVE_TESTS_DIR}/e2e/e2e_*.c)
foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source} ${REEVE_TESTS_DIR}/e2e/e2e.c)
    target_compile_definitions(${name} PRIVATE _POSIX_C_SOURCE=200809L
                                               _DEFAULT_SOURCE)
    target_link_libraries(${name} PRIVATE reeve_warnings reeve pthread)
    set_target_properties(
        ${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                           ${CMAKE_CURRENT_BINARY_DIR}/e2e)
endforeach()
