/*
 * The contract suite on SQLite, each case on a fresh file.
 */
#include "contract/contract.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/reeve-contract-XXXXXX";

static int start(void **state) {
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static void fresh(char url[CONTRACT_URL_BYTES]) {
    static int serial;
    snprintf(url, CONTRACT_URL_BYTES, "sqlite://%s/%d.db", directory, ++serial);
}

/* Takes a flat directory away. */
static void remove_all(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *it; dir && (it = readdir(dir));) {
        char name[1024];
        snprintf(name, sizeof(name), "%s/%s", path, it->d_name);
        unlink(name);
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(path);
}

static void clean(const char *url) {
    char path[CONTRACT_URL_BYTES + 8];
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s%s", url + strlen("sqlite://"),
                 ends[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s.d", url + strlen("sqlite://"));
    remove_all(path);
}

static int stop(void **state) {
    (void)state;
    return rmdir(directory);
}

int main(int argc, char **argv) {
    const contract_backend sqlite = {
        .name = "sqlite",
        .start = start,
        .stop = stop,
        .fresh = fresh,
        .clean = clean,
    };
    return contract_run(&sqlite, argc, argv);
}
