/*
 * reeve._core: the module object, its state and its constants. Multi-phase
 * init, heap types, limited API.
 */
#include "glue.h"

static struct PyModuleDef module_def;

glue_state *glue_state_of(PyObject *self) {
    return PyType_GetModuleState(Py_TYPE(self));
}

void glue_release(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static int add_type(PyTypeObject **out, PyObject *module, PyType_Spec *spec) {
    *out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (*out == NULL)
        return -1;
    return PyModule_AddType(module, *out);
}

static int add_types(PyObject *module, glue_state *state) {
    if (add_type(&state->env_type, module, &glue_env_spec) < 0 ||
        add_type(&state->template_type, module, &glue_template_spec) < 0 ||
        add_type(&state->client_type, module, &glue_client_spec) < 0 ||
        add_type(&state->worker_type, module, &glue_worker_spec) < 0 ||
        add_type(&state->delivery_type, module, &glue_delivery_spec) < 0 ||
        add_type(&state->inspector_type, module, &glue_inspector_spec) < 0)
        return -1;
    return 0;
}

static const struct {
    const char *name;
    long value;
} constants[] = {
    { "NEVER", REEVE_NEVER },
    { "PRIORITY_LOWEST", REEVE_PRIORITY_LOWEST },
    { "PRIORITY_DEFAULT", REEVE_PRIORITY_DEFAULT },
    { "BATCH_COUNT_MAX", REEVE_BATCH_COUNT_MAX },
    { "NAME_BYTES_MAX", REEVE_NAME_BYTES_MAX },
    { "PAYLOAD_BYTES_MAX", (long)REEVE_PAYLOAD_BYTES_MAX },
    { "DELAYS_COUNT_MAX", REEVE_DELAYS_COUNT_MAX },
    { "OUTCOME_DONE", REEVE_OUTCOME_DONE },
    { "OUTCOME_RETRY", REEVE_OUTCOME_RETRY },
    { "OUTCOME_FATAL", REEVE_OUTCOME_FATAL },
    { "OUTCOME_DISCARD", REEVE_OUTCOME_DISCARD },
    { "OUTCOME_SNOOZE", REEVE_OUTCOME_SNOOZE },
    { "OUTCOME_REQUEUE", REEVE_OUTCOME_REQUEUE },
    { "CANCEL_NONE", REEVE_CANCEL_NONE },
    { "CANCEL_TIMEOUT", REEVE_CANCEL_TIMEOUT },
    { "CANCEL_DEADLINE", REEVE_CANCEL_DEADLINE },
    { "CANCEL_LEASE_LOST", REEVE_CANCEL_LEASE_LOST },
    { "CANCEL_STOP", REEVE_CANCEL_STOP },
    { "JSON_LONG", GLUE_JSON_LONG },
    { "JSON_EXPONENT", GLUE_JSON_EXPONENT },
    { "JSON_NULL", GLUE_JSON_NULL },
    { "JSON_DEEP", GLUE_JSON_DEEP },
    { "JSON_SURROGATE", GLUE_JSON_SURROGATE },
    { "JSON_DEPTH_MAX", GLUE_JSON_DEPTH_MAX },
    { "ACTION_RUN", REEVE_ACTION_RUN },
    { "ACTION_ARCHIVE", REEVE_ACTION_ARCHIVE },
    { "ACTION_DELETE", REEVE_ACTION_DELETE },
};

static int add_constants(PyObject *module) {
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        if (PyModule_AddIntConstant(module, constants[i].name,
                                    constants[i].value) < 0)
            return -1;
    }
    return PyModule_AddStringConstant(module, "__version__", reeve_version());
}

static int module_exec(PyObject *module) {
    glue_state *state = PyModule_GetState(module);
    if (glue_errors_init(module, state) < 0)
        return -1;
    if (add_types(module, state) < 0)
        return -1;
    return add_constants(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    glue_state *state = PyModule_GetState(module);
    if (state == NULL)
        return 0;
    Py_VISIT(state->env_type);
    Py_VISIT(state->template_type);
    Py_VISIT(state->client_type);
    Py_VISIT(state->worker_type);
    Py_VISIT(state->delivery_type);
    Py_VISIT(state->inspector_type);
    Py_VISIT(state->base_error);
    for (size_t i = 0; i < GLUE_ERROR_COUNT; i++)
        Py_VISIT(state->errors[i]);
    return 0;
}

static int module_clear(PyObject *module) {
    glue_state *state = PyModule_GetState(module);
    if (state == NULL)
        return 0;
    Py_CLEAR(state->env_type);
    Py_CLEAR(state->template_type);
    Py_CLEAR(state->client_type);
    Py_CLEAR(state->worker_type);
    Py_CLEAR(state->delivery_type);
    Py_CLEAR(state->inspector_type);
    Py_CLEAR(state->base_error);
    for (size_t i = 0; i < GLUE_ERROR_COUNT; i++)
        Py_CLEAR(state->errors[i]);
    return 0;
}

static void module_free(void *module) {
    module_clear(module);
}

static PyObject *code_slug(PyObject *module, PyObject *arg) {
    (void)module;
    long code = PyLong_AsLong(arg);
    if (code == -1 && PyErr_Occurred())
        return NULL;
    return PyUnicode_FromString(reeve_code_slug((int32_t)code));
}

static PyObject *code_text(PyObject *module, PyObject *arg) {
    (void)module;
    long code = PyLong_AsLong(arg);
    if (code == -1 && PyErr_Occurred())
        return NULL;
    return PyUnicode_FromString(reeve_code_text((int32_t)code));
}

static PyObject *json_traits(PyObject *module, PyObject *arg) {
    (void)module;
    char *data = NULL;
    Py_ssize_t size = 0;
    if (PyBytes_AsStringAndSize(arg, &data, &size) < 0)
        return NULL;
    return PyLong_FromUnsignedLong(glue_json_traits(data, (size_t)size));
}

static PyObject *check_url(PyObject *module, PyObject *args) {
    const char *url = NULL;
    if (!PyArg_ParseTuple(args, "s:check_url", &url))
        return NULL;
    reeve_error err = { 0 };
    reeve_rc rc = reeve_url_check(NULL, url, &err);
    if (rc < 0)
        return glue_raise(PyModule_GetState(module), rc, &err);
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    { "check_url", check_url, METH_VARARGS, "Refuses what no open takes." },
    { "code_slug", code_slug, METH_O, "Slug of an error code." },
    { "code_text", code_text, METH_O, "Default text of an error code." },
    { "json_traits", json_traits, METH_O, "What JSON text holds, JSON_…." },
    { NULL, NULL, 0, NULL },
};

static PyModuleDef_Slot module_slots[] = {
    { Py_mod_exec, (void *)module_exec },
    { 0, NULL },
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "reeve._core",
    .m_doc = "Glue over libreeve; use the reeve package.",
    .m_size = sizeof(glue_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&module_def);
}
