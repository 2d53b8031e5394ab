/*
 * A unix-socket proxy in front of a server, one client at a time, which can
 * swallow an answer: the request arrives, the reply does not.
 */
#ifndef REEVE_TESTS_REDIS_PROXY_H
#define REEVE_TESTS_REDIS_PROXY_H

typedef struct redis_proxy redis_proxy;

redis_proxy *redis_proxy_start(const char *path, const char *server_path);
/* The next answer is read from the server and the client's connection closed
 * instead of passing it on. */
void redis_proxy_swallow(redis_proxy *proxy);
/* How many answers were swallowed. */
int redis_proxy_swallowed(redis_proxy *proxy);
void redis_proxy_stop(redis_proxy *proxy);

#endif
