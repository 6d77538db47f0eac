/* port_view: several engines' choice among the ports of one address, against a plain array. */
#include "tests/unit/port_rig.h"

enum { ENGINES_MAX_HERE = 64 };

static uint32_t epoch_of(const struct rig *r)
{
	return (uint32_t)(r->now.ns / 1000000000u) / (r->is.hold_s ? r->is.hold_s : 1);
}

/* ---- against an array ---- */

struct model {
	struct {
		bool taken, rests;
		uint32_t freed; /* epoch */
		unsigned engine;
	} port[65536];
	uint32_t n_taken;
	uint16_t taken[65536];
};

static bool can_have(const struct rig *r, const struct model *m, uint32_t port)
{
	bool allowed = port >= r->is.first && port <= r->is.last && port >= LOW_PORTS;

	return allowed && !m->port[port].taken && !(m->port[port].rests && epoch_of(r) < m->port[port].freed + 2);
}

static bool any_left(const struct rig *r, const struct model *m)
{
	for (uint32_t port = r->is.first; port <= r->is.last; port++)
		if (can_have(r, m, port))
			return true;
	return false;
}

static void step_take(struct rig *r, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	unsigned engine = rnd_below(rnd, r->is.engines);
	_Atomic uint64_t intent = 0;
	struct rig_flow flow;
	struct port_wish w = rig_wish(r, rnd, &flow);

	w.odd = (int8_t)((int)rnd_below(rnd, 3) - 1);
	r->now = mono_after(r->now, span_ms(25)); /* refusals are looked into again */
	int port = rig_take(r, engine, PORTS_OTHER, &w, &intent);

	if (port < 0) {
		CHECK_AT(seed, step, !any_left(r, m));
		CHECK_AT(seed, step, intent == 0);
		return;
	}
	CHECK_AT(seed, step, can_have(r, m, (uint32_t)port));
	CHECK_AT(seed, step, intent == port_name(RIG_TABLE, PORTS_OTHER, (uint16_t)port));
	m->port[port].taken = true;
	m->port[port].engine = engine;
	m->taken[m->n_taken++] = (uint16_t)port;
}

/* Mostly the engine that took it gives it back; after a crash it may be another. */
static void step_put(struct rig *r, struct model *m, struct rnd *rnd, uint64_t seed, uint64_t step)
{
	uint32_t at = rnd_below(rnd, m->n_taken);
	uint16_t port = m->taken[at];
	unsigned engine = rnd_one_in(rnd, 10) ? rnd_below(rnd, r->is.engines) : m->port[port].engine;
	bool rest = rnd_below(rnd, 2);

	m->taken[at] = m->taken[--m->n_taken];
	m->port[port].taken = false;
	m->port[port].rests = rest && r->is.hold_s;
	m->port[port].freed = epoch_of(r);
	CHECK_AT(seed, step, rig_put(r, engine, PORTS_OTHER, port, rest));
	CHECK_AT(seed, step, !rig_put(r, engine, PORTS_OTHER, port, rest));
}

static void run_model(const struct rig_setup *setup, uint64_t seed, uint64_t steps)
{
	struct model *m = calloc(1, sizeof *m);
	struct rig *r = rig_open(setup);
	struct rnd rnd = {seed};

	for (uint64_t step = 0; step < steps; step++) {
		uint32_t kind = rnd_below(&rnd, 100);

		if (kind < 2) {
			r->now = mono_after(r->now, span_s(1 + rnd_below(&rnd, 3)));
			rig_wake(r, rnd_below(&rnd, setup->engines));
		} else if (kind < 3) { /* a successor begins with a view of its own */
			unsigned e = rnd_below(&rnd, setup->engines);

			port_view_make(
				&r->view[e], r->table, RIG_TABLE, &r->rules[e], (uint32_t)(r->now.ns / 1000000000u));
		} else if (m->n_taken && kind < 45) {
			step_put(r, m, &rnd, seed, step);
		} else {
			step_take(r, m, &rnd, seed, step);
		}
	}
	assert_int_equal(rig_used(r, PORTS_OTHER).taken, m->n_taken);
	assert_int_equal(rig_used(r, PORTS_TCP).taken, 0);
	free(m);
	rig_close(r);
}

static void test_against_an_array(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct rnd r = {seed};
		uint16_t first = (uint16_t)(LOW_PORTS + rnd_below(&r, 60000)),
			 size = (uint16_t)(1 + rnd_below(&r, 300));
		struct rig_setup setup = {.engines = 1 + rnd_below(&r, 8),
			.table_len = rnd_below(&r, 4) ? 1u << rnd_below(&r, SLOT_BITS_MAX + 1) : 0,
			.first = first,
			.last = (uint16_t)(first + size),
			.own_share = rnd_below(&r, 101),
			.hold_s = rnd_below(&r, 3) * 2,
			.hold_percent = 100,
			.key_seed = rnd_below(&r, 3)};

		run_model(&setup, seed, 3000);
	}
}

/* ---- what must hold (design: ports) ---- */

/* Engines that want unevenly, one of them nearly everything: nobody is refused before every port is in use. */
static void fill_skewed(unsigned engines, uint32_t own_share)
{
	struct rig *r = rig_open(&(struct rig_setup){.engines = engines,
		.table_len = 128,
		.first = LOW_PORTS,
		.last = 65535,
		.own_share = own_share,
		.hold_percent = 100});
	struct rnd rnd = {engines};
	_Atomic uint64_t intent = 0;
	struct rig_flow flow;
	uint32_t n = 0;

	for (;; n++) {
		unsigned engine = rnd_one_in(&rnd, 50) ? rnd_below(&rnd, engines) : 0;
		struct port_wish w = rig_wish(r, &rnd, &flow);

		if (rig_take(r, engine, PORTS_TCP, &w, &intent) < 0)
			break;
	}
	assert_int_equal(n, 65536 - LOW_PORTS);
	rig_close(r);
}

static void test_all_can_be_used(void **state)
{
	fill_skewed(1, 50);
	fill_skewed(2, 0);
	fill_skewed(2, 100);
	fill_skewed(7, 50);
	fill_skewed(64, 80);
}

/* While an address is under 80 % full, 90 % of the flows at least come home. */
static void come_home(unsigned engines, uint32_t table_len, uint64_t key_seed)
{
	struct rig *r = rig_open(&(struct rig_setup){.engines = engines,
		.table_len = table_len,
		.first = LOW_PORTS,
		.last = 65535,
		.own_share = 50,
		.hold_percent = 100,
		.key_seed = key_seed});
	uint32_t want = (65536 - LOW_PORTS) * 80 / 100, home = 0;
	struct rnd rnd = {key_seed + engines};
	_Atomic uint64_t intent = 0;

	for (uint32_t n = 0; n < want; n++) {
		unsigned engine = rnd_below(&rnd, engines);
		struct rig_flow flow;
		struct port_wish w = rig_wish(r, &rnd, &flow);
		int port = rig_take(r, engine, PORTS_OTHER, &w, &intent);

		assert_true(port >= 0);
		home += rig_home(r, &flow, (uint16_t)port) == engine;
	}
	if (home * 100ull < want * 90ull)
		fail_msg("%u engines, table of %u, key %llu: %.1f %% came home", engines, table_len,
			(unsigned long long)key_seed, home * 100.0 / want);
	rig_close(r);
}

static void test_replies_come_home(void **state)
{
	static const uint32_t length[] = {64, 128, 512, 2048};

	for (unsigned engines = 2; engines <= ENGINES_MAX_HERE; engines *= 2)
		for (unsigned i = 0; i < sizeof length / sizeof length[0]; i++)
			come_home(engines, length[i], i);
}

/* ---- hold-down ---- */

/* No port comes back before its time, every port comes back in two. */
static void test_ports_rest(void **state)
{
	struct rig *r = rig_open(&(struct rig_setup){.engines = 2,
		.table_len = 128,
		.first = 2000,
		.last = 2063,
		.own_share = 50,
		.hold_s = 120,
		.hold_percent = 100});
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {5};
	struct rig_flow flow;
	struct port_wish w = rig_wish(r, &rnd, &flow);
	int port[64];

	for (unsigned i = 0; i < 64; i++)
		assert_true((port[i] = rig_take(r, 0, PORTS_OTHER, &w, &intent)) >= 0);
	for (unsigned i = 0; i < 64; i++)
		assert_true(rig_put(r, 0, PORTS_OTHER, (uint16_t)port[i], true));
	for (unsigned s = 0; s < 120; s++) {
		assert_int_equal(rig_take(r, s & 1, PORTS_OTHER, &w, &intent), -1);
		assert_int_equal(rig_used(r, PORTS_OTHER).resting, 64);
		r->now = mono_after(r->now, span_s(1));
		rig_wake(r, 0);
	}
	r->now = mono_after(r->now, span_s(120));
	for (unsigned i = 0; i < 64; i++)
		assert_true(rig_take(r, i & 1, PORTS_OTHER, &w, &intent) >= 0);
	rig_close(r);
}

/* No more than their share of ports rest when nothing else is free. */
static void test_share_that_rests(void **state)
{
	struct rig *r = rig_open(&(struct rig_setup){
		.engines = 1, .first = 2000, .last = 2099, .own_share = 50, .hold_s = 1000, .hold_percent = 40});
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {6};
	struct rig_flow flow;
	struct port_wish w = rig_wish(r, &rnd, &flow);
	uint32_t n = 0;

	for (uint16_t port = 2000; port < 2100; port++)
		assert_true(rig_take(r, 0, PORTS_OTHER, &w, &intent) >= 0);
	for (uint16_t port = 2000; port < 2100; port++)
		assert_true(rig_put(r, 0, PORTS_OTHER, port, true));
	while (rig_take(r, 0, PORTS_OTHER, &w, &intent) >= 0) {
		r->now = mono_after(r->now, span_ms(25));
		n++;
	}
	assert_in_range(n, 60, 60 + CHUNK_PORTS); /* they are woken by the chunk */
	assert_in_range(rig_used(r, PORTS_OTHER).resting, 40 - CHUNK_PORTS, 40);
	rig_close(r);
}

static bool is_shown(const struct rig *r, unsigned engine, unsigned chunk)
{
	unsigned bit = chunk_bit(r->rules[engine].column_bits, chunk);

	return r->view[engine].has[PORTS_OTHER][bit / 64] >> bit % 64 & 1;
}

/* Chunks of engines that have a port free, and of those the ones that their engine's view shows. */
static void count_shown(const struct rig *r, unsigned *free, unsigned *shown)
{
	*free = *shown = 0;
	for (unsigned chunk = 0; chunk < ORDER_CHUNKS; chunk++) {
		uint64_t word = chunk_in_epoch(chunk_read(r->table, PORTS_OTHER, chunk), (uint8_t)epoch_of(r));
		unsigned holder = chunk_holder(word);

		if (holder == CHUNK_UNHELD || !(chunk_free(word) & r->rules[0].allowed[chunk]))
			continue;
		++*free;
		*shown += is_shown(r, holder - 1, chunk);
	}
}

/* What has rested is to be had again by its engine also where more rests in the same chunk. */
static void test_rested_beside_resting(void **state)
{
	struct rig *r = rig_open(&(struct rig_setup){.engines = 2,
		.table_len = 128,
		.first = LOW_PORTS,
		.last = 65535,
		.own_share = 50,
		.hold_s = 100,
		.hold_percent = 100});
	static uint16_t got[65536];
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {9};
	struct rig_flow flow;
	unsigned n = 0, free, shown;

	for (int port = 0; port >= 0; n++) {
		struct port_wish w = rig_wish(r, &rnd, &flow);

		port = rig_take(r, n & 1, PORTS_OTHER, &w, &intent);
		got[n] = (uint16_t)port;
	}
	for (unsigned freed = 0; freed < 40000; freed++) {
		unsigned at = freed * 7919 % (n - 1); /* a prime: each once, all over */
		uint16_t port = got[at];
		unsigned chunk = port_place_of(&r->rules[0].order, port).chunk;
		unsigned holder = chunk_holder(chunk_read(r->table, PORTS_OTHER, chunk));

		if (freed == 20000)
			r->now = mono_after(r->now, span_s(100));
		assert_true(rig_put(r, holder - 1, PORTS_OTHER, port, true));
	}
	r->now = mono_after(r->now, span_s(100));
	for (unsigned engine = 0; engine < 2; engine++)
		rig_wake(r, engine);
	count_shown(r, &free, &shown);
	assert_int_equal(rig_used(r, PORTS_OTHER).resting, 20000);
	assert_true(free > 3000);
	assert_int_equal(shown, free);
	rig_close(r);
}

/* ---- when nothing is found ---- */

/* What a look at the whole address is repeated for: a port that the view does not show, and more that rest than may. */
static void test_looks_again(void **state)
{
	struct rig *r = rig_open(&(struct rig_setup){
		.engines = 2, .first = 2000, .last = 2095, .own_share = 0, .hold_s = 1000, .hold_percent = 25});
	struct port_view *v = &r->view[0];
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {10};
	struct rig_flow flow;
	struct port_wish w = rig_wish(r, &rnd, &flow), glance = w;

	glance.glance = true;
	for (uint16_t n = 0; n < 48; n++)
		assert_true(rig_take(r, 1, PORTS_OTHER, &w, &intent) >= 0);
	while (rig_take(r, 0, PORTS_OTHER, &glance, &intent) >= 0)
		assert_int_not_equal(intent, 0);
	assert_true(port_view_is_unseen(v, PORTS_OTHER));
	while (rig_take(r, 0, PORTS_OTHER, &w, &intent) >= 0)
		;
	assert_int_equal(rig_used(r, PORTS_OTHER).taken, 96);
	assert_false(port_view_is_unseen(v, PORTS_OTHER));
	port_view_has_news(v, PORTS_OTHER);

	/* a quarter of 96 may rest */
	for (uint16_t n = 0; n < 24; n++) {
		assert_true(rig_put(r, 0, PORTS_OTHER, (uint16_t)(2000 + n), true));
		assert_false(port_view_is_unseen(v, PORTS_OTHER));
		assert_int_equal(rig_take(r, 0, PORTS_OTHER, &w, &intent), -1);
	}
	assert_true(rig_put(r, 0, PORTS_OTHER, 2024, true));
	assert_true(port_view_is_unseen(v, PORTS_OTHER));
	assert_true(rig_take(r, 0, PORTS_OTHER, &w, &intent) >= 0);
	rig_close(r);
}

/* A port given back to one's own chunk is found at a glance; to another's, by a look. */
static void test_own_and_others(void **state)
{
	struct rig *r = rig_open(
		&(struct rig_setup){.engines = 2, .first = 2000, .last = 2095, .own_share = 0, .hold_percent = 100});
	struct port_view *v = &r->view[0];
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {11};
	struct rig_flow flow;
	struct port_wish w = rig_wish(r, &rnd, &flow), glance = w;

	glance.glance = true;
	for (unsigned n = 0; n < 96; n++)
		assert_true(rig_take(r, n & 1, PORTS_OTHER, &w, &intent) >= 0);
	assert_int_equal(rig_take(r, 0, PORTS_OTHER, &w, &intent), -1);
	for (uint16_t port = 2000; port < 2096; port++) {
		unsigned chunk = port_place_of(&r->rules[0].order, port).chunk;
		bool own = chunk_holder(chunk_read(r->table, PORTS_OTHER, chunk)) == 1;

		port_view_has_news(v, PORTS_OTHER);
		assert_true(rig_put(r, 0, PORTS_OTHER, port, false));
		assert_int_equal(port_view_has_news(v, PORTS_OTHER), own);
		assert_int_equal(port_view_is_unseen(v, PORTS_OTHER), !own);
		assert_int_equal(rig_take(r, 0, PORTS_OTHER, &glance, &intent), own ? port : -1);
		if (!own)
			assert_int_equal(rig_take(r, 0, PORTS_OTHER, &w, &intent), port);
		assert_int_equal(rig_take(r, 0, PORTS_OTHER, &w, &intent), -1);
	}
	rig_close(r);
}

/* ---- ranges and parity ---- */

static void test_low_ports(void **state)
{
	struct rig *r = rig_open(&(struct rig_setup){.engines = 2,
		.table_len = 128,
		.first = LOW_PORTS,
		.last = 65535,
		.own_share = 50,
		.hold_percent = 100,
		.low = true});
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {7};
	struct rig_flow flow;

	for (uint32_t n = 0; n < 3000; n++) {
		struct port_wish w = rig_wish(r, &rnd, &flow);

		w.low = n % 2;
		int port = rig_take(r, n % 4 / 2, PORTS_OTHER, &w, &intent);
		assert_true(port > 0);
		if (!w.low)
			assert_true(port >= LOW_PORTS);
		else if (n < 2 * (LOW_PORTS - 1) - 2) /* afterwards none is left, and any will do */
			assert_true(port < LOW_PORTS);
	}
	rig_close(r);
}

static void test_parity(void **state)
{
	struct rig *r = rig_open(&(struct rig_setup){.engines = 3,
		.table_len = 128,
		.first = LOW_PORTS,
		.last = 65535,
		.own_share = 50,
		.hold_percent = 100,
		.low = true});
	_Atomic uint64_t intent = 0;
	struct rnd rnd = {8};
	uint32_t kept = 0;

	for (uint32_t n = 0; n < 40000; n++) {
		struct rig_flow flow;
		struct port_wish w = rig_wish(r, &rnd, &flow);

		w.odd = (int8_t)rnd_below(&rnd, 2);
		w.low = rnd_one_in(&rnd, 100);
		int port = rig_take(r, rnd_below(&rnd, 3), PORTS_OTHER, &w, &intent);
		assert_true(port >= 0);
		kept += (port & 1) == w.odd;
	}
	assert_int_equal(kept, 40000);
	rig_close(r);
}

/* ---- unpredictable (RFC 6056) ---- */

enum { DRAWS = 20000, TILES = 64 };

struct draws {
	double chi; /* of the tiles the ports lie in: about TILES when all ports are alike, DRAWS for half of them */
	uint32_t next_to; /* draws within 16 of the one before */
	uint32_t again;   /* draws that a short history foretells: the same chunk of plain ports as the last one's */
	uint32_t distinct;
};

/* `take` and put back at once, so that the table stays as full as it is. */
static struct draws look_at(struct rig *r, uint64_t seed, int (*take)(struct rig *, struct rnd *, uint32_t))
{
	static bool had[65536];
	uint32_t tile[TILES] = {0};
	struct rnd rnd = {seed};
	struct draws d = {0};
	int last = -1;

	memset(had, 0, sizeof had);
	for (uint32_t n = 0; n < DRAWS; n++) {
		int port = take(r, &rnd, n);

		tile[port * TILES / 65536]++;
		d.next_to += last >= 0 && abs(port - last) <= 16;
		d.again += last >= 0 && port / 16 == last / 16;
		d.distinct += !had[port];
		had[port] = true;
		last = port;
	}
	for (unsigned i = 1; i < TILES; i++) { /* the first tile is of low ports */
		double want = (double)DRAWS / (TILES - 1), off = tile[i] - want;

		d.chi += off * off / want;
	}
	return d;
}

static int take_and_put(struct rig *r, struct rnd *rnd, uint32_t n)
{
	_Atomic uint64_t intent = 0;
	struct rig_flow flow;
	struct port_wish w = rig_wish(r, rnd, &flow);
	int port = rig_take(r, 0, PORTS_TCP, &w, &intent);

	(void)n;
	assert_true(port >= 0);
	rig_put(r, 0, PORTS_TCP, (uint16_t)port, false);
	return port;
}

static int in_turn(struct rig *r, struct rnd *rnd, uint32_t n)
{
	return LOW_PORTS + (int)(n % 64512);
}

static int clustered(struct rig *r, struct rnd *rnd, uint32_t n)
{
	static int base;

	if (n % 8 == 0)
		base = LOW_PORTS + (int)rnd_below(rnd, 64000);
	return base + (int)rnd_below(rnd, 16);
}

static int from_half(struct rig *r, struct rnd *rnd, uint32_t n)
{
	return LOW_PORTS + (int)rnd_below(rnd, 32768);
}

/* Of several engines each has its own share first, which is not quite even over the range. */
static bool looks_random(const struct draws *d, unsigned engines)
{
	return d->chi < (engines == 1 ? 2 * TILES : DRAWS / 10) && d->next_to < DRAWS / 100 && d->again < DRAWS / 200 &&
	       d->distinct > 3000;
}

/* Ports in turn and ports in clusters are noticed; the allocator's are neither. */
static void test_unpredictable(void **state)
{
	for (unsigned engines = 1; engines <= 8; engines *= 2) {
		struct rig *r = rig_open(&(struct rig_setup){.engines = engines,
			.table_len = engines == 1 ? 0 : 128,
			.first = LOW_PORTS,
			.last = 65535,
			.own_share = 50,
			.hold_percent = 100});
		struct draws mine = look_at(r, engines, take_and_put), bad = look_at(r, engines, in_turn);
		struct draws worse = look_at(r, engines, clustered), narrow = look_at(r, engines, from_half);

		if (!looks_random(&mine, engines))
			fail_msg("%u engines: chi %.0f, %u next to the last, %u in its sixteen, %u distinct", engines,
				mine.chi, mine.next_to, mine.again, mine.distinct);
		assert_false(looks_random(&bad, engines));
		assert_false(looks_random(&worse, engines));
		assert_false(looks_random(&narrow, engines));
		rig_close(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_an_array),
		cmocka_unit_test(test_all_can_be_used),
		cmocka_unit_test(test_replies_come_home),
		cmocka_unit_test(test_ports_rest),
		cmocka_unit_test(test_share_that_rests),
		cmocka_unit_test(test_rested_beside_resting),
		cmocka_unit_test(test_looks_again),
		cmocka_unit_test(test_own_and_others),
		cmocka_unit_test(test_low_ports),
		cmocka_unit_test(test_parity),
		cmocka_unit_test(test_unpredictable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
