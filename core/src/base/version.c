/*
 * The library's version; REEVE_VERSION comes from the build.
 */
#include <reeve/base.h>

const char *reeve_version(void) {
    return REEVE_VERSION;
}
