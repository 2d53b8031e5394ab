/*
 * Copied rows: one growing block for the bytes, one for the fixed parts. The
 * bytes of a row lie one after the other, so that only sizes are kept.
 */
#include "broker/rows.h"

#include <string.h>

void reeve__rows_init(reeve__rows *rows, reeve_env *env) {
    reeve__buf_init(&rows->bytes, env);
    reeve__buf_init(&rows->heads, env);
}

void reeve__rows_dispose(reeve__rows *rows) {
    reeve__buf_dispose(&rows->bytes);
    reeve__buf_dispose(&rows->heads);
}

void reeve__rows_clear(reeve__rows *rows) {
    reeve__buf_clear(&rows->bytes);
    reeve__buf_clear(&rows->heads);
}

size_t reeve__rows_count(const reeve__rows *rows) {
    return rows->heads.size / sizeof(reeve__row);
}

void reeve__rows_add(reeve__rows *rows, const reeve__row *row) {
    reeve__buf_add(&rows->heads, row, sizeof(*row));
    reeve__buf_add_bytes(&rows->bytes, row->queue);
    reeve__buf_add_bytes(&rows->bytes, row->id);
    reeve__buf_add_bytes(&rows->bytes, row->envelope);
    reeve__buf_add_bytes(&rows->bytes, row->worker);
    reeve__buf_add_bytes(&rows->bytes, row->result);
}

bool reeve__rows_failed(const reeve__rows *rows) {
    return rows->bytes.failed || rows->heads.failed;
}

/* Points the view at its copy; returns where the next one starts. */
static const char *point(reeve_bytes *view, const char *data) {
    view->data = view->size > 0 ? data : "";
    return view->size > 0 ? data + view->size : data;
}

reeve_rc reeve__rows_deliver(const reeve__rows *rows, reeve__row_fn on_row,
                             void *ctx, reeve_error *err) {
    const char *data = rows->bytes.data;
    size_t count = reeve__rows_count(rows);
    for (size_t i = 0; i < count; i++) {
        reeve__row row;
        memcpy(&row, rows->heads.data + i * sizeof(row), sizeof(row));
        data = point(&row.queue, data);
        data = point(&row.id, data);
        data = point(&row.envelope, data);
        data = point(&row.worker, data);
        data = point(&row.result, data);
        reeve_rc rc = on_row(ctx, &row, err);
        if (rc < 0) {
            return rc;
        }
    }
    return REEVE_OK;
}
