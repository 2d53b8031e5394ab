/*
 * From the core's codes to the exception classes of reeve._errors, which are
 * looked up once by the slug they carry.
 */
#include "glue.h"

typedef struct table_row {
    int32_t code;
    const char *slug;
} table_row;

static const table_row rows[] = {
#define ROW(name, number, slug, class_, text) { number, slug },
    REEVE_ERROR_TABLE(ROW)
#undef ROW
};
_Static_assert(sizeof rows / sizeof rows[0] == GLUE_ERROR_COUNT,
               "GLUE_ERROR_COUNT must match the error table");

int glue_errors_init(PyObject *module, glue_state *state) {
    (void)module;
    int rc = -1;
    PyObject *by_slug = NULL;
    PyObject *errors = PyImport_ImportModule("reeve._errors");
    if (errors == NULL)
        return -1;
    state->base_error = PyObject_GetAttrString(errors, "Error");
    by_slug = PyObject_GetAttrString(errors, "BY_SLUG");
    if (state->base_error == NULL || by_slug == NULL)
        goto done;
    for (size_t i = 0; i < GLUE_ERROR_COUNT; i++) {
        PyObject *type = PyDict_GetItemString(by_slug, rows[i].slug);
        if (type == NULL) {
            PyErr_Format(PyExc_ImportError,
                         "reeve._errors has no class for code \"%s\"",
                         rows[i].slug);
            goto done;
        }
        Py_INCREF(type);
        state->errors[i] = type;
    }
    rc = 0;
done:
    Py_XDECREF(by_slug);
    Py_DECREF(errors);
    return rc;
}

PyObject *glue_raise(const glue_state *state, reeve_rc rc,
                     const reeve_error *err) {
    PyObject *type = state->base_error;
    for (size_t i = 0; i < GLUE_ERROR_COUNT; i++) {
        if (rows[i].code == rc)
            type = state->errors[i];
    }
    const char *text = reeve_code_text(rc);
    if (err != NULL && err->message[0] != '\0')
        text = err->message;
    PyObject *message = glue_str(reeve_bytes_of(text));
    if (message != NULL) {
        PyErr_SetObject(type, message);
        Py_DECREF(message);
    }
    return NULL;
}
