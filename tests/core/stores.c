/*
 * See stores.h.
 */
#include "stores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

void must(reeve_rc rc, const reeve_error *err) {
    if (rc)
        fail_msg("%s: %s", reeve_code_slug(rc), err->message);
}

void must_fail(reeve_rc rc, reeve_rc code, const reeve_error *err,
               const char *words) {
    if (rc != code || err->code != code)
        fail_msg("expected %s, got %s (%s): %s", reeve_code_slug(code),
                 reeve_code_slug(rc), reeve_code_slug(err->code), err->message);
    char copy[256];
    (void)snprintf(copy, sizeof copy, "%s", words);
    char *save = NULL;
    for (char *word = strtok_r(copy, "|", &save); word;
         word = strtok_r(NULL, "|", &save)) {
        if (!strstr(err->message, word))
            fail_msg("'%s' is not in: %s", word, err->message);
    }
    assert_null(strchr(err->message, '\n'));
    assert_true(*err->message != '\0');
}

void store_make(store *st, const char *kind) {
    static atomic_int serial;
    int number = atomic_fetch_add(&serial, 1);
    memset(st, 0, sizeof *st);
    st->kind = kind;
    if (strcmp(kind, "mem") == 0) {
        (void)snprintf(st->url, sizeof st->url, "mem://store-%d", number);
        return;
    }
    if (strcmp(kind, "redis") == 0) {
        redis_server_start(&st->server, NULL);
        (void)snprintf(st->url, sizeof st->url, "redis://127.0.0.1:%d",
                       st->server.port);
        return;
    }
    (void)snprintf(st->dir, sizeof st->dir, "/tmp/reeve-store-XXXXXX");
    assert_non_null(mkdtemp(st->dir));
    (void)snprintf(st->url, sizeof st->url, "sqlite://%s/store.db", st->dir);
}

void store_remove(store *st) {
    char command[96];
    if (st->server.pid)
        redis_server_stop(&st->server);
    if (!*st->dir)
        return;
    (void)snprintf(command, sizeof command, "rm -rf %s", st->dir);
    assert_int_equal(system(command), 0);
}

reeve_client *store_client(const store *st, reeve_env *env) {
    reeve_client *client = NULL;
    reeve_error err;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = st->url;
    must(reeve_client_open(&client, env, &options, &err), &err);
    return client;
}

reeve_inspector *store_inspector(const store *st, reeve_env *env) {
    reeve_inspector *inspector = NULL;
    reeve_error err;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = st->url;
    must(reeve_inspector_open(&inspector, env, &options, &err), &err);
    return inspector;
}

static int64_t count_of(const reeve_queue_info *info, int32_t state) {
    switch (state) {
    case REEVE_STATE_PENDING:
        return info->pending;
    case REEVE_STATE_ACTIVE:
        return info->active;
    case REEVE_STATE_SCHEDULED:
        return info->scheduled;
    case REEVE_STATE_RETRY:
        return info->retry;
    case REEVE_STATE_COMPLETED:
        return info->completed;
    case REEVE_STATE_ARCHIVED:
        return info->archived;
    default:
        return info->done_total; /* NONE: those that are gone */
    }
}

static reeve_queue_list *list_queues(const store *st) {
    reeve_inspector *inspector = store_inspector(st, NULL);
    reeve_queue_list *list = NULL;
    reeve_error err;
    must(reeve_inspector_queues(&list, inspector, &err), &err);
    reeve_inspector_close(inspector);
    return list;
}

int64_t store_count(const store *st, const char *queue, int32_t state) {
    reeve_queue_list *list = list_queues(st);
    int64_t count = -1;
    for (size_t i = 0; i < reeve_queue_list_count(list); i++) {
        const reeve_queue_info *info = reeve_queue_list_get(list, i);
        if (reeve__bytes_is(info->name, queue))
            count = count_of(info, state);
    }
    reeve_queue_list_free(list);
    return count;
}

size_t store_queue_count(const store *st) {
    reeve_queue_list *list = list_queues(st);
    size_t count = reeve_queue_list_count(list);
    reeve_queue_list_free(list);
    return count;
}
