/*
 * The clients of a worker's handlers: its states share one for each broker, as
 * a client combines what its callers store at the same time.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

struct reeve_lua_shared {
    reeve_lua_shared *next;
    reeve_client *client;
    char *url; /* NULL = the default, as prefix */
    char *prefix;
    int64_t timeout_ms;
    size_t payload_bytes_max;
};

static bool is_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Holds: hub->mutex. NULL when there is none. */
static reeve_lua_shared *find(const reeve_lua_hub *hub,
                              const reeve_client_options *options) {
    reeve_lua_shared *shared = hub->clients;
    while (shared && !(is_text(shared->url, options->url) &&
                       is_text(shared->prefix, options->prefix) &&
                       shared->timeout_ms == options->timeout_ms &&
                       shared->payload_bytes_max == options->payload_bytes_max))
        shared = shared->next;
    return shared;
}

static void dispose(reeve_lua_shared *shared) {
    reeve_client_close(shared->client);
    free(shared->url);
    free(shared->prefix);
    free(shared);
}

/* New entry without a client; NULL without memory. */
static reeve_lua_shared *entry_new(const reeve_client_options *options) {
    reeve_lua_shared *shared = calloc(1, sizeof *shared);
    if (!shared)
        return NULL;
    shared->timeout_ms = options->timeout_ms;
    shared->payload_bytes_max = options->payload_bytes_max;
    shared->url = options->url ? strdup(options->url) : NULL;
    shared->prefix = options->prefix ? strdup(options->prefix) : NULL;
    if (!options->url == !shared->url && !options->prefix == !shared->prefix)
        return shared;
    dispose(shared);
    return NULL;
}

/* Holds: hub->mutex. */
static void take_out(reeve_lua_hub *hub, reeve_lua_shared *shared) {
    reeve_lua_shared **at = &hub->clients;
    while (*at != shared)
        at = &(*at)->next;
    *at = shared->next;
}

/* Opens the client of an entry that is in the list already: whoever wants it
 * meanwhile waits. Holds: hub->mutex, but not while it opens. */
static reeve_client *open_entry(reeve_lua_hub *hub, reeve_lua_shared *shared,
                                const reeve_client_options *options,
                                reeve_error *err) {
    reeve_client *client = NULL;
    pthread_mutex_unlock(&hub->mutex);
    (void)reeve_client_open(&client, NULL, options, err);
    pthread_mutex_lock(&hub->mutex);
    shared->client = client;
    if (!client) {
        take_out(hub, shared);
        dispose(shared);
    }
    pthread_cond_broadcast(&hub->client_cond);
    return client;
}

reeve_client *reeve_lua_shared_client(reeve_lua_hub *hub,
                                      const reeve_client_options *options,
                                      reeve_error *err) {
    reeve_client *client = NULL;
    pthread_mutex_lock(&hub->mutex);
    reeve_lua_shared *shared = find(hub, options);
    while (shared && !shared->client) {
        pthread_cond_wait(&hub->client_cond, &hub->mutex);
        shared = find(hub, options);
    }
    if (shared) {
        client = shared->client;
    } else if ((shared = entry_new(options))) {
        shared->next = hub->clients;
        hub->clients = shared;
        client = open_entry(hub, shared, options, err);
    } else {
        err->code = REEVE_E_NOMEM;
        (void)strcpy(err->message, "no memory for a client");
    }
    pthread_mutex_unlock(&hub->mutex);
    return client;
}

void reeve_lua_shared_close(reeve_lua_hub *hub) {
    while (hub->clients) {
        reeve_lua_shared *shared = hub->clients;
        hub->clients = shared->next;
        dispose(shared);
    }
}
