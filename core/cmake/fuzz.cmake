# tests/fuzz/fuzz_*.c: libFuzzer targets, each with an optional seed folder
# tests/fuzz/corpus/NAME. Clang only; combine with REEVE_SANITIZE.
if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "REEVE_FUZZ needs clang, not ${CMAKE_C_COMPILER_ID}")
endif()
target_compile_options(reeve_code PRIVATE -fsanitize=fuzzer-no-link)
target_link_options(reeve PRIVATE -fsanitize=fuzzer-no-link)

file(GLOB REEVE_FUZZ_SOURCES CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(source IN LISTS REEVE_FUZZ_SOURCES)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer
                                           -Wno-missing-prototypes)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_include_directories(${name}
                               PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/tests)
    target_link_libraries(${name} PRIVATE reeve_warnings reeve_objects)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                             ${CMAKE_CURRENT_BINARY_DIR}/fuzz)
endforeach()
