/* The fixture; see rest_lab.h. */
#include "tests/unit/rest_lab.h"

#include "mgmtd/commit.h"
#include "mgmtd/history.h"
#include "mgmtd/ledger.h"
#include "mgmtd/versions.h"
#include "tests/unit/rest_client.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- fixture ---- */

static const char document[] = "{\"arena\":{\"name\":\"/test-rest-%d-%u\",\"engines\":2,\"sessions\":65536},"
			       "\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"]},"
			       "\"outside\":{\"interface\":\"out\"},"
			       "\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\",\"198.51.100.99\"],"
			       "\"drain\":[\"198.51.100.2\"]},"
			       "{\"name\":\"second\",\"addresses\":[\"192.0.2.7\"]}],"
			       "\"nat\":{\"port_first\":1024,\"port_last\":2023},"
			       "\"system\":{\"runtime_dir\":\"%s/run\"},"
			       "\"api\":{\"web_dir\":\"%s/web\"},"
			       "\"history\":{\"file\":\"%s/history.db\"},"
			       "\"versions\":{\"file\":\"%s/versions.db\"},"
			       "\"statistics\":{\"interval_ms\":100}}";

static void write_file(const struct lab *lab, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", lab->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make_web(const struct lab *lab)
{
	char path[256];

	snprintf(path, sizeof path, "%s/web", lab->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	write_file(lab, "secret", "secret\n");
	write_file(lab, "web/index.html", "<!doctype html><title>board</title>\n");
	write_file(lab, "web/dashboard.js", "1;\n");
	write_file(lab, "web/dashboard.css", "a{}\n");
	write_file(lab, "web/icon.svg", "<svg/>\n");
	write_file(lab, "web/data", "?");
	snprintf(path, sizeof path, "%s/web/sub", lab->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof path, "%s/web/out", lab->dir);
	assert_int_equal(symlink("../secret", path), 0);
	snprintf(path, sizeof path, "%s/web/fifo", lab->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void read_config(struct lab *lab)
{
	static unsigned n;
	struct config_error wrong;
	char text[2048];
	int size = snprintf(text, sizeof text, document, (int)getpid(), n++, lab->dir, lab->dir, lab->dir, lab->dir);

	if (!config_parse(&lab->config, text, (size_t)size, &wrong))
		fail_msg("%s", wrong.text);
}

static void commit(struct lab *lab)
{
	struct config_error wrong;
	struct commit c;

	assert_true(commit_open(&c, lab->arena, &lab->config, mono_now(), &wrong));
	assert_true(commit_try(&c, mono_now()));
	commit_close(&c);
}

void lab_serve(struct lab *lab)
{
	struct sockaddr_in at;
	socklen_t size = sizeof at;
	struct rest_error wrong;
	int fd = rest_listen("127.0.0.1:0", &wrong);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	lab->port = ntohs(at.sin_port);
	lab->api.config = &lab->config;
	lab->api.arena = lab->arena;
	lab->rest = rest_open(fd, &lab->api);
	assert_non_null(lab->rest);
}

static void store_sample(void *context, int64_t unix_ms, const struct engine_report *appliance)
{
	assert_int_equal(history_add(context, unix_ms, appliance), 0);
}

int lab_setup(void **state)
{
	struct lab *lab = calloc(1, sizeof *lab);
	struct arena_error wrong;
	struct history_error no_history;
	struct versions_error no_versions;

	snprintf(lab->dir, sizeof lab->dir, "/tmp/corenat-rest-XXXXXX");
	assert_non_null(mkdtemp(lab->dir));
	make_web(lab);
	read_config(lab);
	lab->arena = arena_open(&lab->config, &wrong);
	if (!lab->arena)
		fail_msg("%s", wrong.text);
	commit(lab);
	lab->api.history = history_open(lab->config.history.file, 3600, INTERVAL_MS, &no_history);
	assert_non_null(lab->api.history);
	lab->api.versions = versions_open(lab->config.versions.file, 1000, 63072000, &no_versions);
	assert_non_null(lab->api.versions);

	char events[128];
	struct ledger_setup kept = {events, 86400, 1000000, &lab->config, true};
	struct ledger_error no_ledger;

	snprintf(events, sizeof events, "%s/events.db", lab->dir);
	lab->api.ledger = ledger_open(&kept, lab->arena, &no_ledger);
	assert_non_null(lab->api.ledger);

	struct feed_sink sink = {store_sample, lab->api.history};

	lab->api.feed = feed_open(lab->config.system.runtime_dir, INTERVAL_MS, &sink);
	assert_non_null(lab->api.feed);
	lab_serve(lab);
	*state = lab;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

int lab_teardown(void **state)
{
	struct lab *lab = *state;

	rest_close(lab->rest);
	feed_close(lab->api.feed);
	history_close(lab->api.history);
	versions_close(lab->api.versions);
	ledger_close(lab->api.ledger);
	for (unsigned e = 0; e < ENGINES; e++)
		arena_close(lab->role[e]);
	arena_remove(lab->config.arena.name);
	arena_close(lab->arena);
	nftw(lab->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(lab);
	return 0;
}

/* Engine `e` runs and uses the configuration in force. Its heart does not stop while this test gets no processor. */
void engine_up(struct lab *lab, unsigned e)
{
	struct actor *a = actor_of(lab->arena, e);
	struct arena_error wrong;

	lab->role[e] = arena_attach(lab->config.arena.name, &wrong);
	assert_non_null(lab->role[e]);
	assert_int_equal(arena_claim(lab->role[e], e), 0);
	snprintf(a->io[SIDE_INSIDE], sizeof a->io[0], "native, copy");
	memset(a->io[SIDE_OUTSIDE], 'x', sizeof a->io[0]); /* without its end */
	a->incarnation = 1 + e;
	a->cpu = 4 + e;
	a->config_ack = lab->arena->header->config_generation;
	a->heartbeat_ns = mono_after(mono_now(), span_s(3600)).ns;
	a->pid = 1000 + (int)e;
}

void engine_down(struct lab *lab, unsigned e)
{
	arena_close(lab->role[e]);
	lab->role[e] = NULL;
}

uint32_t add_session(struct lab *lab, unsigned engine, enum l4 l4, uint32_t inside, uint16_t port, uint8_t tcp)
{
	struct actor *a = actor_of(lab->arena, engine);
	uint32_t i = slab_take(lab->arena, &a->slab[SLAB_session], engine, SLAB_session);

	assert_int_not_equal(i, 0);
	struct session *s = session_at(lab->arena, i);

	memset((uint8_t *)s + 8, 0, sizeof *s - 8);
	s->inside = be32_of(inside);
	s->inside_port = be16_of(port);
	s->nat = be32_of(0xc6336400); /* 198.51.100.0 */
	s->nat_port = be16_of((uint16_t)(1024 + lab->sessions++));
	s->remote = be32_of(0xcb007102); /* 203.0.113.2 */
	s->remote_port = be16_of(l4 == L4_ICMP ? 0 : 443);
	s->l4 = l4;
	s->owner = (uint8_t)engine;
	s->flags = SESSION_FLOW | SESSION_CARRIES;
	s->tcp = tcp;
	s->birth = birth_of((uint32_t)(mono_now().ns / 1000000000u - 10), 0);
	slab_publish(s);
	return i;
}

/* ---- asking ---- */

struct json_object *ask(const struct lab *lab, const char *path, int status)
{
	struct answer a = http_get(lab->port, path);
	struct json_object *o = a.body ? json_tokener_parse(a.body) : NULL;

	if (a.status != status)
		fail_msg("%s: status %d, not %d: %s", path, a.status, status, a.body ? a.body : "");
	if (!o)
		fail_msg("%s: no JSON: %s", path, a.body);
	bool problem = status >= 400 && !json_object_object_get(o, "reasons");
	assert_true(
		answer_has(&a, problem ? "Content-Type: application/problem+json" : "Content-Type: application/json"));
	answer_free(&a);
	return o;
}

struct json_object *get(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v))
		fail_msg("no %s in %s", key, json_object_to_json_string(o));
	return v;
}

const char *get_text(struct json_object *o, const char *key)
{
	return json_object_get_string(get(o, key));
}

uint64_t get_number(struct json_object *o, const char *key)
{
	assert_true(json_object_is_type(get(o, key), json_type_int));
	return json_object_get_uint64(get(o, key));
}

struct json_object *row(struct json_object *o, const char *key, size_t i)
{
	struct json_object *r = json_object_array_get_idx(get(o, key), i);

	assert_non_null(r);
	return r;
}

size_t rows(struct json_object *o, const char *key)
{
	return json_object_array_length(get(o, key));
}

void assert_problem(const struct lab *lab, const char *path, int status, const char *detail)
{
	struct json_object *o = ask(lab, path, status);

	assert_int_equal(get_number(o, "status"), status);
	assert_string_equal(get_text(o, "type"), "about:blank");
	assert_non_null(get_text(o, "title"));
	if (!strstr(get_text(o, "detail"), detail))
		fail_msg("%s: \"%s\" does not say \"%s\"", path, get_text(o, "detail"), detail);
	json_object_put(o);
}

bool has_reason(struct json_object *health, const char *text)
{
	for (size_t i = 0; i < rows(health, "reasons"); i++)
		if (strstr(json_object_get_string(row(health, "reasons", i)), text))
			return true;
	return false;
}

/* ---- the aggregator ---- */

static void *serve(void *context)
{
	struct aggregator *g = context;

	while (!g->stop)
		assert_int_equal(agent_serve(g->agent, -1, 10), 0);
	return NULL;
}

void aggregator_start(const struct lab *lab, struct aggregator *g)
{
	struct agent_error wrong;

	g->stop = false;
	g->board = board_open(ENGINES);
	g->agent = agent_open(lab->config.system.runtime_dir, g->board, INTERVAL_MS, &wrong);
	if (!g->agent)
		fail_msg("%s", wrong.text);
	assert_int_equal(pthread_create(&g->thread, NULL, serve, g), 0);
}

void aggregator_stop(struct aggregator *g)
{
	g->stop = true;
	pthread_join(g->thread, NULL);
	agent_close(g->agent);
	board_close(g->board);
}

void wait_feed(const struct lab *lab, bool up)
{
	for (int i = 0; i < 2000 && feed_is_up(lab->api.feed) != up; i++)
		usleep(10000);
	assert_int_equal(feed_is_up(lab->api.feed), up);
}
