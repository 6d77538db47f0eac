/* rest: what each resource answers. */
#include "mgmtd/history.h"
#include "shm/ports.h"
#include "tests/unit/port_tools.h"
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- health and engines ---- */

/* When all runs. The aggregator may get no processor for longer than it is waited for, and is heard again. */
static void assert_all_runs(const struct lab *lab)
{
	struct json_object *o = NULL;

	for (int tries = 0; tries < 10; tries++) {
		json_object_put(o);
		wait_feed(lab, true);
		o = ask(lab, "/api/v1/health", 200);
		if (strcmp(get_text(o, "aggregator"), "up") == 0)
			break;
	}
	assert_string_equal(get_text(o, "status"), "ok");
	assert_int_equal(rows(o, "reasons"), 0);
	assert_string_equal(get_text(o, "aggregator"), "up");
	json_object_put(o);
}

/* The heart of engine `e` beat last so long ago. */
static mono_t stop_heart(const struct lab *lab, unsigned e, span_t ago)
{
	mono_t now = mono_now();

	atomic_store(&actor_of(lab->arena, e)->heartbeat_ns, now.ns - ago.ns);
	return now;
}

static void test_health(void **state)
{
	struct lab *lab = *state;
	struct aggregator g;
	struct json_object *o = ask(lab, "/api/v1/health", 503);

	assert_string_equal(get_text(o, "status"), "down");
	assert_int_equal(get_number(o, "engines"), 2);
	assert_int_equal(get_number(o, "engines_up"), 0);
	assert_int_equal(get_number(o, "config_generation"), 1);
	assert_string_equal(get_text(o, "version"), CORENAT_VERSION);
	assert_string_equal(get_text(o, "aggregator"), "down");
	json_object_put(o);

	engine_up(lab, 0);
	o = ask(lab, "/api/v1/health", 200);
	assert_string_equal(get_text(o, "status"), "degraded");
	assert_true(has_reason(o, "engine 1 is down"));
	assert_true(has_reason(o, "the aggregator does not answer"));
	assert_false(has_reason(o, "engine 0"));
	json_object_put(o);

	engine_up(lab, 1);
	aggregator_start(lab, &g);
	assert_all_runs(lab);

	stop_heart(lab, 0, span_s(5));
	actor_of(lab->arena, 1)->config_ack = 0;
	lab->api.commit_waits = true;
	o = ask(lab, "/api/v1/health", 200);
	assert_string_equal(get_text(o, "status"), "degraded");
	assert_int_equal(get_number(o, "engines_up"), 1);
	assert_true(has_reason(o, "engine 0 is stalled"));
	assert_true(has_reason(o, "engine 1 uses configuration 0 while 1 is in force"));
	assert_true(has_reason(o, "a new configuration waits"));
	json_object_put(o);

	aggregator_stop(&g);
	wait_feed(lab, false);
	engine_down(lab, 0);
	engine_down(lab, 1);
	json_object_put(ask(lab, "/api/v1/health", 503));
}

static void test_engines(void **state)
{
	struct lab *lab = *state;
	struct actor *a = actor_of(lab->arena, 0);

	engine_up(lab, 0);
	counter_set(&a->counters[COUNTER_sessions], 7);
	counter_set(&a->counters[COUNTER_rx_inside_packets], UINT64_MAX);
	counter_set(&a->verdicts[VERDICT_drop_no_port], 3);

	struct json_object *o = ask(lab, "/api/v1/engines", 200), *e = row(o, "engines", 0);

	assert_int_equal(rows(o, "engines"), 2);
	assert_int_equal(get_number(e, "engine"), 0);
	assert_string_equal(get_text(e, "state"), "up");
	assert_int_equal(get_number(e, "pid"), 1000);
	assert_int_equal(get_number(e, "cpu"), 4);
	assert_int_equal(get_number(e, "incarnation"), 1);
	assert_string_equal(get_text(e, "inside"), "native, copy");
	assert_int_equal(strlen(get_text(e, "outside")), 64);
	assert_int_equal(get_number(e, "config_generation"), 1);
	assert_int_equal(get_number(e, "sessions"), 7);
	assert_int_equal(get_number(e, "heartbeat_age_ms"), 0);
	assert_int_equal(json_object_object_length(get(e, "counters")), N_COUNTERS);
	assert_int_equal(json_object_object_length(get(e, "verdicts")), N_VERDICTS);
	assert_true(get_number(get(e, "counters"), "rx_inside_packets") == UINT64_MAX);
	assert_int_equal(get_number(get(e, "verdicts"), "drop_no_port"), 3);
	e = row(o, "engines", 1);
	assert_string_equal(get_text(e, "state"), "down");
	assert_null(get(e, "heartbeat_age_ms"));
	json_object_put(o);

	mono_t stopped = stop_heart(lab, 0, span_s(5));
	o = ask(lab, "/api/v1/engines", 200);
	e = row(o, "engines", 0);
	assert_string_equal(get_text(e, "state"), "stalled");
	assert_in_range(get_number(e, "heartbeat_age_ms"), 5000, 5000 + mono_since(mono_now(), stopped).ns / 1000000);
	json_object_put(o);
}

/* ---- configuration and tables ---- */

static void test_config(void **state)
{
	struct lab *lab = *state;
	struct answer a = http_get(lab->port, "/api/v1/config");
	struct config_error wrong;
	struct config again;
	char *text = config_print(&lab->config);

	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, text);
	assert_true(config_parse(&again, a.body, a.body_size, &wrong));
	assert_memory_equal(&again, &lab->config, sizeof again);
	free(text);
	answer_free(&a);

	struct json_object *o = ask(lab, "/api/v1/config/schema", 200);

	assert_true(rows(o, "options") > 20);
	json_object_put(o);
	o = ask(lab, "/api/v1/stats/schema", 200);
	assert_int_equal(rows(o, "counters"), N_COUNTERS);
	assert_int_equal(rows(o, "verdicts"), N_VERDICTS);
	assert_string_equal(get_text(row(o, "counters", COUNTER_sessions), "name"), "sessions");
	assert_string_equal(get_text(row(o, "counters", COUNTER_sessions), "kind"), "gauge");
	assert_string_equal(get_text(row(o, "counters", COUNTER_sessions), "unit"), "sessions");
	assert_string_equal(get_text(row(o, "verdicts", VERDICT_drop_ttl), "class"), "policy");
	json_object_put(o);
}

/* ---- sessions ---- */

static void test_session_row(void **state)
{
	struct lab *lab = *state;
	uint32_t i = add_session(lab, 1, L4_TCP, 0x64400002, 5000, TCP_OUT_SYN | TCP_IN_SYN);

	session_at(lab->arena, i)->adopters = 1ull << 63 | 1;
	session_at(lab->arena, i)->realm = 4094;

	struct json_object *o = ask(lab, "/api/v1/sessions", 200), *s = row(o, "sessions", 0);

	assert_int_equal(rows(o, "sessions"), 1);
	assert_null(get(o, "next"));
	assert_string_equal(get_text(s, "protocol"), "tcp");
	assert_string_equal(get_text(s, "inside"), "100.64.0.2:5000");
	assert_string_equal(get_text(s, "nat"), "198.51.100.0:1024");
	assert_string_equal(get_text(s, "remote"), "203.0.113.2:443");
	assert_int_equal(get_number(s, "owner"), 1);
	assert_int_equal(get_number(s, "realm"), 4094);
	assert_int_equal(rows(s, "adopters"), 2);
	assert_int_equal(json_object_get_int(row(s, "adopters", 1)), 63);
	assert_string_equal(get_text(s, "tcp"), "established");
	assert_true(get_number(s, "created_s_ago") - 10 <= 60);
	assert_true(json_object_get_boolean(get(s, "mapping")));
	json_object_put(o);
}

static void test_session_tcp_states(void **state)
{
	static const struct {
		uint8_t seen;
		const char *name;
	} want[] = {
		{0, "opening"},
		{TCP_OUT_SYN, "opening"},
		{TCP_OUT_SYN | TCP_IN_SYN, "established"},
		{TCP_OUT_DATA, "established"},
		{TCP_OUT_SYN | TCP_IN_SYN | TCP_IN_FIN, "closing"},
		{TCP_OUT_FIN | TCP_IN_FIN, "closed"},
		{TCP_OUT_SYN | TCP_OUT_FIN | TCP_RST, "reset"},
	};
	struct lab *lab = *state;

	for (unsigned i = 0; i < sizeof want / sizeof want[0]; i++)
		add_session(lab, 0, L4_TCP, 0x64400002, (uint16_t)i, want[i].seen);
	add_session(lab, 0, L4_ICMP, 0x64400003, 77, 0);

	struct json_object *o = ask(lab, "/api/v1/sessions?inside=100.64.0.2", 200);

	for (unsigned i = 0; i < sizeof want / sizeof want[0]; i++)
		assert_string_equal(get_text(row(o, "sessions", i), "tcp"), want[i].name);
	json_object_put(o);
	o = ask(lab, "/api/v1/sessions?inside=100.64.0.3", 200);
	assert_null(get(row(o, "sessions", 0), "tcp"));
	assert_string_equal(get_text(row(o, "sessions", 0), "remote"), "203.0.113.2");
	assert_string_equal(get_text(row(o, "sessions", 0), "inside"), "100.64.0.3:77");
	json_object_put(o);
}

static size_t count(const struct lab *lab, const char *query)
{
	char path[256];

	snprintf(path, sizeof path, "/api/v1/sessions?%s", query);
	struct json_object *o = ask(lab, path, 200);
	size_t n = rows(o, "sessions");

	json_object_put(o);
	return n;
}

static void test_session_filters(void **state)
{
	struct lab *lab = *state;

	for (uint16_t i = 0; i < 20; i++)
		add_session(lab, i % 2, L4_UDP, 0x64400000u + i % 4, (uint16_t)(5000 + i), 0);
	for (uint32_t i = 0, n = 0; n < 4 && (i = slab_next_live(lab->arena, SLAB_session, i + 1)); n++)
		session_at(lab->arena, i)->realm = 7;
	assert_int_equal(count(lab, "realm=7"), 4);
	assert_int_equal(count(lab, "realm=0"), 16);
	assert_int_equal(count(lab, "realm=8"), 0);
	assert_int_equal(count(lab, "limit=1000"), 20);
	assert_int_equal(count(lab, "inside=100.64.0.1"), 5);
	assert_int_equal(count(lab, "inside=100.64.0.1:5001"), 1);
	assert_int_equal(count(lab, "inside=100.64.0.1:5002"), 0);
	assert_int_equal(count(lab, "nat=198.51.100.0"), 20);
	assert_int_equal(count(lab, "nat=198.51.100.0%3A1030"), 1);
	assert_int_equal(count(lab, "nat=198.51.100.0:1030&inside=100.64.0.2"), 1);
	assert_int_equal(count(lab, "nat=198.51.100.1"), 0);
	assert_int_equal(count(lab, "nat=198.51.100.0:0"), 0);

	/* One that carries a mapping for others but has no flow is none; nor is a freed one. */
	uint32_t i = add_session(lab, 0, L4_UDP, 0x6440ffff, 1, 0);

	assert_int_equal(count(lab, "inside=100.64.255.255"), 1);
	session_set(session_at(lab->arena, i), 0, SESSION_FLOW);
	assert_int_equal(count(lab, "inside=100.64.255.255"), 0);
	session_set(session_at(lab->arena, i), SESSION_FLOW, 0);
	slab_put(lab->arena, &actor_of(lab->arena, 0)->slab[SLAB_session], SLAB_session, i);
	assert_int_equal(count(lab, "inside=100.64.255.255"), 0);
}

/* Every session is seen exactly once, page by page, and the last page knows that it is the last. */
static void test_session_pages(void **state)
{
	enum { N = 2500, LIMIT = 500 };
	struct lab *lab = *state;
	char path[128] = "/api/v1/sessions?limit=500&nat=198.51.100.0";
	static uint8_t seen[N];
	unsigned pages = 0;

	memset(seen, 0, sizeof seen);
	for (unsigned i = 0; i < N; i++)
		add_session(lab, i % 2, L4_UDP, 0x64400000u, (uint16_t)i, 0);
	add_session(lab, 1, L4_UDP, 0x64400000u, 0, 0);
	session_at(lab->arena, slab_next_live(lab->arena, SLAB_session, 1))->nat = be32_of(0xc6336400);
	for (bool more = true; more; pages++) {
		struct json_object *o = ask(lab, path, 200);

		for (size_t i = 0; i < rows(o, "sessions"); i++) {
			unsigned port = 0;

			sscanf(get_text(row(o, "sessions", i), "nat"), "198.51.100.0:%u", &port);
			if (port - 1024 < N)
				seen[port - 1024]++;
		}
		more = get(o, "next") != NULL;
		if (more) {
			assert_int_equal(rows(o, "sessions"), LIMIT);
			snprintf(path, sizeof path, "/api/v1/sessions?limit=500&nat=198.51.100.0&cursor=%s",
				get_text(o, "next"));
		}
		json_object_put(o);
	}
	assert_int_equal(pages, N / LIMIT + 1);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(count(lab, "cursor=4294967295"), 0);
}

/* An engine that makes and ends sessions as fast as it can: what is listed must never be half of one and half of
 * another. Inside address and port name the same number here. */
struct churn {
	struct lab *lab;
	_Atomic bool stop;
	_Atomic unsigned rounds;
};

static void *churn(void *context)
{
	struct churn *c = context;
	struct slab *slab = &actor_of(c->lab->arena, 0)->slab[SLAB_session];
	uint32_t held[64];

	for (uint16_t n = 0; !c->stop; c->rounds++) {
		for (unsigned i = 0; i < 64; i++, n++)
			held[i] = add_session(c->lab, 0, L4_UDP, 0x64400000u | n, n, 0);
		for (unsigned i = 0; i < 64; i++)
			slab_put(c->lab->arena, slab, SLAB_session, held[i]);
	}
	return NULL;
}

static void test_session_churn(void **state)
{
	struct churn c = {.lab = *state};
	pthread_t thread;
	unsigned listed = 0;

	assert_int_equal(pthread_create(&thread, NULL, churn, &c), 0);
	for (unsigned n = 0; n < 5000 && (n < 200 || !listed); n++) {
		struct json_object *o = ask(c.lab, "/api/v1/sessions", 200);

		for (size_t i = 0; i < rows(o, "sessions"); i++, listed++) {
			unsigned high, low, port;

			assert_int_equal(sscanf(get_text(row(o, "sessions", i), "inside"), "100.64.%u.%u:%u", &high,
						 &low, &port),
				3);
			assert_int_equal(high << 8 | low, port);
		}
		json_object_put(o);
	}
	c.stop = true;
	pthread_join(thread, NULL);
	assert_true(listed > 0 && c.rounds > 0);
}

static void test_bad_parameters(void **state)
{
	static const struct {
		const char *query, *detail;
	} wrong[] = {
		{"sessions?inside=1.2.3", "inside: \"1.2.3\" is not an IPv4 address"},
		{"sessions?inside=1.2.3.4.5", "inside:"},
		{"sessions?inside=1.2.3.256", "inside:"},
		{"sessions?inside=100.64.0.2:65536", "inside:"},
		{"sessions?inside=100.64.0.2:", "inside:"},
		{"sessions?inside=100.64.0.2:-1", "inside:"},
		{"sessions?inside=100.64.0.2:1:1", "inside:"},
		{"sessions?inside=::1", "inside:"},
		{"sessions?nat=%20198.51.100.1", "nat:"},
		{"sessions?nat=111111111111111111111111111111111111111111111111111111111", "nat:"},
		{"sessions?nat=%C3%A4%22%5C", "nat: \"??\"\\\" is not"},
		{"sessions?nat=1.2.3.4%00", "nat: is empty or holds a zero byte"},
		{"sessions?nat", "nat: is empty"},
		{"sessions?nat=", "nat: is empty"},
		{"sessions?limit=0", "limit: \"0\" is not a whole number from 1 to 1000"},
		{"sessions?limit=1001", "limit:"},
		{"sessions?limit=+5", "limit:"},
		{"sessions?limit=5x", "limit:"},
		{"sessions?limit=99999999999999999999999", "limit:"},
		{"sessions?limit=5&limit=6", "limit: is given twice"},
		{"sessions?cursor=-1", "cursor:"},
		{"sessions?realm=4095", "realm:"},
		{"sessions?cursor=4294967296", "cursor:"},
		{"sessions?colour=red",
			"colour: unknown parameter; known are inside, nat, remote, protocol, realm, limit, cursor"},
		{"sessions?Limit=5", "Limit: unknown"},
		{"sessions?=5", "(empty): unknown"},
		{"health?x=1", "x: unknown parameter; none is known here"},
		{"metrics?x", "x: unknown"},
		{"stats/history", "counter: is missing"},
		{"stats/history?counter=nonsense", "counter: there is no \"nonsense\""},
		{"stats/history?counter=sessions&from=10&to=5", "from:"},
		{"stats/history?counter=sessions&step=0", "step:"},
		{"stats/history?counter=sessions&to=tomorrow", "to:"},
		{"stats/history?counter=sessions&from=1.5", "from:"},
	};
	struct lab *lab = *state;
	char path[512];

	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		snprintf(path, sizeof path, "/api/v1/%s", wrong[i].query);
		assert_problem(lab, path, 400, wrong[i].detail);
	}
}

/* ---- pools ---- */

static void take_ports(struct lab *lab, uint32_t host, enum port_set set, unsigned n)
{
	for (uint32_t i = 0; (i = slab_next_live(lab->arena, SLAB_port_table, i + 1));) {
		if (be32_host(port_table_at(lab->arena, i)->address) == host)
			while (n--)
				assert_true(port_hand_take(lab->arena, i, set, (uint16_t)(1024 + n)));
	}
}

static void test_pools(void **state)
{
	struct lab *lab = *state;

	take_ports(lab, 0xc6336401, PORTS_TCP, 5);
	take_ports(lab, 0xc6336401, PORTS_OTHER, 2);
	take_ports(lab, 0xc6336463, PORTS_OTHER, 1);
	take_ports(lab, 0xc0000207, PORTS_TCP, 4);

	struct json_object *o = ask(lab, "/api/v1/pools", 200), *p = row(o, "pools", 0), *a;

	assert_int_equal(rows(o, "pools"), 2);
	assert_string_equal(get_text(p, "name"), "main");
	assert_int_equal(get_number(p, "ports_total"), 5 * 2 * 1000);
	assert_int_equal(get_number(p, "ports_used"), 8);
	assert_int_equal(rows(p, "addresses"), 5);
	a = row(p, "addresses", 1);
	assert_string_equal(get_text(a, "address"), "198.51.100.1");
	assert_int_equal(get_number(a, "tcp_used"), 5);
	assert_int_equal(get_number(a, "other_used"), 2);
	assert_false(json_object_object_get_ex(a, "draining", NULL));
	a = row(p, "addresses", 4); /* behind those that give new mappings */
	assert_string_equal(get_text(a, "address"), "198.51.100.2");
	assert_true(json_object_get_boolean(json_object_object_get(a, "draining")));
	a = row(p, "addresses", 3);
	assert_string_equal(get_text(a, "address"), "198.51.100.99");
	assert_int_equal(get_number(a, "other_used"), 1);
	p = row(o, "pools", 1);
	assert_string_equal(get_text(p, "name"), "second");
	assert_int_equal(get_number(p, "ports_used"), 4);
	json_object_put(o);
}

/* ---- statistics ---- */

static struct engine_report report_of(uint64_t packets, uint64_t sessions)
{
	struct engine_report r = {.time_ns = mono_now().ns};

	r.counters[COUNTER_rx_inside_packets] = packets;
	r.counters[COUNTER_sessions] = sessions;
	r.verdicts[VERDICT_fwd_out_hit] = packets;
	return r;
}

/* What it says once engine 0, which counts 1000 packets a second, is said to. */
static struct json_object *stats_of_a_thousand(const struct lab *lab, struct aggregator *g)
{
	mono_t begin = mono_now();

	for (int i = 0; i < 400; i++) {
		struct engine_report r = report_of(mono_since(mono_now(), begin).ns / 1000000, 7);

		board_answered(g->board, 0, &r, mono_now());
		usleep(20000);
		struct answer a = http_get(lab->port, "/api/v1/stats");
		struct json_object *o = a.body ? json_tokener_parse(a.body) : NULL;
		double rate = 0;

		assert_non_null(o);
		assert_true(a.status == 200 || a.status == 503); /* not heard, or not yet */
		if (a.status == 200)
			rate = json_object_get_double(
				json_object_object_get(get(get(o, "appliance"), "rates"), "rx_inside_packets"));
		answer_free(&a);
		if (rate > 800 && rate < 1200)
			return o;
		json_object_put(o);
	}
	fail_msg("the rate is never right");
	return NULL;
}

/* Engine 1 is silent. */
static void test_stats(void **state)
{
	struct lab *lab = *state;
	struct aggregator g;

	assert_problem(lab, "/api/v1/stats", 503, "the aggregator does not answer");
	aggregator_start(lab, &g);

	struct json_object *o = stats_of_a_thousand(lab, &g), *appliance = get(o, "appliance");

	assert_int_equal(get_number(o, "interval_ms"), INTERVAL_MS);
	assert_true(json_object_get_double(get(o, "time")) > 1.7e9);
	assert_int_equal(get_number(get(appliance, "counters"), "sessions"), 7);
	assert_null(json_object_object_get(get(appliance, "rates"), "sessions")); /* a gauge */
	assert_int_equal(rows(o, "engines"), ENGINES);
	assert_string_equal(get_text(row(o, "engines", 1), "state"), "never");
	assert_non_null(get(row(o, "engines", 1), "rates"));
	json_object_put(o);
	aggregator_stop(&g);
	wait_feed(lab, false);
	assert_problem(lab, "/api/v1/stats", 503, "the aggregator does not answer");
}

static void test_history_points(void **state)
{
	struct lab *lab = *state;
	int64_t now = time(NULL);
	char path[128];

	for (int64_t s = now - 20; s < now; s++) {
		struct engine_report r = report_of((uint64_t)(s - now + 20) * 50, 9);

		for (int64_t ms = 0; ms < 1000; ms += INTERVAL_MS)
			assert_int_equal(history_add(lab->api.history, s * 1000 + ms, &r), 0);
	}
	snprintf(path, sizeof path, "/api/v1/stats/history?counter=sessions&from=%lld&to=%lld&step=5",
		(long long)now - 15, (long long)now - 5);
	struct json_object *o = ask(lab, path, 200);

	assert_string_equal(get_text(o, "counter"), "sessions");
	assert_string_equal(get_text(o, "kind"), "gauge");
	assert_int_equal(get_number(o, "step"), 5);
	assert_true(rows(o, "points") >= 2);
	assert_true(json_object_get_double(json_object_array_get_idx(row(o, "points", 0), 1)) == 9);
	json_object_put(o);
	o = ask(lab, "/api/v1/stats/history?counter=fwd_out_hit", 200); /* the last ten minutes */
	assert_string_equal(get_text(o, "kind"), "sum");
	assert_true(rows(o, "points") >= 15);
	json_object_put(o);
}

/* A history that cannot be opened takes nothing else away. */
static void test_without_history(void **state)
{
	struct lab *lab = *state;
	struct history *history = lab->api.history;

	rest_close(lab->rest);
	lab->api.history = NULL;
	lab_serve(lab);
	assert_problem(lab, "/api/v1/stats/history?counter=sessions", 503, "no history is kept");

	struct json_object *o = ask(lab, "/api/v1/health", 503);

	assert_true(has_reason(o, "no history is kept"));
	json_object_put(o);
	rest_close(lab->rest);
	lab->api.history = history;
	lab_serve(lab);
}

/* ---- metrics ---- */

/* Every sample has a HELP and a TYPE before it, sums end in _total and nothing else does. */
static void check_exposition(char *text)
{
	char family[128] = "", type[32] = "", name[128];
	unsigned samples = 0;

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "# HELP %127s", family) == 1)
			continue;
		if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
			assert_string_equal(name, family);
			size_t n = strlen(name);
			bool total = n > 6 && strcmp(name + n - 6, "_total") == 0;
			assert_int_equal(total, strcmp(type, "counter") == 0);
			continue;
		}
		size_t n = strcspn(line, "{ ");
		assert_int_equal(n, strlen(family));
		assert_memory_equal(line, family, n);
		assert_int_equal(strspn(strrchr(line, ' ') + 1, "0123456789"), strlen(strrchr(line, ' ') + 1));
		samples++;
	}
	assert_int_equal(samples, 3 + ENGINES * (1 + N_COUNTERS + N_VERDICTS) + 2 * 2);
}

static void test_metrics(void **state)
{
	struct lab *lab = *state;

	counter_set(&actor_of(lab->arena, 1)->counters[COUNTER_sessions], 5);
	counter_set(&actor_of(lab->arena, 0)->counters[COUNTER_rx_inside_bytes], 1500);
	counter_set(&actor_of(lab->arena, 0)->verdicts[VERDICT_drop_no_port], 2);
	engine_up(lab, 1);

	struct answer a = http_get(lab->port, "/metrics"), b = http_get(lab->port, "/api/v1/metrics");

	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, b.body);
	assert_true(answer_has(&a, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
	assert_non_null(strstr(a.body, "\ncorenat_sessions{engine=\"1\"} 5\n"));
	assert_non_null(strstr(a.body, "\ncorenat_rx_inside_bytes_total{engine=\"0\"} 1500\n"));
	assert_non_null(strstr(a.body, "\ncorenat_verdict_packets_total{verdict=\"drop_no_port\","
				       "class=\"resource\",engine=\"0\"} 2\n"));
	assert_non_null(strstr(a.body, "\ncorenat_engine_up{engine=\"0\"} 0\ncorenat_engine_up{engine=\"1\"} 1\n"));
	assert_non_null(strstr(a.body, "\ncorenat_pool_ports{pool=\"main\"} 10000\n"));
	check_exposition(a.text + (a.body - a.text));
	answer_free(&a);
	answer_free(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_health),
		TEST(test_engines),
		TEST(test_config),
		TEST(test_session_row),
		TEST(test_session_tcp_states),
		TEST(test_session_filters),
		TEST(test_session_pages),
		TEST(test_session_churn),
		TEST(test_bad_parameters),
		TEST(test_pools),
		TEST(test_stats),
		TEST(test_history_points),
		TEST(test_without_history),
		TEST(test_metrics),
	};

	return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
