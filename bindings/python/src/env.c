/*
 * Env: clock (real or virtual), randomness and log of the core. Core threads
 * log into a bounded ring and never touch Python; a Python thread empties it
 * after a call, or when the ring's descriptor becomes readable.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "glue.h"

#define RING_COUNT 512
#define LINE_BYTES 400

typedef struct ring_line {
    int32_t level;
    char text[LINE_BYTES];
} ring_line;

/* Freed by the env's last user: the core may log until its env is gone. */
struct glue_ring {
    pthread_mutex_t mutex;
    pid_t pid;          /* a mutex held across fork is never released */
    atomic_size_t used; /* also read without the mutex */
    size_t first;
    size_t dropped;
    int fds[2]; /* a pipe: one byte while lines wait */
    ring_line lines[RING_COUNT];
};

static int open_pipe(glue_ring *ring) {
    if (pipe(ring->fds) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        fcntl(ring->fds[i], F_SETFL, O_NONBLOCK);
        fcntl(ring->fds[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

static void close_pipe(glue_ring *ring) {
    for (int i = 0; i < 2; i++) {
        if (ring->fds[i] >= 0)
            close(ring->fds[i]);
        ring->fds[i] = -1;
    }
}

/* A forked child gets its own mutex and pipe; without a pipe its lines wait for
 * the next call. */
static void ring_heal(glue_ring *ring) {
    pid_t pid = getpid();
    if (ring->pid == pid)
        return;
    pthread_mutex_init(&ring->mutex, NULL);
    close_pipe(ring);
    (void)open_pipe(ring);
    ring->pid = pid;
}

/* Runs on: any core thread. */
static void ring_log(void *ctx, int32_t level, const char *text) {
    glue_ring *ring = ctx;
    ring_heal(ring);
    pthread_mutex_lock(&ring->mutex);
    size_t used = atomic_load(&ring->used);
    if (used == RING_COUNT) {
        ring->dropped++;
    } else {
        ring_line *line = &ring->lines[(ring->first + used) % RING_COUNT];
        line->level = level;
        size_t size = strnlen(text, LINE_BYTES - 1);
        memcpy(line->text, text, size);
        line->text[size] = '\0';
        atomic_store(&ring->used, used + 1);
    }
    bool ring_bell = used == 0;
    pthread_mutex_unlock(&ring->mutex);
    if (ring_bell) {
        ssize_t written = write(ring->fds[1], "", 1);
        (void)written; /* a full pipe is already readable */
    }
}

/* Takes the oldest line; false when there is none. *dropped is how many lines
 * were lost before the ring was last empty. */
static bool ring_take(ring_line *out, size_t *dropped, glue_ring *ring) {
    ring_heal(ring);
    pthread_mutex_lock(&ring->mutex);
    size_t used = atomic_load(&ring->used);
    *dropped = 0;
    if (used > 0) {
        *out = ring->lines[ring->first];
        ring->first = (ring->first + 1) % RING_COUNT;
        atomic_store(&ring->used, used - 1);
    }
    if (used <= 1) {
        *dropped = ring->dropped;
        ring->dropped = 0;
    }
    pthread_mutex_unlock(&ring->mutex);
    return used > 0;
}

static glue_ring *ring_new(void) {
    glue_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return NULL;
    if (open_pipe(ring) < 0) {
        free(ring);
        return NULL;
    }
    pthread_mutex_init(&ring->mutex, NULL);
    ring->pid = getpid();
    return ring;
}

static void ring_free(glue_ring *ring) {
    if (ring == NULL)
        return;
    close_pipe(ring);
    pthread_mutex_destroy(&ring->mutex);
    free(ring);
}

reeve_env *glue_env_handle(glue_env *env) {
    return env != NULL ? env->env : NULL;
}

static void hand_over(PyObject *log, int level, const char *text) {
    PyObject *line = glue_str(reeve_bytes_of(text));
    PyObject *result = NULL;
    if (line != NULL)
        result = PyObject_CallFunction(log, "iO", level, line);
    if (result == NULL)
        PyErr_WriteUnraisable(log);
    Py_XDECREF(result);
    Py_XDECREF(line);
}

void glue_env_flush(glue_env *env) {
    if (env == NULL || env->ring == NULL ||
        atomic_load_explicit(&env->ring->used, memory_order_relaxed) == 0)
        return;
    PyObject *type;
    PyObject *value;
    PyObject *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *log = env->log;
    Py_INCREF(log);
    char bell[16];
    while (read(env->ring->fds[0], bell, sizeof bell) > 0) {
    }
    ring_line line;
    size_t dropped;
    while (ring_take(&line, &dropped, env->ring)) {
        hand_over(log, line.level, line.text);
        if (dropped > 0) {
            char text[80];
            PyOS_snprintf(text, sizeof text, "%zu log lines were lost",
                          dropped);
            hand_over(log, REEVE_LOG_WARN, text);
        }
    }
    Py_DECREF(log);
    PyErr_Restore(type, value, trace);
}

static int env_open(glue_env *self, PyObject *log, reeve_env_options *options) {
    if (log != Py_None) {
        if (!PyCallable_Check(log)) {
            PyErr_SetString(PyExc_TypeError, "log must be callable or None");
            return -1;
        }
        self->ring = ring_new();
        if (self->ring == NULL) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        Py_INCREF(log);
        self->log = log;
        options->log = ring_log;
        options->log_ctx = self->ring;
    }
    reeve_error err = { 0 };
    reeve_rc rc = reeve_env_new(&self->env, options, &err);
    if (rc < 0) {
        glue_raise(glue_state_of((PyObject *)self), rc, &err);
        return -1;
    }
    return 0;
}

static PyObject *env_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = { "log", "log_level", "random_seed",
                             "virtual_now_at_ms", NULL };
    PyObject *log = Py_None;
    unsigned long long seed = 0;
    long long now_at_ms = 0;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OiKL:Env", names, &log,
                                     &options.log_level, &seed, &now_at_ms))
        return NULL;
    options.random_seed = seed;
    options.virtual_now_at_ms = now_at_ms;
    glue_env *self = (glue_env *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    if (env_open(self, log, &options) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int env_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((glue_env *)object)->log);
    return 0;
}

static int env_clear(PyObject *object) {
    (void)object; /* the callable lives as long as lines may come */
    return 0;
}

static void env_dealloc(PyObject *object) {
    glue_env *self = (glue_env *)object;
    PyObject_GC_UnTrack(object);
    glue_env_flush(self);
    reeve_env_free(self->env);
    ring_free(self->ring);
    Py_CLEAR(self->log);
    glue_release(object);
}

static PyObject *env_advance(PyObject *object, PyObject *arg) {
    glue_env *self = (glue_env *)object;
    long long by_ms = PyLong_AsLongLong(arg);
    if (by_ms == -1 && PyErr_Occurred())
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc = reeve_env_advance(self->env, by_ms, &err);
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    Py_RETURN_NONE;
}

static PyObject *env_now(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyLong_FromLongLong(reeve_env_now_at_ms(((glue_env *)object)->env));
}

static PyObject *env_log_fd(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_env *self = (glue_env *)object;
    return PyLong_FromLong(self->ring != NULL ? self->ring->fds[0] : -1);
}

static PyObject *env_flush(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_env_flush((glue_env *)object);
    Py_RETURN_NONE;
}

static PyMethodDef env_methods[] = {
    { "advance", env_advance, METH_O, "Moves a virtual clock by ms." },
    { "now_at_ms", env_now, METH_NOARGS, "Wall clock, Unix ms." },
    { "log_fd", env_log_fd, METH_NOARGS,
      "Descriptor that is readable while log lines wait; -1 without a log." },
    { "flush", env_flush, METH_NOARGS, "Hands waiting lines to the log." },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot env_slots[] = {
    { Py_tp_new, (void *)env_new },
    { Py_tp_dealloc, (void *)env_dealloc },
    { Py_tp_traverse, (void *)env_traverse },
    { Py_tp_clear, (void *)env_clear },
    { Py_tp_methods, env_methods },
    { Py_tp_doc, (void *)"Clock, randomness and log of the core." },
    { 0, NULL },
};

PyType_Spec glue_env_spec = {
    .name = "reeve._core.Env",
    .basicsize = (int)sizeof(glue_env),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = env_slots,
};
