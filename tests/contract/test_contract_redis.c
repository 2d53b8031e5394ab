/*
 * The contract suite on a private redis-server. Every case has a prefix of its
 * own, so one server serves them all.
 */
#include "contract/contract.h"

#include <stdio.h>

#include "support/redis_server.h"

static redis_server server;

static int start(void **state) {
    (void)state;
    redis_server_start(&server, NULL);
    return 0;
}

static int stop(void **state) {
    (void)state;
    redis_server_stop(&server);
    return 0;
}

static void fresh(char url[CONTRACT_URL_BYTES]) {
    snprintf(url, CONTRACT_URL_BYTES, "redis+unix://%s", server.socket);
}

int main(int argc, char **argv) {
    const contract_backend redis = { .name = "redis",
                                     .own_clock = true,
                                     .start = start,
                                     .stop = stop,
                                     .fresh = fresh };
    return contract_run(&redis, argc, argv);
}
