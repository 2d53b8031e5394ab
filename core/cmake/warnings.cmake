# One interface target that carries the project's warnings. It is linked
# privately, so users of the library never see these flags.
add_library(reeve_warnings INTERFACE)
target_compile_options(
    reeve_warnings
    INTERFACE -Wall
              -Wextra
              -Wpedantic
              -Wshadow
              -Wconversion
              -Wstrict-prototypes
              -Wmissing-prototypes
              -Wvla
              -Wformat=2
              -Wundef
              -Wcast-qual)
if(REEVE_WERROR)
    target_compile_options(reeve_warnings INTERFACE -Werror)
endif()
