/* bench_arena: what an engine's restart costs.
 *
 * Prints:  bench reattach.1m    how long a successor needs to take over an engine with a million sessions
 * Times are wall-clock time of a pinned thread.
 */
#include "common/args.h"
#include "common/clock.h"
#include "meter.h"
#include "pe/miniature.h"
#include "pe/nat.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS = 1 << 20, TRIES = 5, SECONDS = 1000 };

static const char document[] =
	"{\"arena\":{\"engines\":1,\"sessions\":1100000},\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/"
	"10\"]},"
	"\"outside\":{\"interface\":\"out\"},\"pools\":[{\"name\":\"p\",\"addresses\":[\"198.51.100.0/26\"]}]}";

struct udp_packet {
	struct eth_header eth;
	struct ip4_header ip;
	struct udp_header udp;
	uint8_t padding[18];
} __attribute__((packed));

static struct udp_packet packet_of(uint32_t session)
{
	struct udp_packet p = {
		.eth.type = be16_of(ETHERTYPE_IPV4),
		.ip = {.version_ihl = 0x45, .total_size = be16_of(46), .ttl = 64, .protocol = PROTO_UDP},
		.udp = {.size = be16_of(26), .dst = be16_of(53)},
	};

	p.ip.src = be32_of(0x64400002 + session / 16);
	p.ip.dst = be32_of(0xcb007102);
	p.udp.src = be16_of((uint16_t)(20000 + session % 16));
	return p;
}

static void create(struct nat *n, mono_t now)
{
	struct udp_packet bytes[BURST_MAX];
	struct packet burst[BURST_MAX];

	for (uint32_t i = 0; i < SESSIONS; i += BURST_MAX) {
		for (unsigned k = 0; k < BURST_MAX; k++) {
			bytes[k] = packet_of(i + k);
			burst[k] = (struct packet){
				.data = (uint8_t *)&bytes[k], .len = sizeof bytes[k], .side = SIDE_INSIDE};
		}
		nat_burst(n, burst, BURST_MAX, now);
	}
}

static struct nat *open_nat(struct arena *a, mono_t now)
{
	struct nat *n = malloc(sizeof *n);

	if (!n)
		abort();
	nat_init(n, a, 0, 1, now);
	nat_configure(n);
	nat_load_routes(n);
	return n;
}

/* The successor finds what a killed engine left: its private memory is gone, the arena is as it was. */
static void reattach(struct arena *a, struct nat *n, mono_t now)
{
	double ms[TRIES];
	uint32_t found = 0;

	for (int i = 0; i < TRIES; i++) {
		mono_t begin = mono_now();

		found = nat_init(n, a, 0, 1, now);
		ms[i] = (double)mono_since(mono_now(), begin).ns / 1e6;
	}
	printf("bench reattach.1m value=%.1f unit=ms goal=1000 sessions=%u source=clock\n", median(ms, TRIES), found);
}

int main(int argc, char **argv)
{
	unsigned cpu = 0;
	const struct arg args[] = {{"cpu", "N", "where to run", .number = &cpu, .max = 1023}, {0}};
	int status = args_parse(argc, argv, "bench_arena", "restart of an engine", args, NULL);
	mono_t now = {SECONDS * 1000000000ull};
	struct config c;
	struct config_error err;
	cpu_set_t set;

	if (status != ARGS_RUN)
		return status;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
	if (!config_parse(&c, document, strlen(document), &err)) {
		fprintf(stderr, "bench_arena: %s\n", err.text);
		return 1;
	}
	struct arena *a = miniature_open(&c, 1);
	if (!a)
		return 1;
	struct nat *n = open_nat(a, now);

	create(n, now);
	reattach(a, n, now);
	free(n);
	arena_close(a);
	return 0;
}
