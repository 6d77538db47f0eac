/* deterministic: against a model that lists every subscriber, address and slice (RFC 7422). */
#include "common/deterministic.h"
#include "tests/unit/rnd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 8192, PLACES = 65536 / DETERMINISTIC_ALIGN };

/* What the model knows: everything, one by one. */
struct model {
	uint32_t inside[LIST_MAX], nat[LIST_MAX];
	uint32_t n_inside, n_nat;
	uint32_t slice[PLACES]; /* first port of each */
	uint32_t n_slices, size;
	bool reserved[65536];
};

static struct model model;
static struct deterministic det;

static bool listed(const struct address_range *r, uint32_t n, uint32_t address)
{
	for (uint32_t i = 0; i < n; i++)
		if (r[i].first <= address && address <= r[i].last)
			return true;
	return false;
}

static uint32_t list(uint32_t *out, const struct address_range *r, uint32_t n, uint32_t from, uint32_t to)
{
	uint32_t found = 0;

	for (uint64_t a = from; a <= to; a++)
		if (listed(r, n, (uint32_t)a)) {
			assert_true(found < LIST_MAX);
			out[found++] = (uint32_t)a;
		}
	return found;
}

static uint32_t model_slices(struct model *m, const struct deterministic_spec *s, uint32_t size)
{
	uint32_t first = (s->port_first + 15u) & ~15u, end = (s->port_last + 1u) & ~15u;

	m->n_slices = 0;
	m->size = size;
	for (uint32_t at = first; at + size <= end; at += size) {
		uint32_t lost = 0;

		for (uint32_t p = at; p < at + size; p++)
			lost += m->reserved[p];
		if (2 * lost <= size)
			m->slice[m->n_slices++] = at;
	}
	return m->n_slices;
}

/* All addresses of the test lie in one block of 64 K from `base`. */
static bool model_make(struct model *m, const struct deterministic_spec *s, uint32_t base)
{
	m->n_inside = list(m->inside, s->inside, s->n_inside, base, base | 0xffff);
	m->n_nat = list(m->nat, s->nat, s->n_nat, base, base | 0xffff);
	memset(m->reserved, 0, sizeof m->reserved);
	for (uint32_t i = 0; i < s->n_reserved; i++)
		for (uint32_t p = s->reserved[i].first; p <= s->reserved[i].last; p++)
			m->reserved[p] = true;
	if (s->ports_per_subscriber)
		return model_slices(m, s, s->ports_per_subscriber) > 0;
	for (uint32_t size = 65520; size > 0; size -= 16)
		if (model_slices(m, s, size) * m->n_nat >= m->n_inside)
			return true;
	return false;
}

/* Each port of each NAT address has the owner the model says: all of them, both ways. */
static void compare(const struct model *m, const struct deterministic_spec *s, uint64_t seed)
{
	static uint32_t owner[65536];

	for (uint32_t a = 0; a < m->n_nat; a++) {
		memset(owner, 0, sizeof owner);
		for (uint32_t k = 0; k < m->n_slices; k++) {
			uint32_t i = s->order == ORDER_SPREAD ? k * m->n_nat + a : a * m->n_slices + k;
			struct deterministic_ports p = {0};
			uint32_t usable = 0;

			if (i >= m->n_inside)
				continue;
			CHECK_AT(seed, i, deterministic_forward(&det, m->inside[i], &p));
			CHECK_AT(seed, i,
				p.nat == m->nat[a] && p.first == m->slice[k] && p.last == m->slice[k] + m->size - 1);
			for (uint32_t port = p.first; port <= p.last; port++) {
				CHECK_AT(seed, i, owner[port] == 0); /* nobody else's */
				owner[port] = m->reserved[port] ? 0 : i + 1;
				usable += !m->reserved[port];
			}
			CHECK_AT(seed, i, p.usable == usable && 2 * usable >= m->size);
		}
		for (uint32_t port = 0; port < 65536; port++) {
			uint32_t inside = 0;
			bool found = deterministic_reverse(&det, m->nat[a], (uint16_t)port, &inside);

			CHECK_AT(seed, port, found == (owner[port] != 0));
			CHECK_AT(seed, port, !found || inside == m->inside[owner[port] - 1]);
		}
	}
}

static void compare_outsiders(const struct model *m, const struct deterministic_spec *s, uint32_t base, uint64_t seed)
{
	struct deterministic_ports p;
	uint32_t dealt = m->n_slices * m->n_nat < m->n_inside ? m->n_slices * m->n_nat : m->n_inside, inside;

	CHECK_AT(seed, 0, det.subscribers == m->n_inside && det.dealt == dealt && det.addresses == m->n_nat);
	for (uint32_t i = dealt; i < m->n_inside; i++) {
		CHECK_AT(seed, i, !deterministic_forward(&det, m->inside[i], &p));
		CHECK_AT(seed, i, deterministic_is_subscriber(&det, m->inside[i]));
	}
	for (uint64_t a = base; a <= (base | 0xffff); a += 7) {
		CHECK_AT(seed, a,
			listed(s->inside, s->n_inside, (uint32_t)a) == deterministic_is_subscriber(&det, (uint32_t)a));
		CHECK_AT(seed, a,
			listed(s->inside, s->n_inside, (uint32_t)a) || !deterministic_forward(&det, (uint32_t)a, &p));
		CHECK_AT(seed, a,
			listed(s->nat, s->n_nat, (uint32_t)a) ||
				!deterministic_reverse(&det, (uint32_t)a, 40000, &inside));
	}
	CHECK_AT(seed, 0, deterministic_addresses_needed(&det) == (m->n_inside + m->n_slices - 1) / m->n_slices);
}

static uint32_t random_ranges(
	struct rnd *r, struct address_range *out, uint32_t base, uint32_t n, uint32_t longest, bool overlap)
{
	uint32_t made = 0;

	while (made < n) {
		uint32_t first = base + rnd_below(r, 65536 - longest), last = first + rnd_below(r, longest);
		bool meets = false;

		for (uint32_t i = 0; i < made; i++)
			meets |= first <= out[i].last && out[i].first <= last;
		if (!meets || overlap)
			out[made++] = (struct address_range){first, last};
	}
	return made;
}

static uint32_t random_reserved(struct rnd *r, struct port_range *out)
{
	uint32_t n = rnd_below(r, 3) ? rnd_below(r, 6) : CONFIG_RESERVED_MAX;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t first = rnd_below(r, 65536), len = rnd_below(r, rnd_one_in(r, 4) ? 5000 : 20);

		out[i] = (struct port_range){(uint16_t)first, (uint16_t)(first + len > 65535 ? 65535 : first + len)};
	}
	return n;
}

static void one_seed(uint64_t seed)
{
	static const uint16_t sizes[] = {0, 16, 48, 64, 512, 1008, 2016, 16128, 64512};
	struct rnd r = {seed};
	struct address_range inside[8], nat[6];
	struct port_range reserved[CONFIG_RESERVED_MAX];
	uint32_t base = rnd_one_in(&r, 4) ? 0xffff0000 : rnd_one_in(&r, 4) ? 0 : 0x64400000;
	uint32_t first = rnd_one_in(&r, 3) ? 1 + rnd_below(&r, 60000) : 1024;
	struct deterministic_spec s = {
		.inside = inside,
		.nat = nat,
		.reserved = reserved,
		.n_inside = random_ranges(&r, inside, base, 1 + rnd_below(&r, 8), 200, rnd_one_in(&r, 3)),
		.n_nat = random_ranges(&r, nat, base, 1 + rnd_below(&r, 6), 4, rnd_one_in(&r, 3)),
		.n_reserved = random_reserved(&r, reserved),
		.port_first = (uint16_t)first,
		.port_last = (uint16_t)(rnd_one_in(&r, 3) ? first + rnd_below(&r, 65536 - first) : 65535),
		.ports_per_subscriber = sizes[rnd_below(&r, sizeof sizes / sizeof sizes[0])],
		.order = rnd_one_in(&r, 2) ? ORDER_SPREAD : ORDER_FILL,
	};
	bool fits = model_make(&model, &s, base);
	int err = deterministic_init(&det, &s);

	CHECK_AT(seed, 0, err == (fits ? 0 : -ERANGE));
	if (fits) {
		CHECK_AT(seed, 0, det.size == model.size && det.slices == model.n_slices);
		compare(&model, &s, seed);
		compare_outsiders(&model, &s, base, seed);
	}
}

/* RFC 7422: both ways, by arithmetic alone. */
static void test_7422_a(void **state)
{
	for (uint64_t seed = 1; seed <= 150; seed++)
		one_seed(seed);
}

/* ---- exactly ---- */

static struct deterministic_spec plain(const struct address_range *inside, const struct address_range *nat)
{
	return (struct deterministic_spec){
		.inside = inside, .nat = nat, .n_inside = 1, .n_nat = 1, .port_first = 1024, .port_last = 65535};
}

/* 64,512 ports, 1,008 each: 64 subscribers on an address. */
static void orders_deal_as_rfc_7422_says(void **state)
{
	struct address_range inside = {0x64400000, 0x644000ff}, nat = {0xc6336400, 0xc6336403};
	struct deterministic_spec s = plain(&inside, &nat);
	struct deterministic_ports p;

	assert_int_equal(deterministic_init(&det, &s), 0);
	assert_int_equal(det.size, 1008);
	assert_int_equal(det.slices, 64);
	assert_true(deterministic_forward(&det, 0x64400001, &p));
	assert_int_equal(p.nat, 0xc6336400);
	assert_int_equal(p.first, 2032);
	assert_int_equal(p.last, 3039);
	assert_int_equal(p.usable, 1008);
	assert_true(deterministic_forward(&det, 0x64400040, &p));
	assert_int_equal(p.nat, 0xc6336401);
	assert_int_equal(p.first, 1024);
	s.order = ORDER_SPREAD;
	assert_int_equal(deterministic_init(&det, &s), 0);
	assert_true(deterministic_forward(&det, 0x64400001, &p));
	assert_int_equal(p.nat, 0xc6336401);
	assert_int_equal(p.first, 1024);
	assert_true(deterministic_forward(&det, 0x644000ff, &p));
	assert_int_equal(p.nat, 0xc6336403);
	assert_int_equal(p.last, 65535);
}

/* Who is short by a port keeps the place; who would lose most is left out, and everyone behind moves on by one slice. */
static void reserved_ports_are_nobodys(void **state)
{
	struct address_range inside = {0x64400000, 0x644000ff}, nat = {0xc6336400, 0xc6336403};
	struct port_range reserved[] = {{3128, 3130}, {1080, 1080}, {4096, 4351}};
	struct deterministic_spec s = plain(&inside, &nat);
	struct deterministic_ports p;
	uint32_t who;

	s.ports_per_subscriber = 512;
	s.reserved = reserved;
	s.n_reserved = 3;
	assert_int_equal(deterministic_init(&det, &s), 0);
	assert_int_equal(det.slices, 126); /* exactly half of the slice from 4096 on is reserved: it stays */
	assert_true(deterministic_forward(&det, 0x64400000, &p));
	assert_int_equal(p.usable, 511);
	assert_true(deterministic_forward(&det, 0x64400004, &p));
	assert_int_equal(p.usable, 509);
	assert_false(deterministic_reverse(&det, nat.first, 1080, &who));
	assert_true(deterministic_reverse(&det, nat.first, 1081, &who));
	assert_int_equal(who, 0x64400000);
	reserved[2].last = 4352;
	assert_int_equal(deterministic_init(&det, &s), 0);
	assert_int_equal(det.slices, 125);
	assert_true(deterministic_forward(&det, 0x64400006, &p));
	assert_int_equal(p.first, 4608);
	assert_false(deterministic_reverse(&det, nat.first, 4500, &who));
}

static void impossible_descriptions_are_refused(void **state)
{
	struct address_range inside = {0, UINT32_MAX}, nat = {0xc6336400, 0xc6336403};
	struct deterministic_spec s = plain(&inside, &nat);

	assert_int_equal(deterministic_init(&det, &s), -ERANGE); /* four thousand million subscribers, four addresses */
	s.ports_per_subscriber = 512;
	assert_int_equal(deterministic_init(&det, &s), 0);
	assert_true(det.subscribers == 1ull << 32);
	assert_int_equal(det.dealt, 4 * 126);
	assert_true(deterministic_addresses_needed(&det) == ((1ull << 32) + 125) / 126);
	s.ports_per_subscriber = 500;
	assert_int_equal(deterministic_init(&det, &s), -EINVAL);
	s.ports_per_subscriber = 64528;
	assert_int_equal(deterministic_init(&det, &s), -ERANGE);
	s = plain(&inside, &nat);
	s.port_first = 2000, s.port_last = 1999;
	assert_int_equal(deterministic_init(&det, &s), -EINVAL);
	s.port_last = 2014; /* no whole chunk */
	assert_int_equal(deterministic_init(&det, &s), -ERANGE);
	s = plain(&inside, &nat);
	s.n_nat = 0;
	assert_int_equal(deterministic_init(&det, &s), -EINVAL);
	s.n_nat = DETERMINISTIC_NAT_MAX + 1;
	assert_int_equal(deterministic_init(&det, &s), -E2BIG);
}

/* Snapshots are compared byte by byte: the order in which ranges are written is no change. */
static void equal_descriptions_give_equal_bytes(void **state)
{
	struct address_range inside[] = {{100, 149}, {10, 19}, {150, 199}}, sorted[] = {{10, 19}, {100, 199}};
	struct address_range nat[] = {{1001, 1001}, {1000, 1000}}, joined = {1000, 1001};
	struct port_range reserved[] = {{5000, 5001}, {1080, 1080}, {5001, 5010}},
			  merged[] = {{1080, 1080}, {5000, 5010}};
	struct deterministic_spec s = plain(inside, nat);
	static struct deterministic other;

	s.n_inside = 3, s.n_nat = 2, s.reserved = reserved, s.n_reserved = 3;
	memset(&det, 0xa5, sizeof det);
	assert_int_equal(deterministic_init(&det, &s), 0);
	s.inside = sorted, s.n_inside = 2, s.nat = &joined, s.n_nat = 1, s.reserved = merged, s.n_reserved = 2;
	memset(&other, 0x5a, sizeof other);
	assert_int_equal(deterministic_init(&other, &s), 0);
	assert_memory_equal(&det, &other, sizeof det);
}

/* ---- of a configuration ---- */

static struct config config;

static bool in_prefix(struct prefix p, uint32_t address)
{
	return p.len == 0 || (address ^ p.addr) >> (32 - p.len) == 0;
}

static bool in_prefixes(const struct prefix *p, uint32_t n, uint32_t address)
{
	for (uint32_t i = 0; i < n; i++)
		if (in_prefix(p[i], address))
			return true;
	return false;
}

static bool gives_ports(const struct config_pool *p, uint32_t address)
{
	for (uint32_t i = 0; i < config.n_statics; i++)
		if (config.statics[i].protocol == STATIC_ANY && config.statics[i].nat == address)
			return false;
	return listed(p->ranges, p->n_ranges, address) && !listed(p->exclude, p->n_exclude, address) &&
	       !listed(p->drain, p->n_drain, address);
}

static struct prefix random_prefix(struct rnd *r, uint32_t base)
{
	uint8_t len = (uint8_t)(24 + rnd_below(r, 9));

	return (struct prefix){(base + rnd_below(r, 256)) & UINT32_MAX << (32 - len), len};
}

/* Ranges of 256 addresses that do not overlap, in a list of their own. */
static uint32_t random_parts(struct rnd *r, struct address_range *out, uint32_t base, uint32_t longest)
{
	uint32_t n = 0;

	for (uint32_t at = rnd_below(r, 40); at < 256 && n < 12; at += 1 + rnd_below(r, 40)) {
		uint32_t last = at + rnd_below(r, longest);

		out[n++] = (struct address_range){base + at, base + (last < 255 ? last : 255)};
		at = last + 1;
	}
	return n;
}

static void random_config(struct rnd *r)
{
	struct config_pool *pool = &config.pools[1];
	struct config_rule *rule = &config.rules[0];

	memset(&config, 0, sizeof config);
	config.net.n_prefixes = 1 + rnd_below(r, 4);
	for (uint32_t i = 0; i < config.net.n_prefixes; i++)
		config.net.prefixes[i] = random_prefix(r, 0x64400000);
	config.n_realms = 1;
	config.realms[0] = (struct config_realm){.name = "a", .vlan = 7, .n_prefixes = 2};
	for (uint32_t i = 0; i < 2; i++)
		config.realms[0].prefixes[i] = random_prefix(r, 0x64400000);
	config.n_pools = 2;
	strcpy(pool->name, "b");
	pool->n_ranges = random_parts(r, pool->ranges, 0xc6336400, 60);
	pool->n_exclude = random_parts(r, pool->exclude, 0xc6336400, 8);
	pool->n_drain = random_parts(r, pool->drain, 0xc6336400, 8);
	config.n_statics = rnd_below(r, 20);
	for (uint32_t i = 0; i < config.n_statics; i++)
		config.statics[i] = (struct config_static){
			.protocol = rnd_one_in(r, 3) ? STATIC_TCP : STATIC_ANY, .nat = 0xc6336400 + rnd_below(r, 256)};
	config.n_rules = 1;
	strcpy(rule->pool, "b");
	strcpy(rule->realm, rnd_one_in(r, 2) ? "a" : "untagged");
	rule->n_inside = rnd_below(r, 4);
	for (uint32_t i = 0; i < rule->n_inside; i++)
		rule->inside[i] = random_prefix(r, 0x64400000);
	rule->ports_per_subscriber = 64;
	config.nat.port_first = 1024;
	config.nat.port_last = 65535;
}

static void rules_deal_to_whom_they_match(void **state)
{
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		struct rnd r = {seed};
		uint32_t n_inside = 0, n_nat = 0, who;
		int err;

		random_config(&r);
		err = deterministic_of_rule(&config, 0, &det);

		const struct config_rule *rule = &config.rules[0];
		bool a = rule->realm[0] == 'a';

		for (uint32_t i = 0x64400000; i <= 0x644000ff; i++) {
			bool is = in_prefixes(a ? config.realms[0].prefixes : config.net.prefixes,
					  a ? 2 : config.net.n_prefixes, i) &&
				  (rule->n_inside == 0 || in_prefixes(rule->inside, rule->n_inside, i));

			n_inside += is;
			CHECK_AT(seed, i, err || is == deterministic_is_subscriber(&det, i));
		}
		for (uint32_t i = 0xc6336400; i <= 0xc63364ff; i++)
			n_nat += gives_ports(&config.pools[1], i);
		CHECK_AT(seed, 0, err == (n_inside && n_nat ? 0 : -EINVAL));
		CHECK_AT(seed, 0, err || (det.subscribers == n_inside && det.addresses == n_nat));
		for (uint32_t i = 0xc6336400; i <= 0xc63364ff && !err; i++)
			CHECK_AT(seed, i,
				gives_ports(&config.pools[1], i) || !deterministic_reverse(&det, i, 1024, &who));
	}
}

static void dealing_rules_are_found(void **state)
{
	uint32_t rules[CONFIG_POOLS_MAX];
	struct config_error err;

	if (!config_load(&config, "tests/config/good/ports.json", &err))
		fail_msg("%s", err.text);
	assert_int_equal(deterministic_rules(&config, rules), 2);
	assert_int_equal(rules[0], 1);
	assert_int_equal(rules[1], 2);
	assert_int_equal(deterministic_of_rule(&config, 1, &det), 0);
	assert_int_equal(det.subscribers, 192);
	assert_int_equal(det.addresses, 6);
	assert_int_equal(det.slices, 32);
	config.rules[0].n_inside = 0; /* now it matches all: nobody gets past it */
	assert_int_equal(deterministic_rules(&config, rules), 0);
	config.n_rules = 0;
	assert_int_equal(deterministic_rules(&config, rules), 0);
	config.nat.ports = PORTS_DETERMINISTIC;
	assert_int_equal(deterministic_rules(&config, rules), 1);
	assert_int_equal(rules[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_7422_a),
		cmocka_unit_test(orders_deal_as_rfc_7422_says),
		cmocka_unit_test(reserved_ports_are_nobodys),
		cmocka_unit_test(impossible_descriptions_are_refused),
		cmocka_unit_test(rules_deal_to_whom_they_match),
		cmocka_unit_test(dealing_rules_are_found),
		cmocka_unit_test(equal_descriptions_give_equal_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
