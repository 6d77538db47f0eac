/* Any path and query is answered: with JSON of the route's own, or with a problem that says what would be right.
 *
 * An input is what follows the host in a URL, decoded: path?name=value&name=value. The handlers run as they are, over a
 * small arena and a history; of the HTTP library only the accessors they use are played, which a request's text and an
 * answer's body pass through. */
#include "mgmtd/history.h"
#include "mgmtd/ledger.h"
#include "mgmtd/rest.c"
#include "mgmtd/versions.h"
#include "pe/miniature.h"
#include "shm/session.h"
#include "tests/fuzz/fuzz.h"

#include <json-c/json.h>
#include <sys/stat.h>
#include <time.h>

enum { PARAMETERS = 8, SESSIONS = 3, SAMPLES = 20 };

struct parameter {
	char name[64], value[128];
};

struct MHD_Connection {
	struct parameter parameter[PARAMETERS];
	unsigned n;
};

struct MHD_Response {
	char *body;
	size_t size;
	const char *type;
};

/* ---- the library, as the handlers see it ---- */

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
	if (kind == MHD_HEADER_KIND)
		return strcmp(key, MHD_HTTP_HEADER_HOST) == 0 ? "127.0.0.1" : NULL;
	for (unsigned i = 0; kind == MHD_GET_ARGUMENT_KIND && i < connection->n; i++)
		if (strcmp(connection->parameter[i].name, key) == 0)
			return connection->parameter[i].value;
	return NULL;
}

int MHD_get_connection_values_n(
	struct MHD_Connection *connection, enum MHD_ValueKind kind, MHD_KeyValueIteratorN iterator, void *context)
{
	for (unsigned i = 0; i < connection->n; i++) {
		const struct parameter *p = &connection->parameter[i];

		if (iterator(context, kind, p->name, strlen(p->name), p->value, strlen(p->value)) == MHD_NO)
			return (int)i + 1;
	}
	return (int)connection->n;
}

struct MHD_Response *MHD_create_response_from_buffer(size_t size, void *buffer, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = calloc(1, sizeof *r);

	FUZZ_EXPECT(r && mode == MHD_RESPMEM_MUST_FREE);
	r->body = buffer;
	r->size = size;
	return r;
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *response, const char *header, const char *content)
{
	if (strcmp(header, MHD_HTTP_HEADER_CONTENT_TYPE) == 0)
		response->type = content;
	return MHD_YES;
}

/* ---- the appliance ---- */

static void add_session(struct arena *a, unsigned i)
{
	struct actor *actor = actor_of(a, 0);
	struct session *s = session_at(a, slab_take(a, &actor->slab[SLAB_session], 0, SLAB_session));

	s->inside = be32_of(0x64400002u + i);
	s->nat = be32_of(0xc6336400u + i);
	s->remote = be32_of(0xcb007101u);
	s->inside_port = be16_of((uint16_t)(5000 + i));
	s->nat_port = be16_of((uint16_t)(1024 + i));
	s->l4 = (uint8_t)(i % N_L4);
	atomic_store(&s->flags, SESSION_FLOW | SESSION_CARRIES);
	slab_publish(s);
}

static char directory[] = "/tmp/corenat-fuzz-XXXXXX";

static void remove_directory(void)
{
	static const char *const files[] = {"history.db", "history.db-wal", "history.db-shm", "versions.db",
		"versions.db-wal", "versions.db-shm", "events.db", "events.db-wal", "events.db-shm"};
	char path[64];

	for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", directory, files[i]);
		unlink(path);
	}
	rmdir(directory);
}

static struct history *make_history(struct config *c)
{
	static struct engine_report report;
	struct history_error err;
	struct history *h;

	FUZZ_EXPECT(mkdtemp(directory));
	atexit(remove_directory);
	snprintf(c->history.file, sizeof c->history.file, "%s/history.db", directory);
	h = history_open(c->history.file, 86400, 1000, &err);
	FUZZ_EXPECT(h != NULL);
	for (int i = 0; i < SAMPLES; i++) {
		report.counters[0] = (uint64_t)i * 100;
		FUZZ_EXPECT(history_add(h, ((int64_t)time(NULL) - SAMPLES + i) * 1000, &report) == 0);
	}
	return h;
}

/* Two configurations one after the other, the first with computed ports. */
static struct versions *make_versions(const struct config *c)
{
	struct config other = *c;
	struct versions_error err;
	struct versions *v;
	char path[64];

	snprintf(path, sizeof path, "%s/versions.db", directory);
	v = versions_open(path, 10, 86400, &err);
	FUZZ_EXPECT(v != NULL);
	other.net.prefixes[0].len = 24;
	other.nat.ports = PORTS_DETERMINISTIC;
	for (int i = 0; i < 2; i++) {
		char *text = config_print(i ? c : &other);

		FUZZ_EXPECT(text && versions_begin(v, (int64_t)(time(NULL) - 60 + i) * 1000, text) == 0);
		free(text);
	}
	return v;
}

/* A block that was given and returned, a refusal. */
static struct ledger *make_ledger(const struct config *c, struct arena *a)
{
	char path[64];
	struct ledger_setup setup = {path, 86400, 1000, c, true};
	struct ledger_error err;
	struct events ring = events_of(a, 0);
	struct event e = {.inside = be32_of(0x64400002),
		.nat = be32_of(0xc6336401),
		.remote = be32_of(0xcb007107),
		.first = 2048,
		.ports = 512,
		.verdict = VERDICT_drop_no_port};

	snprintf(path, sizeof path, "%s/events.db", directory);
	struct ledger *l = ledger_open(&setup, a, &err);
	FUZZ_EXPECT(l != NULL);
	for (unsigned kind = 0; kind <= EVENT_refusal; kind++) {
		e.kind = (uint8_t)kind;
		e.time_ns = kind * 1000000000ull;
		event_put(&ring, &e);
	}
	FUZZ_EXPECT(ledger_turn(l, (int64_t)time(NULL) * 1000, (mono_t){2000000000u}) == 0);
	return l;
}

static struct api *appliance(void)
{
	static const char text[] = "{\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"]},"
				   "\"outside\":{\"interface\":\"out\"},"
				   "\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0/30\"]}],"
				   "\"api\":{\"web_dir\":\"/nonexistent\"}}";
	static struct config c;
	static struct api api;
	struct config_error err;

	if (api.config)
		return &api;
	FUZZ_EXPECT(config_parse(&c, text, sizeof text - 1, &err));
	c.arena.sessions = 64;
	api.arena = miniature_open(&c, 1);
	FUZZ_EXPECT(api.arena != NULL);
	for (unsigned i = 0; i < SESSIONS; i++)
		add_session(api.arena, i);
	api.history = make_history(&c);
	api.versions = make_versions(&c);
	api.ledger = make_ledger(&c, api.arena);
	api.config = &c;
	return &api;
}

/* ---- one request ---- */

/* Copies up to a mark, which is skipped; zero bytes cannot occur in what the library hands on. */
static void copy_until(struct input *in, const char *marks, char *out, size_t room)
{
	size_t n = 0;

	while (in->at < in->end) {
		char c = (char)*in->at;

		if (c == '\0' || strchr(marks, c))
			break;
		in->at++;
		if (n + 1 < room)
			out[n++] = c;
	}
	out[n] = '\0';
}

static bool skip(struct input *in, char mark)
{
	if (in->at == in->end || (char)*in->at != mark)
		return false;
	in->at++;
	return true;
}

static void read_query(struct input *in, struct MHD_Connection *connection)
{
	if (!skip(in, '?'))
		return;
	do {
		struct parameter *p = &connection->parameter[connection->n++];

		copy_until(in, "=&", p->name, sizeof p->name);
		if (skip(in, '='))
			copy_until(in, "&", p->value, sizeof p->value);
	} while (skip(in, '&') && connection->n < PARAMETERS);
}

static void check_reply(struct reply r)
{
	FUZZ_EXPECT(r.response && r.response->size > 0 && r.response->type);
	FUZZ_EXPECT(r.status == 200 || r.status == 202 || r.status == 400 || r.status == 404 || r.status == 503);
	if (strstr(r.response->type, "json")) {
		char *body = strndup(r.response->body, r.response->size);
		struct json_object *o = body ? json_tokener_parse(body) : NULL;

		FUZZ_EXPECT(json_object_is_type(o, json_type_object));
		FUZZ_EXPECT(r.status < 300 || json_object_object_get(o, "detail"));
		json_object_put(o);
		free(body);
	}
	free(r.response->body);
	free(r.response);
}

/* These ask the aggregator, which is not there; they take no parameters. */
static bool wants_feed(const char *path)
{
	return strstr(path, "/health") || strstr(path, "/metrics") || strcmp(path, "/api/v1/stats") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct MHD_Connection connection = {.n = 0};
	char path[256];

	copy_until(&in, "?", path, sizeof path);
	read_query(&in, &connection);
	if (path[0] != '/' || wants_feed(path))
		return 0;
	struct request rq = {.api = appliance(), .connection = &connection, .path = path};

	check_reply(serve(&rq, "GET"));
	if (method_is_served("DELETE", path))
		check_reply(serve(&rq, "DELETE"));
	return 0;
}
