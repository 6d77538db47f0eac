/* plan: the formulas against a simulation of what they are about (Monte Carlo, seeded). */
#include "common/plan.h"
#include "tests/unit/rnd.h"

#include <math.h>
#include <stdlib.h>

/* ---- chance ---- */

static double uniform(struct rnd *r)
{
	return ((double)(rnd_next(r) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(struct rnd *r)
{
	return -log(uniform(r));
}

static double normal(struct rnd *r)
{
	return sqrt(2 * exponential(r)) * cos(6.283185307179586 * uniform(r));
}

/* Marsaglia and Tsang 2000; shapes below 1 by the usual power of a uniform number. */
static double gamma_of(struct rnd *r, double shape)
{
	double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * d);

	for (;;) {
		double x = normal(r), v = pow(1 + c * x, 3);

		if (v > 0 && log(uniform(r)) < 0.5 * x * x + d - d * v + d * log(v))
			return d * v * (shape < 1 ? pow(uniform(r), 1 / shape) : 1);
	}
}

/* Arrivals of a unit stream within `mean`. */
static unsigned poisson(struct rnd *r, double mean)
{
	unsigned n = 0;

	for (double t = exponential(r); t < mean; t += exponential(r))
		n++;
	return n;
}

static unsigned ports_in_use(struct rnd *r, double mean, double k)
{
	return poisson(r, gamma_of(r, k) * mean / k);
}

/* `got` of `n` trials against probability p: within five standard deviations. */
static void assert_share(const char *what, double got, double n, double p)
{
	double slack = 5 * sqrt(p * (1 - p) / n) + 1 / n;

	if (fabs(got / n - p) > slack)
		fail_msg("%s: simulated %g, computed %g, slack %g", what, got / n, p, slack);
}

/* ---- one subscriber ---- */

static const struct {
	double mean, dispersion;
} spreads[] = {{4, 0.3}, {20, 1}, {60, 0.5}, {100, 20}, {0.5, 0.05}, {30, 1000}};
enum { N_SPREADS = sizeof spreads / sizeof spreads[0] };

static void ports_in_use_are_spread_as_computed(void **state)
{
	struct rnd r = {1};

	for (unsigned s = 0; s < N_SPREADS; s++) {
		double m = spreads[s].mean, k = spreads[s].dispersion, sum = 0, mean = 0;
		static unsigned x[40000];
		enum { N = 40000 };

		for (unsigned i = 0; i < N; i++)
			x[i] = ports_in_use(&r, m, k);
		for (double n = 0; n < 60 * m / k + 60 * m + 100; n++) {
			double p = plan_probability(m, k, n);

			sum += p;
			mean += n * p;
			if (fabs(plan_above(m, k, n) - (1 - sum)) > 1e-8)
				fail_msg("mean %g, above %g: %g, not %g", m, n, plan_above(m, k, n), 1 - sum);
		}
		assert_true(fabs(sum - 1) < 1e-8 && fabs(mean / m - 1) < 1e-6);
		for (double n = 0; n <= 4 * m; n += ceil(m / 2)) {
			unsigned above = 0;

			for (unsigned i = 0; i < N; i++)
				above += x[i] > n;
			assert_share("above", above, N, plan_above(m, k, n));
		}
	}
}

/* Far out, where a difference from 1 would be nothing but rounding: by the ratio of neighbours. */
static void tails_are_exact(void **state)
{
	double p = 0, m = 20, k = 1; /* geometric: P(X > n) = (m / (m + 1))^(n + 1) */

	for (double n = 10; n < 10000; n *= 1.7) {
		n = floor(n);
		p = plan_above(m, k, n);
		assert_true(fabs(p / pow(m / (m + 1), n + 1) - 1) < 1e-9);
	}
	assert_true(p < 1e-150);
}

/* ---- a subscriber over time ---- */

struct life {
	double lost, offered;      /* ports */
	double blocks_taken, time; /* lifetimes */
	double had[4];             /* time with 1, 2, 3 blocks or more */
};

enum { SETTLE = 12, WATCH = 40 }; /* lifetimes: until the beginning is forgotten, and then */

static void spend(struct life *l, unsigned blocks, double from, double to)
{
	from = fmax(from, SETTLE);
	to = fmin(to, SETTLE + WATCH);
	for (unsigned i = 1; i <= blocks && i < 4 && to > from; i++)
		l->had[i] += to - from;
}

static bool watched(double now)
{
	return now >= SETTLE && now < SETTLE + WATCH;
}

/* A port comes or goes. Returns whether a block fell empty. */
static bool step(struct rnd *r, double a, unsigned most, unsigned size, unsigned max, bool count, unsigned *x,
	unsigned *blocks, struct life *l)
{
	if (uniform(r) * (a + *x) >= a) {
		--*x;
		return (*x + size) / size == *blocks && (*x + size - 1) / size < *blocks;
	}
	l->offered += count;
	if (*x == most) {
		l->lost += count;
		return false;
	}
	++*x;
	if ((*x + size - 1) / size > *blocks && *blocks < max) {
		++*blocks;
		l->blocks_taken += count;
	}
	return false;
}

/* A limit of `most` ports, blocks of `size` that rest for `hold`; time in lifetimes. Older blocks are filled first. */
static void live(struct rnd *r, double a, unsigned most, unsigned size, unsigned max, double hold, struct life *l)
{
	unsigned x = 0, blocks = 0;
	double now = 0, spare_since = 0;

	while (now < SETTLE + WATCH) {
		double next = now + exponential(r) / (a + x), back = spare_since + hold;
		bool rested = blocks > (x + size - 1) / size && back < next;

		spend(l, blocks, now, rested ? back : next);
		now = rested ? back : next; /* what was to come is memoryless */
		if (rested)
			blocks--;
		if (rested || step(r, a, most, size, max, watched(now), &x, &blocks, l))
			spare_since = now; /* several that rest wait in turn */
	}
	l->time += WATCH;
}

static struct life live_all(struct rnd *r, double m, double k, unsigned most, unsigned size, unsigned max, double hold,
	unsigned subscribers)
{
	struct life l = {0};

	for (unsigned i = 0; i < subscribers; i++) {
		double a = gamma_of(r, k) * m / k;

		if (a > 1e-9)
			live(r, a, most, size, max, hold, &l);
		else
			l.time += WATCH;
	}
	return l;
}

static void assert_near(const char *what, double got, double expect, double slack)
{
	if (fabs(got / expect - 1) > slack)
		fail_msg("%s: simulated %g, computed %g", what, got, expect);
}

static void limits_refuse_as_computed(void **state)
{
	struct rnd r = {2};
	static const struct {
		double mean, dispersion;
		unsigned most;
	} cases[] = {{8, 1, 16}, {8, 0.3, 32}, {20, 5, 24}, {30, 1000, 32}};

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct life l = live_all(&r, cases[i].mean, cases[i].dispersion, cases[i].most, 1 << 20, 1, 0, 3000);

		assert_near(
			"lost", l.lost / l.offered, plan_lost(cases[i].mean, cases[i].dispersion, cases[i].most), 0.12);
	}
}

/* Without rest, and for the first block with any, rate and share of time are exact. */
static void blocks_come_and_go_as_computed(void **state)
{
	struct rnd r = {3};

	for (unsigned hold = 0; hold <= 3; hold++) {
		double m = 3, k = 0.7;
		struct life l = live_all(&r, m, k, 1 << 20, 1 << 20, 1, hold, 4000);

		assert_near("first block", l.blocks_taken / l.time, plan_block_rate(m, k, 1, hold, 1 << 20, 1), 0.06);
		assert_near("with it", l.had[1] / l.time, 1 - pow(1 + m / k * (1 + hold), -k), 0.06);
	}
	struct life l = live_all(&r, 12, 1, 1 << 20, 8, 3, 0, 4000);

	assert_near("three blocks", l.blocks_taken / l.time, plan_block_rate(12, 1, 1, 0, 8, 3), 0.06);
	assert_near("second", l.had[2] / l.time, plan_above(12, 1, 8), 0.08);
	assert_near("third", l.had[3] / l.time, plan_above(12, 1, 16), 0.08);
}

static struct plan_input input(void)
{
	return (struct plan_input){.subscribers = 1000,
		.sessions = 12,
		.peak = 1,
		.dispersion = 1,
		.lifetime_s = 100,
		.hold_s = 0,
		.hold_share = 0.5,
		.ports_per_address = 1024,
		.blocks_max = 3,
		.target = 0.001};
}

/* Blocks that rest: more than simulated rather than less, and never fewer than without. */
static void rest_is_bounded_from_above(void **state)
{
	struct rnd r = {4};
	struct plan_input in = input();
	struct plan_row row, without;

	plan_blocks(&in, 16, &without);
	for (unsigned hold = 1; hold <= 3; hold++) {
		struct life l = live_all(&r, 12, 1, 48, 16, 3, hold, 1500);
		double simulated = (l.had[1] + l.had[2] + l.had[3]) / l.time;

		in.hold_s = 100 * hold;
		plan_blocks(&in, 16, &row);
		if (row.blocks < simulated * 0.97 || row.blocks < without.blocks || row.blocks > 3)
			fail_msg("hold %u: simulated %g, computed %g", hold, simulated, row.blocks);
	}
}

/* ---- an address ---- */

static void addresses_run_out_as_computed(void **state)
{
	struct rnd r = {5};

	for (unsigned n = 40; n <= 60; n += 5) {
		struct plan_input in = input();
		struct plan_row row;
		double out = 0, refused = 0, asked = 0;
		enum { TRIALS = 20000 };

		in.subscribers = n;
		in.addresses = 1;
		plan_blocks(&in, 16, &row);
		assert_true(row.per_address == n);
		for (unsigned t = 0; t < TRIALS; t++) {
			unsigned blocks = 0;

			for (unsigned i = 0; i < n; i++) {
				unsigned need = (ports_in_use(&r, 12, 1) + 15) / 16;

				blocks += need < 3 ? need : 3;
			}
			out += blocks > 64;
			refused += blocks > 64 ? blocks - 64 : 0;
			asked += blocks;
		}
		assert_share("runs out", out, TRIALS, row.runs_out);
		assert_true(fabs(refused / asked - row.refused_pool) < 0.1 * row.refused_pool + 1e-4);
	}
}

static void ports_one_by_one_run_out_as_computed(void **state)
{
	struct rnd r = {6};
	struct plan_input in = input();
	struct plan_row row;
	double out = 0;
	enum { TRIALS = 4000, N = 78 };

	in.subscribers = N;
	in.addresses = 1;
	plan_sessions(&in, &row);
	for (unsigned t = 0; t < TRIALS; t++) {
		unsigned ports = 0;

		for (unsigned i = 0; i < N; i++)
			ports += ports_in_use(&r, 12, 1);
		out += ports > 1024;
	}
	assert_share("runs out", out, TRIALS, row.runs_out);
	in.hold_s = 100; /* each port rests as long as it is used: half of them are to be used */
	in.hold_share = 1;
	plan_sessions(&in, &row);
	assert_true(row.most == 512);
	in.hold_share = 0.25;
	plan_sessions(&in, &row);
	assert_true(row.most == 768);
}

/* As few addresses as keep to the target: with one subscriber more on an address it would be missed. */
static void the_target_is_just_met(void **state)
{
	for (unsigned size = 16; size <= 512; size *= 2) {
		struct plan_input in = input(), more;
		struct plan_row row, over;

		in.subscribers = 100000;
		in.ports_per_address = 64512;
		plan_blocks(&in, size, &row);
		assert_true(row.runs_out <= in.target && row.refused_pool <= row.runs_out);
		assert_true(row.addresses * row.per_address >= in.subscribers);
		more = in;
		more.addresses = row.addresses - 1;
		plan_blocks(&more, size, &over);
		assert_true(over.runs_out >= row.runs_out);
		more.addresses = floor(row.addresses * 0.97);
		plan_blocks(&more, size, &over);
		assert_true(over.runs_out > in.target);
	}
}

static void deterministic_is_division(void **state)
{
	struct plan_input in = input();
	struct plan_row row;

	in.subscribers = 4096;
	in.ports_per_address = 64512;
	plan_deterministic(&in, 512, &row);
	assert_true(row.addresses == 33 && row.per_address == 126 && row.log_per_day == 0);
	assert_true(row.beyond == plan_above(12, 1, 512));
	in.addresses = 16;
	plan_deterministic(&in, 512, &row);
	assert_true(fabs(row.refused_pool - (1 - 16 * 126 / 4096.0)) < 1e-12);
}

static void nonsense_is_refused(void **state)
{
	struct plan_input good = input(), in;

	assert_null(plan_check(&good));
	in = good, in.subscribers = 0;
	assert_non_null(plan_check(&in));
	in = good, in.sessions = NAN;
	assert_non_null(plan_check(&in));
	in = good, in.peak = 0.5;
	assert_non_null(plan_check(&in));
	in = good, in.dispersion = 0;
	assert_non_null(plan_check(&in));
	in = good, in.blocks_max = 9;
	assert_non_null(plan_check(&in));
	in = good, in.target = 1;
	assert_non_null(plan_check(&in));
	in = good, in.ports_per_address = 65536;
	assert_non_null(plan_check(&in));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_in_use_are_spread_as_computed),
		cmocka_unit_test(tails_are_exact),
		cmocka_unit_test(limits_refuse_as_computed),
		cmocka_unit_test(blocks_come_and_go_as_computed),
		cmocka_unit_test(rest_is_bounded_from_above),
		cmocka_unit_test(addresses_run_out_as_computed),
		cmocka_unit_test(ports_one_by_one_run_out_as_computed),
		cmocka_unit_test(the_target_is_just_met),
		cmocka_unit_test(deterministic_is_division),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
