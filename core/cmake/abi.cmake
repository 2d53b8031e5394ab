# What libreeve.so.0 exports is exactly core/abi/reeve.map; tests/lint compares
# it with the headers and with nm.
set(REEVE_MAP ${CMAKE_CURRENT_SOURCE_DIR}/core/abi/reeve.map)
target_link_options(reeve PRIVATE -Wl,--version-script=${REEVE_MAP}
                    -Wl,--as-needed)
set_target_properties(reeve PROPERTIES LINK_DEPENDS ${REEVE_MAP})

# A library with holes must not be released. Sanitizers leave their own runtime
# undefined, so they are excused.
if(NOT REEVE_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_link_options(reeve PRIVATE -Wl,-z,defs)
endif()
