/* bench_home: what the choice of ports gives and costs, by itself: engines in turn at the ports of one NAT address.
 *
 * Prints:  bench home.KEY      of flows with ports of their own, the least share whose replies come home while the address is
 *                              filled to 80 %, over table sizes and numbers of engines
 *          bench home.in_use   ports in use when the first engine is refused, the engines wanting very unevenly
 *          bench home.cost     cycles to take a port and give it back at 99 % in use ÷ when empty, and by the number of engines
 * Keys: what drivers give NICs when nobody says otherwise.
 */
#include "common/args.h"
#include "common/log.h"
#include "shm/port_view.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

enum { PORTS = 65536 - LOW_PORTS, STEADY = 20000, ROUNDS = 5 };

static const struct key {
	const char *name;
	uint16_t size;
	uint8_t bytes[RSS_KEY_SIZE];
} keys[] = {
	{"microsoft", 40,
		{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
			0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a,
			0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa}},
	{"mlx5", 40,
		{0x2c, 0xc6, 0x81, 0xd1, 0x5b, 0xdb, 0xf4, 0xf7, 0xfc, 0xa2, 0x83, 0x19, 0xdb, 0x1a, 0x3e, 0x94, 0x6b,
			0x9e, 0x38, 0xd9, 0x2c, 0x9c, 0x03, 0xd1, 0xad, 0x99, 0x44, 0xa7, 0xd9, 0x56, 0x3d, 0x59, 0x06,
			0x3c, 0x25, 0xf3, 0xfc, 0x1f, 0xdc, 0x2a}},
	{"i40e", 52,
		{0x44, 0x39, 0x79, 0x6b, 0xb5, 0x4c, 0x50, 0x23, 0xb6, 0x75, 0xea, 0x5b, 0x12, 0x4f, 0x9f, 0x30, 0xb8,
			0xa2, 0xc0, 0x3d, 0xdf, 0xdc, 0x4d, 0x02, 0xa0, 0x8c, 0x9b, 0x33, 0x4a, 0xf6, 0x4a, 0x4c, 0x05,
			0xc6, 0xfa, 0x34, 0x39, 0x58, 0xd8, 0x55, 0x7d, 0x99, 0x58, 0x3a, 0xe1, 0x38, 0xc9, 0x2e, 0x81,
			0x15, 0x03, 0x66}},
	{"symmetric", 40,
		{0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d,
			0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d,
			0x5a, 0x6d, 0x5a, 0x6d, 0x5a, 0x6d, 0x5a}},
};
enum { N_KEYS = sizeof keys / sizeof keys[0] };

/* ---- engines at one address ---- */

struct rig {
	unsigned engines;
	struct steering steering;
	struct port_table *table;
	struct port_rules *rules;
	struct port_view *view;
	uint64_t random;
};

static void *room(size_t size)
{
	void *p = aligned_alloc(CACHE_LINE, (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

	if (!p)
		abort();
	memset(p, 0, size);
	return p;
}

static uint32_t draw(struct rig *r)
{
	r->random = r->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(r->random >> 32);
}

static void allow_all(struct port_rules *rules)
{
	for (unsigned chunk = 0; chunk < ORDER_CHUNKS; chunk++)
		for (unsigned place = 0; place < CHUNK_PORTS; place++)
			if (port_of_place(&rules->order, (struct port_place){(uint16_t)chunk, (uint8_t)place}) >=
				LOW_PORTS)
				rules->allowed[chunk] |= (uint16_t)(1u << place);
}

static struct rig *rig_open(const struct key *key, uint32_t table_len, unsigned engines)
{
	struct rss rss = {.mode = RSS_TOEPLITZ, .key_size = key->size, .table_len = (uint16_t)table_len};
	struct rig *r = room(sizeof *r);

	memcpy(rss.key, key->bytes, sizeof rss.key);
	for (unsigned i = 0; i < table_len; i++)
		rss.table[i] = (uint8_t)(i % engines);
	r->engines = engines;
	r->random = table_len + engines;
	steering_init(&r->steering, &rss, engines);
	r->table = room(sizeof *r->table);
	port_order_shuffle(&r->table->basis, &rss);
	memset((void *)r->table->unheld, 0xff, sizeof r->table->unheld);
	r->rules = room(engines * sizeof *r->rules);
	r->view = room(engines * sizeof *r->view);
	for (unsigned e = 0; e < engines; e++) {
		struct port_rules *rules = &r->rules[e];

		port_order_of(&rules->order, &r->table->basis);
		port_homes_of(&rules->homes, &rules->order, &r->steering, e);
		allow_all(rules);
		rules->engines = engines;
		rules->engine = e;
		rules->version = 1;
		port_deal(rules, 50);
		port_view_make(&r->view[e], r->table, 1, rules, 0);
	}
	return r;
}

static void rig_close(struct rig *r)
{
	free(r->view);
	free(r->rules);
	free(r->table);
	free(r);
}

/* A port for a new flow of engine `e`; whether its replies come home to that. */
static int take(struct rig *r, unsigned e, bool *home)
{
	static _Atomic uint64_t intent;
	static const be32_t nat = {0x016433c6};
	be32_t remote = {draw(r)};
	be16_t port = {(uint16_t)draw(r)};
	struct port_wish w = {.draw = draw(r),
		.hash = toeplitz_tuple(&r->steering.hash, remote, nat, port, (be16_t){0}),
		.odd = -1,
		.by_port = true};
	int got = port_view_take(&r->view[e], r->table, &r->rules[e], NULL, PORTS_TCP, &w, (mono_t){1}, &intent);

	if (home)
		*home = got >= 0 &&
			steering_engine(&r->steering, IPPROTO_TCP, remote, nat, port, be16_of((uint16_t)got)) == e;
	return got;
}

/* ---- the share that comes home ---- */

static double home_share(const struct key *key, uint32_t table_len, unsigned engines)
{
	struct rig *r = rig_open(key, table_len, engines);
	uint32_t want = PORTS / 10 * 8, n = 0;

	for (uint32_t i = 0; i < want; i++) {
		bool home;

		take(r, draw(r) % engines, &home);
		n += home;
	}
	rig_close(r);
	return n * 100.0 / want;
}

static void print_home(const struct key *key)
{
	double least = 100, sum = 0;
	unsigned runs = 0, least_engines = 0, least_len = 0;

	for (unsigned engines = 2; engines <= 64; engines *= 2)
		for (uint32_t len = 64; len <= RSS_TABLE_MAX; len *= 2) {
			double share = home_share(key, len, engines);

			sum += share;
			runs++;
			if (share < least) {
				least = share;
				least_engines = engines;
				least_len = len;
			}
		}
	printf("bench home.%s value=%.2f unit=percent goal=90 mean=%.2f runs=%u least_engines=%u least_table=%u "
	       "filled=80 "
	       "source=count\n",
		key->name, least, sum / runs, runs, least_engines, least_len);
}

/* ---- in use at the first refusal ---- */

static void print_in_use(void)
{
	double least = 100;

	for (unsigned engines = 2; engines <= 64; engines *= 2) {
		struct rig *r = rig_open(&keys[0], 128, engines);
		uint32_t n = 0;

		while (take(r, draw(r) % 50 ? 0 : draw(r) % engines, NULL) >= 0)
			n++;
		least = n * 100.0 / PORTS < least ? n * 100.0 / PORTS : least;
		rig_close(r);
	}
	printf("bench home.in_use value=%.2f unit=percent goal=99 wants=98%%_by_one_engine source=count\n", least);
}

/* ---- cost ---- */

static int by_value(const void *x, const void *y)
{
	const double *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

/* Cycles for a port taken and given back, with that share of the ports in use. */
static double cost(unsigned engines, double filled)
{
	struct rig *r = rig_open(&keys[0], 128, engines);
	double round[ROUNDS];

	for (uint32_t i = 0; i < (uint32_t)(PORTS * filled); i++)
		take(r, i % engines, NULL);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t begin = __rdtsc();

		for (uint32_t n = 0; n < STEADY; n++) {
			unsigned e = n % engines;
			int port = take(r, e, NULL);

			if (port >= 0)
				port_view_put(&r->view[e], r->table, &r->rules[e], PORTS_TCP, (uint16_t)port, false, 0);
		}
		round[i] = (double)(__rdtsc() - begin) / STEADY;
	}
	qsort(round, ROUNDS, sizeof round[0], by_value);
	rig_close(r);
	return round[ROUNDS / 2];
}

static void print_cost(void)
{
	static const unsigned engines[] = {1, 2, 8, 64};

	for (unsigned i = 0; i < sizeof engines / sizeof engines[0]; i++) {
		double empty = cost(engines[i], 0), half = cost(engines[i], 0.5), full = cost(engines[i], 0.99);

		printf("bench home.cost_%u value=%.2f unit=ratio goal=2 empty=%.0f at_50=%.0f at_99=%.0f engines=%u "
		       "source=tsc\n",
			engines[i], full / empty, empty, half, full, engines[i]);
	}
}

int main(int argc, char **argv)
{
	unsigned cpu = 0;
	const struct arg args[] = {{"cpu", "N", "run on this CPU alone", .number = &cpu, .max = 1023}, {0}};
	int status = args_parse(argc, argv, "bench_home", "what the choice of ports gives and costs", args, NULL);
	cpu_set_t set;

	if (status != ARGS_RUN)
		return status;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
	for (unsigned i = 0; i < N_KEYS; i++)
		print_home(&keys[i]);
	print_in_use();
	print_cost();
	return 0;
}
