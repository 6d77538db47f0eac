/* GET /events: what happened, newest first; GET /lookup: who held the block of ports that a port was in. */
#include "mgmtd/api.h"
#include "mgmtd/ledger.h"
#include "mgmtd/when.h"
#include "shm/clear.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIMIT_DEFAULT = 100, SKEW_DEFAULT_S = 1, SKEW_MAX_S = 86400, MS = 1000 };

static struct reply no_ledger(void)
{
	return reply_problem(
		MHD_HTTP_SERVICE_UNAVAILABLE, "no events are kept: their file cannot be opened; mgmtd's log says why");
}

static struct reply cannot_read(void)
{
	return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE, "events cannot be read now; mgmtd's log says why");
}

/* ---- what both say ---- */

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_number(struct json_object *o, const char *key, int64_t n)
{
	json_object_object_add(o, key, json_object_new_int64(n));
}

static void add_time(struct json_object *o, const char *key, int64_t ms)
{
	char text[WHEN_SIZE];

	if (ms == LEDGER_LASTS) {
		json_object_object_add(o, key, NULL);
		return;
	}
	when_write(ms, text);
	add_text(o, key, text);
}

static void add_address(struct json_object *o, const char *key, uint32_t host)
{
	char text[INET_ADDRSTRLEN];
	be32_t address = be32_of(host);

	inet_ntop(AF_INET, &address.net, text, sizeof text);
	add_text(o, key, text);
}

static bool read_time(const struct request *rq, const char *name, int64_t *ms, struct reply *refused)
{
	const char *text = request_parameter(rq, name);

	if (!text || when_read(text, ms))
		return true;
	*refused = reply_problem(
		MHD_HTTP_BAD_REQUEST, "%s: \"%.40s\" is not a point in time; give " WHEN_FORMS, name, text);
	return false;
}

/* ---- events: the question ---- */

static bool read_kind(const struct request *rq, struct ledger_filter *f, struct reply *refused)
{
	const char *text = request_parameter(rq, "kind");
	char all[160] = "";

	f->kind = -1;
	for (int k = 0; text && k < N_EVENT_KINDS; k++) {
		if (strcmp(text, event_info[k].name) == 0)
			f->kind = k;
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", k ? ", " : "", event_info[k].name);
	}
	if (!text || f->kind >= 0)
		return true;
	*refused = reply_problem(MHD_HTTP_BAD_REQUEST, "kind: \"%.40s\" is none; give one of %s", text, all);
	return false;
}

static bool read_verdict(const struct request *rq, struct ledger_filter *f, struct reply *refused)
{
	f->verdict = request_parameter(rq, "verdict");
	for (unsigned v = 0; f->verdict && v < N_VERDICTS; v++)
		if (strcmp(f->verdict, verdict_info[v].name) == 0)
			return true;
	if (!f->verdict)
		return true;
	*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
		"verdict: there is no \"%.40s\"; /api/v1/stats/schema lists all names", f->verdict);
	return false;
}

/* "MS-ID" of the last row that was given. */
static bool read_cursor(const struct request *rq, struct ledger_filter *f, struct reply *refused)
{
	const char *text = request_parameter(rq, "cursor"), *dash = text ? strchr(text, '-') : NULL;
	uint64_t ms = 0, id = 0;
	char first[24] = "";

	if (dash && dash - text < (int)sizeof first)
		snprintf(first, sizeof first, "%.*s", (int)(dash - text), text);
	if (!text)
		return true;
	if (!decimal_read(first, 0, INT64_MAX, &ms) || !decimal_read(dash + 1, 1, INT64_MAX, &id)) {
		*refused = reply_problem(
			MHD_HTTP_BAD_REQUEST, "cursor: \"%.40s\" is none; give the \"next\" of an answer", text);
		return false;
	}
	f->before_ms = (int64_t)ms;
	f->before_id = (int64_t)id;
	return true;
}

static bool read_whose(const struct request *rq, struct ledger_filter *f, struct reply *refused)
{
	struct session_filter s;

	if (!request_filter(rq, &s, refused))
		return false;
	if (s.fields & FILTER_INSIDE_PORT) {
		*refused = reply_problem(
			MHD_HTTP_BAD_REQUEST, "inside: events are of a subscriber; give an address without a port");
		return false;
	}
	f->by_inside = s.fields & FILTER_INSIDE;
	f->by_realm = s.fields & FILTER_REALM;
	f->by_nat = s.fields & FILTER_NAT;
	f->by_port = s.fields & FILTER_NAT_PORT;
	f->inside = be32_host(s.inside);
	f->realm = s.realm;
	f->nat = be32_host(s.nat);
	f->port = be16_host(s.nat_port);
	return true;
}

static bool read_filter(const struct request *rq, struct ledger_filter *f, uint64_t *limit, struct reply *refused)
{
	*f = (struct ledger_filter){.to_ms = INT64_MAX};
	*limit = LIMIT_DEFAULT;
	if (!read_time(rq, "from", &f->from_ms, refused) || !read_time(rq, "to", &f->to_ms, refused) ||
		!read_kind(rq, f, refused) || !read_verdict(rq, f, refused) || !read_whose(rq, f, refused) ||
		!read_cursor(rq, f, refused))
		return false;
	if (f->from_ms >= f->to_ms) {
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST, "from: the range is empty; give a time before \"to\"");
		return false;
	}
	return request_number(rq, "limit", 1, LEDGER_ROWS, limit, refused);
}

/* ---- events: the answer ---- */

static const char *protocol_name(uint8_t protocol, char room[4])
{
	if (protocol == 6)
		return "tcp";
	if (protocol == 17)
		return "udp";
	if (protocol == 1)
		return "icmp";
	snprintf(room, 4, "%u", protocol);
	return room;
}

static void add_subscriber(struct json_object *o, const struct ledger_row *r)
{
	if (!r->inside)
		return;
	add_address(o, "inside", r->inside);
	add_number(o, "realm", r->realm);
}

static void add_block(struct json_object *o, const struct ledger_row *r)
{
	add_subscriber(o, r);
	add_address(o, "nat", r->nat);
	add_number(o, "port_first", r->first);
	add_number(o, "port_last", r->first + (int64_t)r->ports - 1);
	add_time(o, "since", r->since_ms);
}

static void add_refusal(struct json_object *o, const struct ledger_row *r)
{
	char room[4];

	add_subscriber(o, r);
	add_text(o, "verdict", r->verdict);
	add_number(o, "total", (int64_t)r->total);
	add_text(o, "of", r->personal ? "subscriber" : "engine");
	if (r->pool[0])
		add_text(o, "pool", r->pool);
	if (r->protocol)
		add_text(o, "protocol", protocol_name(r->protocol, room));
	if (r->inside_port)
		add_number(o, "inside_port", r->inside_port);
	if (r->remote)
		api_add_endpoint(o, "remote", be32_of(r->remote), be16_of(r->remote_port));
}

static struct json_object *event_row(const struct ledger_row *r)
{
	struct json_object *o = json_object_new_object();

	add_number(o, "id", r->id);
	add_time(o, "time", r->ms);
	add_text(o, "kind", event_info[r->kind].name);
	json_object_object_add(o, "engine", r->actor < ENGINE_MAX ? json_object_new_int64(r->actor) : NULL);
	if (r->kind == EVENT_block_given || r->kind == EVENT_block_returned)
		add_block(o, r);
	if (r->kind == EVENT_refusal)
		add_refusal(o, r);
	if (r->kind == EVENT_lost)
		add_number(o, "total", (int64_t)r->total);
	if (r->kind == EVENT_lost || r->kind == EVENT_arena)
		add_time(o, "since", r->since_ms);
	return o;
}

static struct reply events_reply(const struct ledger_row *row, unsigned n, uint64_t limit)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	char next[48];

	for (unsigned i = 0; i < n && i < limit; i++)
		json_object_array_add(rows, event_row(&row[i]));
	if (n == limit)
		snprintf(next, sizeof next, "%lld-%lld", (long long)row[n - 1].ms, (long long)row[n - 1].id);
	json_object_object_add(o, "events", rows);
	json_object_object_add(o, "next", n == limit ? json_object_new_string(next) : NULL);
	return reply_json(MHD_HTTP_OK, o);
}

struct reply api_events(const struct request *rq)
{
	struct ledger_filter f;
	struct reply r;
	uint64_t limit;
	unsigned n;

	if (!read_filter(rq, &f, &limit, &r))
		return r;
	if (!rq->api->ledger)
		return no_ledger();
	struct ledger_row *row = calloc(limit, sizeof *row);

	if (!row)
		return (struct reply){.status = MHD_HTTP_SERVICE_UNAVAILABLE};
	r = ledger_rows(rq->api->ledger, &f, row, (unsigned)limit, &n) == 0 ? events_reply(row, n, limit)
									    : cannot_read();
	free(row);
	return r;
}

/* ---- who ---- */

struct who {
	uint32_t nat;
	uint16_t port;
	int64_t time_ms, skew_ms, now_ms;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * MS + now.tv_nsec / 1000000;
}

static bool read_who(const struct request *rq, struct who *w, struct reply *refused)
{
	struct session_filter f;
	uint64_t skew = SKEW_DEFAULT_S;

	w->now_ms = w->time_ms = now_ms();
	if (!request_filter(rq, &f, refused) || !read_time(rq, "time", &w->time_ms, refused) ||
		!request_number(rq, "skew_s", 0, SKEW_MAX_S, &skew, refused))
		return false;
	if (!(f.fields & FILTER_NAT) || !(f.fields & FILTER_NAT_PORT)) {
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST, "nat: give an address and port like 198.51.100.1:5000");
		return false;
	}
	w->nat = be32_host(f.nat);
	w->port = be16_host(f.nat_port);
	w->skew_ms = (int64_t)skew * MS;
	return true;
}

static bool held_then(const struct ledger_holder *h, int64_t ms)
{
	return h->from_ms <= ms && ms < h->until_ms;
}

static struct json_object *holder(const struct ledger_holder *h, const struct who *w)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "basis", held_then(h, w->time_ms) ? "in force" : "skew");
	add_address(o, "inside", h->inside);
	add_number(o, "realm", h->realm);
	add_address(o, "nat", h->nat);
	add_number(o, "port_first", h->first);
	add_number(o, "port_last", h->first + (int64_t)h->ports - 1);
	add_time(o, "from", h->from_ms);
	add_time(o, "until", h->until_ms);
	return o;
}

static struct json_object *holders(const struct ledger_answer *a, const struct who *w)
{
	struct json_object *rows = json_object_new_array();

	for (int then = 1; then >= 0; then--)
		for (unsigned i = 0; i < a->n; i++)
			if (held_then(&a->holder[i], w->time_ms) == then)
				json_object_array_add(rows, holder(&a->holder[i], w));
	return rows;
}

/* Why somebody else may have had it, or somebody although nobody is named; NULL: nothing speaks for that. */
static struct json_object *doubt(const struct ledger_answer *a, const struct who *w)
{
	char from[WHEN_SIZE], until[WHEN_SIZE], text[192];

	if (a->reach_ms == INT64_MAX)
		return json_object_new_string("nothing was recorded yet");
	if (w->time_ms - w->skew_ms < a->reach_ms) {
		when_write(a->reach_ms, from);
		snprintf(text, sizeof text, "what is recorded reaches back to %s", from);
		return json_object_new_string(text);
	}
	if (!a->gaps)
		return w->time_ms - w->skew_ms > w->now_ms ? json_object_new_string("that time has yet to come") : NULL;
	when_write(a->gap[0].from_ms, from);
	when_write(a->gap[0].until_ms, until);
	snprintf(text, sizeof text, "events were lost between %s and %s", from, until);
	return json_object_new_string(text);
}

static struct reply lookup_reply(const struct ledger_answer *a, const struct who *w)
{
	struct json_object *o = json_object_new_object(), *why = doubt(a, w);

	add_time(o, "time", w->time_ms);
	add_number(o, "skew_s", w->skew_ms / MS);
	api_add_endpoint(o, "nat", be32_of(w->nat), be16_of(w->port));
	json_object_object_add(o, "certain", json_object_new_boolean(why == NULL));
	json_object_object_add(o, "doubt", why);
	json_object_object_add(o, "holders", holders(a, w));
	return reply_json(MHD_HTTP_OK, o);
}

struct reply api_lookup(const struct request *rq)
{
	struct ledger_answer a;
	struct reply r;
	struct who w;

	if (!read_who(rq, &w, &r))
		return r;
	if (!rq->api->ledger)
		return no_ledger();
	return ledger_holders(rq->api->ledger, w.nat, w.port, w.time_ms - w.skew_ms, w.time_ms + w.skew_ms, &a) == 0
		       ? lookup_reply(&a, &w)
		       : cannot_read();
}
