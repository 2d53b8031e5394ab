/*
 * What the files of the extension share: module state, object layouts and the
 * helpers between them. Glue only: values go in and out, every decision is the
 * core's. The public headers are all it sees of the core.
 *
 * Rules here: the GIL is released around every call that can block; an object
 * is used by the core only while a Python reference keeps it alive; no core
 * thread ever calls Python (log lines wait in a ring, see env.c).
 */
#ifndef REEVE_PY_GLUE_H
#define REEVE_PY_GLUE_H

#include <Python.h>
#include <reeve.h>

#define GLUE_ERROR_COUNT 21

typedef struct glue_state {
    PyTypeObject *env_type;
    PyTypeObject *template_type;
    PyTypeObject *client_type;
    PyTypeObject *worker_type;
    PyTypeObject *delivery_type;
    PyTypeObject *inspector_type;
    PyObject *base_error;
    PyObject *errors[GLUE_ERROR_COUNT]; /* in the order of the error table */
} glue_state;

/* Lines logged by core threads, waiting for a Python thread. */
typedef struct glue_ring glue_ring;

typedef struct glue_env {
    PyObject_HEAD reeve_env *env;
    glue_ring *ring;
    PyObject *log; /* callable(level, line) or NULL */
} glue_env;

/* Everything about an enqueue but the payload, made once and used often. */
typedef struct glue_template {
    PyObject_HEAD reeve_enqueue_args args; /* views into the objects below */
    reeve_retry_options retry;
    int64_t delays_ms[REEVE_DELAYS_COUNT_MAX];
    int64_t expires_ms; /* > 0: the deadline is that long from server now */
    reeve_header *headers;
    PyObject *keep; /* tuple that owns every string */
} glue_template;

typedef struct glue_client {
    PyObject_HEAD reeve_client *client;
    glue_env *env;
    int32_t busy; /* calls under way; guarded by the GIL */
    bool closed;
} glue_client;

typedef struct glue_worker {
    PyObject_HEAD reeve_worker *worker;
    glue_env *env;
} glue_worker;

typedef struct glue_delivery {
    PyObject_HEAD reeve_delivery *delivery; /* NULL once completed */
    reeve_delivery_view view; /* its byte views die with delivery */
    int32_t cancel_reason;    /* as it was when completed */
    glue_worker *worker;
    PyObject *id;
    PyObject *type;
    PyObject *queue;
} glue_delivery;

typedef struct glue_inspector {
    PyObject_HEAD reeve_inspector *inspector;
    glue_env *env;
    int32_t busy;
    bool closed;
} glue_inspector;

/* module.c */
glue_state *glue_state_of(PyObject *self);

/* errors.c */
int glue_errors_init(PyObject *module, glue_state *state);
/* Raises the class of rc with err's message (or the code's text). Returns NULL. */
PyObject *glue_raise(const glue_state *state, reeve_rc rc,
                     const reeve_error *err);

/* convert.c */
extern PyType_Spec glue_template_spec;
/* View of a str or bytes, valid while object lives; None gives empty. -1 with
 * an exception naming what. */
int glue_view(reeve_bytes *out, PyObject *object, const char *what);
/* New str; invalid UTF-8 shown with replacement characters. */
PyObject *glue_str(reeve_bytes bytes);
/* New list of (name, value) tuples. */
PyObject *glue_headers(const reeve_header *headers, size_t count);
/* Stores value under key and drops the reference to value; -1 on failure, also
 * when value is NULL. */
int glue_put(PyObject *dict, const char *key, PyObject *value);
/* Fills the options that clients, workers and inspectors share. */
int glue_client_options(reeve_client_options *out, const char *url,
                        const char *prefix, long long timeout_ms);

/* env.c */
extern PyType_Spec glue_env_spec;
reeve_env *glue_env_handle(glue_env *env);
/* Hands waiting log lines to the env's callable. Holds: the GIL. Keeps a
 * pending exception. */
void glue_env_flush(glue_env *env);

/* client.c, worker.c, inspector.c */
extern PyType_Spec glue_client_spec;
extern PyType_Spec glue_worker_spec;
extern PyType_Spec glue_delivery_spec;
extern PyType_Spec glue_inspector_spec;

/* Frees the memory of an instance of a heap type. */
void glue_release(PyObject *self);

#endif
