/* bench_subscribers: what accounting for subscribers costs.
 *
 * Prints:  bench quota.warm, quota.cold   cycles to take and give back what a new UDP session takes: rate, session,
 *                                         memory, port; the subscriber found each time
 *          bench subscriber.first_touch   cycles to make one, with its part
 *          bench subscriber.idle_bytes, subscriber.active_bytes
 *          bench limits.walk, limits.slice the walk over a million after a change of limits: seconds of its turns in all,
 *                                         and the longest of 99 slices in 100
 * Cycles are of the middle stretch; times are what the thread itself was given of a processor.
 */
#include "common/args.h"
#include "meter.h"
#include "pe/miniature.h"
#include "pe/nat_internal.h"
#include "shm/quota.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUBSCRIBERS = 1 << 20, STRETCH = 4096, STRETCHES = 64, WARM = 16, SLICES_MAX = 1 << 21 };

static struct bench {
	struct meter meter;
	struct config config;
	struct arena *a;
	struct nat nat;
	uint32_t order[SUBSCRIBERS];
	double took[SUBSCRIBERS / STRETCH];
	double slice[SLICES_MAX];
} b;

static const char document[] =
	"{\"arena\":{\"engines\":4,\"sessions\":65536,\"subscribers\":1100000},\"inside\":{\"interface\":\"in\","
	"\"prefixes\":"
	"[\"100.64.0.0/"
	"10\"],\"rss\":{\"table\":[0,0,0,0]}},\"outside\":{\"interface\":\"out\",\"rss\":{\"table\":[0,0,0,0]}},"
	"\"pools\":[{\"name\":\"p\",\"addresses\":[\"198.51.100.0/"
	"26\"]}],\"limits\":[{\"name\":\"all\",\"sessions\":%u,"
	"\"udp_ports\":1000,\"memory_kib\":512,\"new_sessions_per_s\":50000000}]}";

static void configure(uint32_t sessions)
{
	struct config_error err;
	char text[sizeof document + 16];

	snprintf(text, sizeof text, document, sessions);
	if (!config_parse(&b.config, text, strlen(text), &err)) {
		fprintf(stderr, "bench_subscribers: %s\n", err.text);
		exit(1);
	}
}

static struct session session_of(uint32_t subscriber)
{
	return (struct session){.inside = be32_of(0x64400002u + subscriber), .l4 = L4_UDP};
}

static void shuffle(uint32_t n)
{
	uint64_t x = 88172645463325252u;

	for (uint32_t i = 0; i < n; i++)
		b.order[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		uint32_t k = (uint32_t)(x % (i + 1)), was = b.order[i];

		b.order[i] = b.order[k];
		b.order[k] = was;
	}
}

/* What a session takes while it is made, and gives when it ends. */
static void take_and_give(uint32_t subscriber)
{
	struct session s = session_of(subscriber);

	if (nat_quota_session(&b.nat, &s, NULL) != N_VERDICTS ||
		nat_quota_port(&b.nat, &s, &b.nat.config.rules[0]) != N_VERDICTS)
		abort(); /* nobody is near a limit */
	nat_quota_port_back(&b.nat, &s, NULL);
	nat_quota_session_back(&b.nat, &s, NULL);
}

static double stretch(uint32_t from, uint32_t n_subscribers)
{
	meter_begin(&b.meter);
	for (uint32_t i = from; i < from + STRETCH; i++)
		take_and_give(b.order[i % n_subscribers]);
	meter_end(&b.meter);
	return b.meter.cycles / STRETCH;
}

static void bench_take(const char *name, uint32_t n_subscribers)
{
	shuffle(n_subscribers);
	stretch(0, n_subscribers);
	for (unsigned i = 0; i < STRETCHES; i++)
		b.took[i] = stretch(i * STRETCH, n_subscribers);
	printf("bench %s value=%.0f unit=cycles subscribers=%u source=%s\n", name, median(b.took, STRETCHES),
		n_subscribers, b.meter.source);
}

static void first_touch(void)
{
	enum part_refusal why;

	for (uint32_t from = 0; from < SUBSCRIBERS; from += STRETCH) {
		meter_begin(&b.meter);
		for (uint32_t i = from; i < from + STRETCH; i++) {
			struct session s = session_of(i);

			if (!part_make(&b.nat.subscribers, (struct subscriber_key){s.inside, 0}, b.nat.now_s, &why))
				abort(); /* the arena was made for them */
		}
		meter_end(&b.meter);
		b.took[from / STRETCH] = b.meter.cycles / STRETCH;
	}
	printf("bench subscriber.first_touch value=%.0f unit=cycles subscribers=%u source=%s\n",
		median(b.took, SUBSCRIBERS / STRETCH), SUBSCRIBERS, b.meter.source);
}

static void bench_memory(void)
{
	const struct arena_geometry *g = &b.a->header->geometry;
	double entry = 64.0 * g->subscriber_buckets / g->subscribers, part = 64.0 * g->part_buckets / g->subscribers;
	double idle = slab_bytes[SLAB_subscriber] + entry;

	/* Idle: its tables' room is there whether it is used or not. Active: a part on one engine. */
	printf("bench subscriber.idle_bytes value=%.0f unit=bytes object=%u table=%.1f parts_tables=%.1f engines=%u\n",
		idle + part * g->engines, slab_bytes[SLAB_subscriber], entry, part * g->engines, g->engines);
	printf("bench subscriber.active_bytes value=%.0f unit=bytes part=%u more_for_each_engine=%u\n",
		idle + part * g->engines + slab_bytes[SLAB_part], slab_bytes[SLAB_part], slab_bytes[SLAB_part]);
}

static void put_in_force(uint32_t sessions)
{
	configure(sessions);
	if (!miniature_fill(b.a, &b.config))
		exit(1);
	nat_configure(&b.nat);
	nat_load_routes(&b.nat);
}

/* Of this thread alone: on a shared machine others run in between. */
static double own_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint32_t stale_parts(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; (i = slab_next_live(b.a, SLAB_part, i + 1));)
		n += part_at(b.a, i)->configured != b.nat.config.generation;
	return n;
}

static int by_value(const void *x, const void *y)
{
	double p = *(const double *)x, q = *(const double *)y;

	return (p > q) - (p < q);
}

/* Virtual time runs ahead, so that each turn is a whole slice. */
static void bench_walk(void)
{
	unsigned n = 0;
	double all = 0;

	put_in_force(900);
	while (n < SLICES_MAX && (n % 1024 || stale_parts())) {
		b.nat.now = mono_after(b.nat.now, span_s(3));
		double began = own_us();

		nat_quota_housekeep(&b.nat);
		b.slice[n] = own_us() - began;
		all += b.slice[n++] / 1e6;
	}
	qsort(b.slice, n, sizeof b.slice[0], by_value);
	printf("bench limits.walk value=%.3f unit=s subscribers=%u slices=%u median_us=%.1f\n", all, SUBSCRIBERS, n,
		b.slice[n / 2]);
	printf("bench limits.slice value=%.1f unit=us of=99_percent longest=%.1f\n", b.slice[n - 1 - n / 100],
		b.slice[n - 1]);
}

static void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
	unsigned cpu = 0;
	const struct arg args[] = {{"cpu", "N", "run there", .number = &cpu, .max = 1023}, {0}};
	int status = args_parse(argc, argv, "bench_subscribers", "what accounting for subscribers costs", args, NULL);

	if (status != ARGS_RUN)
		return status;
	pin_to(cpu);
	setvbuf(stdout, NULL, _IOLBF, 0);
	meter_open(&b.meter);
	configure(1000);
	b.a = miniature_open(&b.config, 1);
	if (!b.a)
		return 1;
	nat_init(&b.nat, b.a, 0, 1, (mono_t){span_s(1000).ns});
	nat_configure(&b.nat);
	nat_load_routes(&b.nat);
	bench_memory();
	first_touch();
	for (uint32_t i = 0; i < SUBSCRIBERS; i++) /* limits known, units drawn, paired */
		take_and_give(i);
	bench_take("quota.warm", WARM);
	bench_take("quota.cold", SUBSCRIBERS);
	bench_walk();
	meter_close(&b.meter);
	return 0;
}
