/* Subscribers: who there is, what each uses of what it may, and what was refused to it and when.
 *
 * The walk reads what engines write, without locks: figures are a moment old. A subscriber counts when it was live and the
 * same before and after; parts come and go meanwhile. */
#include "common/clock.h"
#include "mgmtd/api.h"
#include "mgmtd/book.h"
#include "shm/blocks.h"
#include "shm/quota.h"
#include "shm/snapshot.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LIMIT_DEFAULT = 100,
	LIMIT_MAX = 1000,
	TOP_MAX = 100,
	LOOK_MAX = 1u << 20, /* subscribers looked at in one request */
	EPISODE_S = 60,
	N_REASONS = N_QUOTAS + 1,
};

/* What all parts together say. */
struct sums {
	uint64_t used[N_QUOTAS];
	struct {
		uint64_t count;
		uint32_t since_s, last_s;
	} refused[N_REASONS]; /* by quota, and for want of another block */
	uint64_t refusals;
	uint32_t touched_s;
	unsigned parts;
};

/* What rows are made of. */
struct view {
	const struct arena *arena;
	struct snapshot *in_force; /* NULL: no configuration is yet */
	uint64_t now_s;
};

struct subscriber_query {
	be32_t inside;
	uint64_t realm, limit, cursor;
	const char *name, *top; /* NULL: not asked for */
	bool by_inside, by_realm;
};

/* ---- reading ---- */

static void add_refusals(struct sums *sum, const struct subscriber_part *p, unsigned q)
{
	const struct part_refusals *r = q < N_QUOTAS ? &p->refused[q] : &p->refused_blocks;
	uint32_t count = atomic_load_explicit(&r->count, memory_order_relaxed);
	uint32_t since = atomic_load_explicit(&r->since_s, memory_order_relaxed);
	uint32_t last = atomic_load_explicit(&r->last_s, memory_order_relaxed);

	if (!count)
		return;
	sum->refusals += count;
	sum->refused[q].count += count;
	bool anew = last > sum->refused[q].last_s + EPISODE_S ||
		    !sum->refused[q].last_s; /* those before were another time */
	bool same = last + EPISODE_S >= sum->refused[q].last_s;

	if (anew || (same && since < sum->refused[q].since_s))
		sum->refused[q].since_s = since;
	if (last > sum->refused[q].last_s)
		sum->refused[q].last_s = last;
}

static void sum_up(const struct arena *a, const struct subscriber *s, struct sums *sum)
{
	struct subscriber_key key = {s->inside, s->realm};
	uint64_t hash = subscriber_hash(a, key), parts = s->parts;

	memset(sum, 0, sizeof *sum);
	for (; parts; parts &= parts - 1) {
		unsigned engine = (unsigned)__builtin_ctzll(parts);

		if (engine >= a->header->geometry.engines)
			break;
		struct local_table t = subscriber_parts_of(a, engine);
		const struct subscriber_part *p = part_find(a, &t, key, hash);
		if (!p)
			continue;
		sum->parts++;
		if (p->touched_s > sum->touched_s)
			sum->touched_s = p->touched_s;
		for (unsigned q = 0; q < N_QUOTAS; q++) {
			sum->used[q] += quota_used(p, q);
			add_refusals(sum, p, q);
		}
		add_refusals(sum, p, N_QUOTAS);
	}
}

static bool copy_subscriber(const struct arena *a, uint32_t index, struct subscriber *out)
{
	const struct subscriber *s = subscriber_at(a, index);
	uint32_t generation = atomic_load_explicit(&s->generation, memory_order_acquire);

	memcpy(out, s, sizeof *out);
	atomic_thread_fence(memory_order_acquire);
	return (generation & 1) && atomic_load_explicit(&s->generation, memory_order_relaxed) == generation;
}

static bool copy_record(const struct arena *a, const struct subscriber *s, struct subscriber_record *out)
{
	if (!s->record || !slab_valid(a, SLAB_record, s->record))
		return false;
	const struct subscriber_record *r = record_at(a, s->record);
	uint32_t generation = atomic_load_explicit(&r->generation, memory_order_acquire);
	memcpy(out, r, sizeof *out);
	atomic_thread_fence(memory_order_acquire);
	out->name[sizeof out->name - 1] = '\0';
	return (generation & 1) && atomic_load_explicit(&r->generation, memory_order_relaxed) == generation;
}

/* ---- one row ---- */

static struct json_object *address_text(be32_t address)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &address.net, text, sizeof text);
	return json_object_new_string(text);
}

/* The pool that dynamic mappings on an address are of; NULL: none in force. */
static const struct snapshot_pool *pool_of(const struct snapshot *c, be32_t address)
{
	for (uint32_t p = 0; p < c->n_pools; p++)
		for (uint32_t i = 0; i < c->pools[p].n; i++)
			if (c->addresses[c->pools[p].first + i].address.net == address.net)
				return &c->pools[p];
	return NULL;
}

/* The address that a pairing stands for: where ports are computed from the subscriber's address, the computed one.
 * False: none, its ports come from elsewhere. */
static bool address_meant(const struct view *v, be32_t inside, be32_t *address)
{
	const struct snapshot_pool *pool =
		v->in_force && v->in_force->n_deterministic ? pool_of(v->in_force, *address) : NULL;
	struct deterministic_ports ports;

	if (!pool || !pool->deterministic)
		return true;
	if (!deterministic_forward(&v->in_force->deterministic[pool->deterministic - 1], be32_host(inside), &ports))
		return false;
	*address = be32_of(ports.nat);
	return true;
}

static void add_one_to_one(const struct view *v, const struct subscriber *s, struct json_object *list)
{
	const struct snapshot *c = v->in_force;

	for (uint32_t i = 0; c && i < c->n_static; i++) {
		const struct snapshot_static *one = &c->static_by_inside[i];

		if (one->l4 == N_L4 && one->inside == be32_host(s->inside) && one->realm == s->realm)
			json_object_array_add(list, address_text(be32_of(one->nat)));
	}
}

static struct json_object *addresses(const struct view *v, const struct subscriber *s)
{
	struct json_object *list = json_object_new_array();

	add_one_to_one(v, s, list);
	for (unsigned i = 0; i < SUBSCRIBER_PAIRS; i++) {
		be32_t address = {s->pair[i]};

		if (address.net && address_meant(v, s->inside, &address))
			json_object_array_add(list, address_text(address));
	}
	return list;
}

static uint64_t ago(uint64_t now_s, uint32_t then_s)
{
	return now_s > then_s ? now_s - then_s : 0;
}

static struct json_object *blocks(const struct arena *a, const struct subscriber *s, uint64_t now_s)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < SUBSCRIBER_BLOCKS; i++) {
		struct block b = block_of_word(block_listed(s, i));

		if (!b.table || !slab_valid(a, SLAB_port_table, b.table))
			continue;
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "address", address_text(port_table_at(a, b.table)->address));
		json_object_object_add(o, "first", json_object_new_int(b.first));
		json_object_object_add(o, "ports", json_object_new_int((int)b.ports));
		json_object_object_add(o, "since_s_ago", json_object_new_uint64(ago(now_s, b.since_s)));
		json_object_array_add(list, o);
	}
	return list;
}

static uint64_t in_units(enum quota q, uint64_t n)
{
	return q == QUOTA_memory ? n * QUOTA_MEMORY_UNIT : n;
}

/* Those that count for the next session. An engine writes them to the subscriber no sooner than that comes. */
static struct limits limits_now(const struct view *v, const struct subscriber *s, const struct subscriber_record *r)
{
	if (!v->in_force)
		return s->limits;
	uint32_t group = snapshot_group_of(v->in_force, (struct subscriber_key){s->inside, s->realm});

	return quota_limits(&v->in_force->groups[group].limits, r);
}

/* Memory in bytes. Of rate there is no use, only what it may. */
static struct json_object *use_of(const struct limits *may, const struct sums *sum)
{
	struct json_object *all = json_object_new_object();

	for (unsigned q = 0; q < N_QUOTAS; q++) {
		struct json_object *o = json_object_new_object();
		uint32_t limit = q == QUOTA_rate ? may->per_s : may->of[q];
		bool limited = q == QUOTA_rate ? limit != 0 : limit < QUOTA_UNLIMITED;

		if (q != QUOTA_rate)
			json_object_object_add(o, "used", json_object_new_uint64(in_units(q, sum->used[q])));
		json_object_object_add(o, "limit", limited ? json_object_new_uint64(in_units(q, limit)) : NULL);
		json_object_object_add(all, q == QUOTA_rate ? "new_sessions_per_s" : quota_info[q].name, o);
	}
	return all;
}

static const char *reason_name(unsigned q)
{
	if (q == N_QUOTAS)
		return "blocks";
	return q == QUOTA_rate ? "new_sessions_per_s" : quota_info[q].name;
}

static struct json_object *refusals(const struct sums *sum, uint64_t now_s)
{
	struct json_object *all = json_object_new_object();

	for (unsigned q = 0; q < N_REASONS; q++) {
		if (!sum->refused[q].count)
			continue;
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "count", json_object_new_uint64(sum->refused[q].count));
		json_object_object_add(o, "since_s_ago", json_object_new_uint64(ago(now_s, sum->refused[q].since_s)));
		json_object_object_add(o, "last_s_ago", json_object_new_uint64(ago(now_s, sum->refused[q].last_s)));
		json_object_object_add(all, reason_name(q), o);
	}
	return all;
}

static struct json_object *own_limits(const struct subscriber_record *r)
{
	struct json_object *list = json_object_new_array();

	for (unsigned q = 0; q < N_QUOTAS; q++)
		if (r->given >> q & 1)
			json_object_array_add(
				list, json_object_new_string(q == QUOTA_rate ? "burst" : quota_info[q].name));
	if (r->given & LIMIT_GIVEN_PER_S)
		json_object_array_add(list, json_object_new_string("new_sessions_per_s"));
	if (r->given & LIMIT_GIVEN_RESERVED)
		json_object_array_add(list, json_object_new_string("reserved_ports"));
	return list;
}

static struct json_object *subscriber_row(const struct view *v, const struct subscriber *s)
{
	struct json_object *o = json_object_new_object();
	struct subscriber_record r;
	bool named = copy_record(v->arena, s, &r);
	struct limits may = limits_now(v, s, named ? &r : NULL);
	struct sums sum;

	sum_up(v->arena, s, &sum);
	json_object_object_add(o, "inside", address_text(s->inside));
	json_object_object_add(o, "realm", json_object_new_int(s->realm));
	json_object_object_add(o, "name", named ? json_object_new_string(r.name) : NULL);
	json_object_object_add(o, "own_limits", named ? own_limits(&r) : json_object_new_array());
	json_object_object_add(o, "addresses", addresses(v, s));
	json_object_object_add(o, "blocks", blocks(v->arena, s, v->now_s));
	json_object_object_add(o, "engines", json_object_new_int((int)sum.parts));
	json_object_object_add(
		o, "seen_s_ago", sum.parts ? json_object_new_uint64(ago(v->now_s, sum.touched_s)) : NULL);
	json_object_object_add(o, "use", use_of(&may, &sum));
	json_object_object_add(o, "reserved_ports", json_object_new_uint64(may.reserved));
	json_object_object_add(o, "refused", refusals(&sum, v->now_s));
	return o;
}

static struct view view_open(const struct api *api)
{
	return (struct view){api->arena, api_snapshot(api), mono_now().ns / 1000000000u};
}

static void view_close(struct view *v)
{
	free(v->in_force);
}

/* ---- the list ---- */

static bool read_inside(const char *text, be32_t *inside, struct reply *refused)
{
	if (inet_pton(AF_INET, text, &inside->net) == 1)
		return true;
	*refused = reply_problem(
		MHD_HTTP_BAD_REQUEST, "\"%.40s\" is not an IPv4 address; give a subscriber's, like 100.64.0.2", text);
	return false;
}

static bool read_query(const struct request *rq, struct subscriber_query *q, struct reply *refused)
{
	const char *inside = request_parameter(rq, "inside");

	*q = (struct subscriber_query){.limit = LIMIT_DEFAULT,
		.name = request_parameter(rq, "name"),
		.top = request_parameter(rq, "top"),
		.by_inside = inside != NULL,
		.by_realm = request_parameter(rq, "realm") != NULL};
	if (inside && !read_inside(inside, &q->inside, refused))
		return false;
	if (q->top && strcmp(q->top, "sessions") != 0 && strcmp(q->top, "ports") != 0 &&
		strcmp(q->top, "refused") != 0) {
		*refused = reply_problem(
			MHD_HTTP_BAD_REQUEST, "top: \"%.40s\" is none; give sessions, ports or refused", q->top);
		return false;
	}
	return request_number(rq, "realm", 0, VLAN_MAX, &q->realm, refused) &&
	       request_number(rq, "limit", 1, q->top ? TOP_MAX : LIMIT_MAX, &q->limit, refused) &&
	       request_number(rq, "cursor", 0, UINT32_MAX, &q->cursor, refused);
}

static bool matches(const struct arena *a, const struct subscriber_query *q, const struct subscriber *s)
{
	struct subscriber_record r;

	if ((q->by_inside && s->inside.net != q->inside.net) || (q->by_realm && s->realm != q->realm))
		return false;
	return !q->name || (copy_record(a, s, &r) && strstr(r.name, q->name));
}

static uint32_t collect(const struct view *v, const struct subscriber_query *q, struct json_object *rows)
{
	const struct arena *a = v->arena;
	uint32_t i = (uint32_t)q->cursor, looked = 0;
	struct subscriber s;

	for (; (i = slab_next_live(a, SLAB_subscriber, i)); i++) {
		if (looked++ == LOOK_MAX)
			return i;
		if (!copy_subscriber(a, i, &s) || !matches(a, q, &s))
			continue;
		if (json_object_array_length(rows) == q->limit)
			return i;
		json_object_array_add(rows, subscriber_row(v, &s));
	}
	return 0;
}

/* ---- those at the top ---- */

struct ranked {
	uint64_t by;
	uint32_t index;
};

static uint64_t rank(const struct subscriber_query *q, const struct sums *sum)
{
	if (strcmp(q->top, "refused") == 0)
		return sum->refusals;
	if (strcmp(q->top, "ports") == 0)
		return sum->used[QUOTA_tcp_ports] + sum->used[QUOTA_udp_ports] + sum->used[QUOTA_icmp_ids];
	return sum->used[QUOTA_sessions];
}

/* Into its place among the first `room`; those behind move on. */
static unsigned rank_in(struct ranked *list, unsigned n, unsigned room, struct ranked one)
{
	unsigned at = n < room ? n : room;

	while (at > 0 && list[at - 1].by < one.by) {
		if (at < room)
			list[at] = list[at - 1];
		at--;
	}
	if (at < room)
		list[at] = one;
	return n < room ? n + 1 : n;
}

static void collect_top(const struct view *v, const struct subscriber_query *q, struct json_object *rows)
{
	const struct arena *a = v->arena;
	struct ranked list[TOP_MAX];
	unsigned n = 0;
	struct subscriber s;
	struct sums sum;

	for (uint32_t i = 0, looked = 0; (i = slab_next_live(a, SLAB_subscriber, i + 1)) && looked < LOOK_MAX;
		looked++) {
		if (!copy_subscriber(a, i, &s) || !matches(a, q, &s))
			continue;
		sum_up(a, &s, &sum);
		if (rank(q, &sum))
			n = rank_in(list, n, (unsigned)q->limit, (struct ranked){rank(q, &sum), i});
	}
	for (unsigned k = 0; k < n; k++) {
		if (copy_subscriber(a, list[k].index, &s))
			json_object_array_add(rows, subscriber_row(v, &s));
	}
}

struct reply api_subscribers(const struct request *rq)
{
	struct subscriber_query q;
	struct reply refused;
	uint32_t at = 0;
	char next[16];

	if (!read_query(rq, &q, &refused))
		return refused;
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	struct view v = view_open(rq->api);
	if (q.top)
		collect_top(&v, &q, rows);
	else
		at = collect(&v, &q, rows);
	view_close(&v);
	snprintf(next, sizeof next, "%u", at);
	json_object_object_add(o, "subscribers", rows);
	json_object_object_add(o, "next", at ? json_object_new_string(next) : NULL);
	return reply_json(MHD_HTTP_OK, o);
}

/* ---- one of them ---- */

/* Which one: the address behind the last slash, and the parameter realm. */
static bool read_key(const struct request *rq, struct subscriber_key *key, struct reply *refused)
{
	uint64_t realm = 0;

	if (!read_inside(strrchr(rq->path, '/') + 1, &key->inside, refused) ||
		!request_number(rq, "realm", 0, VLAN_MAX, &realm, refused))
		return false;
	key->realm = (uint16_t)realm;
	return true;
}

/* Where it is, by its buckets; nobody locks them for that. */
static bool find(const struct arena *a, struct subscriber_key key, struct subscriber *out)
{
	struct global_table t = subscriber_table_of(a, ACTOR_MGMTD);
	struct global_pair pair = global_pair_of(&t, subscriber_hash(a, key));
	unsigned cursor = 0;
	uint32_t i;

	while ((i = global_next(&t, &pair, &cursor)))
		if (slab_valid(a, SLAB_subscriber, i) && copy_subscriber(a, i, out) &&
			out->inside.net == key.inside.net && out->realm == key.realm)
			return true;
	return false;
}

static struct reply not_there(struct subscriber_key key)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &key.inside.net, text, sizeof text);
	return reply_problem(MHD_HTTP_NOT_FOUND,
		"subscriber %s of realm %u has no sessions, had none lately, and is not known by name", text,
		key.realm);
}

struct reply api_subscriber(const struct request *rq)
{
	struct subscriber_key key;
	struct subscriber s;
	struct reply refused;

	if (!read_key(rq, &key, &refused))
		return refused;
	if (!find(rq->api->arena, key, &s))
		return not_there(key);

	struct view v = view_open(rq->api);
	struct json_object *o = subscriber_row(&v, &s);
	view_close(&v);
	return reply_json(MHD_HTTP_OK, o);
}

/* ---- by name ---- */

/* 0 is no limit here: it takes the group's away. */
static bool read_limit(const struct request *rq, const char *name, uint32_t given, uint64_t unit, uint32_t *limit,
	struct subscriber_record *r, struct reply *refused)
{
	uint64_t n = 0;

	if (!request_parameter(rq, name))
		return true;
	if (!request_number(rq, name, 0, QUOTA_UNLIMITED / unit, &n, refused))
		return false;
	*limit = n ? (uint32_t)(n * unit) : QUOTA_UNLIMITED;
	r->given |= given;
	return true;
}

/* As in the configuration. Where one of the two is the group's, the engines see to it (quota.h). */
static bool leaves_some(const struct subscriber_record *r, enum quota q, struct reply *refused)
{
	uint32_t limit = r->limits.of[q], reserved = r->limits.reserved;

	if (!(r->given >> q & 1) || !(r->given & LIMIT_GIVEN_RESERVED) || reserved < limit)
		return true;
	*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
		"reserved_ports: %u of %u %s leave none for other destinations; give at most %u", reserved, limit,
		q == QUOTA_tcp_ports ? "tcp_ports" : "udp_ports", limit - 1);
	return false;
}

static bool read_limits(const struct request *rq, struct subscriber_record *r, struct reply *refused)
{
	uint32_t *of = r->limits.of, per_s = 0, reserved = 0;
	bool ok = read_limit(rq, "sessions", 1u << QUOTA_sessions, 1, &of[QUOTA_sessions], r, refused) &&
		  read_limit(rq, "tcp_ports", 1u << QUOTA_tcp_ports, 1, &of[QUOTA_tcp_ports], r, refused) &&
		  read_limit(rq, "udp_ports", 1u << QUOTA_udp_ports, 1, &of[QUOTA_udp_ports], r, refused) &&
		  read_limit(rq, "icmp_ids", 1u << QUOTA_icmp_ids, 1, &of[QUOTA_icmp_ids], r, refused) &&
		  read_limit(rq, "memory_kib", 1u << QUOTA_memory, 1024 / QUOTA_MEMORY_UNIT, &of[QUOTA_memory], r,
			  refused) &&
		  read_limit(rq, "burst", 1u << QUOTA_rate, 1, &of[QUOTA_rate], r, refused) &&
		  read_limit(rq, "new_sessions_per_s", LIMIT_GIVEN_PER_S, 1, &per_s, r, refused) &&
		  read_limit(rq, "reserved_ports", LIMIT_GIVEN_RESERVED, 1, &reserved, r, refused);

	r->limits.per_s = per_s == QUOTA_UNLIMITED ? 0 : per_s;
	r->limits.reserved = reserved == QUOTA_UNLIMITED ? 0 : reserved;
	if (ok && (r->given & LIMIT_GIVEN_PER_S) && !(r->given & 1u << QUOTA_rate)) { /* as many as in a second */
		r->given |= 1u << QUOTA_rate;
		of[QUOTA_rate] = r->limits.per_s ? r->limits.per_s : QUOTA_UNLIMITED;
	}
	return ok && leaves_some(r, QUOTA_tcp_ports, refused) && leaves_some(r, QUOTA_udp_ports, refused);
}

static bool read_name(const struct request *rq, struct subscriber_record *r, struct reply *refused)
{
	const char *name = request_parameter(rq, "name");
	size_t n = name ? strlen(name) : 0;
	bool plain = n > 0 && n < sizeof r->name;

	for (size_t i = 0; plain && i < n; i++)
		plain = name[i] >= ' ' && name[i] <= '~';
	if (plain)
		snprintf(r->name, sizeof r->name, "%s", name);
	else if (!name)
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
			"name: is missing; give the customer's, 1 to %d printable ASCII characters",
			SUBSCRIBER_NAME_SIZE - 1);
	else
		*refused = reply_problem(MHD_HTTP_BAD_REQUEST,
			"name: \"%.40s\" is no customer's name; give 1 to %d printable ASCII characters", name,
			SUBSCRIBER_NAME_SIZE - 1);
	return plain;
}

static struct reply failed(int error)
{
	if (error == -ENOMEM)
		return reply_problem(MHD_HTTP_INSUFFICIENT_STORAGE,
			"no room in the arena for a subscriber more; raise arena.subscribers");
	if (error == -EBUSY)
		return reply_problem(
			MHD_HTTP_SERVICE_UNAVAILABLE, "the subscriber is being changed just now; try again");
	return reply_problem(
		MHD_HTTP_SERVICE_UNAVAILABLE, "the file subscribers.file cannot be written: %s", strerror(-error));
}

static struct reply no_book(void)
{
	return reply_problem(MHD_HTTP_SERVICE_UNAVAILABLE,
		"the file subscribers.file cannot be opened, as mgmtd's log says; names cannot be kept");
}

struct reply api_subscriber_set(const struct request *rq)
{
	struct subscriber_record r = {.name = ""};
	struct subscriber_key key;
	struct reply refused;

	if (!rq->api->book)
		return no_book();
	if (!read_key(rq, &key, &refused) || !read_name(rq, &r, &refused) || !read_limits(rq, &r, &refused))
		return refused;
	int error = book_put(rq->api->book, rq->api->arena, key, &r);
	return error ? failed(error) : api_subscriber(rq);
}

struct reply api_subscriber_delete(const struct request *rq)
{
	struct subscriber_key key;
	struct reply refused;

	if (!rq->api->book)
		return no_book();
	if (!read_key(rq, &key, &refused))
		return refused;
	int error = book_remove(rq->api->book, rq->api->arena, key);
	if (error == -ENOENT)
		return reply_problem(MHD_HTTP_NOT_FOUND, "no such subscriber is known by name");
	if (error)
		return failed(error);
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "forgotten", json_object_new_boolean(true));
	return reply_json(MHD_HTTP_OK, o);
}
