#include "pe/engine.h"

#include <string.h>

static const span_t hold_time = {1000000000u};
static const span_t retry_every = {2000000u};
static const span_t housekeep_every = {1000000u};

static const enum counter rx_packets[N_SIDES] = {COUNTER_rx_inside_packets, COUNTER_rx_outside_packets};
static const enum counter tx_packets[N_SIDES] = {COUNTER_tx_inside_packets, COUNTER_tx_outside_packets};
/* Of each side's counters, bytes follow packets. */
_Static_assert(COUNTER_rx_inside_bytes == COUNTER_rx_inside_packets + 1, "order in counters.h");
_Static_assert(COUNTER_tx_outside_bytes == COUNTER_tx_outside_packets + 1, "order in counters.h");

static void count_packets(struct engine *e, enum counter packets, const struct packet *p, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += p[i].len;
	counter_add(&e->nat.actor->counters[packets], n);
	counter_add(&e->nat.actor->counters[packets + 1], bytes);
}

/* ---- what becomes of a burst ---- */

static void drop(struct engine *e, struct packet *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		nat_count(&e->nat, p[i].verdict);
	e->io->ops->drop(e->io, p, n);
}

static void transmit(struct engine *e, enum side side, struct packet *p, unsigned n)
{
	unsigned taken = e->io->ops->tx(e->io, side, p, n);

	count_packets(e, tx_packets[side], p, taken);
	for (unsigned i = 0; i < taken; i++)
		nat_count(&e->nat, p[i].verdict);
	for (unsigned i = taken; i < n; i++)
		p[i].verdict = VERDICT_drop_tx_full;
	drop(e, p + taken, n - taken);
}

/* Keeps it until `until`, or drops it when too many wait already. */
static void hold(struct engine *e, struct packet *p, mono_t until)
{
	if (e->n_held == HELD_MAX) {
		p->verdict = VERDICT_drop_hold_full;
		drop(e, p, 1);
		return;
	}
	e->held[e->n_held++] = (struct held){*p, until};
}

/* Sorts a translated burst into what is sent on each side, dropped and held, keeping order. */
static void dispatch(struct engine *e, struct packet *burst, unsigned n, mono_t hold_until)
{
	struct packet out[N_SIDES][BURST_MAX], dropped[BURST_MAX];
	unsigned n_out[N_SIDES] = {0, 0}, n_dropped = 0;

	for (unsigned i = 0; i < n; i++) {
		if (burst[i].forward)
			out[burst[i].out][n_out[burst[i].out]++] = burst[i];
		else if (burst[i].verdict == VERDICT_held)
			hold(e, &burst[i], hold_until);
		else
			dropped[n_dropped++] = burst[i];
	}
	for (int side = 0; side < N_SIDES; side++)
		if (n_out[side])
			transmit(e, side, out[side], n_out[side]);
	if (n_dropped)
		drop(e, dropped, n_dropped);
}

/* ---- held packets ---- */

static void retry_one(struct engine *e, struct held *h, mono_t now)
{
	struct packet *p = &h->packet;

	nat_burst(&e->nat, p, 1, now);
	if (p->verdict == VERDICT_held && mono_due(now, h->until))
		p->verdict = VERDICT_drop_next_hop;
	dispatch(e, p, 1, h->until);
}

static void retry_held(struct engine *e, mono_t now)
{
	struct held again[HELD_MAX];
	unsigned n = e->n_held;

	memcpy(again, e->held, n * sizeof again[0]);
	e->n_held = 0;
	for (unsigned i = 0; i < n; i++)
		retry_one(e, &again[i], now);
}

/* ---- the turn ---- */

static unsigned receive(struct engine *e, enum side side, mono_t now)
{
	struct packet burst[BURST_MAX];
	unsigned n = e->io->ops->rx(e->io, side, burst, BURST_MAX), held;

	if (!n)
		return 0;
	count_packets(e, rx_packets[side], burst, n);
	nat_burst(&e->nat, burst, n, now);
	held = e->n_held;
	dispatch(e, burst, n, mono_after(now, hold_time));
	e->nat.verdicts[VERDICT_held] += e->n_held - held;
	return n;
}

uint32_t engine_init(struct engine *e, struct arena *a, unsigned number, struct io *io, uint64_t random, mono_t now)
{
	memset(e, 0, sizeof *e);
	e->io = io;
	return nat_init(&e->nat, a, number, random, now);
}

unsigned engine_turn(struct engine *e, mono_t now)
{
	unsigned n = receive(e, SIDE_INSIDE, now) + receive(e, SIDE_OUTSIDE, now);

	if (e->n_held && mono_due(now, e->retry)) {
		e->retry = mono_after(now, retry_every);
		retry_held(e, now);
	}
	if (n)
		counter_add(&e->nat.actor->counters[COUNTER_bursts], 1);
	nat_flush_counters(&e->nat);
	e->io->ops->flush(e->io);
	if (mono_due(now, e->housekeep)) {
		e->housekeep = mono_after(now, housekeep_every);
		nat_housekeep(&e->nat, now);
		counter_set(&e->nat.actor->counters[COUNTER_held_packets], e->n_held);
	}
	return n;
}
