/*
 * Threads, timed waits on both clocks, wake descriptors, the fork counter.
 */
#include "base/thread.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static reeve_env *virtual_env(void) {
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = 1700000000000;
    reeve_env *env = NULL;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    return env;
}

typedef struct born {
    char name[16];
    sigset_t mask;
    int ran;
} born;

static void look_around(void *arg) {
    born *b = arg;
    pthread_sigmask(SIG_SETMASK, NULL, &b->mask);
#if defined(__linux__)
    prctl(PR_GET_NAME, (unsigned long)b->name, 0, 0, 0);
#endif
    b->ran++;
}

static void thread_has_a_name_and_no_signals(void **state) {
    (void)state;
    born b = { .ran = 0 };
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "reeve-fetcher15", look_around, &b, NULL),
        0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    reeve__thread_join(&thread);
    reeve__thread_join(&thread); /* no-op */
    assert_int_equal(b.ran, 1);
#if defined(__linux__)
    assert_string_equal(b.name, "reeve-fetcher15");
#endif
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGUSR1 };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(sigismember(&b.mask, signals[i]), 1);
        assert_int_equal(sigismember(&after, signals[i]),
                         sigismember(&before, signals[i]));
    }
}

typedef struct shared {
    reeve_env *env;
    reeve__mutex mutex;
    reeve__cond cond;
    int turn; /* guarded by mutex */
    int64_t count;
    bool result;
    int64_t by_ns;
} shared;

static void shared_init(shared *s, reeve_env *env) {
    memset(s, 0, sizeof *s);
    s->env = env;
    assert_int_equal(reeve__mutex_init(&s->mutex, NULL), 0);
    assert_int_equal(reeve__cond_init(&s->cond, NULL), 0);
}

static void shared_dispose(shared *s) {
    reeve__cond_dispose(&s->cond);
    reeve__mutex_dispose(&s->mutex);
}

static void play(shared *s, int me) {
    for (int i = 0; i < 2000; i++) {
        reeve__lock(&s->mutex);
        while (s->turn != me)
            reeve__wait(&s->cond, &s->mutex);
        s->turn = 1 - me;
        s->count++;
        reeve__signal(&s->cond);
        reeve__unlock(&s->mutex);
    }
}

static void play_second(void *arg) {
    play(arg, 1);
}

static void signals_pass_a_turn_to_and_fro(void **state) {
    (void)state;
    shared s;
    shared_init(&s, NULL);
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "second", play_second, &s, NULL), 0);
    play(&s, 0);
    reeve__thread_join(&thread);
    assert_int_equal(s.count, 4000);
    shared_dispose(&s);
}

static void timed_wait_ends_not_early(void **state) {
    (void)state;
    shared s;
    shared_init(&s, NULL);
    int64_t by_ns = reeve__by_ns(NULL, 3);
    reeve__lock(&s.mutex);
    while (reeve__wait_by(&s.cond, &s.mutex, NULL, by_ns))
        ; /* spurious */
    reeve__unlock(&s.mutex);
    assert_true(reeve__mono_ns(NULL) >= by_ns);
    reeve__lock(&s.mutex);
    assert_false(reeve__wait_by(&s.cond, &s.mutex, NULL, 0));
    reeve__unlock(&s.mutex);
    shared_dispose(&s);
}

static void wait_until_time(void *arg) {
    shared *s = arg;
    reeve__lock(&s->mutex);
    s->turn = 1;
    reeve__signal(&s->cond);
    while (s->turn == 1 &&
           (s->result = reeve__wait_by(&s->cond, &s->mutex, s->env, s->by_ns)))
        ;
    s->count = reeve__mono_ns(s->env);
    reeve__unlock(&s->mutex);
}

/* The sleeper sleeps through an advance that is too short, and ends when the
 * clock reaches its point, without an hour passing. */
static void virtual_sleep_ends_by_advance(void **state) {
    (void)state;
    reeve_env *env = virtual_env();
    shared s;
    shared_init(&s, env);
    s.by_ns = reeve__by_ns(env, 3600000);
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "sleeper", wait_until_time, &s, NULL), 0);
    reeve__lock(&s.mutex);
    while (s.turn == 0)
        reeve__wait(&s.cond, &s.mutex);
    reeve__unlock(&s.mutex);
    assert_int_equal(reeve_env_advance(env, 3599999, NULL), 0);
    assert_int_equal(reeve_env_advance(env, 1, NULL), 0);
    reeve__thread_join(&thread);
    assert_false(s.result);
    assert_int_equal(s.count, s.by_ns);
    shared_dispose(&s);
    reeve_env_free(env);
}

/* The signal comes while the sleeper, up to look at the clock, waits for the
 * mutex: nobody takes it, so the sleeper must look at its own condition. */
static void virtual_wait_hears_a_signal_between_its_looks(void **state) {
    (void)state;
    reeve_env *env = virtual_env();
    shared s;
    shared_init(&s, env);
    s.by_ns = reeve__by_ns(env, 3600000);
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "sleeper", wait_until_time, &s, NULL), 0);
    reeve__lock(&s.mutex);
    while (s.turn == 0)
        reeve__wait(&s.cond, &s.mutex);
    /* It sleeps now; past its real millisecond it wants the mutex. */
    assert_int_equal(reeve__poll_two(NULL, -1, -1, reeve__by_ns(NULL, 20)), 0);
    s.turn = 2;
    reeve__signal(&s.cond);
    reeve__unlock(&s.mutex);
    reeve__thread_join(&thread);
    assert_true(s.result);
    shared_dispose(&s);
    reeve_env_free(env);
}

static void endless_wait_ends_by_broadcast(void **state) {
    (void)state;
    reeve_env *env = virtual_env();
    shared s;
    shared_init(&s, env);
    s.by_ns = INT64_MAX;
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "waiter", wait_until_time, &s, NULL), 0);
    reeve__lock(&s.mutex);
    while (s.turn == 0)
        reeve__wait(&s.cond, &s.mutex);
    s.turn = 2;
    reeve__broadcast(&s.cond);
    reeve__unlock(&s.mutex);
    reeve__thread_join(&thread);
    assert_true(s.result);
    shared_dispose(&s);
    reeve_env_free(env);
}

static void rings_coalesce(void **state) {
    (void)state;
    reeve__wakefd wake;
    assert_int_equal(reeve__wakefd_open(&wake, NULL), 0);
    assert_int_equal(reeve__poll_two(NULL, wake.fd, -1, 0), 0);
    reeve__wakefd_clear(&wake); /* does not block */
    for (int i = 0; i < 100000; i++)
        reeve__wakefd_ring(&wake); /* nor does this */
    assert_int_equal(reeve__poll_two(NULL, wake.fd, -1, INT64_MAX), 1);
    assert_int_equal(reeve__poll_two(NULL, wake.fd, -1, INT64_MAX), 1);
    reeve__wakefd_clear(&wake);
    assert_int_equal(reeve__poll_two(NULL, wake.fd, -1, 0), 0);
    reeve__wakefd_close(&wake);
    assert_int_equal(wake.fd, -1);
    reeve__wakefd_close(&wake);
}

/* The same face over a pipe, as where there is no eventfd. */
static void a_pipe_wakes_too(void **state) {
    (void)state;
    reeve__wakefd wake;
    assert_int_equal(reeve__wakefd_open_pipe(&wake, NULL), 0);
    assert_int_not_equal(wake.fd, wake.write_fd);
    for (int i = 0; i < 100000; i++)
        reeve__wakefd_ring(&wake);
    assert_int_equal(reeve__poll_two(NULL, -1, wake.fd, INT64_MAX), 2);
    reeve__wakefd_clear(&wake);
    assert_int_equal(reeve__poll_two(NULL, -1, wake.fd, 0), 0);
    reeve__wakefd_ring(&wake);
    assert_int_equal(reeve__poll_two(NULL, -1, wake.fd, 0), 2);
    reeve__wakefd_close(&wake);
    assert_int_equal(wake.write_fd, -1);
}

static void ring_from_thread(void *arg) {
    reeve__wakefd_ring(arg);
}

static void poll_two_names_the_readable_one(void **state) {
    (void)state;
    reeve__wakefd a, b;
    assert_int_equal(reeve__wakefd_open(&a, NULL), 0);
    assert_int_equal(reeve__wakefd_open(&b, NULL), 0);
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "ringer", ring_from_thread, &b, NULL), 0);
    assert_int_equal(reeve__poll_two(NULL, a.fd, b.fd, INT64_MAX), 2);
    reeve__thread_join(&thread);
    reeve__wakefd_ring(&a);
    assert_int_equal(reeve__poll_two(NULL, a.fd, b.fd, INT64_MAX), 3);
    reeve__wakefd_close(&a);
    reeve__wakefd_close(&b);
}

static void poll_two_sees_hang_up(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[1]);
    assert_int_equal(reeve__poll_two(NULL, -1, ends[0], INT64_MAX), 2);
    close(ends[0]);
}

static void poll_two_ends_not_early(void **state) {
    (void)state;
    int64_t by_ns = reeve__by_ns(NULL, 3);
    assert_int_equal(reeve__poll_two(NULL, -1, -1, by_ns), 0);
    assert_int_equal(reeve__poll_two(NULL, -1, -1, INT64_MIN), 0);
    assert_true(reeve__mono_ns(NULL) >= by_ns);
}

static void poll_in_thread(void *arg) {
    shared *s = arg;
    reeve__lock(&s->mutex);
    s->turn = 1;
    reeve__signal(&s->cond);
    reeve__unlock(&s->mutex);
    s->result = reeve__poll_two(s->env, -1, -1, s->by_ns) != 0;
    s->count = reeve__mono_ns(s->env);
}

static void virtual_poll_ends_by_advance(void **state) {
    (void)state;
    reeve_env *env = virtual_env();
    shared s;
    shared_init(&s, env);
    s.by_ns = reeve__by_ns(env, 3600000);
    reeve__thread thread;
    assert_int_equal(
        reeve__thread_start(&thread, "poller", poll_in_thread, &s, NULL), 0);
    reeve__lock(&s.mutex);
    while (s.turn == 0)
        reeve__wait(&s.cond, &s.mutex);
    reeve__unlock(&s.mutex);
    assert_int_equal(reeve_env_advance(env, 3600000, NULL), 0);
    reeve__thread_join(&thread);
    assert_false(s.result);
    assert_int_equal(s.count, s.by_ns);
    shared_dispose(&s);
    reeve_env_free(env);
}

static int wait_for(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void fork_is_counted_in_the_child(void **state) {
    (void)state;
    uint32_t born_at = reeve__fork_count();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool counted = reeve__fork_count() == born_at + 1;
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(reeve__fork_count() == born_at + 2 ? 0 : 1);
        _exit(grandchild > 0 && counted && wait_for(grandchild) == 0 ? 0 : 1);
    }
    assert_int_equal(wait_for(child), 0);
    assert_int_equal(reeve__fork_count(), born_at);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_has_a_name_and_no_signals),
        cmocka_unit_test(signals_pass_a_turn_to_and_fro),
        cmocka_unit_test(timed_wait_ends_not_early),
        cmocka_unit_test(virtual_sleep_ends_by_advance),
        cmocka_unit_test(virtual_wait_hears_a_signal_between_its_looks),
        cmocka_unit_test(endless_wait_ends_by_broadcast),
        cmocka_unit_test(rings_coalesce),
        cmocka_unit_test(a_pipe_wakes_too),
        cmocka_unit_test(poll_two_names_the_readable_one),
        cmocka_unit_test(poll_two_sees_hang_up),
        cmocka_unit_test(poll_two_ends_not_early),
        cmocka_unit_test(virtual_poll_ends_by_advance),
        cmocka_unit_test(fork_is_counted_in_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
