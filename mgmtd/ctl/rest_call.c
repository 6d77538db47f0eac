#include "mgmtd/ctl/rest_call.h"

#include "common/log.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_S = 5, ANSWER_S = 30, ANSWER_MAX = 4 << 20, URL_SIZE = 1024 };

struct body {
	char *text;
	size_t size;
};

static size_t take_bytes(char *bytes, size_t one, size_t size, void *context)
{
	struct body *b = context;
	char *text = b->size + size < ANSWER_MAX ? realloc(b->text, b->size + size + 1) : NULL;

	(void)one;
	if (!text)
		return 0;
	memcpy(text + b->size, bytes, size);
	b->size += size;
	text[b->size] = '\0';
	b->text = text;
	return size;
}

static void make_url(CURL *curl, const struct config *c, const char *path, const struct rest_parameter *p, unsigned n,
	char url[URL_SIZE])
{
	size_t used = (size_t)snprintf(url, URL_SIZE, "http://%s%s", c->api.listen, path);
	char mark = '?';

	for (unsigned i = 0; i < n && used < URL_SIZE; i++) {
		char *value = p[i].value ? curl_easy_escape(curl, p[i].value, 0) : NULL;

		if (!value)
			continue;
		used += (size_t)snprintf(url + used, URL_SIZE - used, "%c%s=%s", mark, p[i].name, value);
		mark = '&';
		curl_free(value);
	}
}

static CURLcode perform(CURL *curl, const char *method, const char *url, struct body *body, long *status)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	CURLcode code = curl_easy_perform(curl);

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	return code;
}

/* The JSON of an answer that is no problem. */
static struct json_object *judge(const struct config *c, CURLcode code, long status, const char *text)
{
	struct json_object *o = NULL, *detail;

	if (code != CURLE_OK) {
		log_error("the API on %s does not answer: %s; does corenat-mgmtd run?", c->api.listen,
			curl_easy_strerror(code));
		return NULL;
	}
	o = text ? json_tokener_parse(text) : NULL;
	if (o && status < 300)
		return o;
	if (o && json_object_object_get_ex(o, "detail", &detail))
		log_error("%s", json_object_get_string(detail));
	else
		log_error(
			"the API on %s answers with status %ld and nothing that is understood", c->api.listen, status);
	json_object_put(o);
	return NULL;
}

struct json_object *rest_call(const struct config *c, const char *method, const char *path,
	const struct rest_parameter *parameters, unsigned n_parameters)
{
	CURL *curl = curl_easy_init();
	struct body body = {NULL, 0};
	char url[URL_SIZE];
	long status = 0;

	if (!curl) {
		log_error("no memory");
		return NULL;
	}
	make_url(curl, c, path, parameters, n_parameters, url);
	CURLcode code = perform(curl, method, url, &body, &status);
	struct json_object *o = judge(c, code, status, body.text);

	free(body.text);
	curl_easy_cleanup(curl);
	return o;
}
