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

typedef struct glue_task {
    reeve_bytes type; /* view into name */
    PyObject *name;
    PyObject *task;
    bool is_plain; /* runs in a thread */
} glue_task;

/* Sorted, see tasks.c. */
typedef struct glue_tasks {
    glue_task *items;
    size_t count;
} glue_tasks;

/* Threads for plain handlers, see pool.c. */
typedef struct glue_pool glue_pool;

typedef struct glue_worker {
    PyObject_HEAD reeve_worker *worker;
    glue_env *env;
    int32_t concurrency;
    glue_tasks tasks;
    glue_pool *pool; /* NULL: no task is plain, or it does not serve */
    PyObject *spawn; /* callable() -> whether a thread was started */
} glue_worker;

typedef struct glue_delivery {
    PyObject_HEAD reeve_delivery *delivery; /* NULL once completed */
    reeve_delivery_view view; /* its byte views die with delivery */
    glue_worker *worker;
    PyObject *task; /* borrowed from the worker; NULL: no such task */
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

/* delivery.c. Consumes delivery, also on failure. */
PyObject *glue_delivery_new(const glue_state *state, glue_worker *worker,
                            reeve_delivery *delivery);

/* settle.c */
/* Completes one; -1 with an exception. Holds: the GIL. */
int glue_complete(glue_worker *self, const glue_state *state,
                  PyObject *delivery, PyObject *outcome);
/* Worker.complete_many */
PyObject *glue_complete_many(PyObject *object, PyObject *arg);

/* tasks.c */
/* rows = ((name, task, is_plain), ...). -1 with an exception; clear it then. */
int glue_tasks_load(glue_tasks *tasks, bool *has_plain, PyObject *rows);
void glue_tasks_clear(glue_tasks *tasks);
int glue_tasks_visit(const glue_tasks *tasks, visitproc visit, void *arg);
/* Thread: any, without the GIL. */
const glue_task *glue_task_find(const glue_tasks *tasks, reeve_bytes type);

/* pool.c. worker and tasks are borrowed. NULL with errno set. */
glue_pool *glue_pool_new(reeve_worker *worker, const glue_tasks *tasks,
                         size_t idle_max);
/* Hands back what no thread took. No thread may be inside. */
void glue_pool_free(glue_pool *pool);
/* Descriptor that is readable while glue_pool_poll has something. */
int glue_pool_fd(const glue_pool *pool);
/* Events that are not for threads. */
size_t glue_pool_poll(reeve_event *out, size_t max, glue_pool *pool);
/* Waits for a delivery of a plain task, new; NULL: the thread shall end.
 * *wants_thread: another must be started. Holds: the GIL, not while waiting. */
reeve_delivery *glue_pool_take(bool *wants_thread, glue_pool *pool);
/* The thread that was wanted is here, or will never be. */
void glue_pool_arrived(glue_pool *pool);
/* Threads end, after what they run. */
void glue_pool_close(glue_pool *pool);

/* json.c */
#define GLUE_JSON_DEPTH_MAX 200
enum glue_json_trait {
    GLUE_JSON_LONG = 1,      /* an integer that may not fit 64 bits */
    GLUE_JSON_EXPONENT = 2,  /* a number with one, or small enough for one */
    GLUE_JSON_NULL = 4,      /* a null */
    GLUE_JSON_DEEP = 8,      /* more than GLUE_JSON_DEPTH_MAX levels */
    GLUE_JSON_SURROGATE = 16 /* an escape of half a pair */
};
unsigned glue_json_traits(const char *p, size_t size);

/* Frees the memory of an instance of a heap type. */
void glue_release(PyObject *self);

#endif
