/*
 * Arbitrary bytes as a server's stream, fed in pieces whose sizes the input
 * chooses. Every reply is walked, so that a dangling view is found; error
 * replies go through classification, message and redirection.
 */
#include "wire/resp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink; /* keeps the reads of walk */

static size_t walk(const reeve__reply *reply, int depth) {
    size_t sum = 0;
    int64_t number = 0;
    reeve_error err;
    reeve__redirect to;
    if (depth > REEVE__REPLY_DEPTH_MAX + 1)
        abort();
    if (reeve__reply_int(&number, reply))
        sum += (size_t)number;
    for (size_t i = 0; i < reply->bytes.size; i++)
        sum += (unsigned char)reply->bytes.data[i];
    if (reply->bytes.data && reply->bytes.data[reply->bytes.size] != '\0')
        abort();
    if (reeve__reply_fail(reply, "fuzz", &err) &&
        (strchr(err.message, '\n') || reply->type != REEVE__REPLY_ERROR))
        abort();
    if (reeve__reply_redirect(&to, reply))
        for (size_t i = 0; i < to.host.size; i++)
            sum += (unsigned char)to.host.data[i];
    for (size_t i = 0; i < reply->count; i++)
        sum += walk(reeve__reply_at(reply, i), depth + 1);
    return sum;
}

/* First byte: piece size; bit 7: keep replies until the end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const reeve__reply_limits limits = { .bulk_bytes_max = 4096,
                                         .reply_bytes_max = 64 << 10,
                                         .element_count_max = 512 };
    reeve__reply_reader *reader = NULL;
    reeve__reply *reply = NULL;
    if (size == 0 || reeve__reply_reader_new(&reader, NULL, &limits, NULL))
        return 0;
    size_t piece = (size_t)(data[0] & 0x7f) + 1;
    bool keep = (data[0] & 0x80) != 0;
    reeve_rc rc = 0;
    for (size_t at = 1; at < size && !rc; at += piece) {
        size_t count = size - at < piece ? size - at : piece;
        rc = reeve__reply_feed(
            reader, (reeve_bytes){ (const char *)data + at, count }, NULL);
        while (!rc) {
            rc = reeve__reply_next(&reply, reader, NULL);
            if (rc || !reply)
                break;
            sink = walk(reply, 1);
            if (!keep)
                reeve__reply_free(reply);
        }
    }
    if (reeve__reply_reader_reset(reader, NULL) == 0 &&
        reeve__reply_feed(reader, (reeve_bytes){ ":1\r\n", 4 }, NULL) == 0 &&
        (reeve__reply_next(&reply, reader, NULL) || !reply ||
         reply->integer != 1))
        abort(); /* a reset reader is as good as new */
    reeve__reply_reader_free(reader);
    return 0;
}
