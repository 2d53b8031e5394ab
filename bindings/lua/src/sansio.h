/*
 * The types of the sans-I/O face: batch.c, job.c, picker.c and protocol.c, which
 * hands the others around. Used by lua/resty only; nothing here waits.
 */
#ifndef REEVE_LUA_SANSIO_H
#define REEVE_LUA_SANSIO_H

#include <reeve/sys/job.h>
#include <reeve/sys/protocol.h>
#include "glue.h"

/* Tasks on their way in. Their bytes, and what their options came to, are in the
 * table that is the userdata's user value. The arrays have count elements and
 * are behind the struct. */
typedef struct reeve_lua_batch {
    size_t count;
    bool needs_clock; /* a deadline is relative to the server's clock */
    reeve_enqueue_args *args;
    int64_t *expires_ms; /* > 0: the deadline is that long from server now */
    char (*ids)[REEVE_ID_TEXT_BYTES];
} reeve_lua_batch;

/* Jobs that were claimed by one script: they share a token. */
typedef struct reeve_lua_claim {
    size_t unsettled;
} reeve_lua_claim;

/* One claimed task. What it points to lives in the table that is the user value
 * of all jobs of one answer. */
typedef struct reeve_lua_job {
    reeve_job *job;
    reeve_lua_claim *claim; /* NULL: reclaimed from somebody */
    reeve_bytes id;
    reeve_bytes queue;
    reeve_bytes worker; /* who held it, when reclaimed */
    int64_t token;
    bool settled;
    bool counted; /* in claim->unsettled */
    reeve_protocol_settle settle;
} reeve_lua_job;

/* batch.c */

/* The environment of this Lua state's ids: its random numbers cost no call of
 * the system, and a fork keeps them apart. NULL (the process's) without
 * memory. */
reeve_env *reeve_lua_id_env(lua_State *L);
void reeve_lua_open_batch(lua_State *L);
/* The batch at index; raises when it is none. */
reeve_lua_batch *reeve_lua_check_batch(lua_State *L, int index);
/* Gives relative deadlines their point in time, once. */
void reeve_lua_batch_clock(reeve_lua_batch *batch, int64_t now_at_ms);

/* job.c */
void reeve_lua_open_job(lua_State *L);
reeve_lua_job *reeve_lua_check_job(lua_State *L, int index);
/* Pushes the list of jobs of a result; the queue's name is at queue. False:
 * pushed nothing, *err is filled. */
bool reeve_lua_push_jobs(lua_State *L, const reeve_protocol_result *result,
                         int queue, reeve_error *err);

/* protocol.c */
/* The open protocol object at 1; raises when it is none. */
reeve_protocol *reeve_lua_check_protocol(lua_State *L);

/* results.c: methods of the protocol object */
int reeve_lua_next_result(lua_State *L);
int reeve_lua_finish_task(lua_State *L);

/* picker.c */
void reeve_lua_open_picker(lua_State *L);

/* url.c */
void reeve_lua_open_url(lua_State *L);

#endif
