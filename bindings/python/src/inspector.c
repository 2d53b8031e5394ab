/*
 * Inspector: the operator's calls, answers as dicts and lists. Info structs are
 * turned into dicts here, named as in the C header without views.
 */
#include "glue.h"

static PyObject *inspector_new(PyTypeObject *type, PyObject *args,
                               PyObject *kwargs) {
    static char *names[] = { "url", "env", "prefix", "timeout_ms", NULL };
    const char *url = NULL;
    const char *prefix = NULL;
    long long timeout_ms = 0;
    PyObject *env = NULL;
    glue_state *state = PyType_GetModuleState(type);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO!|$zL:Inspector", names,
                                     &url, state->env_type, &env, &prefix,
                                     &timeout_ms))
        return NULL;
    glue_inspector *self = (glue_inspector *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(env);
    self->env = (glue_env *)env;
    reeve_client_options options;
    glue_client_options(&options, url, prefix, timeout_ms);
    reeve_error err = { 0 };
    reeve_rc rc;
    Py_BEGIN_ALLOW_THREADS rc =
        reeve_inspector_open(&self->inspector, self->env->env, &options, &err);
    Py_END_ALLOW_THREADS glue_env_flush(self->env);
    if (rc < 0) {
        glue_raise(state, rc, &err);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* Closes when asked to and nobody is inside. Holds: the GIL. */
static void close_if_idle(glue_inspector *self) {
    if (!self->closed || self->busy > 0 || self->inspector == NULL)
        return;
    reeve_inspector *inspector = self->inspector;
    self->inspector = NULL;
    Py_BEGIN_ALLOW_THREADS reeve_inspector_close(inspector);
    Py_END_ALLOW_THREADS glue_env_flush(self->env);
}

static int enter(glue_inspector *self) {
    if (self->closed) {
        reeve_error err = { REEVE_E_STATE, "the inspector is closed" };
        glue_raise(glue_state_of((PyObject *)self), err.code, &err);
        return -1;
    }
    self->busy++;
    return 0;
}

static void leave(glue_inspector *self) {
    self->busy--;
    glue_env_flush(self->env);
    close_if_idle(self);
}

static void inspector_dealloc(PyObject *object) {
    glue_inspector *self = (glue_inspector *)object;
    self->closed = true;
    close_if_idle(self);
    Py_CLEAR(self->env);
    glue_release(object);
}

#define CALL(self, rc, expression)                                             \
    do {                                                                       \
        Py_BEGIN_ALLOW_THREADS(rc) = (expression);                             \
        Py_END_ALLOW_THREADS leave(self);                                      \
    } while (0)

#define PUT_INT(dict, info, name)                                              \
    glue_put(dict, #name, PyLong_FromLongLong((long long)(info)->name))
#define PUT_BOOL(dict, info, name)                                             \
    glue_put(dict, #name, PyBool_FromLong((info)->name))
#define PUT_STR(dict, info, name) glue_put(dict, #name, glue_str((info)->name))
#define PUT_BYTES(dict, info, name)                                            \
    glue_put(dict, #name,                                                      \
             PyBytes_FromStringAndSize((info)->name.data,                      \
                                       (Py_ssize_t)(info)->name.size))

static PyObject *queue_dict(const reeve_queue_info *info) {
    PyObject *d = PyDict_New();
    if (d == NULL)
        return NULL;
    if (PUT_STR(d, info, name) < 0 || PUT_INT(d, info, pending) < 0 ||
        PUT_INT(d, info, active) < 0 || PUT_INT(d, info, scheduled) < 0 ||
        PUT_INT(d, info, retry) < 0 || PUT_INT(d, info, completed) < 0 ||
        PUT_INT(d, info, archived) < 0 || PUT_INT(d, info, done_total) < 0 ||
        PUT_INT(d, info, failed_total) < 0 ||
        PUT_INT(d, info, latency_ms) < 0 || PUT_INT(d, info, size_bytes) < 0 ||
        PUT_BOOL(d, info, paused) < 0 || PUT_INT(d, info, weight) < 0 ||
        PUT_STR(d, info, error) < 0)
        Py_CLEAR(d);
    return d;
}

static PyObject *attempt_dict(const reeve_attempt_info *info) {
    PyObject *d = PyDict_New();
    if (d == NULL)
        return NULL;
    if (PUT_INT(d, info, at_ms) < 0 || PUT_INT(d, info, attempt) < 0 ||
        PUT_BOOL(d, info, crash) < 0 || PUT_STR(d, info, worker) < 0 ||
        PUT_STR(d, info, error_type) < 0 ||
        PUT_STR(d, info, error_message) < 0 ||
        PUT_STR(d, info, error_trace) < 0)
        Py_CLEAR(d);
    return d;
}

static PyObject *history_list(const reeve_task_info *info) {
    PyObject *list = PyList_New((Py_ssize_t)info->history_count);
    for (size_t i = 0; list != NULL && i < info->history_count; i++) {
        PyObject *item = attempt_dict(&info->history[i]);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *task_dict(const reeve_task_info *info) {
    PyObject *d = PyDict_New();
    if (d == NULL)
        return NULL;
    const char *state = reeve_state_name(info->state);
    if (PUT_STR(d, info, id) < 0 || PUT_STR(d, info, queue) < 0 ||
        PUT_STR(d, info, type) < 0 || PUT_BYTES(d, info, payload) < 0 ||
        PUT_BYTES(d, info, result) < 0 || PUT_STR(d, info, reason) < 0 ||
        glue_put(d, "state", PyUnicode_FromString(state)) < 0 ||
        PUT_INT(d, info, priority) < 0 || PUT_INT(d, info, attempts) < 0 ||
        PUT_INT(d, info, max_attempts) < 0 || PUT_INT(d, info, crashes) < 0 ||
        PUT_BOOL(d, info, has_result) < 0 ||
        PUT_INT(d, info, enqueued_at_ms) < 0 ||
        PUT_INT(d, info, due_at_ms) < 0 ||
        PUT_INT(d, info, settled_at_ms) < 0 ||
        PUT_INT(d, info, expires_at_ms) < 0 || PUT_INT(d, info, token) < 0 ||
        PUT_STR(d, info, worker) < 0 || PUT_INT(d, info, timeout_ms) < 0 ||
        PUT_INT(d, info, deadline_at_ms) < 0 ||
        PUT_INT(d, info, lease_ms) < 0 || PUT_INT(d, info, retention_ms) < 0 ||
        PUT_INT(d, info, max_crashes) < 0 ||
        glue_put(d, "headers",
                 glue_headers(info->headers, info->header_count)) < 0 ||
        glue_put(d, "history", history_list(info)) < 0)
        Py_CLEAR(d);
    return d;
}

static PyObject *worker_dict(const reeve_worker_info *info) {
    PyObject *d = PyDict_New();
    if (d == NULL)
        return NULL;
    if (PUT_STR(d, info, id) < 0 || PUT_STR(d, info, host) < 0 ||
        PUT_INT(d, info, pid) < 0 || PUT_INT(d, info, started_at_ms) < 0 ||
        PUT_INT(d, info, beat_at_ms) < 0 || PUT_INT(d, info, concurrency) < 0 ||
        PUT_INT(d, info, active) < 0 || PUT_INT(d, info, done) < 0 ||
        PUT_INT(d, info, failed) < 0 || PUT_BOOL(d, info, quiet) < 0 ||
        PUT_STR(d, info, queues) < 0)
        Py_CLEAR(d);
    return d;
}

static int append(PyObject *list, PyObject *item) {
    int rc = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    return rc;
}

static PyObject *inspector_queues(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_inspector *self = (glue_inspector *)object;
    if (enter(self) < 0)
        return NULL;
    reeve_queue_list *list = NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc, reeve_inspector_queues(&list, self->inspector, &err));
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    PyObject *out = PyList_New(0);
    size_t count = reeve_queue_list_count(list);
    for (size_t i = 0; out != NULL && i < count; i++) {
        if (append(out, queue_dict(reeve_queue_list_get(list, i))) < 0)
            Py_CLEAR(out);
    }
    reeve_queue_list_free(list);
    return out;
}

/* Consumes list. */
static PyObject *task_dicts(reeve_task_list *list) {
    PyObject *out = PyList_New(0);
    size_t count = reeve_task_list_count(list);
    for (size_t i = 0; out != NULL && i < count; i++) {
        if (append(out, task_dict(reeve_task_list_get(list, i))) < 0)
            Py_CLEAR(out);
    }
    reeve_task_list_free(list);
    return out;
}

/* The state's number; 0 with ValueError when the name is unknown. */
static int32_t state_of(PyObject *name) {
    reeve_bytes view;
    if (glue_view(&view, name, "state") < 0)
        return REEVE_STATE_NONE;
    int32_t state = reeve_state_of(view);
    if (state == REEVE_STATE_NONE)
        PyErr_Format(PyExc_ValueError, "unknown task state %R", name);
    return state;
}

/* tasks(queue, state, cursor, limit) -> (list, next cursor or 0) */
static PyObject *inspector_tasks(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    PyObject *queue = NULL;
    PyObject *state = NULL;
    unsigned long long cursor = 0;
    Py_ssize_t limit = 0;
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    if (!PyArg_ParseTuple(args, "UU|Kn:tasks", &queue, &state, &cursor, &limit))
        return NULL;
    if (limit < 0) {
        PyErr_Format(PyExc_ValueError, "limit is %zd, must be 0 or more",
                     limit);
        return NULL;
    }
    query.state = state_of(state);
    query.cursor = cursor;
    query.limit = (size_t)limit;
    if (query.state == REEVE_STATE_NONE ||
        glue_view(&query.queue, queue, "queue") < 0 || enter(self) < 0)
        return NULL;
    reeve_task_list *list = NULL;
    uint64_t next = 0;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_tasks(&list, &next, self->inspector, &query, &err));
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    return Py_BuildValue("(NK)", task_dicts(list), (unsigned long long)next);
}

/* Two words that every call on one task takes. */
static int read_names(reeve_bytes *queue, reeve_bytes *id, PyObject *args,
                      const char *format, int *number) {
    PyObject *q = NULL;
    PyObject *i = NULL;
    if (!PyArg_ParseTuple(args, format, &q, &i, number))
        return -1;
    if (glue_view(queue, q, "queue") < 0 || glue_view(id, i, "id") < 0)
        return -1;
    return 0;
}

static PyObject *inspector_find(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    reeve_bytes queue;
    reeve_bytes id;
    if (read_names(&queue, &id, args, "UU:find", NULL) < 0 || enter(self) < 0)
        return NULL;
    reeve_task_list *list = NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_find(&list, self->inspector, queue, id, &err));
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    if (list == NULL)
        Py_RETURN_NONE;
    PyObject *out = NULL;
    if (reeve_task_list_count(list) > 0)
        out = task_dict(reeve_task_list_get(list, 0));
    reeve_task_list_free(list);
    return out;
}

static PyObject *inspector_workers(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_inspector *self = (glue_inspector *)object;
    if (enter(self) < 0)
        return NULL;
    reeve_worker_list *list = NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc, reeve_inspector_workers(&list, self->inspector, &err));
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    PyObject *out = PyList_New(0);
    size_t count = reeve_worker_list_count(list);
    for (size_t i = 0; out != NULL && i < count; i++) {
        if (append(out, worker_dict(reeve_worker_list_get(list, i))) < 0)
            Py_CLEAR(out);
    }
    reeve_worker_list_free(list);
    return out;
}

static PyObject *finish(PyObject *object, reeve_rc rc, const reeve_error *err) {
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, err);
    Py_RETURN_NONE;
}

static PyObject *inspector_act(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    reeve_bytes queue;
    reeve_bytes id;
    int action = 0;
    if (read_names(&queue, &id, args, "UUi:act", &action) < 0 ||
        enter(self) < 0)
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_act(self->inspector, action, queue, id, &err));
    return finish(object, rc, &err);
}

/* act_page(queue, state, action, cursor) -> (count, next cursor or 0) */
static PyObject *inspector_act_page(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    PyObject *queue = NULL;
    PyObject *state = NULL;
    int action = 0;
    unsigned long long cursor = 0;
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    if (!PyArg_ParseTuple(args, "UUi|K:act_page", &queue, &state, &action,
                          &cursor))
        return NULL;
    query.state = state_of(state);
    query.cursor = cursor;
    if (query.state == REEVE_STATE_NONE ||
        glue_view(&query.queue, queue, "queue") < 0 || enter(self) < 0)
        return NULL;
    size_t count = 0;
    uint64_t next = 0;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_act_page(&count, &next, self->inspector, action,
                                  &query, &err));
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    return Py_BuildValue("(nK)", (Py_ssize_t)count, (unsigned long long)next);
}

static PyObject *inspector_edit(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    PyObject *words[3] = { NULL, NULL, NULL };
    reeve_bytes queue;
    reeve_bytes id;
    reeve_bytes payload;
    if (!PyArg_ParseTuple(args, "UUS:edit", &words[0], &words[1], &words[2]))
        return NULL;
    if (glue_view(&queue, words[0], "queue") < 0 ||
        glue_view(&id, words[1], "id") < 0 ||
        glue_view(&payload, words[2], "payload") < 0 || enter(self) < 0)
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_edit(self->inspector, queue, id, payload, &err));
    return finish(object, rc, &err);
}

static PyObject *inspector_pause(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    PyObject *queue = NULL;
    int paused = 0;
    reeve_bytes view;
    if (!PyArg_ParseTuple(args, "Up:pause", &queue, &paused) ||
        glue_view(&view, queue, "queue") < 0 || enter(self) < 0)
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_pause(self->inspector, view, paused != 0, &err));
    return finish(object, rc, &err);
}

static PyObject *inspector_drop(PyObject *object, PyObject *queue) {
    glue_inspector *self = (glue_inspector *)object;
    reeve_bytes view;
    if (glue_view(&view, queue, "queue") < 0 || enter(self) < 0)
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc, reeve_inspector_drop(self->inspector, view, &err));
    return finish(object, rc, &err);
}

static PyObject *inspector_weight(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    PyObject *queue = NULL;
    int weight = 0;
    reeve_bytes view;
    if (!PyArg_ParseTuple(args, "Ui:weight", &queue, &weight) ||
        glue_view(&view, queue, "queue") < 0 || enter(self) < 0)
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc, reeve_inspector_weight(self->inspector, view, weight, &err));
    return finish(object, rc, &err);
}

static PyObject *inspector_quiet(PyObject *object, PyObject *args) {
    glue_inspector *self = (glue_inspector *)object;
    PyObject *worker = NULL;
    int quiet = 0;
    reeve_bytes view;
    if (!PyArg_ParseTuple(args, "Up:quiet", &worker, &quiet) ||
        glue_view(&view, worker, "worker") < 0 || enter(self) < 0)
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_quiet(self->inspector, view, quiet != 0, &err));
    return finish(object, rc, &err);
}

static PyObject *inspector_reclaim(PyObject *object, PyObject *worker) {
    glue_inspector *self = (glue_inspector *)object;
    reeve_bytes view;
    if (glue_view(&view, worker, "worker") < 0 || enter(self) < 0)
        return NULL;
    size_t count = 0;
    reeve_error err = { 0 };
    reeve_rc rc;
    CALL(self, rc,
         reeve_inspector_reclaim_worker(&count, self->inspector, view, &err));
    if (rc < 0)
        return glue_raise(glue_state_of(object), rc, &err);
    return PyLong_FromSize_t(count);
}

static PyObject *inspector_close(PyObject *object, PyObject *unused) {
    (void)unused;
    glue_inspector *self = (glue_inspector *)object;
    self->closed = true;
    close_if_idle(self);
    Py_RETURN_NONE;
}

static PyMethodDef inspector_methods[] = {
    { "queues", inspector_queues, METH_NOARGS, "All queues, by name." },
    { "tasks", inspector_tasks, METH_VARARGS, "A page of tasks in one state." },
    { "find", inspector_find, METH_VARARGS, "One task, or None." },
    { "workers", inspector_workers, METH_NOARGS, "Live workers." },
    { "act", inspector_act, METH_VARARGS, "Acts on one task." },
    { "act_page", inspector_act_page, METH_VARARGS,
      "A chunk of an action on all tasks in a state." },
    { "edit", inspector_edit, METH_VARARGS, "Replaces a payload." },
    { "pause", inspector_pause, METH_VARARGS, "Pauses or resumes a queue." },
    { "drop", inspector_drop, METH_O, "Forgets a queue without tasks." },
    { "weight", inspector_weight, METH_VARARGS, "Sets a queue's weight." },
    { "quiet", inspector_quiet, METH_VARARGS, "Quiets or resumes a worker." },
    { "reclaim_worker", inspector_reclaim, METH_O,
      "Hands back the tasks of a dead worker." },
    { "close", inspector_close, METH_NOARGS,
      "Closes once no call is under way; twice is fine." },
    { NULL, NULL, 0, NULL },
};

static PyType_Slot inspector_slots[] = {
    { Py_tp_new, (void *)inspector_new },
    { Py_tp_dealloc, (void *)inspector_dealloc },
    { Py_tp_methods, inspector_methods },
    { Py_tp_doc, (void *)"The operator's connection. Any thread." },
    { 0, NULL },
};

PyType_Spec glue_inspector_spec = {
    .name = "reeve._core.Inspector",
    .basicsize = (int)sizeof(glue_inspector),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = inspector_slots,
};
