/* snapshot: rules against the configuration read rule by rule, static mappings, and which addresses give mappings. */
#include "common/options.h"
#include "shm/local_table.h"
#include "shm/snapshot.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

enum { POOL = 0x0b000000, SUBSCRIBERS = 0x0a000000 };

static struct config base(void)
{
	struct config c = {.arena = {.engines = 1, .sessions = 1024, .huge_pages = HUGE_OFF},
		.n_pools = 3,
		.nat = {.udp_timeout_s = 300,
			.tcp_opening_timeout_s = 240,
			.tcp_established_timeout_s = 7440,
			.tcp_closing_timeout_s = 240,
			.icmp_timeout_s = 60,
			.port_first = 1024,
			.port_last = 65535}};

	c.net.n_prefixes = 1;
	c.net.prefixes[0] = (struct prefix){SUBSCRIBERS, 8};
	for (c.n_realms = 0; c.n_realms < 2; c.n_realms++)
		c.realms[c.n_realms] = (struct config_realm){.name = {'r', (char)('1' + c.n_realms)},
			.vlan = (uint16_t)(1 + c.n_realms),
			.prefixes = {{SUBSCRIBERS, 8}},
			.n_prefixes = 1};
	for (uint32_t p = 0; p < c.n_pools; p++) {
		snprintf(c.pools[p].name, sizeof c.pools[p].name, "p%u", p);
		c.pools[p].n_ranges = 1;
		c.pools[p].ranges[0] = (struct address_range){POOL + 16 * p, POOL + 16 * p + 7};
	}
	return c;
}

/* The arena is a new one each time: what an arena keeps from before is test_snapshot's matter. */
static void compile(const struct config *c, struct snapshot *s)
{
	struct arena *a = small_arena(4, 1);
	struct config_error err = {""};

	memset(s, 0xaa, sizeof *s);
	if (!snapshot_compile(a, c, s, &err))
		fail_msg("%s", err.text);
	arena_close(a);
}

/* ---- rules ---- */

struct flow {
	uint16_t realm;
	uint32_t inside, remote;
	enum l4 l4;
	uint16_t port;
};

/* As an engine looks. */
static const struct snapshot_rule *rule_of(const struct snapshot *s, const struct flow *f)
{
	for (uint32_t i = 0; i < s->n_rules; i++) {
		const struct snapshot_rule *r = &s->rules[i];

		if ((f->realm & r->realm_mask) == r->realm && (f->inside & r->inside_mask) == r->inside &&
			(f->remote & r->remote_mask) == r->remote && (r->protocols >> f->l4 & 1) &&
			f->port >= r->port_first && f->port <= r->port_last)
			return r;
	}
	fail_msg("no rule matches");
	return NULL;
}

static bool in_prefixes(const struct prefix *p, uint32_t n, uint32_t host)
{
	for (uint32_t i = 0; i < n; i++)
		if (p[i].len == 0 || (host ^ p[i].addr) >> (32 - p[i].len) == 0)
			return true;
	return n == 0;
}

/* As a person reads the configuration. */
static bool matches(const struct config_rule *r, const struct flow *f)
{
	bool has_ports = f->l4 == L4_TCP || f->l4 == L4_UDP;
	bool names_ports = r->port_first > 0 || r->port_last < 65535;

	if ((r->protocol == RULE_TCP && f->l4 != L4_TCP) || (r->protocol == RULE_UDP && f->l4 != L4_UDP) ||
		(r->protocol == RULE_ICMP && f->l4 != L4_ICMP) || (r->protocol == RULE_OTHER && f->l4 != L4_OTHER))
		return false;
	if (r->action == ACTION_BYPASS || r->realm[0] == 'u' ? f->realm != 0
							     : r->realm[0] == 'r' && f->realm != r->realm[1] - '0')
		return false;
	if (names_ports && (!has_ports || f->port < r->port_first || f->port > r->port_last))
		return false;
	return in_prefixes(r->inside, r->n_inside, f->inside) &&
	       in_prefixes(r->destination, r->n_destination, f->remote);
}

/* Few bits that differ, so that random prefixes meet random addresses. */
static uint32_t random_address(struct rnd *r, uint32_t from)
{
	return from + (rnd_below(r, 4) << 14 | rnd_below(r, 4) << 7 | rnd_below(r, 4));
}

static uint32_t random_prefixes(struct rnd *r, struct prefix *p, uint32_t from)
{
	uint32_t n = rnd_below(r, 4);

	for (uint32_t i = 0; i < n; i++) {
		static const uint8_t lengths[] = {0, 8, 16, 17, 24, 25, 31, 32};

		p[i].len = lengths[rnd_below(r, 8)];
		p[i].addr = p[i].len == 0 ? 0 : random_address(r, from) & UINT32_MAX << (32 - p[i].len);
	}
	return n;
}

static struct config_rule random_rule(struct rnd *r)
{
	struct config_rule rule = {.protocol = rnd_below(r, 5),
		.port_last = UINT16_MAX,
		.action = rnd_below(r, 3),
		.mapping = rnd_below(r, 4),
		.filtering = rnd_below(r, 4),
		.pooling = rnd_below(r, 3),
		.timeout_s = 1000 * rnd_below(r, CONFIG_RULE_TIMEOUTS_MAX + 1)};

	if (rule.mapping == BEHAVIOUR_DEFAULT && rule.filtering == BEHAVIOUR_DEFAULT)
		rule.type = rnd_below(r, 5);
	rule.n_inside = random_prefixes(r, rule.inside, SUBSCRIBERS);
	rule.n_destination = random_prefixes(r, rule.destination, 0xcb007100);
	if (rule.protocol <= RULE_UDP && rnd_below(r, 2)) {
		rule.port_first = (uint16_t)(50 + rnd_below(r, 4));
		rule.port_last = (uint16_t)(rule.port_first + rnd_below(r, 4));
	}
	if (rnd_below(r, 2))
		snprintf(rule.name, sizeof rule.name, "p%u", rnd_below(r, 3));
	memcpy(rule.pool, rule.name, sizeof rule.pool);
	static const char *const realm[] = {"any", "untagged", "r1", "r2"};

	snprintf(rule.realm, sizeof rule.realm, "%s", realm[rnd_below(r, 4)]);
	return rule;
}

static void check_flow(const struct config *c, const struct snapshot *s, const struct flow *f, uint64_t seed)
{
	static const struct config_rule rest = {
		.mapping = BEHAVIOUR_DEFAULT, .filtering = BEHAVIOUR_DEFAULT, .pooling = POOLING_DEFAULT};
	const struct snapshot_rule *is = rule_of(s, f);
	const struct config_rule *want = &rest;
	enum behaviour mapping, filtering;

	for (uint32_t i = 0; i < c->n_rules && want == &rest; i++)
		if (matches(&c->rules[i], f))
			want = &c->rules[i];
	config_rule_behaviour(c, want, &mapping, &filtering);
	CHECK_AT(seed, 0, is->action == want->action);
	CHECK_AT(seed, 1, is->mapping == mapping && mapping != BEHAVIOUR_DEFAULT);
	CHECK_AT(seed, 2, is->filtering == filtering && filtering != BEHAVIOUR_DEFAULT);
	CHECK_AT(seed, 3, is->pooling == (want->pooling == POOLING_DEFAULT ? c->nat.pooling : want->pooling));
	CHECK_AT(seed, 4, is->pool == (want->pool[0] ? (uint8_t)(want->pool[1] - '0') : 0));
	if (want->timeout_s == 0)
		CHECK_AT(seed, 5, is->timeout == N_TIMEOUTS);
	else
		CHECK_AT(seed, 6, is->timeout < N_TIMEOUTS && s->timeout_s[is->timeout] == want->timeout_s);
}

static void test_rules_against_reading(void **state)
{
	struct snapshot *s = malloc(sizeof *s);

	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct rnd r = {seed};
		struct config c = base();

		c.n_rules = rnd_below(&r, 12);
		c.nat.mapping = rnd_below(&r, 3);
		c.nat.filtering = rnd_below(&r, 3);
		c.nat.pooling = rnd_below(&r, 2);
		for (uint32_t i = 0; i < c.n_rules; i++)
			c.rules[i] = random_rule(&r);
		compile(&c, s);
		for (unsigned n = 0; n < 300; n++) {
			struct flow f = {(uint16_t)rnd_below(&r, 4), random_address(&r, SUBSCRIBERS),
				random_address(&r, 0xcb007100), rnd_below(&r, N_L4),
				(uint16_t)(48 + rnd_below(&r, 12))};

			check_flow(&c, s, &f, seed);
		}
	}
	free(s);
}

/* As many as there may be: 511 pairs and the rest; ten idle times. */
static void test_most_rules(void **state)
{
	struct snapshot *s = malloc(sizeof *s);
	struct config c = base();

	c.n_rules = CONFIG_RULES_MAX;
	for (uint32_t i = 0; i < c.n_rules; i++) {
		struct config_rule *r = &c.rules[i];

		*r = (struct config_rule){.port_last = UINT16_MAX, .timeout_s = 200 + i % CONFIG_RULE_TIMEOUTS_MAX};
		r->n_inside = i < 63 ? 8 : 7;
		for (uint32_t p = 0; p < r->n_inside; p++)
			r->inside[p] = (struct prefix){SUBSCRIBERS + 8 * i + p, 32};
	}
	compile(&c, s);
	assert_int_equal(s->n_rules, SNAPSHOT_RULES_MAX);
	for (uint32_t i = 0; i < 511; i++) {
		assert_int_equal(s->rules[i].inside, SUBSCRIBERS + i);
		assert_int_equal(s->timeout_s[s->rules[i].timeout], 200 + i / 8 % CONFIG_RULE_TIMEOUTS_MAX);
	}
	assert_int_equal(s->rules[511].inside_mask | s->rules[511].remote_mask, 0);
	assert_int_equal(s->rules[511].protocols, (1 << N_L4) - 1);
	assert_int_equal(s->rules[511].timeout, N_TIMEOUTS);
	for (unsigned t = TIMEOUT_RULE_FIRST; t < N_TIMEOUTS; t++)
		assert_int_equal(s->timeout_s[t], 200 + t - TIMEOUT_RULE_FIRST);
	free(s);
}

/* Sessions are idle for a time modulo 2^17 s: who waits longer than that waits for ever. Half a day is left for the sweep. */
static void test_idle_times_fit_the_clock(void **state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < option_count; i++)
		if (strstr(options[i].path, "timeout_s") && options[i].max > 60) {
			assert_true(options[i].max + 43200 < 1u << LOCAL_SEEN_BITS);
			n++;
		}
	assert_int_equal(n, TIMEOUT_RULE_FIRST); /* one for each class, OTHER's being UDP's; and rules[].timeout_s */
}

/* ---- addresses ---- */

static void test_addresses_of_pools(void **state)
{
	struct snapshot *s = malloc(sizeof *s);
	struct config c = base();

	c.pools[1].exclude[0] = (struct address_range){POOL + 16, POOL + 17};
	c.pools[1].exclude[1] = (struct address_range){POOL + 20, POOL + 20};
	c.pools[1].n_exclude = 2;
	c.pools[1].drain[0] = (struct address_range){POOL + 18, POOL + 18};
	c.pools[1].n_drain = 1;
	c.n_statics = 2;
	c.statics[0] = (struct config_static){STATIC_ANY, SUBSCRIBERS + 9, POOL + 21, 0, 0, 1, ""};
	c.statics[1] =
		(struct config_static){STATIC_TCP, SUBSCRIBERS + 8, POOL + 23, 80, 80, 1, ""}; /* takes a port only */
	c.pools[2].drain[0] = c.pools[2].ranges[0];
	c.pools[2].n_drain = 1;
	compile(&c, s);

	static const uint32_t second[] = {19, 22, 23, 18, 21};

	assert_int_equal(s->n_pools, 3);
	assert_int_equal(s->pools[0].first, 0);
	assert_int_equal(s->pools[0].n, 8);
	assert_int_equal(s->pools[0].usable, 8);
	assert_int_equal(s->pools[1].first, 8);
	assert_int_equal(s->pools[1].n, 5);
	assert_int_equal(s->pools[1].usable, 3);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(be32_host(s->addresses[8 + i].address), POOL + second[i]);
	assert_int_equal(s->pools[2].first, 13);
	assert_int_equal(s->pools[2].n, 8);
	assert_int_equal(s->pools[2].usable, 0);
	assert_int_equal(s->n_addresses, 21);
	assert_int_equal(s->n_addresses, config_address_count(&c));
	assert_int_equal(s->n_ranges, 4); /* what the XDP program takes: drained and 1:1 ones, but none excluded */
	assert_int_equal(s->ranges[1].first, POOL + 18);
	assert_int_equal(s->ranges[1].last, POOL + 19);
	assert_int_equal(s->ranges[2].first, POOL + 21);
	free(s);
}

/* An address that is drained, or made 1:1, and comes back keeps its port table. */
static void test_port_tables_stay(void **state)
{
	struct arena *a = small_arena(4, 1);
	struct snapshot *s = malloc(sizeof *s);
	struct config_error err = {""};
	struct config c = base();
	uint32_t ports;

	assert_true(snapshot_compile(a, &c, s, &err));
	ports = s->addresses[0].ports;
	for (int way = 0; way < 3; way++) {
		c = base();
		c.n_statics = way == 1;
		c.statics[0] = (struct config_static){STATIC_ANY, SUBSCRIBERS + 9, POOL, 0, 0, 1, ""};
		c.pools[0].n_drain = way == 0;
		c.pools[0].drain[0] = (struct address_range){POOL, POOL};
		assert_true(snapshot_compile(a, &c, s, &err));
		uint32_t at = way == 2 ? 0 : 7;

		assert_int_equal(s->pools[0].usable, way == 2 ? 8 : 7);
		assert_int_equal(be32_host(s->addresses[at].address), POOL);
		assert_int_equal(s->addresses[at].ports, ports);
	}
	free(s);
	arena_close(a);
}

/* ---- static mappings ---- */

static bool in_order(uint64_t a, uint8_t a_l4, uint16_t a_port, uint64_t b, uint8_t b_l4, uint16_t b_port)
{
	return a != b ? a < b : a_l4 != b_l4 ? a_l4 < b_l4 : a_port < b_port;
}

static void check_sorted(const struct snapshot *s)
{
	for (uint32_t i = 1; i < s->n_static; i++) {
		const struct snapshot_static *a = &s->static_by_inside[i - 1], *b = a + 1;

		assert_true(in_order((uint64_t)a->inside << 32 | a->realm, a->l4, a->inside_port,
			(uint64_t)b->inside << 32 | b->realm, b->l4, b->inside_port));
		a = &s->static_by_nat[i - 1];
		b = a + 1;
		assert_true(in_order(a->nat, a->l4, a->nat_port, b->nat, b->l4, b->nat_port));
	}
}

static unsigned count_of(const struct snapshot_static *list, const struct snapshot *s, const struct snapshot_static *x)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s->n_static; i++)
		n += memcmp(&list[i], x, sizeof *x) == 0;
	return n;
}

static void test_statics_are_sorted(void **state)
{
	struct snapshot *s = malloc(sizeof *s);

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rnd r = {seed};
		struct config c = base();

		c.n_statics = seed == 20 ? CONFIG_STATICS_MAX : rnd_below(&r, 100);
		for (uint32_t i = 0; i < c.n_statics; i++) {
			struct config_static *st = &c.statics[i];

			*st = (struct config_static){rnd_below(&r, 2), SUBSCRIBERS + rnd_below(&r, 5),
				POOL + rnd_below(&r, 7), (uint16_t)(1 + i), (uint16_t)(CONFIG_STATICS_MAX - i), 1, ""};
			if (rnd_below(&r, 2))
				snprintf(st->realm, sizeof st->realm, "r2");
		}
		if (c.n_statics > 50)
			c.statics[50] = (struct config_static){STATIC_ANY, SUBSCRIBERS + 5, POOL + 7, 0, 0, 1, ""};
		compile(&c, s);
		assert_int_equal(s->n_static, c.n_statics);
		check_sorted(s);
		for (uint32_t i = 0; i < c.n_statics; i++) {
			const struct config_static *st = &c.statics[i];
			bool whole = st->protocol == STATIC_ANY;
			struct snapshot_static x = {.inside = st->inside,
				.nat = st->nat,
				.inside_port = st->inside_port,
				.nat_port = st->nat_port,
				.ports = whole ? 0 : 1,
				.l4 = whole                        ? N_L4
				      : st->protocol == STATIC_TCP ? L4_TCP
								   : L4_UDP,
				.realm = st->realm[0] ? 2 : 0};

			assert_int_equal(count_of(s->static_by_inside, s, &x), 1);
			assert_int_equal(count_of(s->static_by_nat, s, &x), 1);
		}
	}
	free(s);
}

/* Sessions keep a class's number: commits at random never change what a number in use means, nor leave one without a time. */
static void test_idle_times_keep_their_class(void **state)
{
	struct arena *a = small_arena(4, 1);
	struct snapshot *was = calloc(2, sizeof *was), *is = was + 1;
	struct config_error err = {""};
	struct rnd r = {5};

	for (int step = 0; step < 200; step++) {
		struct config c = base();

		c.n_rules = rnd_below(&r, 8);
		for (uint32_t i = 0; i < c.n_rules; i++)
			c.rules[i] = (struct config_rule){.port_last = UINT16_MAX,
				.mapping = BEHAVIOUR_DEFAULT,
				.filtering = BEHAVIOUR_DEFAULT,
				.pooling = POOLING_DEFAULT,
				.timeout_s = rnd_below(&r, 14) * 100};
		if (!snapshot_compile(a, &c, is, &err))
			fail_msg("%s", err.text);
		for (unsigned class = TIMEOUT_RULE_FIRST; class < N_TIMEOUTS; class ++) {
			bool said = false;

			for (uint32_t i = 0; i < c.n_rules; i++)
				said |= was->timeout_s[class] && c.rules[i].timeout_s == was->timeout_s[class];
			CHECK_AT(5, step, !said || is->timeout_s[class] == was->timeout_s[class]);
			CHECK_AT(5, step, !was->timeout_s[class] || is->timeout_s[class]);
		}
		for (uint32_t i = 0; i + 1 < is->n_rules; i++)
			CHECK_AT(5, step,
				is->rules[i].timeout == N_TIMEOUTS ||
					is->timeout_s[is->rules[i].timeout] == c.rules[i].timeout_s);
		assert_true(snapshot_commit(a, is) > 0);
		memcpy(was, is, sizeof *was);
	}
	free(was);
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_times_keep_their_class),
		cmocka_unit_test(test_rules_against_reading),
		cmocka_unit_test(test_most_rules),
		cmocka_unit_test(test_idle_times_fit_the_clock),
		cmocka_unit_test(test_addresses_of_pools),
		cmocka_unit_test(test_port_tables_stay),
		cmocka_unit_test(test_statics_are_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
