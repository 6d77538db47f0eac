/* GET /sessions: a walk over the live sessions of all engines, page by page.
 *
 * The walk reads what engines write: each session is copied, and counts only when its generation is the same before
 * and after. The cursor is the place in the arena, so pages are stable: what lives all the while is seen exactly once.
 */
#include "common/clock.h"
#include "mgmtd/api.h"
#include "shm/clear.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

enum {
	LIMIT_DEFAULT = 100,
	LIMIT_MAX = 1000,
	/* Sessions looked at in one request. Past it the answer ends early, with a cursor to go on: no request
	 * keeps a server thread for more than a fraction of a second. */
	LOOK_MAX = 2u << 20,
};

struct session_query {
	struct session_filter filter;
	uint64_t limit;
	uint64_t cursor; /* "next" of the answer before: where in the arena to go on */
};

static const char *const protocol_name[N_L4] = {"tcp", "udp", "icmp", "other"};

/* ---- the question ---- */

/* `field` is the address's, the next one the port's. */
static bool read_endpoint(const struct request *rq, const char *name, uint8_t field, be32_t *address, be16_t *port,
	struct session_filter *f, struct reply *refused)
{
	const char *text = request_parameter(rq, name);
	const char *colon = text ? strchr(text, ':') : NULL;
	char host[INET_ADDRSTRLEN];
	uint64_t number = 0;
	int len;

	if (!text)
		return true;
	len = colon ? (int)(colon - text) : (int)strlen(text);
	snprintf(host, sizeof host, "%.*s", len, text);
	if (len >= (int)sizeof host || inet_pton(AF_INET, host, &address->net) != 1 ||
		(colon && !decimal_read(colon + 1, 0, UINT16_MAX, &number))) {
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
			"%s: \"%.40s\" is not an IPv4 address or address:port; give one like "
			"100.64.0.2 "
			"or 100.64.0.2:5000",
			name, text);
		return false;
	}
	f->fields |= (uint8_t)(colon ? field | field << 1 : field);
	*port = be16_of((uint16_t)number);
	return true;
}

static bool read_realm(const struct request *rq, struct session_filter *f, struct reply *refused)
{
	uint64_t realm = 0;

	if (!request_parameter(rq, "realm"))
		return true;
	f->fields |= FILTER_REALM;
	if (!request_number(rq, "realm", 0, VLAN_MAX, &realm, refused))
		return false;
	f->realm = (uint16_t)realm;
	return true;
}

static bool read_protocol(const struct request *rq, struct session_filter *f, struct reply *refused)
{
	const char *text = request_parameter(rq, "protocol");

	if (!text)
		return true;
	f->fields |= FILTER_L4;
	for (f->l4 = 0; f->l4 < N_L4; f->l4++)
		if (strcmp(text, protocol_name[f->l4]) == 0)
			return true;
	*refused =
		reply_problem(MHD_HTTP_BAD_REQUEST, "protocol: \"%.40s\" is none; give tcp, udp, icmp or other", text);
	return false;
}

_Static_assert(FILTER_INSIDE_PORT == FILTER_INSIDE << 1 && FILTER_NAT_PORT == FILTER_NAT << 1 &&
		       FILTER_REMOTE_PORT == FILTER_REMOTE << 1,
	"read_endpoint");

bool request_filter(const struct request *rq, struct session_filter *f, struct reply *refused)
{
	*f = (struct session_filter){.fields = 0};
	return read_endpoint(rq, "inside", FILTER_INSIDE, &f->inside, &f->inside_port, f, refused) &&
	       read_endpoint(rq, "nat", FILTER_NAT, &f->nat, &f->nat_port, f, refused) &&
	       read_endpoint(rq, "remote", FILTER_REMOTE, &f->remote, &f->remote_port, f, refused) &&
	       read_protocol(rq, f, refused) && read_realm(rq, f, refused);
}

static bool read_query(const struct request *rq, struct session_query *q, struct reply *refused)
{
	q->limit = LIMIT_DEFAULT;
	return request_filter(rq, &q->filter, refused) &&
	       request_number(rq, "limit", 1, LIMIT_MAX, &q->limit, refused) &&
	       request_number(rq, "cursor", 0, UINT32_MAX, &q->cursor, refused);
}

/* ---- the answer ---- */

bool api_copy_session(const struct arena *a, uint32_t index, struct session *out)
{
	const struct session *s = session_at(a, index);
	uint32_t generation = atomic_load_explicit(&s->generation, memory_order_acquire);

	memcpy(out, s, sizeof *out);
	atomic_thread_fence(memory_order_acquire);
	return (generation & 1) && atomic_load_explicit(&s->generation, memory_order_relaxed) == generation;
}

static const char *tcp_state(uint8_t seen)
{
	enum { SYN = TCP_OUT_SYN | TCP_IN_SYN, FIN = TCP_OUT_FIN | TCP_IN_FIN };

	if (seen & TCP_RST)
		return "reset";
	if ((seen & FIN) == FIN)
		return "closed";
	if (seen & FIN)
		return "closing";
	return (seen & SYN) == SYN || (seen & TCP_OUT_DATA) ? "established" : "opening";
}

static void add_endpoint(struct json_object *o, const char *key, be32_t address, be16_t port, bool with_port)
{
	char text[INET_ADDRSTRLEN + 8];

	inet_ntop(AF_INET, &address.net, text, sizeof text);
	if (with_port)
		snprintf(text + strlen(text), 8, ":%u", be16_host(port));
	json_object_object_add(o, key, json_object_new_string(text));
}

void api_add_endpoint(struct json_object *o, const char *key, be32_t address, be16_t port)
{
	add_endpoint(o, key, address, port, true);
}

static struct json_object *adopters(uint64_t set)
{
	struct json_object *list = json_object_new_array();

	for (; set; set &= set - 1)
		json_object_array_add(list, json_object_new_int(__builtin_ctzll(set)));
	return list;
}

static struct json_object *session_row(const struct session *s, uint64_t now_s)
{
	struct json_object *o = json_object_new_object();
	uint64_t age = now_s > session_created_s(s) ? now_s - session_created_s(s) : 0;

	json_object_object_add(o, "protocol", json_object_new_string(protocol_name[s->l4]));
	json_object_object_add(o, "realm", json_object_new_int(s->realm));
	add_endpoint(o, "inside", s->inside, s->inside_port, true);
	add_endpoint(o, "nat", s->nat, s->nat_port, true);
	add_endpoint(o, "remote", s->remote, s->remote_port, s->l4 != L4_ICMP);
	json_object_object_add(o, "owner", json_object_new_int(s->owner));
	json_object_object_add(o, "adopters", adopters(s->adopters));
	json_object_object_add(o, "tcp", s->l4 == L4_TCP ? json_object_new_string(tcp_state(s->tcp)) : NULL);
	json_object_object_add(o, "created_s_ago", json_object_new_uint64(age));
	json_object_object_add(
		o, "origin", json_object_new_string(session_origin(s) == DIR_OUTBOUND ? "outbound" : "inbound"));
	json_object_object_add(o, "mapping", json_object_new_boolean((s->flags & SESSION_CARRIES) != 0));
	return o;
}

/* Fills `rows` and returns where to go on; 0 when all have been seen. */
static uint32_t collect(const struct arena *a, const struct session_query *q, struct json_object *rows)
{
	uint64_t now_s = mono_now().ns / 1000000000u;
	uint32_t i = (uint32_t)q->cursor, looked = 0;
	struct session s;

	for (; (i = slab_next_live(a, SLAB_session, i)); i++) {
		if (looked++ == LOOK_MAX)
			return i;
		if (!api_copy_session(a, i, &s) || s.l4 >= N_L4 || !filter_matches(&q->filter, &s))
			continue;
		if (json_object_array_length(rows) == q->limit)
			return i;
		json_object_array_add(rows, session_row(&s, now_s));
	}
	return 0;
}

struct reply api_sessions(const struct request *rq)
{
	struct session_query q = {0};
	struct reply refused;
	char next[16];

	if (!read_query(rq, &q, &refused))
		return refused;

	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	uint32_t at = collect(rq->api->arena, &q, rows);

	snprintf(next, sizeof next, "%u", at);
	json_object_object_add(o, "sessions", rows);
	json_object_object_add(o, "next", at ? json_object_new_string(next) : NULL);
	return reply_json(MHD_HTTP_OK, o);
}
