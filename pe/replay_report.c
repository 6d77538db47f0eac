#include "pe/replay_report.h"

#include "common/counters.h"
#include "shm/engine.h"
#include "shm/event.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

static void print_address(be32_t address)
{
	char text[INET_ADDRSTRLEN];

	printf(" %s", inet_ntop(AF_INET, &address.net, text, sizeof text));
}

static void print_event(const struct event *e)
{
	uint64_t us = e->time_ns / 1000;

	printf("%" PRIu64 ".%06" PRIu64 " %s", us / 1000000, us % 1000000, event_info[e->kind].name);
	if (e->kind == EVENT_refusal)
		printf(" %s", verdict_info[e->verdict].name);
	if (e->realm)
		printf(" realm %u", e->realm);
	print_address(e->inside);
	if (e->kind == EVENT_refusal) {
		printf(":%u", ntohs(e->inside_port.net));
		print_address(e->remote);
		printf(":%u\n", ntohs(e->remote_port.net));
		return;
	}
	print_address(e->nat);
	printf(":%u-%u\n", e->first, e->first + e->ports - 1u);
}

void replay_report_events(const struct arena *a, unsigned engine)
{
	struct events v = events_of(a, engine);
	uint64_t next = event_next(&v);
	struct event e;

	while (event_peek(&v, next, &e, 1)) {
		print_event(&e);
		event_taken(&v, ++next);
	}
}

void replay_report_sums(const struct arena *a, uint64_t packets)
{
	static const enum counter told[] = {COUNTER_sessions_ended, COUNTER_replies_home, COUNTER_replies_away,
		COUNTER_blocks_made, COUNTER_blocks_returned};
	unsigned engines = a->header->geometry.engines;

	printf("packets %" PRIu64 "\n", packets);
	for (int v = 0; v < N_VERDICTS; v++) {
		uint64_t n = 0;

		for (unsigned e = 0; e < engines; e++)
			n += counter_get(&actor_of(a, e)->verdicts[v]);
		if (n)
			printf("%s %" PRIu64 "\n", verdict_info[v].name, n);
	}
	for (unsigned i = 0; i < sizeof told / sizeof *told; i++) {
		uint64_t n = 0;

		for (unsigned e = 0; e < engines; e++)
			n += counter_get(&actor_of(a, e)->counters[told[i]]);
		if (n)
			printf("%s %" PRIu64 "\n", counter_info[told[i]].name, n);
	}
}
