#include "mgmtd/reply.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct reply reply_bytes(unsigned status, const char *type, char *bytes, size_t size)
{
	struct reply r = {.status = status};

	r.response = MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE);
	if (r.response)
		MHD_add_response_header(r.response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	else
		free(bytes);
	return r;
}

struct reply reply_text(unsigned status, const char *type, char *text)
{
	if (!text)
		return (struct reply){.status = status};
	return reply_bytes(status, type, text, strlen(text));
}

static struct reply reply_object(unsigned status, const char *type, struct json_object *o)
{
	size_t size = 0;
	const char *text =
		json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	char *line = text ? malloc(size + 1) : NULL;

	if (line) {
		memcpy(line, text, size);
		line[size] = '\n'; /* for people with curl */
	}
	json_object_put(o);
	if (!line)
		return (struct reply){.status = status};
	return reply_bytes(status, type, line, size + 1);
}

struct reply reply_json(unsigned status, struct json_object *o)
{
	return reply_object(status, "application/json", o);
}

static const char *title_of(unsigned status)
{
	switch (status) {
	case MHD_HTTP_BAD_REQUEST:
		return "Bad Request";
	case MHD_HTTP_FORBIDDEN:
		return "Forbidden";
	case MHD_HTTP_NOT_FOUND:
		return "Not Found";
	case MHD_HTTP_METHOD_NOT_ALLOWED:
		return "Method Not Allowed";
	case MHD_HTTP_SERVICE_UNAVAILABLE:
		return "Service Unavailable";
	default:
		return "Internal Server Error";
	}
}

struct reply reply_problem(unsigned status, const char *format, ...)
{
	struct json_object *o = json_object_new_object();
	char detail[512];
	va_list args;

	va_start(args, format);
	vsnprintf(detail, sizeof detail, format, args);
	va_end(args);
	for (char *c = detail; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	json_object_object_add(o, "type", json_object_new_string("about:blank"));
	json_object_object_add(o, "title", json_object_new_string(title_of(status)));
	json_object_object_add(o, "status", json_object_new_uint64(status));
	json_object_object_add(o, "detail", json_object_new_string(detail));
	return reply_object(status, "application/problem+json", o);
}

void reply_header(struct reply *r, const char *name, const char *value)
{
	if (r->response)
		MHD_add_response_header(r->response, name, value);
}

struct json_object *json_decimal(double value)
{
	char text[64];
	int n = snprintf(text, sizeof text, "%.3f", value);

	if (n >= (int)sizeof text) /* no rate is that large */
		return json_object_new_double(value);
	while (n > 0 && text[n - 1] == '0')
		text[--n] = '\0';
	if (n > 0 && text[n - 1] == '.')
		text[--n] = '\0';
	return json_object_new_double_s(value, text);
}
