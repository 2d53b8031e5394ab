# reeve.core for Lua: one source, a module for each Lua that is supported, in
# lua/<version>/reeve/core.so of the build tree. The one for 5.1 also serves
# LuaJIT. Lua itself is never linked in: its names come from the interpreter
# that loads the module. Of the core nothing is visible but luaopen_reeve_core.
file(GLOB REEVE_LUA_SOURCES CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_SOURCE_DIR}/bindings/lua/src/*.c)
set(REEVE_LUA_INCDIR
    ""
    CACHE PATH "Headers of the only Lua to build for (of LuaRocks)")

# reeve_add_lua(TARGET FOLDER INCLUDES): FOLDER is below lua/ of the build tree.
function(reeve_add_lua name folder include_dirs)
    add_library(${name} MODULE ${REEVE_LUA_SOURCES})
    target_include_directories(${name} SYSTEM PRIVATE ${include_dirs})
    target_link_libraries(${name} PRIVATE reeve_warnings reeve_static
                                          ${REEVE_DEPENDENCIES})
    target_compile_definitions(${name} PRIVATE _POSIX_C_SOURCE=200809L
                                               _DEFAULT_SOURCE)
    # Once loaded it stays: threads may run in it when a state is closed.
    target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL -Wl,-z,nodelete)
    set_target_properties(
        ${name}
        PROPERTIES PREFIX ""
                   OUTPUT_NAME core
                   C_VISIBILITY_PRESET hidden
                   LIBRARY_OUTPUT_DIRECTORY
                   ${CMAKE_CURRENT_BINARY_DIR}/lua/${folder}/reeve)
endfunction()

if(REEVE_LUA_INCDIR)
    reeve_add_lua(reeve_lua . "${REEVE_LUA_INCDIR}")
    return()
endif()

# luajit's headers are those of 5.1, and its package is there where nginx's is.
pkg_check_modules(LUA54 REQUIRED lua5.4>=5.4)
pkg_check_modules(LUA51 REQUIRED luajit>=2.1)
reeve_add_lua(reeve_lua54 5.4 "${LUA54_INCLUDE_DIRS}")
reeve_add_lua(reeve_lua51 5.1 "${LUA51_INCLUDE_DIRS}")

# Where the interpreters look: below /usr/local they do so by themselves.
foreach(version 5.1 5.4)
    string(REPLACE "." "" digits ${version})
    install(
        TARGETS reeve_lua${digits}
        LIBRARY DESTINATION lib/lua/${version}/reeve
                COMPONENT lua)
    install(
        DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/lua/
        DESTINATION share/lua/${version}
        COMPONENT lua
        FILES_MATCHING
        PATTERN "*.lua")
endforeach()
install(PROGRAMS ${CMAKE_CURRENT_SOURCE_DIR}/bin/reeve-lua
        DESTINATION ${CMAKE_INSTALL_BINDIR}
        COMPONENT lua)

# tests/lua/test_*.c embed a Lua of their own and load the module as others do.
if(REEVE_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka>=1.1.5)
    pkg_check_modules(LUA54_LIBRARY REQUIRED IMPORTED_TARGET lua5.4>=5.4)
    enable_testing()
    file(GLOB sources CONFIGURE_DEPENDS
         ${CMAKE_CURRENT_SOURCE_DIR}/tests/lua/test_*.c)
    foreach(source IN LISTS sources)
        get_filename_component(name ${source} NAME_WE)
        add_executable(${name} ${source})
        target_compile_definitions(
            ${name}
            PRIVATE REEVE_LUA_MODULES="${CMAKE_CURRENT_BINARY_DIR}/lua/5.4")
        target_link_libraries(${name} PRIVATE reeve_warnings PkgConfig::CMOCKA
                                              PkgConfig::LUA54_LIBRARY)
        set_target_properties(
            ${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                               ${CMAKE_CURRENT_BINARY_DIR}/tests)
        add_dependencies(${name} reeve_lua54)
        add_test(NAME ${name} COMMAND ${name})
        set_tests_properties(${name} PROPERTIES TIMEOUT 300)
    endforeach()
endif()
