/*
 * The contract suite on mem://, which is also the oracle: here the random walk
 * compares two stores of the same kind, which proves the walk.
 */
#include "contract/contract.h"

#include <stdio.h>

static void fresh(char url[CONTRACT_URL_BYTES]) {
    static int serial;
    snprintf(url, CONTRACT_URL_BYTES, "mem://contract-%d", ++serial);
}

int main(int argc, char **argv) {
    const contract_backend mem = { .name = "mem", .fresh = fresh };
    return contract_run(&mem, argc, argv);
}
