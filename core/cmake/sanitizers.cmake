# -DREEVE_SANITIZE=address,undefined (or thread) instruments everything that is
# built: library, tests and fuzz targets.
if(REEVE_SANITIZE)
    add_compile_options(-fsanitize=${REEVE_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${REEVE_SANITIZE})
endif()
