# Embeds core/scripts/*.lua as scripts_gen.{h,c} in the build tree; the work is
# done by embed_scripts.cmake at build time, again whenever a script changes.
file(GLOB REEVE_SCRIPT_FILES CONFIGURE_DEPENDS
     ${CMAKE_CURRENT_SOURCE_DIR}/core/scripts/*.lua
     ${CMAKE_CURRENT_SOURCE_DIR}/core/scripts/lib/*.lua)
set(REEVE_GENERATED ${CMAKE_CURRENT_BINARY_DIR}/generated)
set(REEVE_SCRIPTS_SOURCE ${REEVE_GENERATED}/scripts_gen.c)
set(REEVE_SCRIPTS_HEADER ${REEVE_GENERATED}/scripts_gen.h)

# A removed script leaves no newer file behind; the list itself is an input.
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/script_list.txt
     CONTENT "${REEVE_SCRIPT_FILES}\n")

add_custom_command(
    OUTPUT ${REEVE_SCRIPTS_SOURCE} ${REEVE_SCRIPTS_HEADER}
    COMMAND
        ${CMAKE_COMMAND} -D SCRIPTS_DIR=${CMAKE_CURRENT_SOURCE_DIR}/core/scripts
        -D OUT_DIR=${REEVE_GENERATED} -P ${REEVE_CMAKE}/embed_scripts.cmake
    DEPENDS ${REEVE_SCRIPT_FILES} ${CMAKE_CURRENT_BINARY_DIR}/script_list.txt
            ${REEVE_CMAKE}/embed_scripts.cmake
    COMMENT "Embedding Redis scripts"
    VERBATIM)
