/* reply: what a handler answers, before it is sent.
 *
 * What       status and body; errors are application/problem+json (RFC 9457).
 * Units      HTTP status codes.
 * Ownership  a reply holds one reference to its response; whoever queues it lets go of that. The makers take over
 *            JSON objects and malloced text.
 * Calls      any thread.
 * Errors     no memory: a reply whose response is NULL.
 * Use        return reply_problem(MHD_HTTP_BAD_REQUEST, "limit: \"%s\" is not a number from 1 to 1000", text);
 */
#ifndef CORENAT_MGMTD_REPLY_H
#define CORENAT_MGMTD_REPLY_H

#include <json-c/json.h>
#include <stdint.h>

struct MHD_Response;

struct reply {
	unsigned status;
	struct MHD_Response *response;
};

struct reply reply_json(unsigned status, struct json_object *o);
/* `text` is malloced and becomes the response's; `type` is the media type. */
struct reply reply_text(unsigned status, const char *type, char *text);
/* `format` makes one sentence that names what was wrong and what would be right. Bytes that are not printable
 * ASCII, which only a client can have put in, are shown as '?'. */
struct reply reply_problem(unsigned status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds a header; the reply may be without a response. */
void reply_header(struct reply *r, const char *name, const char *value);

/* A number with three digits after the point: rates and seconds need no more. */
struct json_object *json_decimal(double value);

#endif
