/* rest: events by page and filter, and who held the block that a port was in; what is asked wrongly is said. */
#include "mgmtd/ledger.h"
#include "mgmtd/when.h"
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define T0 ((int64_t)1795788000000) /* 2026-11-27T14:00:00Z */
#define MONO_0 1000000000000u       /* the engines' clock then */

static mono_t mono(int64_t ms)
{
	return (mono_t){MONO_0 + (uint64_t)ms * 1000000u};
}

static void put(struct lab *lab, unsigned engine, int64_t ms, struct event e)
{
	struct events v = events_of(lab->arena, engine);

	e.time_ns = mono(ms).ns;
	assert_true(event_put(&v, &e));
}

static void turn(struct lab *lab, int64_t ms)
{
	assert_int_equal(ledger_turn(lab->api.ledger, T0 + ms, mono(ms)), 0);
}

static struct event block(enum event_kind kind, uint32_t inside, uint32_t since_s)
{
	return (struct event){.kind = (uint8_t)kind,
		.inside = be32_of(inside),
		.nat = be32_of(0xc6336401),
		.since_s = 1000 + since_s,
		.realm = 7,
		.first = 1024,
		.ports = 512};
}

/* 100.64.0.2 from 14:00:01 to 14:02:00, 100.64.0.3 from 14:02:05 on; refusals of both. */
static int setup(void **state)
{
	int err = lab_setup(state);
	struct lab *lab = *state;
	struct event refused = {.kind = EVENT_refusal,
		.verdict = VERDICT_drop_limit_udp_ports,
		.inside = be32_of(0x64400002),
		.inside_port = be16_of(5000),
		.remote = be32_of(0xcb007107),
		.remote_port = be16_of(53),
		.protocol = 17,
		.total = 12,
		.personal = 1};

	if (err)
		return err;
	lab->config.events.destinations = true;
	turn(lab, 0);
	put(lab, 0, 1000, block(EVENT_block_given, 0x64400002, 1));
	put(lab, 1, 30000, refused);
	put(lab, 1, 120000, block(EVENT_block_returned, 0x64400002, 1));
	put(lab, 0, 125000, block(EVENT_block_given, 0x64400003, 125));
	refused.verdict = VERDICT_drop_no_port;
	refused.inside = be32_of(0x64400003);
	refused.pool = 2;
	refused.personal = 0;
	put(lab, 0, 126000, refused);
	turn(lab, 130000);
	return 0;
}

/* ---- events ---- */

static void test_rows(void **state)
{
	struct json_object *o = ask(*state, "/api/v1/events", 200);

	assert_int_equal(rows(o, "events"), 5);
	struct json_object *e = row(o, "events", 0);
	assert_string_equal(get_text(e, "time"), "2026-11-27T14:02:06Z");
	assert_string_equal(get_text(e, "kind"), "refusal");
	assert_string_equal(get_text(e, "verdict"), "drop_no_port");
	assert_string_equal(get_text(e, "pool"), "second");
	assert_string_equal(get_text(e, "of"), "engine");
	assert_string_equal(get_text(e, "inside"), "100.64.0.3");
	assert_int_equal(get_number(e, "inside_port"), 5000);
	assert_string_equal(get_text(e, "remote"), "203.0.113.7:53");
	assert_string_equal(get_text(e, "protocol"), "udp");
	assert_int_equal(get_number(e, "total"), 12);
	assert_int_equal(get_number(e, "engine"), 0);
	e = row(o, "events", 4);
	assert_string_equal(get_text(e, "kind"), "block_given");
	assert_string_equal(get_text(e, "nat"), "198.51.100.1");
	assert_string_equal(get_text(e, "since"), "2026-11-27T14:00:01Z");
	assert_true(get_number(e, "port_first") == 1024 && get_number(e, "port_last") == 1535);
	assert_int_equal(get_number(e, "realm"), 7);
	json_object_put(o);
}

static void test_pages(void **state)
{
	char path[128] = "/api/v1/events?limit=2";
	unsigned total = 0;

	for (bool more = true; more;) {
		struct json_object *o = ask(*state, path, 200), *next = NULL;

		total += (unsigned)rows(o, "events");
		more = json_object_object_get_ex(o, "next", &next) && next;
		if (more)
			snprintf(path, sizeof path, "/api/v1/events?limit=2&cursor=%s", json_object_get_string(next));
		json_object_put(o);
	}
	assert_int_equal(total, 5);
}

static void test_filters(void **state)
{
	static const struct {
		const char *query;
		unsigned n;
	} ask_for[] = {
		{"kind=refusal", 2},
		{"kind=block_given", 2},
		{"kind=lost", 0},
		{"verdict=drop_no_port", 1},
		{"inside=100.64.0.2", 3},
		{"inside=100.64.0.2&realm=7", 2},
		{"nat=198.51.100.1", 3},
		{"nat=198.51.100.1:1535", 3},
		{"nat=198.51.100.1:1536", 0},
		{"from=2026-11-27T14:02:00Z", 3},
		{"from=2026-11-27T14:02:00Z&to=2026-11-27T14:02:05Z", 1},
		{"to=1795788001", 0},
	};
	char path[160];

	for (unsigned i = 0; i < sizeof ask_for / sizeof ask_for[0]; i++) {
		snprintf(path, sizeof path, "/api/v1/events?%s", ask_for[i].query);
		struct json_object *o = ask(*state, path, 200);

		assert_int_equal(rows(o, "events"), ask_for[i].n);
		json_object_put(o);
	}
}

static void test_asked_wrongly(void **state)
{
	static const char *const wrong[][2] = {
		{"events?kind=nonsense", "kind: \"nonsense\" is none; give one of block_given, block_returned"},
		{"events?verdict=drop_all", "verdict: there is no \"drop_all\""},
		{"events?inside=100.64.0.2:5", "inside: events are of a subscriber"},
		{"events?inside=one", "inside: \"one\" is not an IPv4 address"},
		{"events?from=yesterday", "from: \"yesterday\" is not a point in time"},
		{"events?from=20&to=10", "from: the range is empty"},
		{"events?limit=0", "limit: "},
		{"events?cursor=7", "cursor: \"7\" is none"},
		{"events?cursor=-7", "cursor: "},
		{"events?cursor=7-", "cursor: "},
		{"lookup", "nat: give an address and port"},
		{"lookup?nat=198.51.100.1", "nat: give an address and port"},
		{"lookup?nat=198.51.100.1:5000&time=14", NULL},
		{"lookup?nat=198.51.100.1:5000&time=now", "time: \"now\" is not a point in time"},
		{"lookup?nat=198.51.100.1:5000&skew_s=-1", "skew_s: "},
	};
	char path[160];

	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		snprintf(path, sizeof path, "/api/v1/%s", wrong[i][0]);
		if (wrong[i][1])
			assert_problem(*state, path, 400, wrong[i][1]);
		else
			json_object_put(ask(*state, path, 200));
	}
}

/* ---- who ---- */

static struct json_object *who(struct lab *lab, unsigned port, const char *time)
{
	char path[160];

	snprintf(path, sizeof path, "/api/v1/lookup?nat=198.51.100.1:%u&time=%s", port, time);
	return ask(lab, path, 200);
}

enum { LAST_S = 1795788190 }; /* 2026-11-27T14:03:10Z, behind all that is asked for */

static int64_t time_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static void assert_who(struct lab *lab, unsigned port, const char *time, const char *inside, const char *basis)
{
	struct json_object *o = who(lab, port, time);

	assert_int_equal(rows(o, "holders"), inside ? 1 : 0);
	if (inside) {
		assert_string_equal(get_text(row(o, "holders", 0), "inside"), inside);
		assert_string_equal(get_text(row(o, "holders", 0), "basis"), basis);
	}
	if (time_now() > LAST_S) /* a clock before that makes it the future */
		assert_true(json_object_get_boolean(get(o, "certain")));
	json_object_put(o);
}

static void test_who(void **state)
{
	assert_who(*state, 1024, "2026-11-27T14:01:00Z", "100.64.0.2", "in force");
	assert_who(*state, 1535, "2026-11-27T14:01:00Z", "100.64.0.2", "in force");
	assert_who(*state, 1536, "2026-11-27T14:01:00Z", NULL, NULL);
	assert_who(*state, 1100, "2026-11-27T14:02:00.5Z", "100.64.0.2", "skew");
	assert_who(*state, 1100, "2026-11-27T14:02:02.5Z", NULL, NULL);
	assert_who(*state, 1100, "2026-11-27T14:02:07Z", "100.64.0.3", "in force");

	struct json_object *o = who(*state, 1100, "2026-11-27T14:03:07Z"), *h = row(o, "holders", 0);
	assert_string_equal(get_text(h, "from"), "2026-11-27T14:02:05Z");
	assert_null(get(h, "until"));
	assert_int_equal(get_number(h, "realm"), 7);
	json_object_put(o);

	o = who(*state, 1100, "9000-01-01T00:00:00Z");
	assert_int_equal(rows(o, "holders"), 1);
	assert_false(json_object_get_boolean(get(o, "certain")));
	assert_string_equal(get_text(o, "doubt"), "that time has yet to come");
	json_object_put(o);
}

/* Before anything was recorded, and where events were lost, that is said. */
static void test_doubt(void **state)
{
	struct lab *lab = *state;
	struct json_object *o = who(lab, 1100, "2026-11-27T13:00:00Z");

	assert_false(json_object_get_boolean(get(o, "certain")));
	assert_string_equal(get_text(o, "doubt"), "what is recorded reaches back to 2026-11-27T14:00:00Z");
	json_object_put(o);
	struct events v = events_of(lab->arena, 1);
	for (unsigned i = 0; i < EVENT_SLOTS + 3; i++)
		event_put(&v, &(struct event){.kind = EVENT_refusal, .time_ns = mono(131000).ns});
	turn(lab, 140000);
	o = who(lab, 1100, "2026-11-27T14:02:15Z");
	assert_string_equal(
		get_text(o, "doubt"), "events were lost between 2026-11-27T14:02:10Z and 2026-11-27T14:02:20Z");
	json_object_put(o);
	o = ask(lab, "/api/v1/events?kind=lost", 200);
	assert_int_equal(get_number(row(o, "events", 0), "total"), 3);
	assert_int_equal(get_number(row(o, "events", 0), "engine"), 1);
	json_object_put(o);
}

/* A file that cannot be opened takes nothing else away. */
static void test_without_a_file(void **state)
{
	struct lab *lab = *state;
	struct ledger *ledger = lab->api.ledger;

	rest_close(lab->rest);
	lab->api.ledger = NULL;
	lab_serve(lab);
	assert_problem(lab, "/api/v1/events", 503, "no events are kept");
	assert_problem(lab, "/api/v1/lookup?nat=198.51.100.1:5000", 503, "no events are kept");
	struct json_object *o = ask(lab, "/api/v1/health", 503);
	assert_true(has_reason(o, "the file of events cannot be opened"));
	json_object_put(o);
	rest_close(lab->rest);
	lab->api.ledger = ledger;
	lab_serve(lab);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, lab_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_rows),
		TEST(test_pages),
		TEST(test_filters),
		TEST(test_asked_wrongly),
		TEST(test_who),
		TEST(test_doubt),
		TEST(test_without_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
