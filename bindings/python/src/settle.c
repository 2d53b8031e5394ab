/*
 * Outcomes from Python to the core: one at a time from threads, in batches from
 * the loop. The core only takes its mutex here and never waits, so the GIL is
 * kept: giving it away and taking it back would cost more than the call.
 */
#include "glue.h"

#define BATCH_ON_STACK 32

/* outcome = None (done, nothing to keep), bytes (done, with this result), or
 * (kind, result, delay_ms, error_type, error_message, error_trace) with bytes
 * or None. Views borrow from outcome. */
static int read_outcome(reeve_outcome *out, PyObject *outcome) {
    *out = (reeve_outcome)REEVE_OUTCOME_INIT;
    if (!PyTuple_Check(outcome))
        return glue_view(&out->result, outcome, "result");
    PyObject *part[4];
    long long delay_ms = 0;
    if (!PyArg_ParseTuple(outcome, "iOLOOO:outcome", &out->kind, &part[0],
                          &delay_ms, &part[1], &part[2], &part[3]) ||
        glue_view(&out->result, part[0], "result") < 0 ||
        glue_view(&out->error_type, part[1], "error_type") < 0 ||
        glue_view(&out->error_message, part[2], "error_message") < 0 ||
        glue_view(&out->error_trace, part[3], "error_trace") < 0)
        return -1;
    out->delay_ms = delay_ms;
    return 0;
}

/* The delivery if it can be completed by this worker. */
static glue_delivery *check_delivery(glue_worker *self, const glue_state *state,
                                     PyObject *object) {
    if (Py_TYPE(object) != state->delivery_type) {
        PyErr_Format(PyExc_TypeError, "expected a Delivery, not %R",
                     (PyObject *)Py_TYPE(object));
        return NULL;
    }
    glue_delivery *dlv = (glue_delivery *)object;
    if (dlv->delivery == NULL) {
        reeve_error err = { REEVE_E_STATE, "the delivery is completed" };
        glue_raise(state, err.code, &err);
        return NULL;
    }
    if (dlv->worker != self) {
        PyErr_SetString(PyExc_ValueError,
                        "the delivery belongs to another worker");
        return NULL;
    }
    return dlv;
}

/* item = Delivery, or (Delivery, outcome). */
static glue_delivery *read_item(reeve_outcome *outcome, glue_worker *self,
                                const glue_state *state, PyObject *item) {
    PyObject *delivery = item;
    PyObject *given = Py_None;
    if (PyTuple_Check(item) &&
        !PyArg_ParseTuple(item, "OO:completion", &delivery, &given))
        return NULL;
    glue_delivery *dlv = check_delivery(self, state, delivery);
    return dlv != NULL && read_outcome(outcome, given) == 0 ? dlv : NULL;
}

static reeve_delivery *use_up(glue_delivery *dlv) {
    reeve_delivery *delivery = dlv->delivery;
    dlv->delivery = NULL;
    return delivery;
}

int glue_complete(glue_worker *self, const glue_state *state,
                  PyObject *delivery, PyObject *given) {
    reeve_outcome outcome;
    glue_delivery *dlv = check_delivery(self, state, delivery);
    if (dlv == NULL || read_outcome(&outcome, given) < 0)
        return -1;
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve_worker_complete(self->worker, use_up(dlv), &outcome, &err);
    if (rc < 0)
        glue_raise(state, rc, &err);
    return rc < 0 ? -1 : 0;
}

typedef struct settlement {
    reeve_completion items[BATCH_ON_STACK];
    reeve_outcome outcomes[BATCH_ON_STACK];
    glue_delivery *owners[BATCH_ON_STACK];
} settlement;

/* Reads all before any is used; a delivery that is there twice is refused. */
static int read_some(settlement *s, glue_worker *self, const glue_state *state,
                     PyObject *items, Py_ssize_t first, size_t count) {
    for (size_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(items, first + (Py_ssize_t)i);
        s->owners[i] = read_item(&s->outcomes[i], self, state, item);
        if (s->owners[i] == NULL)
            return -1;
        for (size_t j = 0; j < i; j++) {
            if (s->owners[j] == s->owners[i]) {
                PyErr_SetString(PyExc_ValueError,
                                "a delivery is in the batch twice");
                return -1;
            }
        }
    }
    return 0;
}

/* items is a tuple, so its members stay. */
static int complete_some(glue_worker *self, const glue_state *state,
                         PyObject *items, Py_ssize_t first, size_t count) {
    settlement s;
    if (read_some(&s, self, state, items, first, count) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        s.items[i].delivery = use_up(s.owners[i]);
        s.items[i].outcome = &s.outcomes[i];
    }
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve_worker_complete_many(self->worker, s.items, count, &err);
    if (rc < 0)
        glue_raise(state, rc, &err);
    return rc < 0 ? -1 : 0;
}

PyObject *glue_complete_many(PyObject *object, PyObject *arg) {
    glue_worker *self = (glue_worker *)object;
    glue_state *state = glue_state_of(object);
    PyObject *items = PySequence_Tuple(arg);
    if (items == NULL)
        return NULL;
    Py_ssize_t total = PyTuple_Size(items);
    int rc = 0;
    for (Py_ssize_t first = 0; first < total && rc == 0;
         first += BATCH_ON_STACK) {
        size_t count = (size_t)(total - first);
        if (count > BATCH_ON_STACK)
            count = BATCH_ON_STACK;
        rc = complete_some(self, state, items, first, count);
    }
    Py_DECREF(items);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}
