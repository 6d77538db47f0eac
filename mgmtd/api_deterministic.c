/* GET /deterministic: who had an address and port at a time, and which ports a subscriber had. */
#include "mgmtd/api.h"
#include "mgmtd/lookup.h"
#include "mgmtd/when.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SKEW_DEFAULT_S = 1, /* logs elsewhere keep whole seconds (RFC 6302) */
	SKEW_MAX_S = 86400,
	EARLIER_DEFAULT_S = 7440, /* a TCP session may be silent for that long (RFC 5382 REQ-5) */
	EARLIER_MAX_S = 31622400,
	VERSIONS_MAX = 64, /* looked at for one answer */
	AROUND_MAX = 16,   /* and to each side, for how long it holds */
	MS = 1000,
};

struct question {
	struct lookup_question what;
	int64_t time_ms, skew_ms, earlier_ms;
};

/* ---- the question ---- */

static bool read_what(const struct request *rq, struct lookup_question *q, struct reply *refused)
{
	const char *inside = request_parameter(rq, "inside"), *nat = request_parameter(rq, "nat");
	const char *text = inside ? inside : nat, *colon = text ? strchr(text, ':') : NULL;
	char host[INET_ADDRSTRLEN] = "";
	uint64_t port = 0;
	struct in_addr in;

	if (!inside == !nat) {
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
			"%s; give inside=ADDRESS for the ports of a subscriber, or nat=ADDRESS:PORT for who has a port",
			inside ? "inside and nat are both given" : "inside or nat is missing");
		return false;
	}
	if ((colon ? (size_t)(colon - text) : strlen(text)) < sizeof host)
		snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - text) : (int)sizeof host, text);
	if (inet_pton(AF_INET, host, &in) != 1 || (inside ? colon != NULL : !colon) ||
		(colon && !decimal_read(colon + 1, 0, UINT16_MAX, &port))) {
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
			"%s: \"%.40s\" is not an IPv4 address%s; give one like %s", inside ? "inside" : "nat", text,
			inside ? "" : " and port", inside ? "100.64.0.2" : "198.51.100.1:5000");
		return false;
	}
	q->by_nat = nat != NULL;
	q->address = ntohl(in.s_addr);
	q->port = (uint16_t)port;
	return true;
}

static bool read_realm(const struct request *rq, struct lookup_question *q, struct reply *refused)
{
	const char *realm = request_parameter(rq, "realm");

	if (!realm)
		return true;
	if (q->by_nat || strlen(realm) >= sizeof q->realm) {
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
			q->by_nat ? "realm: a NAT address tells its realm; leave it out with nat"
				  : "realm: is too long for a name; give a realm's, or \"untagged\", or its VLAN");
		return false;
	}
	snprintf(q->realm, sizeof q->realm, "%s", realm);
	return true;
}

static bool read_times(const struct request *rq, struct question *q, struct reply *refused)
{
	const char *text = request_parameter(rq, "time");
	uint64_t skew = SKEW_DEFAULT_S, earlier = EARLIER_DEFAULT_S;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	q->time_ms = (int64_t)now.tv_sec * MS + now.tv_nsec / 1000000;
	if (text && !when_read(text, &q->time_ms)) {
		*refused = reply_problem(
			MHD_HTTP_BAD_REQUEST, "time: \"%.40s\" is not a point in time; give " WHEN_FORMS, text);
		return false;
	}
	if (!request_number(rq, "skew_s", 0, SKEW_MAX_S, &skew, refused) ||
		!request_number(rq, "earlier_s", 0, EARLIER_MAX_S, &earlier, refused))
		return false;
	q->skew_ms = (int64_t)skew * MS;
	q->earlier_ms = (int64_t)earlier * MS;
	return true;
}

/* ---- the answer ---- */

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_address(struct json_object *o, const char *key, uint32_t host)
{
	struct in_addr in = {htonl(host)};
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &in, text, sizeof text);
	add_text(o, key, text);
}

static void add_time(struct json_object *o, const char *key, int64_t ms)
{
	char text[WHEN_SIZE];

	if (ms == VERSION_LASTS) {
		json_object_object_add(o, key, NULL);
		return;
	}
	when_write(ms, text);
	add_text(o, key, text);
}

static void add_ports(struct json_object *o, const struct lookup_answer *a)
{
	json_object_object_add(o, "port_first", json_object_new_int(a->first));
	json_object_object_add(o, "port_last", json_object_new_int(a->last));
	json_object_object_add(o, "ports", json_object_new_int64(a->usable));
}

static void add_static(struct json_object *o, const struct lookup_answer *a)
{
	static const char *const protocols[] = {"tcp", "udp", "any"};

	add_text(o, "protocol", protocols[a->protocol]);
	add_ports(o, a);
	if (a->protocol != STATIC_ANY)
		json_object_object_add(o, "inside_port_first", json_object_new_int(a->inside_port));
}

static void add_rule(struct json_object *o, const struct lookup_answer *a)
{
	char rule[32];

	if (a->rule == CONFIG_RULES_MAX)
		snprintf(rule, sizeof rule, "nat.ports");
	else
		snprintf(rule, sizeof rule, "rules[%u]", a->rule);
	add_text(o, "rule", rule);
	if (a->rule_name[0])
		add_text(o, "rule_name", a->rule_name);
	add_text(o, "algorithm", a->order == ORDER_SPREAD ? "rfc7422-spread" : "rfc7422-fill");
	if (a->overflow[0])
		add_text(o, "overflow", a->overflow);
}

static struct json_object *candidate(const struct lookup_found *f, unsigned rank)
{
	static const char *const kinds[] = {"static", "deterministic", "overflow", "logged"};
	static const char *const bases[] = {"in force", "skew", "earlier"};
	const struct lookup_answer *a = &f->answer;
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "rank", json_object_new_int64(rank));
	add_text(o, "kind", kinds[a->kind]);
	add_text(o, "basis", bases[f->basis]);
	if (a->kind != LOOKUP_LOGGED) {
		add_address(o, "inside", a->inside);
		add_text(o, "realm", a->realm);
	}
	if (a->kind != LOOKUP_OVERFLOW)
		add_address(o, "nat", a->nat);
	if (a->kind == LOOKUP_STATIC)
		add_static(o, a);
	if (a->kind == LOOKUP_DETERMINISTIC)
		add_ports(o, a);
	if (a->kind == LOOKUP_DETERMINISTIC || a->kind == LOOKUP_OVERFLOW)
		add_rule(o, a);
	if (a->pool[0])
		add_text(o, "pool", a->pool);
	add_time(o, "from", f->since_ms);
	add_time(o, "until", f->until_ms);
	json_object_object_add(o, "version", json_object_new_int64(f->version));
	return o;
}

static struct json_object *answer(const struct question *q, const struct lookup *l, const struct version *v, unsigned n,
	struct json_object *unreadable)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	bool known = false;

	for (unsigned i = 0; i < l->n; i++)
		json_object_array_add(rows, candidate(&l->found[i], i + 1));
	for (unsigned i = 0; i < n; i++)
		known |= v[i].since_ms <= q->time_ms && q->time_ms < v[i].until_ms;
	add_time(o, "time", q->time_ms);
	json_object_object_add(o, "skew_s", json_object_new_int64(q->skew_ms / MS));
	json_object_object_add(o, "earlier_s", json_object_new_int64(q->earlier_ms / MS));
	json_object_object_add(o, "known", json_object_new_boolean(known));
	json_object_object_add(o, "versions", json_object_new_int64(n));
	json_object_object_add(o, "candidates", rows);
	json_object_object_add(o, "left_out", json_object_new_int64(l->left_out));
	json_object_object_add(o, "unreadable", unreadable);
	return o;
}

/* The configuration of a version; false with a sentence when it cannot be had. */
static bool read_version(
	struct versions *versions, const struct version *v, struct config *c, struct config_error *wrong, bool *gone)
{
	struct version one;
	char *text;
	int err = versions_get(versions, v->id, &one, &text);
	bool ok = err == 0 && config_parse(c, text, strlen(text), wrong);

	if (err)
		snprintf(wrong->text, sizeof wrong->text, "it cannot be read from its file");
	*gone = err == -ENOENT;
	free(text);
	return ok;
}

/* One version's part. What this build cannot read any more, it says. */
static void look_at(struct versions *versions, const struct version *v, const struct lookup_question *q,
	struct config *c, struct lookup *l, struct json_object *unreadable)
{
	struct config_error wrong;
	bool gone;

	if (read_version(versions, v, c, &wrong, &gone)) {
		lookup_add(l, c, q, v);
	} else if (!gone) { /* gone meanwhile: it was too old */
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "version", json_object_new_int64(v->id));
		add_text(o, "problem", wrong.text);
		json_object_array_add(unreadable, o);
	}
}

/* Versions around those looked at, one side after the other, as long as they say the same. */
static void look_around(struct versions *versions, int64_t oldest, int64_t newest, const struct lookup_question *q,
	struct config *c, struct lookup *l)
{
	struct version v[AROUND_MAX];
	struct config_error wrong;

	for (int side = 0; side < 2; side++) {
		unsigned n = 0;
		bool gone;

		if ((side ? versions_after(versions, newest, v, AROUND_MAX, &n)
			  : versions_list(versions, oldest, v, AROUND_MAX, &n)) != 0)
			continue;
		for (unsigned i = 0; i < n; i++)
			if (!read_version(versions, &v[i], c, &wrong, &gone) || !lookup_extend(l, c, q, &v[i]))
				break;
	}
}

static struct reply look(struct versions *versions, const struct question *q)
{
	struct version v[VERSIONS_MAX];
	unsigned n;
	struct reply r;

	if (versions_within(versions, q->time_ms - q->skew_ms - q->earlier_ms, q->time_ms + q->skew_ms, v, VERSIONS_MAX,
		    &n) != 0)
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
			"the versions of the configuration cannot be read now; mgmtd's log says why");

	struct config *c = malloc(sizeof *c);
	struct lookup *l = calloc(1, sizeof *l);
	struct json_object *unreadable = json_object_new_array();

	if (!c || !l)
		abort();
	for (unsigned i = n; i-- > 0;) /* oldest first */
		look_at(versions, &v[i], &q->what, c, l, unreadable);
	if (n > 0)
		look_around(versions, v[n - 1].id, v[0].id, &q->what, c, l);
	lookup_rank(l, q->time_ms, q->skew_ms);
	r = reply_json(MHD_HTTP_OK, answer(q, l, v, n, unreadable));
	free(l);
	free(c);
	return r;
}

struct reply api_deterministic(const struct request *rq)
{
	struct question q = {.time_ms = 0};
	struct reply r;

	if (!read_what(rq, &q.what, &r) || !read_realm(rq, &q.what, &r) || !read_times(rq, &q, &r))
		return r;
	if (!rq->api->versions)
		return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
			"no versions of the configuration are kept: their file cannot be opened; mgmtd's log says why");
	return look(rq->api->versions, &q);
}
