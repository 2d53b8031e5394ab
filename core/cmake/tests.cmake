# tests/core/test_*.c and tests/contract/test_*.c: one cmocka executable each,
# with the helpers of tests/support, known to ctest under the file's name.
enable_testing()
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka>=1.1.5)

set(REEVE_TESTS_DIR ${CMAKE_CURRENT_SOURCE_DIR}/tests)
file(GLOB REEVE_SUPPORT_SOURCES CONFIGURE_DEPENDS
     ${REEVE_TESTS_DIR}/support/*.c)
if(REEVE_SUPPORT_SOURCES)
    add_library(reeve_support STATIC ${REEVE_SUPPORT_SOURCES})
    target_link_libraries(
        reeve_support
        PRIVATE reeve_warnings
        PUBLIC reeve_objects PkgConfig::CMOCKA)
else()
    add_library(reeve_support INTERFACE)
    target_link_libraries(reeve_support INTERFACE reeve_objects
                                                  PkgConfig::CMOCKA)
endif()
# cmocka.h needs <setjmp.h> and friends first; tests say them themselves.
if(TARGET reeve_support AND REEVE_SUPPORT_SOURCES)
    target_include_directories(reeve_support PUBLIC ${REEVE_TESTS_DIR})
else()
    target_include_directories(reeve_support INTERFACE ${REEVE_TESTS_DIR})
endif()

file(GLOB REEVE_TEST_SOURCES CONFIGURE_DEPENDS
     ${REEVE_TESTS_DIR}/core/test_*.c ${REEVE_TESTS_DIR}/contract/test_*.c)
foreach(source IN LISTS REEVE_TEST_SOURCES)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE reeve_warnings reeve_support)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                             ${CMAKE_CURRENT_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(
        ${name}
        PROPERTIES TIMEOUT 300 ENVIRONMENT
                   "REEVE_TESTS_DIR=${REEVE_TESTS_DIR}")
endforeach()
