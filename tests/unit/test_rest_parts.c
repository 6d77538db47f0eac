/* rest: rates between two answers, and the commit, without a server. */
#include "common/clock.h"
#include "mgmtd/commit.h"
#include "mgmtd/rates.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- rates ---- */

/* An answer with two engines, as the aggregator writes it. */
static struct json_object *answer(
	double time, unsigned age0, unsigned rx0, const char *state1, unsigned age1, unsigned rx1)
{
	char text[1024];

	snprintf(text, sizeof text,
		"{\"time\":%.3f,\"appliance\":{\"counters\":{\"rx_inside_packets\":%u}},\"engines\":["
		"{\"engine\":0,\"state\":\"up\",\"age_ms\":%u,\"counters\":{\"rx_inside_packets\":%u,"
		"\"sessions\":5}},"
		"{\"engine\":1,\"state\":\"%s\",\"age_ms\":%u,\"counters\":{\"rx_inside_packets\":%u}}]}",
		time, rx0 + rx1, age0, rx0, state1, age1, rx1);
	return json_tokener_parse(text);
}

/* -1: no rate. */
static double rate(struct json_object *holder, const char *name)
{
	struct json_object *v, *rates = json_object_object_get(holder, "rates");

	assert_non_null(rates);
	return json_object_object_get_ex(rates, name, &v) ? json_object_get_double(v) : -1;
}

static double engine_rate(struct json_object *o, unsigned e)
{
	return rate(json_object_array_get_idx(json_object_object_get(o, "engines"), e), "rx_inside_packets");
}

static double appliance_rate(struct json_object *o)
{
	return rate(json_object_object_get(o, "appliance"), "rx_inside_packets");
}

static void assert_near(double a, double b)
{
	if (a < b - 0.25 || a > b + 0.25) /* ages are whole milliseconds */
		fail_msg("%f is not %f", a, b);
}

static void test_rates(void **state)
{
	/* Engine 0 reported at 99.5 and 101.5, engine 1 at 99.9 and 100.9, whenever it was asked. */
	struct json_object *a = answer(100, 500, 1000, "up", 100, 50);
	struct json_object *b = answer(102, 500, 1025, "up", 1100, 80);

	rates_add(a, NULL);
	assert_near(engine_rate(a, 0), -1);
	assert_near(appliance_rate(a), -1);
	rates_add(b, a);
	assert_near(engine_rate(b, 0), 12.5);
	assert_near(engine_rate(b, 1), 30);
	assert_near(appliance_rate(b), 42.5);
	assert_near(rate(json_object_array_get_idx(json_object_object_get(b, "engines"), 0), "sessions"), -1);
	json_object_put(a);
	json_object_put(b);
}

static void test_rates_of_the_same_report(void **state)
{
	struct json_object *a = answer(100, 0, 1000, "up", 0, 50);
	struct json_object *b = answer(101, 0, 1100, "up", 0, 60);
	struct json_object *c = answer(101.5, 501, 1100, "up", 499, 60);
	struct json_object *d = answer(102, 0, 1300, "up", 0, 70);

	rates_add(a, NULL);
	rates_add(b, a);
	rates_add(c, b);
	assert_near(engine_rate(c, 0), 100);
	assert_near(appliance_rate(c), 110);
	rates_add(d, c);
	assert_near(engine_rate(d, 0), 200);
	json_object_put(a);
	json_object_put(b);
	json_object_put(c);
	json_object_put(d);
}

static void test_rates_of_silent_engines(void **state)
{
	struct json_object *a = answer(100, 0, 1000, "up", 0, 50);
	struct json_object *b = answer(101, 0, 1100, "silent", 1000, 50);
	struct json_object *c = answer(102, 0, 1200, "up", 0, 90);
	struct json_object *d = answer(103, 0, 10, "up", 0, 95); /* the aggregator began anew */

	rates_add(a, NULL);
	rates_add(b, a);
	assert_near(engine_rate(b, 1), 0);
	assert_near(appliance_rate(b), 100);
	rates_add(c, b);
	assert_near(engine_rate(c, 1), -1); /* over how long? nobody knows */
	rates_add(d, c);
	assert_near(engine_rate(d, 0), 0);
	assert_near(engine_rate(d, 1), 5);
	json_object_put(a);
	json_object_put(b);
	json_object_put(c);
	json_object_put(d);
}

static void test_rates_of_nonsense(void **state)
{
	static const char *const texts[] = {
		"{\"engines\":[],\"appliance\":{}}",
		"{\"engines\":[{},{\"engine\":\"x\"},7,null,[]],\"appliance\":{}}",
		"{\"time\":\"x\",\"engines\":[{\"engine\":0,\"state\":\"up\",\"counters\":7}],\"appliance\":{}}",
		"{\"engines\":[{\"engine\":0,\"state\":7,\"counters\":{\"rx_inside_packets\":{}}}],\"appliance\":{}}",
	};

	for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct json_object *a = json_tokener_parse(texts[i]), *b = json_tokener_parse(texts[i]);
		struct json_object *good = answer(100, 0, 1000, "up", 0, 50);

		rates_add(a, NULL);
		rates_add(b, a);
		rates_add(good, b);
		json_object_put(a);
		json_object_put(b);
		json_object_put(good);
	}
}

/* ---- commit ---- */

static const char document[] = "{\"arena\":{\"name\":\"/test-commit-%d\",\"engines\":2,\"sessions\":1024},"
			       "\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"]},"
			       "\"outside\":{\"interface\":\"out\"},"
			       "\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/%u\"]}]}";

static struct config config_of(unsigned pool_length)
{
	struct config_error wrong;
	struct config c;
	char text[512];
	int size = snprintf(text, sizeof text, document, (int)getpid(), pool_length);

	if (!config_parse(&c, text, (size_t)size, &wrong))
		fail_msg("%s", wrong.text);
	return c;
}

static bool try_once(struct arena *a, unsigned pool_length, mono_t now)
{
	struct config config = config_of(pool_length);
	struct config_error wrong;
	struct commit c;

	assert_true(commit_open(&c, a, &config, mono_now(), &wrong));
	bool done = commit_try(&c, now);
	commit_close(&c);
	return done;
}

static void test_commit(void **state)
{
	struct config config = config_of(30);
	struct arena_error wrong;
	struct arena *a = arena_open(&config, &wrong), *engine = arena_attach(config.arena.name, &wrong);
	_Atomic uint32_t *generation = &a->header->config_generation;
	mono_t now = mono_now();

	assert_non_null(engine);
	arena_remove(config.arena.name);
	assert_true(try_once(a, 30, now));
	assert_int_equal(*generation, 1);
	assert_true(try_once(a, 30, now)); /* says the same: nothing new */
	assert_int_equal(*generation, 1);
	assert_true(try_once(a, 29, now));
	assert_int_equal(*generation, 2);

	/* A living engine that still uses generation 1 holds the next one up; a dead one does not. */
	assert_int_equal(arena_claim(engine, 1), 0);
	actor_of(a, 1)->config_ack = 1;
	assert_false(try_once(a, 28, now));
	assert_int_equal(*generation, 2);
	assert_true(try_once(a, 29, now)); /* what is in force needs nobody's leave */
	actor_of(a, 1)->config_ack = 2;
	assert_true(try_once(a, 28, now));
	assert_int_equal(*generation, 3);
	arena_close(engine);
	assert_true(try_once(a, 30, now));
	assert_int_equal(*generation, 4);
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_rates_of_the_same_report),
		cmocka_unit_test(test_rates_of_silent_engines),
		cmocka_unit_test(test_rates_of_nonsense),
		cmocka_unit_test(test_commit),
	};

	return cmocka_run_group_tests_name("rest_parts", tests, NULL, NULL);
}
