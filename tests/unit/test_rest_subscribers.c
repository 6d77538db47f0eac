/* /subscribers: who is listed, what each uses, what was refused and when; names and limits given, kept and taken. */
#include "mgmtd/book.h"
#include "pe/miniature.h"
#include "shm/check.h"
#include "tests/crash/traffic.h"
#include "tests/unit/rest_client.h"
#include "tests/unit/rest_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { HOSTS = 12, LIMIT = 5, DEALT = 0xc0000240 /* 192.0.2.64 */ };

struct scene {
	struct lab *lab;
	struct nat nat[ENGINES];
	mono_t begun; /* before anything was refused */
	char file[128];
};

static enum verdict out(struct scene *s, unsigned engine, unsigned host, uint16_t port)
{
	struct tuple t = tuple_of(L4_UDP, host, port, 1, 53);
	struct frame f;

	frame_make(&f, &t, SIDE_INSIDE, 0);
	nat_burst(&s->nat[engine], &f.packet, 1, mono_now());
	return (enum verdict)f.packet.verdict;
}

static void serve(struct scene *s)
{
	struct book_error err;

	rest_close(s->lab->rest);
	book_close(s->lab->api.book);
	s->lab->api.book = book_open(s->file, &err);
	if (!s->lab->api.book)
		fail_msg("%s", err.text);
	lab_serve(s->lab);
}

/* Hosts 1 to HOSTS with as many sessions each as their number, LIMIT at most; what is more is refused. */
static struct scene *scene_open(struct lab *lab)
{
	struct scene *s = calloc(1, sizeof *s);
	struct config c = lab->config;

	assert_non_null(s);
	s->lab = lab;
	s->begun = mono_now();
	snprintf(s->file, sizeof s->file, "%s/subscribers.db", lab->dir);
	c.limits[0] = (struct config_limits){.name = "all", .realm = "any", .udp_ports = LIMIT};
	c.n_limits = 1;
	assert_true(miniature_fill(lab->arena, &c));
	for (unsigned e = 0; e < ENGINES; e++) {
		nat_init(&s->nat[e], lab->arena, e, e + 1, mono_now());
		nat_configure(&s->nat[e]);
		nat_load_routes(&s->nat[e]);
	}
	for (unsigned host = 1; host <= HOSTS; host++)
		for (unsigned n = 0; n < host; n++)
			out(s, 0, host, (uint16_t)(5000 + n));
	serve(s);
	return s;
}

static void scene_close(struct scene *s)
{
	rest_close(s->lab->rest);
	book_close(s->lab->api.book);
	s->lab->api.book = NULL;
	lab_serve(s->lab);
	unlink(s->file);
	free(s);
}

static struct answer send_as(const struct lab *lab, const char *method, const char *path, const char *host)
{
	char request[512];

	snprintf(
		request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", method, path, host);
	return http_send(lab->port, request);
}

static struct json_object *call(const struct lab *lab, const char *method, const char *path, int status)
{
	struct answer a = send_as(lab, method, path, "127.0.0.1");
	struct json_object *o = a.body ? json_tokener_parse(a.body) : NULL;

	if (a.status != status || !o)
		fail_msg("%s %s: status %d, not %d: %s", method, path, a.status, status, a.body ? a.body : "");
	answer_free(&a);
	return o;
}

static uint64_t used(struct json_object *row, const char *quota)
{
	return get_number(get(get(row, "use"), quota), "used");
}

static uint64_t limit(struct json_object *row, const char *quota)
{
	return get_number(get(get(row, "use"), quota), "limit");
}

static void test_listed(void **state)
{
	struct scene *s = scene_open(*state);
	struct json_object *o = ask(s->lab, "/api/v1/subscribers", 200);

	assert_int_equal(rows(o, "subscribers"), HOSTS);
	json_object_put(o);

	/* Page by page each is seen once. */
	unsigned seen = 0;
	char path[96] = "/api/v1/subscribers?limit=5";
	for (int page = 0; page < 4; page++) {
		o = ask(s->lab, path, 200);
		seen += (unsigned)rows(o, "subscribers");
		struct json_object *next = NULL;
		if (!json_object_object_get_ex(o, "next", &next) || !next)
			break;
		snprintf(path, sizeof path, "/api/v1/subscribers?limit=5&cursor=%s", json_object_get_string(next));
		json_object_put(o);
	}
	json_object_put(o);
	assert_int_equal(seen, HOSTS);
	scene_close(s);
}

static void test_one(void **state)
{
	struct scene *s = scene_open(*state);
	struct json_object *o = ask(s->lab, "/api/v1/subscribers/100.64.0.12", 200);
	struct json_object *refused = get(get(o, "refused"), "udp_ports");

	assert_string_equal(get_text(o, "inside"), "100.64.0.12");
	assert_int_equal(used(o, "sessions"), LIMIT);
	assert_int_equal(used(o, "udp_ports"), LIMIT);
	assert_int_equal(get_number(get(get(o, "use"), "udp_ports"), "limit"), LIMIT);
	assert_int_equal(used(o, "memory"), LIMIT * 96);
	assert_int_equal(rows(o, "addresses"), 1);
	assert_int_equal(get_number(refused, "count"), 12 - LIMIT);
	uint64_t ago = mono_since(mono_now(), s->begun).ns / 1000000000 + 1;
	assert_true(get_number(refused, "since_s_ago") <= ago && get_number(refused, "last_s_ago") <= ago);
	json_object_put(o);
	o = ask(s->lab, "/api/v1/subscribers/100.64.0.3", 200);
	assert_int_equal(used(o, "sessions"), 3);
	assert_int_equal(json_object_object_length(get(o, "refused")), 0);
	json_object_put(o);
	assert_problem(s->lab, "/api/v1/subscribers/100.64.0.99", 404, "no sessions");
	assert_problem(s->lab, "/api/v1/subscribers/100.64.0.3?realm=7", 404, "realm 7");
	assert_problem(s->lab, "/api/v1/subscribers/here", 400, "not an IPv4 address");
	assert_problem(s->lab, "/api/v1/subscribers/100.64.0.3/x", 404, "no resource");
	scene_close(s);
}

static void test_top(void **state)
{
	struct scene *s = scene_open(*state);
	struct json_object *o = ask(s->lab, "/api/v1/subscribers?top=refused&limit=3", 200);

	assert_int_equal(rows(o, "subscribers"), 3);
	assert_string_equal(get_text(row(o, "subscribers", 0), "inside"), "100.64.0.12");
	assert_string_equal(get_text(row(o, "subscribers", 1), "inside"), "100.64.0.11");
	assert_string_equal(get_text(row(o, "subscribers", 2), "inside"), "100.64.0.10");
	json_object_put(o);
	o = ask(s->lab, "/api/v1/subscribers?top=sessions", 200);
	assert_int_equal(rows(o, "subscribers"), HOSTS);
	for (size_t i = 1; i < HOSTS; i++)
		assert_true(
			used(row(o, "subscribers", i - 1), "sessions") >= used(row(o, "subscribers", i), "sessions"));
	json_object_put(o);
	assert_problem(s->lab, "/api/v1/subscribers?top=noise", 400, "give sessions, ports or refused");
	scene_close(s);
}

/* Hosts 0 to 7 have ports that are computed, of the first of four addresses; host 9 has an address for itself. */
static void deal(struct scene *s)
{
	struct config c = s->lab->config;
	struct config_pool *dealt = &c.pools[c.n_pools++];
	struct config_rule *r = &c.rules[c.n_rules++];

	*dealt = c.pools[0];
	snprintf(dealt->name, sizeof dealt->name, "dealt");
	dealt->ranges[0] = (struct address_range){DEALT, DEALT + 3};
	dealt->n_ranges = 1;
	*r = (struct config_rule){.realm = "any",
		.inside = {{SUBSCRIBERS, 29}},
		.n_inside = 1,
		.port_last = UINT16_MAX,
		.pool = "dealt",
		.ports = PORTS_DETERMINISTIC,
		.pooling = POOLING_DEFAULT,
		.mapping = BEHAVIOUR_DEFAULT,
		.filtering = BEHAVIOUR_DEFAULT,
		.ports_per_subscriber = 112};
	c.statics[c.n_statics++] = (struct config_static){
		.protocol = STATIC_ANY, .inside = SUBSCRIBERS + 9, .nat = c.pools[0].ranges[0].last};
	assert_true(miniature_fill(s->lab->arena, &c));
	for (unsigned e = 0; e < ENGINES; e++)
		nat_configure(&s->nat[e]);
}

/* The address that its sessions have, not the one it would be paired with. */
static void test_addresses(void **state)
{
	struct scene *s = scene_open(*state);
	char path[64];

	deal(s);
	for (unsigned host = 1; host < 8; host++) {
		assert_int_equal(out(s, 0, host, 6000), VERDICT_fwd_out_new);
		snprintf(path, sizeof path, "/api/v1/subscribers/100.64.0.%u", host);
		struct json_object *o = ask(s->lab, path, 200);
		unsigned n = 0;
		for (size_t i = 0; i < rows(o, "addresses"); i++) {
			const char *address = json_object_get_string(row(o, "addresses", i));
			assert_string_not_equal(address, "192.0.2.65");
			assert_string_not_equal(address, "192.0.2.66");
			assert_string_not_equal(address, "192.0.2.67");
			n += strcmp(address, "192.0.2.64") == 0;
		}
		assert_int_equal(n, 1);
		json_object_put(o);
	}
	out(s, 0, 9, 6000);
	struct json_object *o = ask(s->lab, "/api/v1/subscribers/100.64.0.9", 200);
	assert_string_equal(json_object_get_string(row(o, "addresses", 0)), "198.51.100.3");
	json_object_put(o);
	scene_close(s);
}

/* A name, limits of its own: in force for the very next packet, kept over a restart of mgmtd and a new arena, taken. */
static void test_named(void **state)
{
	struct scene *s = scene_open(*state);
	static const char set[] = "/api/v1/subscribers/100.64.0.12?name=Customer%2017&udp_ports=7";
	struct json_object *o = call(s->lab, "PUT", set, 200);

	assert_string_equal(get_text(o, "name"), "Customer 17");
	assert_string_equal(json_object_get_string(row(o, "own_limits", 0)), "udp_ports");
	assert_int_equal(limit(o, "udp_ports"), 7); /* what counts, before any engine looked at it */
	json_object_put(o);
	assert_int_equal(out(s, 0, 12, 7000), VERDICT_fwd_out_new);
	assert_int_equal(out(s, 0, 12, 7001), VERDICT_fwd_out_new);
	assert_int_equal(out(s, 0, 12, 7002), VERDICT_drop_limit_udp_ports);
	o = ask(s->lab, "/api/v1/subscribers?name=mer%2017", 200);
	assert_int_equal(rows(o, "subscribers"), 1);
	assert_int_equal(get_number(get(get(row(o, "subscribers", 0), "use"), "udp_ports"), "limit"), 7);
	json_object_put(o);

	/* Known by name, one that was never seen is there, too. */
	o = call(s->lab, "PUT", "/api/v1/subscribers/100.64.0.200?name=new&sessions=9", 200);
	assert_int_equal(limit(o, "sessions"), 9);
	assert_int_equal(limit(o, "udp_ports"), LIMIT); /* its group's, although no engine knows it yet */
	json_object_put(o);
	json_object_put(call(s->lab, "PUT", "/api/v1/subscribers/100.64.0.200?name=new&sessions=0", 200));
	o = ask(s->lab, "/api/v1/subscribers/100.64.0.200", 200);
	assert_null(json_object_object_get(get(get(o, "use"), "sessions"), "limit"));
	json_object_put(o);

	/* mgmtd anew, over an arena that has forgotten one of them. */
	struct subscribers v = subscribers_view(s->lab->arena, ACTOR_MGMTD);
	assert_int_equal(subscriber_record_drop(&v, (struct subscriber_key){be32_of(SUBSCRIBERS + 200), 0}), 0);
	serve(s);
	assert_int_equal(book_restore(s->lab->api.book, s->lab->arena), 2);
	json_object_put(ask(s->lab, "/api/v1/subscribers/100.64.0.200", 200));

	json_object_put(call(s->lab, "DELETE", "/api/v1/subscribers/100.64.0.200", 200));
	assert_problem(s->lab, "/api/v1/subscribers/100.64.0.200", 404, "not known by name");
	json_object_put(call(s->lab, "DELETE", "/api/v1/subscribers/100.64.0.12", 200));
	json_object_put(call(s->lab, "DELETE", "/api/v1/subscribers/100.64.0.12", 404));
	assert_int_equal(out(s, 0, 12, 7003), VERDICT_drop_limit_udp_ports); /* the group's limit again */
	assert_int_equal(book_restore(s->lab->api.book, s->lab->arena), 0);
	scene_close(s);
}

static void test_refused_calls(void **state)
{
	struct scene *s = scene_open(*state);
	static const struct {
		const char *path;
		int status;
	} wrong[] = {
		{"/api/v1/subscribers/100.64.0.12", 400},
		{"/api/v1/subscribers/100.64.0.12?name=0123456789012345678901234567890123", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a%C3%A9", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a&sessions=-1", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a&udp_ports=9999999999", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a&realm=5000", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a&udp_ports=40&reserved_ports=40", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a&tcp_ports=40&reserved_ports=41", 400},
		{"/api/v1/subscribers/100.64.0.12?name=a&colour=red", 400},
		{"/api/v1/subscribers?name=a", 405},
	};

	for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		json_object_put(call(s->lab, "PUT", wrong[i].path, wrong[i].status));
	struct answer a = send_as(s->lab, "PUT", "/api/v1/subscribers/100.64.0.12?name=a", "evil.example");
	assert_int_equal(a.status, 403);
	answer_free(&a);
	book_close(s->lab->api.book);
	s->lab->api.book = NULL;
	json_object_put(call(s->lab, "PUT", "/api/v1/subscribers/100.64.0.12?name=a", 503));
	scene_close(s);
}

/* Another's file is left alone; one that cannot be made says why. */
static void test_files(void **state)
{
	const struct lab *lab = *state;
	struct book_error err = {""};
	char file[128];

	snprintf(file, sizeof file, "/proc/none/subscribers.db");
	assert_null(book_open(file, &err));
	assert_non_null(strstr(err.text, "unable to open"));
	snprintf(file, sizeof file, "%s/history.db", lab->dir);
	if (access(file, F_OK) == 0) {
		assert_null(book_open(file, &err));
		assert_non_null(strstr(err.text, "somebody else's"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listed, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_one, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_top, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_addresses, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_named, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_refused_calls, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_files, lab_setup, lab_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
