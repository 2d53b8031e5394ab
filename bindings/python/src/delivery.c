/*
 * Delivery: one claimed task, made by Worker.poll and used up by
 * Worker.complete_many. Views of the core's memory are copied into Python
 * objects on access and are gone once the delivery is completed.
 */
#include "glue.h"

static PyObject *share(PyObject *value) {
    Py_INCREF(value);
    return value;
}

PyObject *glue_delivery_new(const glue_state *state, glue_worker *worker,
                            reeve_delivery *delivery) {
    glue_delivery *self =
        (glue_delivery *)PyType_GenericAlloc(state->delivery_type, 0);
    if (self == NULL) {
        reeve_outcome outcome = REEVE_OUTCOME_INIT;
        outcome.kind = REEVE_OUTCOME_REQUEUE;
        reeve_worker_complete(worker->worker, delivery, &outcome, NULL);
        return NULL;
    }
    self->delivery = delivery;
    Py_INCREF((PyObject *)worker);
    self->worker = worker;
    self->view = (reeve_delivery_view)REEVE_DELIVERY_VIEW_INIT;
    reeve_error err = { 0 };
    reeve_rc rc = reeve_delivery_read(&self->view, delivery, &err);
    if (rc < 0) {
        glue_raise(state, rc, &err);
        Py_DECREF(self);
        return NULL;
    }
    const glue_task *task = glue_task_find(&worker->tasks, self->view.type);
    if (task != NULL) {
        self->task = task->task;
        self->type = share(task->name);
    } else {
        self->type = glue_str(self->view.type);
    }
    self->id = glue_str(self->view.id);
    self->queue = glue_str(self->view.queue);
    if (self->id == NULL || self->type == NULL || self->queue == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void delivery_dealloc(PyObject *object) {
    glue_delivery *self = (glue_delivery *)object;
    if (self->delivery != NULL) {
        /* dropped without an outcome: the task must not be lost */
        reeve_outcome outcome = REEVE_OUTCOME_INIT;
        outcome.kind = REEVE_OUTCOME_REQUEUE;
        reeve_worker_complete(self->worker->worker, self->delivery, &outcome,
                              NULL);
        self->delivery = NULL;
    }
    Py_CLEAR(self->id);
    Py_CLEAR(self->type);
    Py_CLEAR(self->queue);
    Py_CLEAR(self->worker);
    glue_release(object);
}

static glue_delivery *alive(PyObject *object) {
    glue_delivery *self = (glue_delivery *)object;
    if (self->delivery == NULL) {
        reeve_error err = { REEVE_E_STATE, "the delivery is completed" };
        glue_raise(glue_state_of(object), err.code, &err);
        return NULL;
    }
    return self;
}

static PyObject *get_payload(PyObject *object, void *unused) {
    (void)unused;
    glue_delivery *self = alive(object);
    if (self == NULL)
        return NULL;
    return PyBytes_FromStringAndSize(self->view.payload.data,
                                     (Py_ssize_t)self->view.payload.size);
}

static PyObject *get_headers(PyObject *object, void *unused) {
    (void)unused;
    glue_delivery *self = alive(object);
    if (self == NULL)
        return NULL;
    return glue_headers(self->view.headers, self->view.header_count);
}

static PyObject *get_id(PyObject *object, void *unused) {
    (void)unused;
    return share(((glue_delivery *)object)->id);
}

static PyObject *get_type(PyObject *object, void *unused) {
    (void)unused;
    return share(((glue_delivery *)object)->type);
}

static PyObject *get_task(PyObject *object, void *unused) {
    (void)unused;
    PyObject *task = ((glue_delivery *)object)->task;
    return share(task != NULL ? task : Py_None);
}

static PyObject *get_queue(PyObject *object, void *unused) {
    (void)unused;
    return share(((glue_delivery *)object)->queue);
}

#define INT_GETTER(name)                                                       \
    static PyObject *get_##name(PyObject *object, void *unused) {              \
        (void)unused;                                                          \
        return PyLong_FromLongLong(                                            \
            (long long)((glue_delivery *)object)->view.name);                  \
    }
INT_GETTER(attempt)
INT_GETTER(max_attempts)
INT_GETTER(crashes)
INT_GETTER(priority)
INT_GETTER(serial)
INT_GETTER(token)
INT_GETTER(enqueued_at_ms)
INT_GETTER(claimed_at_ms)
INT_GETTER(deadline_at_ms)
INT_GETTER(timeout_ms)

/* Of a run that goes on; 0 once it is completed. */
static PyObject *get_cancel_reason(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromLong(
        reeve_delivery_cancel_reason(((glue_delivery *)object)->delivery));
}

#define GETTER(name)                                                           \
    { #name, get_##name, NULL, NULL, NULL }
static PyGetSetDef delivery_getset[] = {
    GETTER(id),
    GETTER(type),
    GETTER(task),
    GETTER(queue),
    GETTER(payload),
    GETTER(headers),
    GETTER(attempt),
    GETTER(max_attempts),
    GETTER(crashes),
    GETTER(priority),
    GETTER(serial),
    GETTER(token),
    GETTER(enqueued_at_ms),
    GETTER(claimed_at_ms),
    GETTER(deadline_at_ms),
    GETTER(timeout_ms),
    GETTER(cancel_reason),
    { NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot delivery_slots[] = {
    { Py_tp_dealloc, (void *)delivery_dealloc },
    { Py_tp_getset, delivery_getset },
    { Py_tp_doc, (void *)"One claimed task." },
    { 0, NULL },
};

PyType_Spec glue_delivery_spec = {
    .name = "reeve._core.Delivery",
    .basicsize = (int)sizeof(glue_delivery),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = delivery_slots,
};
