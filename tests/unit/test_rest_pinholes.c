/* /pinholes: what is asked, who may, what engines that run, stand still or are down make of it. */
#include "pe/miniature.h"
#include "shm/check.h"
#include "shm/pinhole.h"
#include "tests/crash/traffic.h"
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

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

static void start_engine(struct lab *lab, struct work *w, unsigned e)
{
	nat_init(&w->nat[e], lab->arena, e, e + 1, mono_now());
	nat_configure(&w->nat[e]);
	nat_load_routes(&w->nat[e]);
	engine_up(lab, e);
}

static struct work *work_start(struct lab *lab)
{
	struct work *w = calloc(1, sizeof *w);

	assert_non_null(w);
	assert_true(miniature_fill(lab->arena, &lab->config));
	for (unsigned e = 0; e < ENGINES; e++)
		start_engine(lab, w, e);
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

/* ---- asking ---- */

static struct json_object *call_as(
	const struct lab *lab, const char *method, const char *query, const char *headers, int status)
{
	char request[512];

	snprintf(request, sizeof request, "%s /api/v1/pinholes%s HTTP/1.1\r\n%sConnection: close\r\n\r\n", method,
		query, headers);
	struct answer a = http_send(lab->port, request);
	struct json_object *o = a.body ? json_tokener_parse(a.body) : NULL;

	if (a.status != status || !o)
		fail_msg("%s %s: status %d, not %d: %s", method, query, a.status, status, a.body ? a.body : "");
	answer_free(&a);
	return o;
}

static struct json_object *call(const struct lab *lab, const char *method, const char *query, int status)
{
	return call_as(lab, method, query, "Host: 127.0.0.1\r\n", status);
}

/* An engine may get no processor for longer than an answer waits; then it is asked again, and what it did is found. */
static struct json_object *open_one(const struct lab *lab, const char *query, int status)
{
	char request[512];

	snprintf(request, sizeof request,
		"POST /api/v1/pinholes%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", query);
	for (int tries = 0; tries < 50; tries++) {
		struct answer a = http_send(lab->port, request);
		struct json_object *o = a.body ? json_tokener_parse(a.body) : NULL;
		int is = a.status;

		answer_free(&a);
		if (o && (is == status || (tries && is == 200)))
			return o;
		if (is != 503)
			fail_msg(
				"%s: status %d, not %d: %s", query, is, status, o ? json_object_to_json_string(o) : "");
		json_object_put(o);
		usleep(100000);
	}
	fail_msg("%s: never answered", query);
	return NULL;
}

/* The same of closing: what it did is found, by nothing being there. */
static void close_one(const struct lab *lab, const char *query)
{
	char path[256];
	int is = 503;

	snprintf(path, sizeof path, "/api/v1/pinholes%s", query);
	for (int tries = 0; tries < 50 && is == 503; tries++) {
		struct answer a = http_request(lab->port, "DELETE", path, NULL);

		is = a.status;
		if (is != 200 && is != 503 && !(tries && is == 404))
			fail_msg("%s: status %d: %s", query, is, a.body ? a.body : "");
		answer_free(&a);
	}
	assert_int_not_equal(is, 503);
}

static size_t listed(const struct lab *lab, const char *query)
{
	char path[256];

	snprintf(path, sizeof path, "/api/v1/pinholes%s", query);
	struct json_object *o = ask(lab, path, 200);
	size_t n = rows(o, "pinholes");

	json_object_put(o);
	return n;
}

/* ---- tests ---- */

static void test_what_is_asked(void **state)
{
	static const struct {
		const char *method, *query, *detail;
	} wrong[] = {
		{"POST", "", "give protocol=tcp or udp, and inside=IP:PORT"},
		{"POST", "?protocol=udp&inside=100.64.0.1", "give protocol=tcp or udp"},
		{"POST", "?protocol=icmp&inside=100.64.0.1:5", "give protocol=tcp or udp"},
		{"POST", "?protocol=udp&inside=100.64.0.1:5",
			"lifetime_s: for how long? give a number from 120 to 86400"},
		{"POST", "?protocol=udp&inside=100.64.0.1:5&lifetime_s=119",
			"lifetime_s: \"119\" is not a whole number"},
		{"POST", "?protocol=udp&inside=100.64.0.1:5&lifetime_s=86401", "from 120 to 86400"},
		{"POST", "?protocol=udp&inside=100.64.0.1:5&lifetime_s=120&nat=x", "nat:"},
		{"POST", "?protocol=udp&inside=100.64.0.1:5&remote=1.2.3.4", "remote: unknown parameter"},
		{"DELETE", "?protocol=udp", "give protocol=tcp or udp"},
	};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct json_object *o = call(lab, wrong[i].method, wrong[i].query, 400);

		if (!strstr(get_text(o, "detail"), wrong[i].detail))
			fail_msg("%s: %s", wrong[i].query, get_text(o, "detail"));
		json_object_put(o);
	}
	struct answer a = http_request(lab->port, "PUT", "/api/v1/pinholes", NULL);
	assert_int_equal(a.status, 405);
	assert_true(answer_has(&a, "Allow: GET, HEAD, POST, DELETE"));
	answer_free(&a);
	assert_int_equal(listed(lab, ""), 0);
}

static void test_who_may(void **state)
{
	struct lab *lab = *state;

	json_object_put(
		call_as(lab, "POST", "?protocol=udp&inside=100.64.0.1:5&lifetime_s=120", "Host: example.com\r\n", 403));
	json_object_put(call_as(lab, "DELETE", "?protocol=udp&inside=100.64.0.1:5",
		"Host: 127.0.0.1:1\r\nOrigin: http://example.com\r\n", 403));
}

static void test_life(void **state)
{
	static const char name[] = "?protocol=udp&inside=100.64.0.1:6881";
	struct lab *lab = *state;
	struct work *w = work_start(lab);
	struct json_object *o = open_one(lab, "?protocol=udp&inside=100.64.0.1:6881&lifetime_s=600", 201);
	char nat[32], query[128];

	snprintf(nat, sizeof nat, "%s", get_text(o, "nat"));
	assert_in_range(get_number(o, "lifetime_s"), 590, 600);
	json_object_put(o);
	o = open_one(lab, "?protocol=udp&inside=100.64.0.1:6881&lifetime_s=1200", 200);
	assert_string_equal(get_text(o, "nat"), nat);
	assert_in_range(get_number(o, "lifetime_s"), 1180, 1200);
	json_object_put(o);
	json_object_put(open_one(lab, "?protocol=tcp&inside=100.64.0.1:6881&lifetime_s=600", 201));
	assert_int_equal(listed(lab, ""), 2);
	assert_int_equal(listed(lab, "?protocol=tcp"), 1);
	snprintf(query, sizeof query, "?protocol=udp&nat=%s", nat);
	assert_int_equal(listed(lab, query), 1);
	json_object_put(call(lab, "DELETE", "?protocol=udp&inside=100.64.0.1:6882", 404));
	close_one(lab, name);
	assert_int_equal(listed(lab, ""), 1);
	work_end(w);
}

static void test_refused(void **state)
{
	struct lab *lab = *state;
	struct work *w = work_start(lab);
	struct json_object *o =
		open_one(lab, "?protocol=udp&inside=100.64.0.1:1&lifetime_s=600&nat=198.51.100.0:2000", 201);

	assert_string_equal(get_text(o, "nat"), "198.51.100.0:2000");
	json_object_put(o);
	json_object_put(open_one(lab, "?protocol=udp&inside=100.64.0.2:1&lifetime_s=600&nat=198.51.100.0:2000", 409));
	json_object_put(open_one(lab, "?protocol=udp&inside=100.64.0.1:1&lifetime_s=600&nat=198.51.100.0:2001", 409));
	json_object_put(open_one(lab, "?protocol=udp&inside=192.0.2.1:1&lifetime_s=600", 400));
	assert_int_equal(listed(lab, ""), 1);
	work_end(w);
}

/* One that stands still is waited for, not for long; its successor does what was asked of it. None that is down is asked. */
static void test_engines_that_do_not_answer(void **state)
{
	struct lab *lab = *state;
	struct work *w = work_start(lab);
	const char *query = "?protocol=udp&inside=100.64.0.1:1&lifetime_s=600"; /* engine 1's by its address */

	turn_only(w, 1);
	json_object_put(call(lab, "POST", query, 503));
	assert_int_equal(listed(lab, ""), 0);
	nat_init(&w->nat[1], lab->arena, 1, 9, mono_now());
	nat_configure(&w->nat[1]);
	turn_only(w, 3);
	for (int tries = 0; tries < 100 && listed(lab, "") == 0; tries++)
		usleep(100000);
	assert_int_equal(listed(lab, ""), 1);
	turn_only(w, 1);
	for (unsigned i = 1; i < PINHOLE_SLOTS; i++)
		assert_true(pinhole_post(lab->arena, 1, &(struct pinhole_request){.action = PINHOLE_CLOSE}) > 0);
	json_object_put(call(lab, "POST", query, 503));
	json_object_put(call(lab, "POST", query, 503));
	engine_down(lab, 1);
	json_object_put(open_one(lab, "?protocol=udp&inside=100.64.0.3:1&lifetime_s=600", 201));
	engine_down(lab, 0);
	json_object_put(call(lab, "POST", "?protocol=udp&inside=100.64.0.5:1&lifetime_s=600", 503));
	work_end(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_asked),
		TEST(test_who_may),
		TEST(test_life),
		TEST(test_refused),
		TEST(test_engines_that_do_not_answer),
	};

	return cmocka_run_group_tests_name("rest_pinholes", tests, NULL, NULL);
}
