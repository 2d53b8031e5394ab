/*
 * Client: enqueue one, many with the same options, or a batch of mixed ones.
 * Payloads are bytes that stay referenced while the GIL is away.
 */
#include <stdlib.h>
#include <string.h>
#include "glue.h"

static PyObject *client_new(PyTypeObject *type, PyObject *args,
                            PyObject *kwargs) {
    static char *names[] = { "url", "env", "prefix", "timeout_ms", NULL };
    const char *url = NULL;
    const char *prefix = NULL;
    long long timeout_ms = 0;
    PyObject *env = NULL;
    glue_state *state = PyType_GetModuleState(type);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO!|$zL:Client", names,
                                     &url, state->env_type, &env, &prefix,
                                     &timeout_ms))
        return NULL;
    glue_client *self = (glue_client *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(env);
    self->env = (glue_env *)env;
    reeve_client_options options;
    glue_client_options(&options, url, prefix, timeout_ms);
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_client_open(&self->client, self->env->env, &options, &err);
    Py_END_ALLOW_THREADS glue_env_flush(self->env);
    if (rc < 0) {
        glue_raise(state, rc, &err);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* Closes when asked to and nobody is inside. Holds: the GIL. */
static void close_if_idle(glue_client *self) {
    if (!self->closed || self->busy > 0 || self->client == NULL)
        return;
    reeve_client *client = self->client;
    self->client = NULL;
    Py_BEGIN_ALLOW_THREADS reeve_client_close(client);
    Py_END_ALLOW_THREADS glue_env_flush(self->env);
}

static int enter(glue_client *self) {
    if (self->closed) {
        reeve_error err = { REEVE_E_STATE, "the client is closed" };
        glue_raise(glue_state_of((PyObject *)self), err.code, &err);
        return -1;
    }
    self->busy++;
    return 0;
}

static void leave(glue_client *self) {
    self->busy--;
    glue_env_flush(self->env);
    close_if_idle(self);
}

static void client_dealloc(PyObject *object) {
    glue_client *self = (glue_client *)object;
    self->closed = true;
    close_if_idle(self);
    Py_CLEAR(self->env);
    glue_release(object);
}

static int load_item(reeve_enqueue_args *out, const glue_state *state,
                     PyObject *template, PyObject *payload) {
    if (Py_TYPE(template) != state->template_type) {
        PyErr_Format(PyExc_TypeError, "expected a Template, not %R",
                     (PyObject *)Py_TYPE(template));
        return -1;
    }
    if (!PyBytes_Check(payload)) {
        PyErr_Format(PyExc_TypeError, "payload must be bytes, not %R",
                     (PyObject *)Py_TYPE(payload));
        return -1;
    }
    *out = ((glue_template *)template)->args;
    return glue_view(&out->payload, payload, "payload");
}

/* Turns "expires that long from now" into a deadline by the server's clock.
 * Runs on: no GIL. */
static reeve_rc set_deadline(reeve_enqueue_args *args, int64_t expires_ms,
                             reeve_client *client, reeve_error *err) {
    int64_t now_at_ms = 0;
    reeve_rc rc = reeve_client_now(&now_at_ms, client, err);
    args->deadline_at_ms = now_at_ms + expires_ms;
    return rc;
}

static PyObject *result_tuple(const reeve_enqueue_result *result) {
    return Py_BuildValue("(isiLi)", result->code, result->id, result->state,
                         (long long)result->due_at_ms, result->existing);
}

static PyObject *client_enqueue(PyObject *object, PyObject *const *args,
                                Py_ssize_t count) {
    glue_client *self = (glue_client *)object;
    glue_state *state = glue_state_of(object);
    reeve_enqueue_args item;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "enqueue(template, payload)");
        return NULL;
    }
    if (load_item(&item, state, args[0], args[1]) < 0 || enter(self) < 0)
        return NULL;
    int64_t expires_ms = ((glue_template *)args[0])->expires_ms;
    reeve_enqueue_result result = { 0 };
    reeve_error err = { 0 };
    reeve_rc rc = 0;
    Py_BEGIN_ALLOW_THREADS if (expires_ms > 0) rc =
        set_deadline(&item, expires_ms, self->client, &err);
    if (rc == 0)
        rc = reeve_client_enqueue(&result, self->client, &item, &err);
    Py_END_ALLOW_THREADS leave(self);
    if (rc < 0)
        return glue_raise(state, rc, &err);
    return result_tuple(&result);
}

typedef struct batch {
    PyObject *items; /* tuple: owns what args borrows */
    reeve_enqueue_args *args;
    reeve_enqueue_result *results;
    size_t count;
    int64_t expires_ms; /* the longest wanted; 0 = none */
} batch;

static void batch_dispose(batch *b) {
    free(b->args);
    free(b->results);
    Py_XDECREF(b->items);
}

static int batch_init(batch *b, PyObject *items) {
    *b = (batch){ 0 };
    b->items = PySequence_Tuple(items);
    if (b->items == NULL)
        return -1;
    Py_ssize_t count = PyTuple_Size(b->items);
    if (count > REEVE_BATCH_COUNT_MAX) {
        PyErr_Format(PyExc_ValueError, "batch has %zd items, at most %d", count,
                     REEVE_BATCH_COUNT_MAX);
        return -1;
    }
    b->count = (size_t)count;
    b->args = malloc((b->count + 1) * sizeof *b->args);
    b->results = calloc(b->count + 1, sizeof *b->results);
    if (b->args == NULL || b->results == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Runs on: no GIL. expires_ms[i] > 0 asks for a deadline. */
static reeve_rc batch_send(batch *b, const int64_t *expires_ms,
                           reeve_client *client, reeve_error *err) {
    int64_t now_at_ms = 0;
    if (b->expires_ms > 0) {
        reeve_rc rc = reeve_client_now(&now_at_ms, client, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < b->count; i++) {
            if (expires_ms[i] > 0)
                b->args[i].deadline_at_ms = now_at_ms + expires_ms[i];
        }
    }
    return reeve_client_enqueue_many(b->results, client, b->args, b->count,
                                     err);
}

static bool has_stored(const batch *b) {
    for (size_t i = 0; i < b->count; i++) {
        if (b->results[i].code == 0 && *b->results[i].id != '\0')
            return true;
    }
    return false;
}

static PyObject *batch_ids(const batch *b) {
    PyObject *list = PyList_New((Py_ssize_t)b->count);
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        PyObject *id = PyUnicode_FromString(b->results[i].id);
        if (id == NULL || PyList_SetItem(list, (Py_ssize_t)i, id) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *batch_tuples(const batch *b) {
    PyObject *list = PyList_New((Py_ssize_t)b->count);
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        PyObject *item = result_tuple(&b->results[i]);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

/* enqueue_many(template, payloads) -> ids: one set of options, many payloads */
static PyObject *client_enqueue_many(PyObject *object, PyObject *const *args,
                                     Py_ssize_t count) {
    glue_client *self = (glue_client *)object;
    glue_state *state = glue_state_of(object);
    PyObject *out = NULL;
    batch b;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "enqueue_many(template, payloads)");
        return NULL;
    }
    if (batch_init(&b, args[1]) < 0)
        goto done;
    for (size_t i = 0; i < b.count; i++) {
        PyObject *payload = PyTuple_GetItem(b.items, (Py_ssize_t)i);
        if (load_item(&b.args[i], state, args[0], payload) < 0)
            goto done;
    }
    if (enter(self) < 0)
        goto done;
    reeve_error err = { 0 };
    reeve_rc rc = 0;
    int64_t expires_ms =
        b.count > 0 ? ((glue_template *)args[0])->expires_ms : 0;
    Py_BEGIN_ALLOW_THREADS if (expires_ms > 0) {
        rc = set_deadline(&b.args[0], expires_ms, self->client, &err);
        for (size_t i = 1; i < b.count; i++)
            b.args[i].deadline_at_ms = b.args[0].deadline_at_ms;
    }
    if (rc == 0 && b.count > 0)
        rc = reeve_client_enqueue_many(b.results, self->client, b.args, b.count,
                                       &err);
    Py_END_ALLOW_THREADS leave(self);
    out = rc < 0 ? glue_raise(state, rc, &err) : batch_ids(&b);
done:
    batch_dispose(&b);
    return out;
}

/* enqueue_batch([(template, payload), ...]) -> [(code, id, state, due_at_ms,
 * existing), ...]: raises when none of them was stored */
static PyObject *client_enqueue_batch(PyObject *object, PyObject *items) {
    glue_client *self = (glue_client *)object;
    glue_state *state = glue_state_of(object);
    PyObject *out = NULL;
    int64_t *expires_ms = NULL;
    batch b;
    if (batch_init(&b, items) < 0)
        goto done;
    expires_ms = calloc(b.count + 1, sizeof *expires_ms);
    if (expires_ms == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < b.count; i++) {
        PyObject *pair = PyTuple_GetItem(b.items, (Py_ssize_t)i);
        PyObject *template = NULL;
        PyObject *payload = NULL;
        if (!PyTuple_Check(pair)) {
            PyErr_SetString(PyExc_TypeError,
                            "each item must be (template, payload)");
            goto done;
        }
        if (!PyArg_ParseTuple(pair, "OO:item", &template, &payload) ||
            load_item(&b.args[i], state, template, payload) < 0)
            goto done;
        expires_ms[i] = ((glue_template *)template)->expires_ms;
        if (expires_ms[i] > b.expires_ms)
            b.expires_ms = expires_ms[i];
    }
    if (enter(self) < 0)
        goto done;
    reeve_error err = { 0 };
    reeve_rc rc = 0;
    Py_BEGIN_ALLOW_THREADS if (b.count > 0) rc =
        batch_send(&b, expires_ms, self->client, &err);
    Py_END_ALLOW_THREADS leave(self);
    out = rc < 0 && !has_stored(&b) ? glue_raise(state, rc, &err)
                                    : batch_tuples(&b);
done:
    free(expires_ms);
    batch_dispose(&b);
    return out;
}

static PyObject *client_now(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_client *self = (glue_client *)object;
    if (enter(self) < 0)
        return NULL;
    int64_t now_at_ms = 0;
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_client_now(&now_at_ms, self->client, &err);
    Py_END_ALLOW_THREADS leave(self);
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    return PyLong_FromLongLong(now_at_ms);
}

static PyObject *client_close(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_client *self = (glue_client *)object;
    self->closed = true;
    close_if_idle(self);
    Py_RETURN_NONE;
}

static PyMethodDef client_methods[] = {
    { "enqueue", (PyCFunction)(void (*)(void))client_enqueue, METH_FASTCALL,
      "Stores one task." },
    { "enqueue_many", (PyCFunction)(void (*)(void))client_enqueue_many,
      METH_FASTCALL, "Stores one task for each payload; ids." },
    { "enqueue_batch", client_enqueue_batch, METH_O,
      "Stores (template, payload) pairs; an outcome for each." },
    { "now_at_ms", client_now, METH_NOARGS, "The broker's clock, Unix ms." },
    { "close", client_close, METH_NOARGS,
      "Closes once no call is under way; twice is fine." },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot client_slots[] = {
    { Py_tp_new, (void *)client_new },
    { Py_tp_dealloc, (void *)client_dealloc },
    { Py_tp_methods, client_methods },
    { Py_tp_doc, (void *)"The producer's connection. Any thread." },
    { 0, NULL },
};

PyType_Spec glue_client_spec = {
    .name = "reeve._core.Client",
    .basicsize = (int)sizeof(glue_client),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = client_slots,
};
