/*
 * Worker: Python takes events in batches and gives outcomes back in batches.
 */
#include <stdlib.h>
#include <string.h>
#include "glue.h"

#define POLL_MAX 4096

/* queues = ((name, weight), ...), borrowed by the array. New array. */
static reeve_worker_queue *read_queues(size_t *count, PyObject *queues) {
    Py_ssize_t size = PyTuple_Size(queues);
    if (size < 0)
        return NULL;
    reeve_worker_queue *out = calloc((size_t)size + 1, sizeof *out);
    if (out == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *name = NULL;
        PyObject *pair = PyTuple_GetItem(queues, i);
        if (!PyTuple_Check(pair) ||
            !PyArg_ParseTuple(pair, "Ui:queue", &name, &out[i].weight) ||
            glue_view(&out[i].name, name, "queue name") < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "queues: (name, weight)");
            free(out);
            return NULL;
        }
    }
    *count = (size_t)size;
    return out;
}

static int parse_options(reeve_worker_options *o, PyObject **env,
                         PyObject **queues, const glue_state *state,
                         PyObject *args, PyObject *kwargs) {
    static char *names[] = {
        "url",      "env",        "queues",        "prefix",
        "id",       "order",      "concurrency",   "settle_count",
        "manual",   "lease_ms",   "ageing_ms",     "settle_delay_ms",
        "grace_ms", "archive_ms", "archive_count", "prefetch",
        NULL,
    };
    long long ms[6] = { 0 };
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "sO!O!|$zziiipLLLLLLi:Worker", names, &o->url,
            state->env_type, env, &PyTuple_Type, queues, &o->prefix, &o->id,
            &o->order, &o->concurrency, &o->settle_count, &o->manual, &ms[0],
            &ms[1], &ms[2], &ms[3], &ms[4], &ms[5], &o->prefetch))
        return -1;
    o->lease_ms = ms[0];
    o->ageing_ms = ms[1];
    o->settle_delay_ms = ms[2];
    o->grace_ms = ms[3];
    o->archive_ms = ms[4];
    o->archive_count = ms[5];
    return 0;
}

static PyObject *worker_new(PyTypeObject *type, PyObject *args,
                            PyObject *kwargs) {
    glue_state *state = PyType_GetModuleState(type);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    PyObject *env = NULL;
    PyObject *queues = NULL;
    if (parse_options(&options, &env, &queues, state, args, kwargs) < 0)
        return NULL;
    reeve_worker_queue *list = read_queues(&options.queue_count, queues);
    if (list == NULL)
        return NULL;
    options.queues = options.queue_count > 0 ? list : NULL;
    glue_worker *self = (glue_worker *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        free(list);
        return NULL;
    }
    Py_INCREF(env);
    self->env = (glue_env *)env;
    self->concurrency = options.concurrency > 0 ? options.concurrency : 10;
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_worker_new(&self->worker, self->env->env, &options, &err);
    Py_END_ALLOW_THREADS free(list);
    glue_env_flush(self->env);
    if (rc < 0) {
        glue_raise(state, rc, &err);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int worker_traverse(PyObject *object, visitproc visit, void *arg) {
    glue_worker *self = (glue_worker *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->env);
    Py_VISIT(self->spawn);
    return glue_tasks_visit(&self->tasks, visit, arg);
}

static int worker_clear(PyObject *object) {
    glue_worker *self = (glue_worker *)object;
    Py_CLEAR(self->spawn);
    return 0;
}

static void worker_dealloc(PyObject *object) {
    glue_worker *self = (glue_worker *)object;
    PyObject_GC_UnTrack(object);
    reeve_worker *worker = self->worker;
    self->worker = NULL;
    glue_pool_free(self->pool);
    self->pool = NULL;
    Py_CLEAR(self->spawn);
    glue_tasks_clear(&self->tasks);
    if (worker != NULL) {
        Py_BEGIN_ALLOW_THREADS reeve_worker_free(worker);
        Py_END_ALLOW_THREADS
    }
    if (self->env != NULL)
        glue_env_flush(self->env);
    Py_CLEAR(self->env);
    glue_release(object);
}

static PyObject *give(PyObject *object, reeve_rc rc, const reeve_error *err) {
    glue_env_flush(((glue_worker *)object)->env);
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, err);
    Py_RETURN_NONE;
}

static PyObject *worker_start(PyObject *object, PyObject *unused) {
    (void)unused;
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_worker_start(((glue_worker *)object)->worker, &err);
    Py_END_ALLOW_THREADS return give(object, rc, &err);
}

static PyObject *worker_stop(PyObject *object, PyObject *unused) {
    (void)unused;
    reeve_worker_stop(((glue_worker *)object)->worker);
    Py_RETURN_NONE;
}

static PyObject *worker_quiet(PyObject *object, PyObject *arg) {
    int quiet = PyObject_IsTrue(arg);
    if (quiet < 0)
        return NULL;
    reeve_worker_quiet(((glue_worker *)object)->worker, quiet != 0);
    Py_RETURN_NONE;
}

static PyObject *worker_join(PyObject *object, PyObject *arg) {
    long long timeout_ms = PyLong_AsLongLong(arg);
    if (timeout_ms == -1 && PyErr_Occurred())
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_worker_join(((glue_worker *)object)->worker, timeout_ms, &err);
    Py_END_ALLOW_THREADS return give(object, rc, &err);
}

static PyObject *worker_step(PyObject *object, PyObject *unused) {
    (void)unused;
    int64_t next_at_ms = 0;
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_worker_step(&next_at_ms, ((glue_worker *)object)->worker, &err);
    Py_END_ALLOW_THREADS glue_env_flush(((glue_worker *)object)->env);
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    return PyLong_FromLongLong(next_at_ms);
}

static PyObject *event_object(const glue_state *state, glue_worker *worker,
                              const reeve_event *event) {
    if (event->kind == REEVE_EVENT_DELIVERY)
        return glue_delivery_new(state, worker, event->delivery);
    if (event->kind == REEVE_EVENT_CANCEL)
        return Py_BuildValue("(iK)", event->reason,
                             (unsigned long long)event->serial);
    Py_RETURN_NONE;
}

static PyObject *event_list(const glue_state *state, glue_worker *worker,
                            const reeve_event *events, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; i < count; i++) {
        /* goes on after a failure: every delivery must be taken over */
        PyObject *item = event_object(state, worker, &events[i]);
        if (item == NULL || list == NULL) {
            Py_XDECREF(item);
            Py_CLEAR(list);
        } else if (PyList_SetItem(list, (Py_ssize_t)i, item) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* poll(max, timeout_ms) -> list of Delivery, (cancel reason, serial), and None
 * for "stopped". With threads: what is not for them, without waiting. */
static PyObject *worker_poll(PyObject *object, PyObject *args) {
    glue_worker *self = (glue_worker *)object;
    int max = 0;
    long long timeout_ms = 0;
    if (!PyArg_ParseTuple(args, "iL:poll", &max, &timeout_ms))
        return NULL;
    if (max < 1 || max > POLL_MAX) {
        PyErr_Format(PyExc_ValueError, "max is %d, must be 1 to %d", max,
                     POLL_MAX);
        return NULL;
    }
    reeve_event *events = malloc((size_t)max * sizeof *events);
    if (events == NULL)
        return PyErr_NoMemory();
    size_t count;
    if (self->pool != NULL) {
        count = glue_pool_poll(events, (size_t)max, self->pool);
    } else if (timeout_ms == 0) {
        count = reeve_worker_poll(events, (size_t)max, self->worker, 0);
    } else {
        Py_BEGIN_ALLOW_THREADS count =
            reeve_worker_poll(events, (size_t)max, self->worker, timeout_ms);
        Py_END_ALLOW_THREADS
    }
    PyObject *list = event_list(glue_state_of(object), self, events, count);
    free(events);
    glue_env_flush(self->env);
    return list;
}

static PyObject *worker_fd(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_worker *self = (glue_worker *)object;
    return PyLong_FromLong(self->pool != NULL ? glue_pool_fd(self->pool)
                                              : reeve_worker_fd(self->worker));
}

static PyObject *worker_id(PyObject *object, PyObject *unused) {
    (void)unused;
    return glue_str(reeve_worker_id(((glue_worker *)object)->worker));
}

/* serve(tasks, spawn): which tasks there are, as ((name, task, is_plain), …),
 * and how a thread is started that calls take() until it gets None. Before
 * start(). */
static PyObject *worker_serve(PyObject *object, PyObject *args) {
    glue_worker *self = (glue_worker *)object;
    PyObject *rows = NULL;
    PyObject *spawn = NULL;
    bool has_plain = false;
    if (!PyArg_ParseTuple(args, "O!O:serve", &PyTuple_Type, &rows, &spawn))
        return NULL;
    if (self->spawn != NULL) {
        reeve_error err = { REEVE_E_STATE, "the worker serves already" };
        return glue_raise(glue_state_of(object), err.code, &err);
    }
    if (glue_tasks_load(&self->tasks, &has_plain, rows) < 0) {
        glue_tasks_clear(&self->tasks);
        return NULL;
    }
    if (has_plain) {
        self->pool = glue_pool_new(self->worker, &self->tasks,
                                   (size_t)self->concurrency);
        if (self->pool == NULL) {
            glue_tasks_clear(&self->tasks);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    Py_INCREF(spawn);
    self->spawn = spawn;
    Py_RETURN_NONE;
}

/* A handler is about to run and nobody would watch. Without another thread it
 * goes on, and tries again with the next. */
static void spawn_thread(glue_worker *self) {
    PyObject *started = PyObject_CallFunctionObjArgs(self->spawn, NULL);
    if (started == NULL)
        PyErr_WriteUnraisable(self->spawn);
    if (started != Py_True)
        glue_pool_arrived(self->pool);
    Py_XDECREF(started);
}

/* take() -> Delivery, take(delivery, outcome) -> Delivery: for threads; gives
 * one back and waits for the next. None: the thread shall end. */
static PyObject *worker_take(PyObject *object, PyObject *const *args,
                             Py_ssize_t count) {
    glue_worker *self = (glue_worker *)object;
    glue_state *state = glue_state_of(object);
    if (self->pool == NULL || (count != 0 && count != 2)) {
        PyErr_SetString(PyExc_TypeError, self->pool == NULL
                                             ? "no task here is plain"
                                             : "take(delivery, outcome)");
        return NULL;
    }
    if (count == 0)
        glue_pool_arrived(self->pool);
    else if (glue_complete(self, state, args[0], args[1]) < 0)
        return NULL;
    bool wants_thread;
    reeve_delivery *delivery = glue_pool_take(&wants_thread, self->pool);
    if (wants_thread)
        spawn_thread(self);
    glue_env_flush(self->env);
    if (delivery == NULL)
        Py_RETURN_NONE;
    return glue_delivery_new(state, self, delivery);
}

static PyObject *worker_close(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_worker *self = (glue_worker *)object;
    if (self->pool != NULL)
        glue_pool_close(self->pool);
    Py_RETURN_NONE;
}

static PyObject *worker_stats(PyObject *object, PyObject *unused) {
    (void)unused;
    reeve_worker_stats s = REEVE_WORKER_STATS_INIT;
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve_worker_stats_read(&s, ((glue_worker *)object)->worker, &err);
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    return Py_BuildValue(
        "{sisisLsLsLsLsLsLsLsLsL}", "active", s.active, "held", s.held,
        "claimed", (long long)s.claimed, "done", (long long)s.done, "retried",
        (long long)s.retried, "archived", (long long)s.archived, "requeued",
        (long long)s.requeued, "lease_lost", (long long)s.lease_lost, "stuck",
        (long long)s.stuck, "reclaimed", (long long)s.reclaimed, "reconnects",
        (long long)s.reconnects);
}

static PyMethodDef worker_methods[] = {
    { "start", worker_start, METH_NOARGS, "Starts the core's threads." },
    { "stop", worker_stop, METH_NOARGS,
      "Asks to stop with grace; again: now. Safe in a signal handler." },
    { "quiet", worker_quiet, METH_O, "Stops (True) or resumes claiming." },
    { "join", worker_join, METH_O, "Waits until stopped, ms; -1 for ever." },
    { "step", worker_step, METH_NOARGS,
      "Manual workers: one turn of every role; when something is due next." },
    { "poll", worker_poll, METH_VARARGS, "Takes events in one go." },
    { "fd", worker_fd, METH_NOARGS, "Readable while events wait." },
    { "id", worker_id, METH_NOARGS, "The worker's id." },
    { "complete_many", glue_complete_many, METH_O, "Gives deliveries back." },
    { "serve", worker_serve, METH_VARARGS, "Tells the tasks; before start." },
    { "take", (PyCFunction)(void (*)(void))worker_take, METH_FASTCALL,
      "For threads: gives a delivery back and waits for the next." },
    { "close", worker_close, METH_NOARGS, "Ends the threads in take." },
    { "stats", worker_stats, METH_NOARGS, "Counters since start." },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot worker_slots[] = {
    { Py_tp_new, (void *)worker_new },
    { Py_tp_dealloc, (void *)worker_dealloc },
    { Py_tp_traverse, (void *)worker_traverse },
    { Py_tp_clear, (void *)worker_clear },
    { Py_tp_methods, worker_methods },
    { Py_tp_doc, (void *)"Claims tasks and settles them." },
    { 0, NULL },
};

PyType_Spec glue_worker_spec = {
    .name = "reeve._core.Worker",
    .basicsize = (int)sizeof(glue_worker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = worker_slots,
};
