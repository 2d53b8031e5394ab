/*
 * cJSON behind guards: parsing and reading. The strict scanner runs first, so
 * that whatever cJSON still refuses is a lack of memory. cJSON's global hooks
 * are left alone.
 */
#include "task/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "task/scan.h"

/* Largest double below which every integer is exact. */
#define EXACT_MAX 9007199254740992.0
/* Up to this many members, names are compared pair by pair. */
#define PAIRWISE_MAX 16

static int compare_names(const void *a, const void *b) {
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

static reeve_rc fail_duplicate(const char *name, reeve_error *err) {
    return reeve__fail(err, REEVE_E_CORRUPT, "json has the name '%.64s' twice",
                       name);
}

static reeve_rc check_many_names(const cJSON *object, size_t count,
                                 reeve_env *env, reeve_error *err) {
    const char **names = reeve__calloc(env, count, sizeof(*names));
    if (names == NULL)
        return reeve__fail_nomem(err);
    size_t used = 0;
    for (const cJSON *item = object->child; item != NULL; item = item->next)
        names[used++] = item->string;
    qsort(names, used, sizeof(*names), compare_names);
    reeve_rc rc = REEVE_OK;
    for (size_t i = 1; i < used && rc == REEVE_OK; i++) {
        if (strcmp(names[i - 1], names[i]) == 0)
            rc = fail_duplicate(names[i], err);
    }
    reeve__free(env, names);
    return rc;
}

static reeve_rc check_names(const cJSON *object, reeve_env *env,
                            reeve_error *err) {
    size_t count = (size_t)cJSON_GetArraySize(object);
    if (count > PAIRWISE_MAX)
        return check_many_names(object, count, env, err);
    for (const cJSON *a = object->child; a != NULL; a = a->next) {
        for (const cJSON *b = a->next; b != NULL; b = b->next) {
            if (strcmp(a->string, b->string) == 0)
                return fail_duplicate(a->string, err);
        }
    }
    return REEVE_OK;
}

/* Turns a marked string back into the number's text. */
static void restore_number(cJSON *item) {
    char *text = item->valuestring;
    if (!cJSON_IsString(item) || text[0] != REEVE__JSON_RAW_MARK)
        return;
    memmove(text, text + 1, strlen(text));
    item->type = cJSON_Raw;
}

/* Visits every item once, without recursion. */
static reeve_rc finish_tree(cJSON *root, reeve_env *env, reeve_error *err) {
    cJSON *parents[REEVE__JSON_DEPTH_MAX];
    size_t depth = 0;
    for (cJSON *item = root;;) {
        restore_number(item);
        if (cJSON_IsObject(item)) {
            reeve_rc rc = check_names(item, env, err);
            if (rc != REEVE_OK)
                return rc;
        }
        if (item->child != NULL) {
            parents[depth++] = item;
            item = item->child;
            continue;
        }
        while (depth > 0 && item->next == NULL)
            item = parents[--depth];
        if (depth == 0)
            return REEVE_OK;
        item = item->next;
    }
}

reeve_rc reeve__json_parse(struct cJSON **out, reeve_env *env, reeve_bytes text,
                           int depth_max, reeve_error *err) {
    *out = NULL;
    reeve__buf rewritten;
    reeve__buf_init(&rewritten, env);
    cJSON *tree = NULL;
    reeve_rc rc = reeve__json_scan(&rewritten, text, depth_max, err);
    if (rc != REEVE_OK)
        goto done;
    if (rewritten.size > 0)
        text = reeve__buf_view(&rewritten);
    tree = cJSON_ParseWithLength(text.data, text.size);
    rc = tree == NULL ? reeve__fail_nomem(err) : finish_tree(tree, env, err);
    if (rc != REEVE_OK)
        goto done;
    *out = tree;
    tree = NULL;
done:
    cJSON_Delete(tree);
    reeve__buf_dispose(&rewritten);
    return rc;
}

void reeve__json_free(struct cJSON *json) {
    cJSON_Delete(json);
}

enum reeve__json_kind reeve__json_kind(const struct cJSON *item) {
    switch (item->type & 0xff) {
    case cJSON_False:
    case cJSON_True:
        return REEVE__JSON_BOOL;
    case cJSON_Number:
    case cJSON_Raw:
        return REEVE__JSON_NUMBER;
    case cJSON_String:
        return REEVE__JSON_STRING;
    case cJSON_Array:
        return REEVE__JSON_ARRAY;
    case cJSON_Object:
        return REEVE__JSON_OBJECT;
    default:
        return REEVE__JSON_NULL;
    }
}

const struct cJSON *reeve__json_first(const struct cJSON *container) {
    return container->child;
}

const struct cJSON *reeve__json_next(const struct cJSON *item) {
    return item->next;
}

size_t reeve__json_count(const struct cJSON *container) {
    return (size_t)cJSON_GetArraySize(container);
}

const char *reeve__json_name(const struct cJSON *item) {
    return item->string;
}

const char *reeve__json_text(const struct cJSON *item) {
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

bool reeve__json_is_true(const struct cJSON *item) {
    return cJSON_IsTrue(item);
}

const struct cJSON *reeve__json_get(const struct cJSON *object,
                                    const char *name) {
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

bool reeve__json_int(int64_t *out, const struct cJSON *item) {
    if (cJSON_IsRaw(item))
        return reeve__int_parse(out, reeve_bytes_of(item->valuestring));
    if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= EXACT_MAX))
        return false;
    *out = (int64_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

bool reeve__json_number(double *out, const struct cJSON *item) {
    if (cJSON_IsNumber(item)) {
        *out = item->valuedouble;
        return true;
    }
    if (!cJSON_IsRaw(item))
        return false;
    /* strtod reads the locale's decimal point, JSON has a full stop. */
    const char *point = localeconv()->decimal_point;
    const char *stop = strchr(item->valuestring, '.');
    size_t whole = stop == NULL ? strlen(item->valuestring)
                                : (size_t)(stop - item->valuestring);
    char text[96];
    int size =
        snprintf(text, sizeof(text), "%.*s%s%s", (int)whole, item->valuestring,
                 stop == NULL ? "" : point, stop == NULL ? "" : stop + 1);
    if (size < 0 || (size_t)size >= sizeof(text))
        return false;
    *out = strtod(text, NULL);
    return isfinite(*out) != 0;
}
