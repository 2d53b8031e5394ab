/*
 * The tasks of a worker by name: what a delivery is for is found once, in C and
 * without the GIL. Set up before the worker starts and never changed after.
 */
#include <stdlib.h>
#include <string.h>
#include "glue.h"

static int compare(reeve_bytes a, reeve_bytes b) {
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return memcmp(a.data, b.data, a.size);
}

static int compare_tasks(const void *a, const void *b) {
    return compare(((const glue_task *)a)->type, ((const glue_task *)b)->type);
}

const glue_task *glue_task_find(const glue_tasks *tasks, reeve_bytes type) {
    size_t low = 0;
    size_t high = tasks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(type, tasks->items[middle].type);
        if (order == 0)
            return &tasks->items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void glue_tasks_clear(glue_tasks *tasks) {
    glue_tasks old = *tasks;
    *tasks = (glue_tasks){ 0 };
    for (size_t i = 0; i < old.count; i++) {
        Py_CLEAR(old.items[i].name);
        Py_CLEAR(old.items[i].task);
    }
    free(old.items);
}

int glue_tasks_visit(const glue_tasks *tasks, visitproc visit, void *arg) {
    for (size_t i = 0; i < tasks->count; i++) {
        Py_VISIT(tasks->items[i].name);
        Py_VISIT(tasks->items[i].task);
    }
    return 0;
}

int glue_tasks_load(glue_tasks *tasks, bool *has_plain, PyObject *rows) {
    Py_ssize_t count = PyTuple_Size(rows);
    tasks->items = calloc((size_t)count + 1, sizeof *tasks->items);
    if (tasks->items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *has_plain = false;
    for (Py_ssize_t i = 0; i < count; i++) {
        glue_task *item = &tasks->items[i];
        int is_plain = 0;
        PyObject *row = PyTuple_GetItem(rows, i);
        if (!PyTuple_Check(row)) {
            PyErr_SetString(PyExc_TypeError, "tasks: (name, task, is_plain)");
            return -1;
        }
        if (!PyArg_ParseTuple(row, "UOp:task", &item->name, &item->task,
                              &is_plain)) {
            item->name = item->task = NULL;
            return -1;
        }
        Py_INCREF(item->name);
        Py_INCREF(item->task);
        tasks->count++;
        item->is_plain = is_plain != 0;
        *has_plain = *has_plain || item->is_plain;
        if (glue_view(&item->type, item->name, "task name") < 0)
            return -1;
    }
    qsort(tasks->items, tasks->count, sizeof *tasks->items, compare_tasks);
    return 0;
}
