/*
 * Operations of one script or command whose reply is read afterwards.
 */
#include "broker/redis/ops.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static void call_send(reeve__op *op, reeve__engine *engine, size_t part) {
    reeve__call *call = (reeve__call *)op;
    reeve__engine_script(engine, op, part, call->script, call->key_count,
                         call->arg_count);
    reeve__engine_keys(engine, call->queue, call->keys, call->key_count);
    for (size_t i = 0; i < call->arg_count; i++) {
        reeve__cmd_bytes(&engine->out, call->args[i]);
    }
}

static void call_on_reply(reeve__op *op, reeve__engine *engine, size_t part,
                          reeve__reply **reply) {
    (void)engine;
    (void)part;
    reeve__call *call = (reeve__call *)op;
    call->reply = *reply;
    *reply = NULL;
}

void reeve__call_init(reeve__call *call, int script, reeve_bytes queue,
                      const uint8_t *keys, size_t key_count) {
    *call = (reeve__call){
        .op = { .send = call_send, .on_reply = call_on_reply },
        .script = script,
        .queue = queue,
        .keys = keys,
        .key_count = key_count,
    };
}

void reeve__call_arg(reeve__call *call, reeve_bytes arg) {
    assert(call->arg_count < REEVE__CALL_ARGS_MAX);
    call->args[call->arg_count++] = arg;
}

void reeve__call_arg_int(reeve__call *call, int64_t arg) {
    assert(call->arg_count < REEVE__CALL_ARGS_MAX);
    char *text = call->numbers[call->arg_count];
    snprintf(text, sizeof(call->numbers[0]), "%" PRId64, arg);
    reeve__call_arg(call, reeve_bytes_of(text));
}

void reeve__call_begin(reeve__call *call, reeve__engine *engine) {
    call_send(&call->op, engine, 0);
}

void reeve__call_begin_command(reeve__call *call, reeve__engine *engine,
                               size_t argc) {
    reeve__call_init(call, -1, (reeve_bytes){ NULL, 0 }, NULL, 0);
    reeve__engine_command(engine, &call->op, 0, argc);
}

void reeve__call_dispose(reeve__call *call) {
    reeve__reply_free(call->reply);
    call->reply = NULL;
}

int64_t reeve__call_int(reeve__call *call, const reeve__engine *engine,
                        size_t index) {
    int64_t value = 0;
    const reeve__reply *element = reeve__reply_at(call->reply, index);
    if (!element || !reeve__reply_int(&value, element)) {
        reeve__op_malformed(&call->op, engine,
                            call->script >= 0
                                ? reeve__scripts[call->script].name
                                : "a command");
    }
    return value;
}
