# cmake -D SCRIPTS_DIR=… -D OUT_DIR=… -P embed_scripts.cmake
#
# Writes OUT_DIR/scripts_gen.{h,c} from SCRIPTS_DIR/*.lua. In each script a line
# `--@include lib/NAME.lua` is replaced by that file (once a script); then
# comment lines, empty lines and indentation go, to keep what Redis must hold
# small. The SHA-1 is of the text that remains. Because lines are
# trimmed, scripts must not use long brackets; that is checked.
cmake_minimum_required(VERSION 3.22)

# Characters that CMake lists treat specially travel as control characters,
# which a script must not contain.
string(ASCII 1 SEMICOLON)
string(ASCII 2 OPEN)
string(ASCII 3 CLOSE)
string(ASCII 4 BACKSLASH)

# The lines of a file as a list.
function(read_lines out path)
    if(NOT EXISTS ${path})
        message(FATAL_ERROR "no such script: ${path}")
    endif()
    file(READ ${path} text)
    if(text MATCHES "[${SEMICOLON}${OPEN}${CLOSE}${BACKSLASH}]")
        message(FATAL_ERROR "${path}: control character in a script")
    endif()
    string(REPLACE ";" "${SEMICOLON}" text "${text}")
    string(REPLACE "[" "${OPEN}" text "${text}")
    string(REPLACE "]" "${CLOSE}" text "${text}")
    string(REPLACE "\\" "${BACKSLASH}" text "${text}")
    string(REPLACE "\n" ";" text "${text}")
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

function(strip_script out script)
    set(body "")
    set(seen "")
    read_lines(pending ${script})
    while(NOT pending STREQUAL "")
        list(POP_FRONT pending line)
        string(STRIP "${line}" line)
        if(line MATCHES "^--@include +(lib/[A-Za-z0-9_]+\\.lua)$")
            set(include ${SCRIPTS_DIR}/${CMAKE_MATCH_1})
            if(NOT include IN_LIST seen)
                list(APPEND seen ${include})
                read_lines(lines ${include})
                list(PREPEND pending ${lines})
            endif()
        elseif(line MATCHES "^--@")
            message(FATAL_ERROR "${script}: bad directive: ${line}")
        elseif(line MATCHES "^--${OPEN}=*${OPEN}"
               OR (NOT line MATCHES "^--" AND line MATCHES "${OPEN}=*${OPEN}"))
            message(FATAL_ERROR "${script}: long bracket: ${line}")
        elseif(NOT line STREQUAL "" AND NOT line MATCHES "^--")
            string(APPEND body "${line}\n")
        endif()
    endwhile()
    string(REPLACE "${SEMICOLON}" ";" body "${body}")
    string(REPLACE "${OPEN}" "[" body "${body}")
    string(REPLACE "${CLOSE}" "]" body "${body}")
    string(REPLACE "${BACKSLASH}" "\\" body "${body}")
    set(${out} "${body}" PARENT_SCOPE)
endfunction()

file(GLOB scripts ${SCRIPTS_DIR}/*.lua)
list(SORT scripts)
file(MAKE_DIRECTORY ${OUT_DIR})
set(enums "")
set(texts "")
set(rows "")
foreach(script IN LISTS scripts)
    get_filename_component(name ${script} NAME_WE)
    if(NOT name MATCHES "^[a-z][a-z0-9_]*$")
        message(FATAL_ERROR "${script}: names are [a-z][a-z0-9_]*")
    elseif(name STREQUAL "count")
        message(FATAL_ERROR "${script}: the name would be REEVE__SCRIPT_COUNT")
    endif()
    strip_script(body ${script})
    set(stripped ${OUT_DIR}/${name}.lua)
    file(WRITE ${stripped} "${body}")
    file(SHA1 ${stripped} sha1)
    file(SIZE ${stripped} size)
    file(READ ${stripped} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    string(REPEAT "." 70 row)
    string(REGEX REPLACE "(${row})" "\\1\n    " hex "${hex}")
    string(TOUPPER ${name} upper)
    string(APPEND enums "    REEVE__SCRIPT_${upper},\n")
    string(APPEND texts
           "static const unsigned char text_${name}[] = {\n    ${hex}0x00,\n};\n\n")
    string(APPEND rows "    { \"${name}\", \"${sha1}\",\n"
           "      (const char *)text_${name}, ${size} },\n")
endforeach()

set(header "/* Generated from core/scripts by embed_scripts.cmake; do not edit. */
#ifndef REEVE_SCRIPTS_GEN_H
#define REEVE_SCRIPTS_GEN_H

#include <stddef.h>

typedef struct reeve__script {
    const char *name;
    const char *sha1; /* of text, lower-case hex */
    const char *text; /* comments stripped; NUL-terminated */
    size_t text_bytes;
} reeve__script;

enum reeve__script_name {
${enums}    REEVE__SCRIPT_COUNT
};

/* Indexed by enum reeve__script_name; one more row of NULLs at the end. */
extern const reeve__script reeve__scripts[];

#endif
")
set(source "/* Generated from core/scripts by embed_scripts.cmake; do not edit. */
#include \"scripts_gen.h\"

${texts}const reeve__script reeve__scripts[] = {
${rows}    { NULL, NULL, NULL, 0 },
};
")
file(WRITE ${OUT_DIR}/scripts_gen.h "${header}")
file(WRITE ${OUT_DIR}/scripts_gen.c "${source}")
