#include "tests/unit/port_rig.h"

static const uint8_t customary[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43,
	0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2,
	0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static void *table_room(size_t size)
{
	void *p = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

	assert_non_null(p);
	memset(p, 0, size);
	return p;
}

static void make_rss(struct rig *r)
{
	struct rnd rnd = {r->is.key_seed};

	r->rss.mode = r->is.table_len ? RSS_TOEPLITZ : RSS_SINGLE;
	r->rss.key_size = sizeof customary;
	memcpy(r->rss.key, customary, sizeof customary);
	for (unsigned i = 0; r->is.key_seed && i < sizeof customary; i++)
		r->rss.key[i] = (uint8_t)rnd_next(&rnd);
	r->rss.table_len = (uint16_t)(r->is.table_len ? r->is.table_len : 1);
	for (unsigned i = 0; i < r->rss.table_len; i++)
		r->rss.table[i] = (uint8_t)(i % r->is.engines);
	assert_int_equal(steering_init(&r->steering, &r->rss, r->is.engines), 0);
}

static void make_rules(struct rig *r, unsigned engine)
{
	struct port_rules *rules = &r->rules[engine];

	assert_true(port_order_of(&rules->order, &r->table->basis));
	port_homes_of(&rules->homes, &rules->order, &r->steering, engine);
	for (unsigned chunk = 0; chunk < N_CHUNKS; chunk++)
		for (unsigned place = 0; place < CHUNK_PORTS; place++) {
			uint32_t port =
				port_of_place(&rules->order, (struct port_place){(uint16_t)chunk, (uint8_t)place});
			bool low = chunk >= ORDER_CHUNKS;

			if (port && (port < LOW_PORTS) == low &&
				(low ? r->is.low : port >= r->is.first && port <= r->is.last))
				rules->allowed[chunk] |= (uint16_t)(1u << place);
		}
	rules->engines = r->is.engines;
	rules->engine = engine;
	port_deal(rules, r->is.own_share);
	rules->hold_s = r->is.hold_s;
	rules->hold_percent = r->is.hold_percent;
	rules->version = 1;
}

struct rig *rig_open(const struct rig_setup *setup)
{
	struct rig *r = calloc(1, sizeof *r);

	assert_non_null(r);
	r->is = *setup;
	r->now = (mono_t){1000000000000u};
	make_rss(r);
	r->table = table_room(sizeof *r->table);
	port_order_shuffle(&r->table->basis, &r->rss);
	memset((void *)r->table->unheld, 0xff, sizeof r->table->unheld);
	r->rules = table_room(setup->engines * sizeof *r->rules);
	r->view = table_room(setup->engines * sizeof *r->view);
	for (unsigned e = 0; e < setup->engines; e++) {
		make_rules(r, e);
		port_view_make(&r->view[e], r->table, RIG_TABLE, &r->rules[e], (uint32_t)(r->now.ns / 1000000000u));
	}
	return r;
}

void rig_close(struct rig *r)
{
	free(r->view);
	free(r->rules);
	free(r->table);
	free(r);
}

struct port_wish rig_wish(const struct rig *r, struct rnd *rnd, struct rig_flow *flow)
{
	flow->remote.net = (uint32_t)rnd_next(rnd);
	flow->nat.net = 0x016433c6;
	flow->port.net = (uint16_t)rnd_next(rnd);
	return (struct port_wish){.draw = (uint32_t)rnd_next(rnd),
		.hash = toeplitz_tuple(&r->steering.hash, flow->remote, flow->nat, flow->port, (be16_t){0}),
		.odd = -1,
		.by_port = true};
}

unsigned rig_home(const struct rig *r, const struct rig_flow *flow, uint16_t port)
{
	return steering_engine(&r->steering, IPPROTO_UDP, flow->remote, flow->nat, flow->port, be16_of(port));
}

int rig_take(struct rig *r, unsigned engine, enum port_set set, const struct port_wish *w, _Atomic uint64_t *intent)
{
	return port_view_take(&r->view[engine], r->table, &r->rules[engine], NULL, set, w, r->now, intent);
}

bool rig_put(struct rig *r, unsigned engine, enum port_set set, uint16_t port, bool rest)
{
	return port_view_put(
		&r->view[engine], r->table, &r->rules[engine], set, port, rest, (uint32_t)(r->now.ns / 1000000000u));
}

void rig_wake(struct rig *r, unsigned engine)
{
	port_view_wake(&r->view[engine], r->table, &r->rules[engine], N_PORT_SETS * CHUNK_WORDS,
		(uint32_t)(r->now.ns / 1000000000u));
}

struct port_use_count rig_used(const struct rig *r, enum port_set set)
{
	return ports_used(r->table, set, port_epoch(r->is.hold_s, (uint32_t)(r->now.ns / 1000000000u)));
}
