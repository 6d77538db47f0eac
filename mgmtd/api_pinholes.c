/* /pinholes: lists mappings with a lifetime, and has the engines open, renew and close them (shm/pinhole.h). */
#include "common/clock.h"
#include "mgmtd/api.h"
#include "shm/clear.h"
#include "shm/pinhole.h"

#include <microhttpd.h>
#include <stdio.h>
#include <time.h>

enum {
	WAIT_MS = 500,
	LOOK_MS = 2,
	LIMIT_DEFAULT = 100,
	LIMIT_MAX = 1000,
	LOOK_MAX = 2u << 20, /* sessions in one request, as in api_sessions.c */
};

/* ---- what there is ---- */

static uint32_t now_s(void)
{
	return (uint32_t)(mono_now().ns / 1000000000u);
}

static bool is_open(const struct session *s)
{
	return session_is_pinhole(s) && !session_has(s, SESSION_DYING) && (int32_t)(s->expires_s - now_s()) > 0;
}

/* The next one from `*at` on that agrees, copied, within `looks`; `*at` is where it was, or where to go on, or 0. */
static bool find_next(
	const struct arena *a, const struct session_filter *f, uint32_t *at, unsigned *looks, struct session *out)
{
	while ((*at = slab_next_live(a, SLAB_session, *at)) && *looks) {
		--*looks;
		if (api_copy_session(a, *at, out) && is_open(out) && filter_agrees(f, out))
			return true;
		++*at;
	}
	return false;
}

/* ---- showing ---- */

static struct json_object *row_of(const struct session *s, uint32_t expires_s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "protocol", json_object_new_string(s->l4 == L4_TCP ? "tcp" : "udp"));
	json_object_object_add(o, "realm", json_object_new_int(s->realm));
	api_add_endpoint(o, "inside", s->inside, s->inside_port);
	api_add_endpoint(o, "nat", s->nat, s->nat_port);
	json_object_object_add(o, "lifetime_s", json_object_new_int64((int32_t)(expires_s - now_s())));
	json_object_object_add(o, "engine", json_object_new_int(s->owner));
	return o;
}

struct reply api_pinholes(const struct request *rq)
{
	uint64_t limit = LIMIT_DEFAULT, cursor = 0;
	unsigned looks = LOOK_MAX;
	struct session_filter f;
	struct session s;
	struct reply r;
	char next[16];

	if (!request_filter(rq, &f, &r) || !request_number(rq, "limit", 1, LIMIT_MAX, &limit, &r) ||
		!request_number(rq, "cursor", 0, UINT32_MAX, &cursor, &r))
		return r;
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	uint32_t at = (uint32_t)cursor;

	while (find_next(rq->api->arena, &f, &at, &looks, &s) && json_object_array_length(rows) < limit) {
		json_object_array_add(rows, row_of(&s, s.expires_s));
		at++;
	}
	snprintf(next, sizeof next, "%u", at);
	json_object_object_add(o, "pinholes", rows);
	json_object_object_add(o, "next", at ? json_object_new_string(next) : NULL);
	return reply_json(MHD_HTTP_OK, o);
}

/* ---- asking ---- */

static const struct {
	unsigned status;
	const char *text;
} refusals[N_PINHOLE_RESULTS] = {
	[PINHOLE_GONE] = {MHD_HTTP_NOT_FOUND, "it has just ended"},
	[PINHOLE_NOT_READY] = {MHD_HTTP_SERVICE_UNAVAILABLE, "the engine has no configuration to use yet; ask again"},
	[PINHOLE_NOT_SUBSCRIBER] = {MHD_HTTP_BAD_REQUEST, "inside: is not in inside.prefixes, nor a realm's"},
	[PINHOLE_NOT_BY_RULE] = {MHD_HTTP_CONFLICT, "the rules do not translate that endpoint"},
	[PINHOLE_STATIC] = {MHD_HTTP_CONFLICT, "that endpoint has a static mapping"},
	[PINHOLE_MAPPED] = {MHD_HTTP_CONFLICT,
		"that endpoint has a mapping already, to another NAT endpoint; leave out nat"},
	[PINHOLE_NO_PORT] = {MHD_HTTP_CONFLICT, "no such port is to be had: taken, static, outside nat.port_first to "
						"nat.port_last, or not of the pool"},
	[PINHOLE_NO_ROOM] = {MHD_HTTP_SERVICE_UNAVAILABLE, "there is no room for another session"},
	[PINHOLE_LIMIT] = {MHD_HTTP_CONFLICT,
		"its subscriber has as many sessions or ports as it may (GET /subscribers says which limit)"},
	[PINHOLE_LOCKED] = {MHD_HTTP_SERVICE_UNAVAILABLE, "the engine could not get a lock in time; ask again"},
};

/* Posts and waits. False: *refused says why. */
static bool ask(const struct api *api, unsigned engine, const struct pinhole_request *q, struct pinhole_answer *a,
	struct reply *refused)
{
	mono_t until = mono_after(mono_now(), span_ms(WAIT_MS));
	int64_t number = pinhole_post(api->arena, engine, q);
	bool answered = false;

	while (number > 0 && !(answered = pinhole_answer(api->arena, engine, (uint32_t)number, a)) &&
		!mono_due(mono_now(), until))
		nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
	if (!answered)
		*refused = reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
			number > 0 ? "engine %u has not answered in time; it does what was asked as soon as it can"
				   : "engine %u has yet to answer earlier requests; wait, or start it if it is down",
			engine);
	else if (a->result != PINHOLE_OK)
		*refused = reply_problem(refusals[a->result % N_PINHOLE_RESULTS].status, "%s",
			refusals[a->result % N_PINHOLE_RESULTS].text);
	return answered && a->result == PINHOLE_OK;
}

/* One that runs, the same for an inside address as long as the same ones do. */
static bool choose_engine(const struct api *api, be32_t inside, unsigned *engine, struct reply *refused)
{
	unsigned running[ENGINE_MAX], n = 0;

	for (unsigned e = 0; e < api->config->arena.engines; e++)
		if (engine_life(api, e, mono_now()) == ENGINE_LIFE_UP)
			running[n++] = e;
	if (!n) {
		*refused = reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE, "no engine runs (GET /api/v1/engines)");
		return false;
	}
	*engine = running[be32_host(inside) % n];
	return true;
}

/* Protocol, inside endpoint and realm: what names a pinhole. */
static bool read_name(const struct request *rq, struct session_filter *f, struct reply *refused)
{
	enum { NAMED = FILTER_L4 | FILTER_INSIDE | FILTER_INSIDE_PORT };

	if (!request_filter(rq, f, refused))
		return false;
	f->fields |= FILTER_REALM; /* left out: untagged */
	if ((f->fields & NAMED) == NAMED && (f->l4 == L4_TCP || f->l4 == L4_UDP) && f->inside_port.net)
		return true;
	*refused = reply_problem(
		MHD_HTTP_BAD_REQUEST, "which? give protocol=tcp or udp, and inside=IP:PORT, like 100.64.0.2:6881");
	return false;
}

static bool find(const struct api *api, const struct session_filter *name, uint32_t *index, struct session *s)
{
	unsigned looks = UINT32_MAX;

	*index = 0;
	return find_next(api->arena, name, index, &looks, s);
}

/* ---- open, renew ---- */

static struct reply renew(const struct api *api, const struct session_filter *f, uint32_t index,
	const struct session *s, uint32_t lifetime_s)
{
	const struct pinhole_request q = {
		.action = PINHOLE_RENEW, .lifetime_s = lifetime_s, .index = index, .generation = s->generation};
	struct pinhole_answer a;
	struct reply r;

	if (((f->fields & FILTER_NAT) && f->nat.net != s->nat.net) ||
		((f->fields & FILTER_NAT_PORT) && f->nat_port.net != s->nat_port.net))
		return reply_problem(refusals[PINHOLE_MAPPED].status, "%s", refusals[PINHOLE_MAPPED].text);
	return ask(api, s->owner, &q, &a, &r) ? reply_json(MHD_HTTP_OK, row_of(s, a.expires_s)) : r;
}

static struct reply open_new(const struct api *api, const struct session_filter *f, uint32_t lifetime_s)
{
	struct pinhole_request q = {.action = PINHOLE_OPEN,
		.inside = f->inside,
		.inside_port = f->inside_port,
		.realm = f->realm,
		.l4 = f->l4,
		.nat = f->nat,
		.nat_port = f->nat_port,
		.lifetime_s = lifetime_s};
	struct pinhole_answer a;
	unsigned engine;
	struct reply r;

	if (!choose_engine(api, f->inside, &engine, &r) || !ask(api, engine, &q, &a, &r))
		return r;
	const struct session s = {.l4 = f->l4,
		.realm = f->realm,
		.inside = f->inside,
		.inside_port = f->inside_port,
		.nat = a.nat,
		.nat_port = a.nat_port,
		.owner = (uint8_t)engine};
	return reply_json(MHD_HTTP_CREATED, row_of(&s, a.expires_s));
}

static struct reply busy(void)
{
	return reply_problem(
		MHD_HTTP_SERVICE_UNAVAILABLE, "another request about pinholes is under way; try again in a moment");
}

struct reply api_pinhole_open(const struct request *rq)
{
	uint64_t lifetime_s = 0;
	struct session_filter f, name;
	struct session s;
	uint32_t index;
	struct reply r;

	if (!read_name(rq, &f, &r) || !request_number(rq, "lifetime_s", PINHOLE_MIN_S, PINHOLE_MAX_S, &lifetime_s, &r))
		return r;
	if (!lifetime_s)
		return reply_problem(MHD_HTTP_BAD_REQUEST, "lifetime_s: for how long? give a number from %d to %d",
			PINHOLE_MIN_S, PINHOLE_MAX_S);
	if (atomic_exchange(&rq->api->opening, true))
		return busy();
	name = f;
	name.fields &= (uint8_t) ~(FILTER_NAT | FILTER_NAT_PORT);
	r = find(rq->api, &name, &index, &s) ? renew(rq->api, &f, index, &s, (uint32_t)lifetime_s)
					     : open_new(rq->api, &f, (uint32_t)lifetime_s);
	atomic_store(&rq->api->opening, false);
	return r;
}

/* ---- close ---- */

static struct reply close_one(const struct api *api, const struct session_filter *f)
{
	struct pinhole_request q = {.action = PINHOLE_CLOSE};
	struct pinhole_answer a;
	struct session s;
	struct reply r;

	if (!find(api, f, &q.index, &s))
		return reply_problem(MHD_HTTP_NOT_FOUND, "there is no such pinhole (GET /api/v1/pinholes)");
	q.generation = s.generation;
	return ask(api, s.owner, &q, &a, &r) ? reply_json(MHD_HTTP_OK, row_of(&s, now_s())) : r;
}

struct reply api_pinhole_close(const struct request *rq)
{
	struct session_filter f;
	struct reply r;

	if (!read_name(rq, &f, &r))
		return r;
	if (atomic_exchange(&rq->api->opening, true))
		return busy();
	r = close_one(rq->api, &f);
	atomic_store(&rq->api->opening, false);
	return r;
}
