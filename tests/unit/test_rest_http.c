/* rest: methods, paths, limits, files: what holds whatever the resource. */
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- HTTP ---- */

static void assert_secured(const struct answer *a)
{
	assert_non_null(strstr(a->text, "\r\nContent-Security-Policy: default-src 'self'"));
	assert_true(answer_has(a, "X-Content-Type-Options: nosniff"));
	assert_true(answer_has(a, "Referrer-Policy: no-referrer"));
	assert_null(strstr(a->text, "Access-Control-Allow"));
}

static void test_methods(void **state)
{
	static const char *const refused[] = {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"};
	static const char *const paths[] = {"/api/v1/config", "/", "/api/v1/nothing"};
	struct lab *lab = *state;
	struct answer a;

	for (unsigned m = 0; m < sizeof refused / sizeof refused[0]; m++) {
		for (unsigned p = 0; p < sizeof paths / sizeof paths[0]; p++) {
			a = http_request(lab->port, refused[m], paths[p], NULL);
			assert_int_equal(a.status, 405);
			assert_true(answer_has(&a, "Allow: GET, HEAD"));
			assert_true(answer_has(&a, "Content-Type: application/problem+json"));
			assert_secured(&a);
			answer_free(&a);
		}
	}
	a = http_request(lab->port, "HEAD", "/api/v1/health", NULL);
	assert_int_equal(a.status, 503);
	assert_int_equal(a.body_size, 0);
	assert_secured(&a);
	answer_free(&a);
	a = http_send(lab->port, "POST /api/v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				 "Content-Length: 5\r\n\r\nhello");
	assert_int_equal(a.status, 405);
	answer_free(&a);
	a = http_send(lab->port, "GET /api/v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				 "Content-Length: 5\r\n\r\nhello");
	assert_int_equal(a.status, 400);
	answer_free(&a);
	a = http_send(lab->port, "GET /api/v1/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
	assert_int_equal(a.status, 400);
	answer_free(&a);
}

/* A page elsewhere whose name was made to lead here (DNS rebinding) reads nothing. */
static void test_foreign_names(void **state)
{
	static const struct {
		const char *header;
		int status;
	} cases[] = {
		{"Host: 127.0.0.1:8080", 200},
		{"Host: localhost", 200},
		{"Host: [::1]:8080", 200},
		{"Host: localhost\r\nOrigin: http://localhost", 200},
		{"Host: localhost\r\nOrigin: http://example.com", 403},
		{"Host: example.com", 403},
		{"Host: example.com:8080\r\nOrigin: http://example.com:8080", 403},
		{"Host: 127.0.0.1.example.com", 403},
		{"Host: 192.0.2.1", 403},
	};
	static const char *const what[] = {"GET /api/v1/config", "HEAD /api/v1/config", "GET /api/v1/config/schema"};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (unsigned k = 0; k < sizeof what / sizeof what[0]; k++) {
			char request[512];

			snprintf(request, sizeof request, "%s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n", what[k],
				cases[i].header);
			struct answer a = http_send(lab->port, request);
			if (a.status != cases[i].status)
				fail_msg("%s with %s: %d", what[k], cases[i].header, a.status);
			assert_secured(&a);
			answer_free(&a);
		}
	}
}

static void test_unknown_paths(void **state)
{
	static const char *const paths[] = {"/api", "/api/", "/api/v1", "/api/v1/", "/api/v1/health/", "/api/v2/health",
		"/api/v1/Health", "/api/v1/health%2f", "/nothing", "/metrics/", "//"};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++)
		assert_problem(lab, paths[i], 404, "there is no");
}

/* How many of them were not taken, or the server has closed. */
static int count_closed(const int *fd, size_t n)
{
	int closed = 0;
	char byte;

	for (size_t i = 0; i < n; i++)
		closed += fd[i] < 0 || recv(fd[i], &byte, 1, MSG_DONTWAIT) == 0;
	return closed;
}

/* A request larger than the limit is refused, and many idle connections do not keep others out. */
static void test_limits(void **state)
{
	struct lab *lab = *state;
	static char huge[REST_REQUEST_BYTES * 2];
	int fd[REST_CONNECTIONS_PER_IP + 16], closed = 0;

	memset(huge, 'a', sizeof huge - 1);
	memcpy(huge, "GET /", 5);
	struct answer a = http_send(lab->port, huge);

	assert_true(a.status == 414 || a.status == 431 || a.status == 413 || a.status == 0);
	answer_free(&a);

	for (unsigned i = 0; i < sizeof fd / sizeof fd[0]; i++)
		fd[i] = http_connect(lab->port);
	for (int i = 0; i < 1000 && closed < 16; i++) {
		usleep(10000);
		closed = count_closed(fd, sizeof fd / sizeof fd[0]);
	}
	for (unsigned i = 0; i < sizeof fd / sizeof fd[0]; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	assert_true(closed >= 16);
	assert_true(closed < (int)(sizeof fd / sizeof fd[0]));
	for (int i = 0; i < 100 && !a.status; i++) {
		usleep(20000);
		answer_free(&a);
		a = http_get(lab->port, "/api/v1/config");
	}
	assert_int_equal(a.status, 200);
	answer_free(&a);
}

/* ---- files ---- */

static void test_static_files(void **state)
{
	static const struct {
		const char *path, *type, *body;
	} want[] = {
		{"/", "text/html; charset=utf-8", "<!doctype html><title>board</title>\n"},
		{"/index.html", "text/html; charset=utf-8", "<!doctype html><title>board</title>\n"},
		{"/dashboard.js", "text/javascript; charset=utf-8", "1;\n"},
		{"/dashboard.js?v=2", "text/javascript; charset=utf-8", "1;\n"},
		{"/dashboard.css", "text/css; charset=utf-8", "a{}\n"},
		{"/icon.svg", "image/svg+xml", "<svg/>\n"},
		{"/data", "application/octet-stream", "?"},
	};
	struct lab *lab = *state;
	char line[128];

	for (unsigned i = 0; i < sizeof want / sizeof want[0]; i++) {
		struct answer a = http_get(lab->port, want[i].path);

		assert_int_equal(a.status, 200);
		assert_string_equal(a.body, want[i].body);
		snprintf(line, sizeof line, "Content-Type: %s", want[i].type);
		assert_true(answer_has(&a, line));
		assert_secured(&a);

		char *tag = strstr(a.text, "ETag: ");
		assert_non_null(tag);
		snprintf(line, sizeof line, "If-None-Match: %.*s", (int)strcspn(tag + 6, "\r"), tag + 6);
		answer_free(&a);
		a = http_request(lab->port, "GET", want[i].path, line);
		assert_int_equal(a.status, 304);
		assert_int_equal(a.body_size, 0);
		answer_free(&a);
	}
}

static void test_static_stays_inside(void **state)
{
	static const char *const paths[] = {"/../secret", "/sub/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/out",
		"//etc/passwd", "/%2fetc/passwd", "/sub", "/sub/", "/fifo", "/.", "/..", "/web/index.html",
		"/index.html/", "/proc/self/environ"};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof paths / sizeof paths[0]; i++)
		assert_problem(lab, paths[i], 404, "there is no page");
}

static void test_static_not_built(void **state)
{
	struct lab *lab = *state;
	char path[128];

	snprintf(path, sizeof path, "%s/web/index.html", lab->dir);
	unlink(path);
	struct answer a = http_get(lab->port, "/");

	assert_int_equal(a.status, 404);
	assert_true(answer_has(&a, "Content-Type: text/html; charset=utf-8"));
	assert_non_null(strstr(a.body, "The dashboard is not installed"));
	assert_non_null(strstr(a.body, lab->config.api.web_dir));
	answer_free(&a);
}

static void test_listen_errors(void **state)
{
	struct rest_error wrong;
	struct lab *lab = *state;
	char taken[32];

	assert_int_equal(rest_listen("nonsense", &wrong), -1);
	assert_int_equal(rest_listen("localhost:80", &wrong), -1);
	snprintf(taken, sizeof taken, "127.0.0.1:%u", lab->port);
	assert_int_equal(rest_listen(taken, &wrong), -1);
	assert_non_null(strstr(wrong.text, "Address already in use"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_methods),
		TEST(test_foreign_names),
		TEST(test_unknown_paths),
		TEST(test_limits),
		TEST(test_static_files),
		TEST(test_static_stays_inside),
		TEST(test_static_not_built),
		TEST(test_listen_errors),
	};

	return cmocka_run_group_tests_name("rest_http", tests, NULL, NULL);
}
