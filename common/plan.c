#include "common/plan.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
	BLOCKS_MAX = 8,
	BLOCK_MIN = 16,
	QUEUE_MAX = 65536 / BLOCK_MIN, /* blocks of an address */
	GRID = 600,                    /* points of an integral over subscribers' means */
	EVENTS = 2,                    /* begin and end */
	DAY_S = 86400,
};

#define TINY 1e-18   /* of a sum: what adds nothing */
#define LEAST 1e-290 /* below, a product may round to itself for ever */

const char *plan_check(const struct plan_input *in)
{
	if (!(in->subscribers >= 1 && in->subscribers <= 1e9))
		return "subscribers: give 1 to 1000000000";
	if (!(in->sessions > 0 && in->sessions * in->peak <= 20000))
		return "sessions per subscriber: give more than 0 and, with the peak, at most 20000";
	if (!(in->peak >= 1 && in->peak <= 100))
		return "peak: give the busy hour over the day's mean, 1 to 100";
	if (!(in->dispersion >= 0.05 && in->dispersion <= 1000))
		return "dispersion: give 0.05 (few use almost all) to 1000 (all alike)";
	if (!(in->lifetime_s >= 1 && in->lifetime_s <= 86400))
		return "lifetime: give 1 to 86400 seconds";
	if (!(in->hold_s >= 0 && in->hold_s <= 3600))
		return "hold: give 0 to 3600 seconds";
	if (!(in->hold_share >= 0 && in->hold_share <= 1))
		return "hold percent: give 0 to 100";
	if (in->ports_per_address < BLOCK_MIN || in->ports_per_address > 65535)
		return "ports per address: give 16 to 65535";
	if (in->blocks_max < 1 || in->blocks_max > BLOCKS_MAX)
		return "blocks per subscriber: give 1 to 8";
	if (!(in->target > 0 && in->target < 1))
		return "target: give a probability between 0 and 1";
	if (!(in->addresses >= 0 && in->addresses <= 1e6))
		return "addresses: give up to 1000000, or none to have them computed";
	return NULL;
}

/* ---- ports of one subscriber ---- */

/* lgamma sets a global sign, which two threads would share. */
static double log_gamma(double x)
{
	int sign;

	return lgamma_r(x, &sign);
}

static double log_probability(double mean, double k, double n)
{
	double theta = mean / k;

	return log_gamma(n + k) - log_gamma(k) - log_gamma(n + 1) - k * log1p(theta) + n * (log(theta) - log1p(theta));
}

double plan_probability(double mean, double k, double n)
{
	return exp(log_probability(mean, k, n));
}

/* Sums the smaller side, each term from its neighbour: P(i+1) = P(i) (i + k) / (i + 1) * theta / (1 + theta). */
double plan_above(double mean, double k, double n)
{
	double q = mean / k / (1 + mean / k), p, sum = 0;

	if (n < 0)
		return 1;
	if (n < mean) {
		p = plan_probability(mean, k, n);
		for (double i = n; i >= 0 && p > TINY * sum; i--) {
			sum += p;
			if (i > 0)
				p *= i / ((i - 1 + k) * q);
		}
		return sum < 1 ? 1 - sum : 0;
	}
	p = plan_probability(mean, k, n + 1);
	for (double i = n + 1; p > TINY * sum && p > LEAST; i++) {
		sum += p;
		p *= (i + k) / (i + 1) * q;
	}
	return sum;
}

/* Of `load` erlangs offered to `n` ports (Erlang 1917). */
static double erlang_loss(double load, unsigned n)
{
	double inverse = 1; /* of the loss; it grows without bound where the loss vanishes */

	for (unsigned i = 1; i <= n && inverse < 1e300; i++)
		inverse = 1 + inverse * i / load;
	return inverse < 1e300 ? 1 / inverse : 0;
}

/* Over subscribers' means a, which are gamma distributed: the integral of a loss(a) f(a) da, on a logarithmic scale,
 * where the integrand is smooth also for shapes below 1. */
double plan_lost(double mean, double k, unsigned most)
{
	double theta = mean / k, low = log(mean) - fmin(14, 25 / sqrt(k)),
	       high = log(mean) + log1p(60 / k + 20 / sqrt(k));
	double step = (high - low) / GRID, sum = 0;

	for (int i = 0; i <= GRID; i++) {
		double a = exp(low + i * step);
		double density = exp(k * log(a / theta) - a / theta - log_gamma(k)); /* of log a */

		sum += a * erlang_loss(a, most) * density * (i == 0 || i == GRID ? 0.5 : 1);
	}
	return sum * step / mean;
}

/* In state n new ports come at rate a/lifetime; over all a: E[a P(n|a)] = (n + 1) P(n + 1). The first block is needed
 * anew only after no port for hold_s: E[a e^-a e^-(a hold/lifetime)], a gamma integral. */
double plan_block_rate(
	double mean, double k, double lifetime_s, double hold_s, unsigned block_size, unsigned blocks_max)
{
	double theta = mean / k, rate = mean * pow(1 + theta * (1 + hold_s / lifetime_s), -k - 1);

	for (unsigned j = 1; j < blocks_max; j++) {
		double n = (double)j * block_size;

		rate += (n + 1) * plan_probability(mean, k, n + 1);
	}
	return rate / lifetime_s;
}

/* P(a subscriber has i blocks or more, also one that rests), for i = 0..blocks_max. */
static void blocks_at_least(const struct plan_input *in, unsigned block_size, double out[BLOCKS_MAX + 1])
{
	double m = in->sessions * in->peak, k = in->dispersion, rest = in->hold_s / in->lifetime_s;

	out[0] = 1;
	out[1] = 1 - pow(1 + m / k * (1 + rest), -k);
	for (unsigned i = 2; i <= in->blocks_max; i++) {
		double n = (double)(i - 1) * block_size;
		double had = plan_above(m, k, n) + (n + 1) * plan_probability(m, k, n + 1) * rest;

		out[i] = fmin(had, out[i - 1]);
	}
}

/* ---- all subscribers of an address ---- */

/* Blocks needed together by the subscribers of an address: P(D = 0..n). */
struct demand {
	double p[QUEUE_MAX + 1];
	unsigned n;
};

/* Products of distributions, cut off above n: all terms are positive, nothing cancels. */
static void multiply(struct demand *to, const struct demand *by)
{
	static _Thread_local double sum[QUEUE_MAX + 1];

	memset(sum, 0, (to->n + 1) * sizeof sum[0]);
	for (unsigned i = 0; i <= to->n; i++)
		for (unsigned j = 0; to->p[i] > 0 && j <= to->n - i; j++)
			sum[i + j] += to->p[i] * by->p[j];
	memcpy(to->p, sum, (to->n + 1) * sizeof sum[0]);
}

static void add_up(const double one[BLOCKS_MAX + 1], unsigned blocks_max, double subscribers, struct demand *total)
{
	struct demand *power = calloc(1, sizeof *power);

	if (!power)
		abort();
	power->n = total->n;
	for (unsigned i = 0; i <= blocks_max && i <= total->n; i++)
		power->p[i] = one[i];
	memset(total->p, 0, sizeof total->p);
	total->p[0] = 1;
	for (unsigned long n = (unsigned long)subscribers; n > 0; n >>= 1) {
		if (n & 1)
			multiply(total, power);
		if (n > 1)
			multiply(power, power);
	}
	free(power);
}

/* P(D > blocks) and E[D - blocks, if positive]. */
static double beyond_blocks(
	const double one[BLOCKS_MAX + 1], unsigned blocks_max, unsigned blocks, double subscribers, double *excess)
{
	struct demand *d = calloc(1, sizeof *d);
	double within = 0, mean_within = 0, mean = 0;

	if (!d)
		abort();
	d->n = blocks;
	add_up(one, blocks_max, subscribers, d);
	for (unsigned i = 0; i <= blocks; i++) {
		within += d->p[i];
		mean_within += i * d->p[i];
	}
	free(d);
	for (unsigned i = 1; i <= blocks_max; i++)
		mean += i * one[i] * subscribers;
	within = fmin(within, 1);
	*excess = fmax(mean - mean_within - blocks * (1 - within), 0);
	return 1 - within;
}

/* Ports of all of them, negative binomial again: shapes add up. */
static double beyond_ports(const struct plan_input *in, double ports, double subscribers)
{
	return plan_above(in->sessions * in->peak * subscribers, in->dispersion * subscribers, ports);
}

/* What of an address is used when each port rests for a while after use, but only a share of all may rest. */
static double ports_to_use(const struct plan_input *in)
{
	double ports = in->ports_per_address;

	return floor(fmax(ports / (1 + in->hold_s / in->lifetime_s), ports * (1 - in->hold_share)));
}

/* The address of a row, or of one that is tried. */
struct address {
	const struct plan_input *in;
	double one[BLOCKS_MAX + 1]; /* P(a subscriber has i blocks) */
	unsigned blocks;            /* 0: ports one by one */
	double ports;
};

static double runs_out(const struct address *a, double subscribers)
{
	double excess;

	return a->blocks ? beyond_blocks(a->one, a->in->blocks_max, a->blocks, subscribers, &excess)
			 : beyond_ports(a->in, a->ports, subscribers);
}

/* The most subscribers with which an address keeps to the target; 0 when one is too many. */
static double most_subscribers(const struct address *a)
{
	double low = 0, high = 1;

	while (high < a->in->subscribers && runs_out(a, high) <= a->in->target) {
		low = high;
		high *= 2;
	}
	if (high >= a->in->subscribers) {
		high = a->in->subscribers;
		if (runs_out(a, high) <= a->in->target)
			return high;
	}
	while (high - low > 1) {
		double mid = floor((low + high) / 2);

		*(runs_out(a, mid) <= a->in->target ? &low : &high) = mid;
	}
	return low;
}

static void share_out(const struct address *a, struct plan_row *row)
{
	double n = most_subscribers(a), total = a->in->subscribers;

	row->addresses = a->in->addresses > 0 ? a->in->addresses : ceil(total / fmax(n, 1));
	row->per_address = ceil(total / row->addresses);
	row->runs_out = runs_out(a, row->per_address);
	row->any_runs_out = -expm1(row->addresses * log1p(-fmin(row->runs_out, 1 - 1e-16)));
}

/* ---- rows ---- */

static double sessions_per_day(const struct plan_input *in)
{
	return in->subscribers * in->sessions / in->lifetime_s * DAY_S;
}

static void subscriber_limit(const struct plan_input *in, unsigned most, struct plan_row *row)
{
	double m = in->sessions * in->peak;

	row->most = most;
	row->beyond = plan_above(m, in->dispersion, most);
	row->refused_limit = plan_lost(m, in->dispersion, most);
}

void plan_blocks(const struct plan_input *in, unsigned block_size, struct plan_row *row)
{
	struct address a = {.in = in, .blocks = in->ports_per_address / block_size};
	double least[BLOCKS_MAX + 2] = {0}, excess;

	assert(block_size >= BLOCK_MIN && block_size <= in->ports_per_address);
	*row = (struct plan_row){.mode = PLAN_BLOCKS, .ports = block_size};
	blocks_at_least(in, block_size, least);
	for (unsigned i = 0; i <= in->blocks_max; i++)
		a.one[i] = least[i] - (i < in->blocks_max ? least[i + 1] : 0);
	for (unsigned i = 1; i <= in->blocks_max; i++)
		row->blocks += least[i];
	subscriber_limit(in, block_size * in->blocks_max, row);
	share_out(&a, row);
	beyond_blocks(a.one, in->blocks_max, a.blocks, row->per_address, &excess);
	row->refused_pool = excess / (row->blocks * row->per_address);
	row->log_per_day =
		EVENTS * DAY_S * in->subscribers *
		plan_block_rate(in->sessions, in->dispersion, in->lifetime_s, in->hold_s, block_size, in->blocks_max);
}

void plan_deterministic(const struct plan_input *in, unsigned ports, struct plan_row *row)
{
	double per_address = floor((double)in->ports_per_address / ports);

	assert(ports > 0 && ports <= in->ports_per_address);
	*row = (struct plan_row){.mode = PLAN_DETERMINISTIC, .ports = ports, .blocks = 1};
	subscriber_limit(in, ports, row);
	row->addresses = ceil(in->subscribers / per_address);
	row->per_address = fmin(per_address, in->subscribers);
	if (in->addresses > 0 && in->addresses < row->addresses) { /* who has no place is refused */
		row->refused_pool = 1 - in->addresses * per_address / in->subscribers;
		row->addresses = in->addresses;
		row->runs_out = row->any_runs_out = 1;
	}
}

void plan_sessions(const struct plan_input *in, struct plan_row *row)
{
	struct address a = {.in = in, .ports = ports_to_use(in)};
	double m = in->sessions * in->peak;

	*row = (struct plan_row){.mode = PLAN_SESSIONS};
	subscriber_limit(in, (unsigned)a.ports, row);
	share_out(&a, row);
	row->refused_pool = plan_lost(m * row->per_address, in->dispersion * row->per_address, (unsigned)a.ports);
	row->log_per_day = EVENTS * sessions_per_day(in);
}
