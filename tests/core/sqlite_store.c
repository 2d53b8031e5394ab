/*
 * Fixtures of the SQLite tests.
 */
#include "core/sqlite_store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char sqlite_store_directory[] = "/tmp/reeve-sqlite-XXXXXX";
char sqlite_store_path[256]; /* of this test's database */
char sqlite_store_url[300];

int sqlite_store_make(void **state) {
    (void)state;
    return mkdtemp(sqlite_store_directory) ? 0 : -1;
}

static void remove_all(const char *folder) {
    DIR *dir = opendir(folder);
    for (struct dirent *it; dir && (it = readdir(dir));) {
        char name[1024];
        if (strcmp(it->d_name, ".") == 0 || strcmp(it->d_name, "..") == 0) {
            continue;
        }
        snprintf(name, sizeof(name), "%s/%s", folder, it->d_name);
        if (unlink(name) < 0) {
            remove_all(name); /* one level: directories of bells */
        }
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(folder);
}

int sqlite_store_remove(void **state) {
    (void)state;
    remove_all(sqlite_store_directory);
    return 0;
}

int sqlite_store_name(void **state) {
    static int serial;
    (void)state;
    snprintf(sqlite_store_path, sizeof(sqlite_store_path), "%s/%d.db",
             sqlite_store_directory, ++serial);
    snprintf(sqlite_store_url, sizeof(sqlite_store_url), "sqlite://%s",
             sqlite_store_path);
    return 0;
}

reeve_rc sqlite_store_try(reeve__broker **out, const char *at,
                          reeve_error *err) {
    reeve__broker_options options = { .url = at, .timeout_ms = 200 };
    *err = (reeve_error){ 0, "" };
    return reeve__broker_open(out, NULL, &options, err);
}

reeve__broker *sqlite_store_open(const char *at) {
    reeve__broker *broker = NULL;
    reeve_error err;
    if (sqlite_store_try(&broker, at, &err) < 0) {
        fail_msg("%s: %s", at, err.message);
    }
    return broker;
}

reeve_rc sqlite_store_put(reeve__broker *broker, const char *id,
                          reeve_error *err) {
    reeve__enqueue_item item = { .queue = reeve_bytes_of("mail"),
                                 .id = reeve_bytes_of(id),
                                 .envelope = reeve_bytes_of("{}\nbody"),
                                 .priority = 5 };
    reeve_rc rc = broker->ops->enqueue(broker, &item, 1, err);
    return rc < 0 ? rc : item.code;
}

reeve_rc sqlite_store_on_row(void *ctx, const reeve__row *row,
                             reeve_error *err) {
    (void)row;
    (void)err;
    ++*(size_t *)ctx;
    return REEVE_OK;
}

size_t sqlite_store_count(reeve__broker *broker, int32_t state) {
    size_t count = 0;
    uint64_t cursor = 0;
    do {
        assert_int_equal(broker->ops->list(broker, reeve_bytes_of("mail"),
                                           state, cursor, 1000, &cursor,
                                           sqlite_store_on_row, &count, NULL),
                         REEVE_OK);
    } while (cursor != 0);
    return count;
}
