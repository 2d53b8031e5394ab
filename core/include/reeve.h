/*
 * libreeve: a distributed task queue. This header includes the whole stable
 * interface; reeve/sys/ holds the second tier for those who bring their own
 * sockets.
 */
#ifndef REEVE_H
#define REEVE_H

#include <reeve/base.h>
#include <reeve/client.h>
#include <reeve/env.h>
#include <reeve/error.h>
#include <reeve/inspect.h>
#include <reeve/task.h>
#include <reeve/worker.h>

#endif
