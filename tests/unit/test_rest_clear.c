/* DELETE /sessions: what is asked, who may, and what engines that run, stand still or are down make of it. */
#include "pe/miniature.h"
#include "shm/clear.h"
#include "tests/crash/traffic.h"
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

enum { EACH = 20 };

/* The engines' cores over the lab's arena, turned by one thread. */
struct work {
	struct nat nat[ENGINES];
	pthread_mutex_t turning; /* held during a turn: who has it may touch nat, and turns */
	unsigned turns;          /* bits of the engines whose loops turn */
	_Atomic bool stop;
	pthread_t thread;
};

static void *turn(void *context)
{
	struct work *w = context;

	for (; !w->stop; usleep(500)) {
		pthread_mutex_lock(&w->turning);
		for (unsigned e = 0; e < ENGINES; e++)
			if (w->turns >> e & 1)
				nat_housekeep(&w->nat[e], mono_now());
		pthread_mutex_unlock(&w->turning);
	}
	return NULL;
}

/* From here on these engines turn; the others stand still. */
static void turn_only(struct work *w, unsigned engines)
{
	pthread_mutex_lock(&w->turning);
	w->turns = engines;
	pthread_mutex_unlock(&w->turning);
}

/* Sessions of subscribers 1 and 2, made by both engines. */
static struct work *work_start(struct lab *lab)
{
	struct work *w = calloc(1, sizeof *w);

	assert_non_null(w);
	assert_true(miniature_fill(lab->arena, &lab->config));
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_init(&w->nat[e], lab->arena, e, e + 1, mono_now());
		nat_configure(&w->nat[e]);
		nat_load_routes(&w->nat[e]);
		engine_up(lab, e);
		for (unsigned i = 0; i < 2 * EACH; i++) {
			struct tuple t = tuple_of(L4_UDP, 1 + i % 2, (uint16_t)(5000 + 100 * e + i), 1, 53);
			struct frame f;

			frame_make(&f, &t, SIDE_INSIDE, 0);
			nat_burst(&w->nat[e], &f.packet, 1, mono_now());
			assert_int_equal(f.packet.verdict, VERDICT_fwd_out_new);
		}
	}
	pthread_mutex_init(&w->turning, NULL);
	w->turns = 3;
	assert_int_equal(pthread_create(&w->thread, NULL, turn, w), 0);
	return w;
}

static void work_end(struct work *w)
{
	w->stop = true;
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->turning);
	free(w);
}

static struct json_object *clear_as(const struct lab *lab, const char *query, const char *headers, int *status)
{
	char request[512];

	snprintf(request, sizeof request, "DELETE /api/v1/sessions%s HTTP/1.1\r\n%sConnection: close\r\n\r\n", query,
		headers);
	struct answer a = http_send(lab->port, request);
	struct json_object *o = a.body ? json_tokener_parse(a.body) : NULL;

	if ((*status && a.status != *status) || !o)
		fail_msg("%s: status %d, not %d: %s", query, a.status, *status, a.body ? a.body : "");
	*status = a.status;
	answer_free(&a);
	return o;
}

static struct json_object *clear(const struct lab *lab, const char *query, int status)
{
	return clear_as(lab, query, "Host: 127.0.0.1\r\n", &status);
}

/* Until all engines have done it: they may get no processor for longer than the answer waits. */
static void clear_all(const struct lab *lab, const char *query, int cleared)
{
	for (int tries = 0; tries < 100; tries++) {
		int status = 0;
		struct json_object *o = clear_as(lab, query, "Host: 127.0.0.1\r\n", &status);

		if (status == 200 && tries == 0)
			assert_int_equal(get_number(o, "cleared"), cleared);
		if (status == 200)
			assert_int_equal(rows(o, "engines_at_work") + rows(o, "engines_down"), 0);
		json_object_put(o);
		if (status == 200)
			return;
		usleep(100000);
	}
	fail_msg("%s: never done", query);
}

static size_t listed(const struct lab *lab, const char *query)
{
	char path[128];

	snprintf(path, sizeof path, "/api/v1/sessions?limit=1000&%s", query);
	struct json_object *o = ask(lab, path, 200);
	size_t n = rows(o, "sessions");

	json_object_put(o);
	return n;
}

static void expect_listed(const struct lab *lab, const char *query, size_t n)
{
	for (int tries = 0; tries < 200 && listed(lab, query) != n; tries++)
		usleep(100000);
	assert_int_equal(listed(lab, query), n);
}

static void test_what_is_asked(void **state)
{
	static const struct {
		const char *query, *detail;
	} wrong[] = {
		{"", "give at least one of inside, nat, remote, protocol and realm"},
		{"?inside=1.2.3", "inside:"},
		{"?remote=1.2.3.4:99999", "remote:"},
		{"?protocol=gre", "protocol: \"gre\" is none; give tcp, udp, icmp or other"},
		{"?inside=100.64.0.1&limit=5", "limit: unknown parameter"},
		{"?inside=", "inside: is empty"},
	};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct json_object *o = clear(lab, wrong[i].query, 400);

		if (!strstr(get_text(o, "detail"), wrong[i].detail))
			fail_msg("%s: %s", wrong[i].query, get_text(o, "detail"));
		json_object_put(o);
	}
	assert_int_equal(clear_ring_of(lab->arena)->last, 0);
	struct answer a = http_request(lab->port, "POST", "/api/v1/sessions", NULL);
	assert_int_equal(a.status, 405);
	assert_true(answer_has(&a, "Allow: GET, HEAD, DELETE"));
	answer_free(&a);
}

static void test_who_may(void **state)
{
	static const struct {
		const char *headers;
		int status;
	} rows_[] = {
		{"Host: 127.0.0.1:8080\r\n", 200},
		{"Host: localhost\r\n", 200},
		{"Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8080\r\n", 200},
		{"Host: 127.0.0.1:8080\r\nOrigin: http://example.com\r\n", 403},
		{"Host: 127.0.0.1:8080\r\nOrigin: null\r\n", 403},
		{"Host: example.com\r\n", 403},
		{"Host: localhost.example.com\r\n", 403},
		{"Host: 127.0.0.1.example.com\r\n", 403},
		{"Host: local\r\n", 403},
		{"Host: 192.0.2.1\r\n", 403},
	};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof rows_ / sizeof rows_[0]; i++) {
		int status = rows_[i].status;

		json_object_put(clear_as(lab, "?protocol=tcp", rows_[i].headers, &status));
	}
	assert_int_equal(clear_ring_of(lab->arena)->last, 3);
}

static void test_sessions_end(void **state)
{
	struct lab *lab = *state;
	struct work *w = work_start(lab);

	assert_int_equal(listed(lab, "protocol=udp"), 4 * EACH);
	assert_int_equal(listed(lab, "protocol=tcp"), 0);
	assert_int_equal(listed(lab, "remote=203.0.113.1:53"), 4 * EACH);
	assert_int_equal(listed(lab, "remote=203.0.113.2"), 0);

	clear_all(lab, "?inside=100.64.0.1:5000", 1);
	clear_all(lab, "?inside=100.64.0.1&protocol=udp", 2 * EACH - 1);
	assert_int_equal(listed(lab, "inside=100.64.0.1"), 0);
	assert_int_equal(listed(lab, "inside=100.64.0.2"), 2 * EACH);
	clear_all(lab, "?remote=203.0.113.1&inside=100.64.0.3", 0);
	work_end(w);
}

static void test_engines_that_do_not_answer(void **state)
{
	struct lab *lab = *state;
	struct work *w = work_start(lab);

	turn_only(w, 1); /* engine 1 stands still, then is down; then its successor does what was left to do */
	struct json_object *o = clear(lab, "?inside=100.64.0.1", 202);
	assert_int_equal(json_object_get_int(row(o, "engines_at_work", rows(o, "engines_at_work") - 1)), 1);
	json_object_put(o);
	expect_listed(lab, "inside=100.64.0.1", EACH);
	engine_down(lab, 1);
	o = clear(lab, "?inside=100.64.0.2", 202);
	assert_int_equal(json_object_get_int(row(o, "engines_down", 0)), 1);
	json_object_put(o);
	expect_listed(lab, "inside=100.64.0.2", EACH);
	for (unsigned i = 2; i < CLEAR_SLOTS; i++)
		json_object_put(clear(lab, "?protocol=tcp", 202));
	json_object_put(clear(lab, "?protocol=tcp", 503));

	nat_init(&w->nat[1], lab->arena, 1, 9, mono_now());
	engine_up(lab, 1);
	turn_only(w, 3);
	expect_listed(lab, "protocol=udp", 0);
	clear_all(lab, "?protocol=tcp", 0);
	work_end(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_asked),
		TEST(test_who_may),
		TEST(test_sessions_end),
		TEST(test_engines_that_do_not_answer),
	};

	return cmocka_run_group_tests_name("rest_clear", tests, NULL, NULL);
}
