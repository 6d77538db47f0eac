/* rest_client: a tiny HTTP/1.1 client for tests: one request per connection.
 *
 * What       sends text, reads until the server closes.
 * Units      TCP ports of 127.0.0.1 in host order.
 * Ownership  answers are the caller's: answer_free.
 * Calls      any thread.
 * Errors     status 0: no answer came.
 * Use        struct answer a = http_get(port, "/api/v1/health", NULL);
 */
#ifndef CORENAT_TESTS_REST_CLIENT_H
#define CORENAT_TESTS_REST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct answer {
	int status;
	char *text; /* head and body */
	const char *body;
	size_t body_size;
};

/* A connected socket, or -1. */
int http_connect(unsigned port);
/* `request` as it is; it should ask for `Connection: close`. */
struct answer http_send(unsigned port, const char *request);
/* `header` is one header line without its end, or NULL. */
struct answer http_request(unsigned port, const char *method, const char *path, const char *header);
struct answer http_get(unsigned port, const char *path);
void answer_free(struct answer *a);

/* True when the head has exactly this line. */
bool answer_has(const struct answer *a, const char *header_line);

#endif
