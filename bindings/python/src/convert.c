/*
 * Values between Python and the core, and Template: the options of an enqueue,
 * checked for shape here (their bounds are the core's) and kept ready as a C
 * struct so that enqueuing parses nothing.
 */
#include <stdlib.h>
#include <string.h>
#include "glue.h"

int glue_view(reeve_bytes *out, PyObject *object, const char *what) {
    *out = (reeve_bytes){ NULL, 0 };
    if (object == NULL || object == Py_None)
        return 0;
    if (PyBytes_Check(object)) {
        char *data = NULL;
        Py_ssize_t size = 0;
        if (PyBytes_AsStringAndSize(object, &data, &size) < 0)
            return -1;
        *out = (reeve_bytes){ data, (size_t)size };
        return 0;
    }
    if (PyUnicode_Check(object)) {
        Py_ssize_t size = 0;
        const char *data = PyUnicode_AsUTF8AndSize(object, &size);
        if (data == NULL)
            return -1;
        *out = (reeve_bytes){ data, (size_t)size };
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s must be str or bytes, not %R", what,
                 (PyObject *)Py_TYPE(object));
    return -1;
}

PyObject *glue_str(reeve_bytes bytes) {
    return PyUnicode_DecodeUTF8(bytes.data != NULL ? bytes.data : "",
                                (Py_ssize_t)bytes.size, "replace");
}

PyObject *glue_headers(const reeve_header *headers, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *pair = Py_BuildValue("(NN)", glue_str(headers[i].name),
                                       glue_str(headers[i].value));
        if (pair == NULL || PyList_SetItem(list, (Py_ssize_t)i, pair) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

int glue_put(PyObject *dict, const char *key, PyObject *value) {
    if (value == NULL)
        return -1;
    int rc = PyDict_SetItemString(dict, key, value);
    Py_DECREF(value);
    return rc;
}

int glue_client_options(reeve_client_options *out, const char *url,
                        const char *prefix, long long timeout_ms) {
    *out = (reeve_client_options)REEVE_CLIENT_OPTIONS_INIT;
    out->url = url;
    out->prefix = prefix;
    out->timeout_ms = timeout_ms;
    return 0;
}

/* retry = (backoff, jitter, max_attempts, base_ms, cap_ms, factor,
 *          max_elapsed_ms, delays_ms) */
static int read_retry(glue_template *self, PyObject *retry) {
    long long base_ms = 0;
    long long cap_ms = 0;
    long long elapsed_ms = 0;
    PyObject *delays = NULL;
    self->retry = (reeve_retry_options)REEVE_RETRY_OPTIONS_INIT;
    if (!PyTuple_Check(retry)) {
        PyErr_SetString(PyExc_TypeError, "retry must be a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(retry, "iiiLLdLO!:retry", &self->retry.backoff,
                          &self->retry.jitter, &self->retry.max_attempts,
                          &base_ms, &cap_ms, &self->retry.factor, &elapsed_ms,
                          &PyTuple_Type, &delays))
        return -1;
    Py_ssize_t count = PyTuple_Size(delays);
    if (count > REEVE_DELAYS_COUNT_MAX) {
        PyErr_Format(PyExc_ValueError, "retry has %zd delays, at most %d",
                     count, REEVE_DELAYS_COUNT_MAX);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        self->delays_ms[i] = PyLong_AsLongLong(PyTuple_GetItem(delays, i));
        if (self->delays_ms[i] == -1 && PyErr_Occurred())
            return -1;
    }
    self->retry.base_ms = base_ms;
    self->retry.cap_ms = cap_ms;
    self->retry.max_elapsed_ms = elapsed_ms;
    self->retry.delays_ms = self->delays_ms;
    self->retry.delay_count = (size_t)count;
    self->args.retry = &self->retry;
    return 0;
}

/* headers is a tuple of (name, value) tuples, kept alive by self->keep. */
static int read_headers(glue_template *self, PyObject *headers) {
    Py_ssize_t count = PyTuple_Size(headers);
    if (count <= 0)
        return (int)count;
    self->headers = calloc((size_t)count, sizeof *self->headers);
    if (self->headers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = NULL;
        PyObject *value = NULL;
        PyObject *pair = PyTuple_GetItem(headers, i);
        if (!PyTuple_Check(pair)) {
            PyErr_SetString(PyExc_TypeError, "a header must be (name, value)");
            return -1;
        }
        if (!PyArg_ParseTuple(pair, "UU:header", &name, &value))
            return -1;
        if (glue_view(&self->headers[i].name, name, "header name") < 0 ||
            glue_view(&self->headers[i].value, value, "header value") < 0)
            return -1;
    }
    self->args.headers = self->headers;
    self->args.header_count = (size_t)count;
    return 0;
}

typedef struct template_words {
    PyObject *type;
    PyObject *queue;
    PyObject *id;
    PyObject *key;
    PyObject *headers;
} template_words;

static int take_words(glue_template *self, const template_words *words) {
    self->keep = PyTuple_Pack(5, words->type, words->queue, words->id,
                              words->key, words->headers);
    if (self->keep == NULL)
        return -1;
    if (glue_view(&self->args.type, words->type, "type") < 0 ||
        glue_view(&self->args.queue, words->queue, "queue") < 0 ||
        glue_view(&self->args.id, words->id, "id") < 0 ||
        glue_view(&self->args.idempotency_key, words->key, "idempotency_key") <
            0)
        return -1;
    return read_headers(self, words->headers);
}

static int parse_template(glue_template *self, PyObject *args,
                          PyObject *kwargs) {
    static char *names[] = {
        "type",         "queue",
        "id",           "idempotency_key",
        "headers",      "idempotency_ttl_ms",
        "delay_ms",     "due_at_ms",
        "timeout_ms",   "deadline_at_ms",
        "expires_ms",   "lease_ms",
        "retention_ms", "priority",
        "max_crashes",  "retry",
        NULL,
    };
    template_words words = { NULL, Py_None, Py_None, Py_None, NULL };
    PyObject *retry = Py_None;
    PyObject *no_headers = NULL;
    long long ms[8] = { 0 };
    reeve_enqueue_args *a = &self->args;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "U|OOOO!$LLLLLLLLiiO:Template", names, &words.type,
            &words.queue, &words.id, &words.key, &PyTuple_Type, &words.headers,
            &ms[0], &ms[1], &ms[2], &ms[3], &ms[4], &ms[5], &ms[6], &ms[7],
            &a->priority, &a->max_crashes, &retry))
        return -1;
    a->idempotency_ttl_ms = ms[0];
    a->delay_ms = ms[1];
    a->due_at_ms = ms[2];
    a->timeout_ms = ms[3];
    a->deadline_at_ms = ms[4];
    self->expires_ms = ms[5];
    a->lease_ms = ms[6];
    a->retention_ms = ms[7];
    if (words.headers == NULL) {
        no_headers = PyTuple_New(0);
        if (no_headers == NULL)
            return -1;
        words.headers = no_headers;
    }
    int rc = take_words(self, &words);
    Py_XDECREF(no_headers);
    if (rc == 0 && retry != Py_None)
        rc = read_retry(self, retry);
    return rc;
}

static PyObject *template_new(PyTypeObject *type, PyObject *args,
                              PyObject *kwargs) {
    glue_template *self = (glue_template *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->args = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
    if (parse_template(self, args, kwargs) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void template_dealloc(PyObject *object) {
    glue_template *self = (glue_template *)object;
    free(self->headers);
    Py_CLEAR(self->keep);
    glue_release(object);
}

static PyType_Slot template_slots[] = {
    { Py_tp_new, (void *)template_new },
    { Py_tp_dealloc, (void *)template_dealloc },
    { Py_tp_doc, (void *)"Options of an enqueue, all but the payload." },
    { 0, NULL },
};

PyType_Spec glue_template_spec = {
    .name = "reeve._core.Template",
    .basicsize = (int)sizeof(glue_template),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = template_slots,
};
