#include "pe/engine.h"

#include "pe/nat_events.h"
#include "pe/vlan.h"

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
	if (taken < n)
		nat_tell(&e->nat, &p[taken]);
	drop(e, p + taken, n - taken);
}

/* ---- packets cut ---- */

/* A packet that must be cut: its fragments go in its stead (RFC 4787 REQ-13a). */
static void send_cut(struct engine *e, struct packet *p)
{
	struct packet piece[BURST_MAX];
	unsigned room = e->io->ops->take(
		e->io, piece, p->len / (p->mtu / 2u) + 1 < BURST_MAX ? p->len / (p->mtu / 2u) + 1 : BURST_MAX);
	unsigned n = fragment_split(p, p->mtu, piece, room), sent = 0;

	for (unsigned i = 0; i < n && p->vlan; i++)
		vlan_put(&piece[i]);
	if (n)
		sent = e->io->ops->tx(e->io, p->out, piece, n);
	count_packets(e, tx_packets[p->out], piece, sent);
	e->io->ops->drop(e->io, piece + sent, room - sent);
	if (sent < n || !n) {
		p->verdict = VERDICT_drop_tx_full;
		nat_tell(&e->nat, p);
	}
	drop(e, p, 1);
}

/* ---- packets held ---- */

static void refuse(struct engine *e, struct packet *p)
{
	p->verdict = VERDICT_drop_hold_full;
	nat_tell(&e->nat, p);
	drop(e, p, 1);
}

/* Fragments keep what the configuration gives them, whoever else waits. */
static bool hold(struct engine *e, struct packet *p, mono_t until)
{
	if (e->n_held + e->nat.config.fragments_held >= HELD_MAX || e->n_held + e->fragments.n >= HELD_MAX) {
		refuse(e, p);
		return false;
	}
	e->held[e->n_held++] = (struct held){*p, until};
	return true;
}

/* For its first one; another may have to go. */
static bool hold_fragment(struct engine *e, struct packet *p, mono_t until)
{
	const struct snapshot *c = &e->nat.config;
	unsigned room = HELD_MAX - e->n_held;
	struct fragment_limits limits = {
		.all = c->fragments_held < room ? c->fragments_held : room, .per_source = c->fragments_per_source};
	enum fragment_class class = nat_fragment_is_known(&e->nat, p) ? FRAGMENT_KNOWN : FRAGMENT_UNKNOWN;
	struct held h = {*p, until};
	struct packet gone;

	if (!fragment_wait(&e->fragments, &h, class, fragment_counter(p, e->nat.seed), limits, &gone))
		return true;
	refuse(e, &gone);
	return gone.frame != p->frame;
}

/* A SYN for which there is no room is dropped without a word, like those that are not answered. */
static bool hold_syn(struct engine *e, struct packet *p, mono_t until)
{
	if (e->n_syns == HELD_SYNS) {
		p->verdict = VERDICT_drop_no_session;
		drop(e, p, 1);
		return false;
	}
	e->syn[(e->first_syn + e->n_syns++) % HELD_SYNS] = (struct held){*p, until};
	return true;
}

/* Counted here, and not each time it is tried again. */
static void keep(struct engine *e, struct packet *p, mono_t since)
{
	const struct snapshot *c = &e->nat.config;
	uint8_t why = p->verdict;
	bool waits;

	if (why == VERDICT_held_syn)
		waits = hold_syn(e, p, mono_after(since, span_s(c->syn_hold_s)));
	else if (why == VERDICT_held_fragment)
		waits = hold_fragment(e, p, mono_after(since, span_s(c->fragment_timeout_s)));
	else
		waits = hold(e, p, mono_after(since, hold_time));
	e->nat.verdicts[why] += waits;
}

static bool must_cut(const struct packet *p)
{
	return p->mtu && p->verdict != VERDICT_drop_too_big;
}

static bool waits(const struct packet *p)
{
	return p->verdict == VERDICT_held || p->verdict == VERDICT_held_fragment || p->verdict == VERDICT_held_syn;
}

/* Sorts a translated burst into what is sent on each side, dropped and held, keeping order. Most packets go to the side
 * opposite to the one they came from: these are moved up within the burst, and mostly stay where they are. `since`: when
 * those that are to be held came. */
static void dispatch(struct engine *e, struct packet *burst, unsigned n, mono_t since)
{
	enum side from = burst->side, across = from == SIDE_INSIDE ? SIDE_OUTSIDE : SIDE_INSIDE;
	struct packet back[BURST_MAX], dropped[BURST_MAX];
	unsigned n_across = 0, n_back = 0, n_dropped = 0;

	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &burst[i];

		if (p->forward && must_cut(p)) {
			send_cut(e, p);
		} else if (p->forward) {
			if (p->vlan)
				vlan_put(p);
			if (p->out == from)
				back[n_back++] = *p;
			else if (n_across++ != i)
				burst[n_across - 1] = *p;
		} else if (waits(p)) {
			keep(e, p, since);
		} else {
			dropped[n_dropped++] = *p;
		}
	}
	if (n_across)
		transmit(e, across, burst, n_across);
	if (n_back)
		transmit(e, from, back, n_back);
	if (n_dropped)
		drop(e, dropped, n_dropped);
}

/* The last time it is decided. */
static void try_again(struct engine *e, struct held *h, mono_t now)
{
	h->packet.waited = mono_due(now, h->until);
	nat_burst(&e->nat, &h->packet, 1, now);
}

static void retry_held(struct engine *e, mono_t now)
{
	struct held again[HELD_MAX];
	unsigned n = e->n_held;

	memcpy(again, e->held, n * sizeof again[0]);
	e->n_held = 0;
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = &again[i].packet;

		try_again(e, &again[i], now);
		if (p->forward || p->verdict != VERDICT_held)
			dispatch(e, p, 1, now);
		else
			e->held[e->n_held++] = again[i];
	}
}

/* Those that go on waiting keep their places. */
static void retry_fragments(struct engine *e, mono_t now)
{
	for (unsigned at = fragment_next(&e->fragments, 0), next; at; at = next) {
		struct held *h = fragment_at(&e->fragments, at);

		next = fragment_next(&e->fragments, at);
		try_again(e, h, now);
		if (!h->packet.forward && h->packet.verdict == VERDICT_held_fragment)
			continue;
		struct packet p = fragment_let_go(&e->fragments, at);

		dispatch(e, &p, 1, now);
	}
}

static void end_syns(struct engine *e, mono_t now)
{
	while (e->n_syns && mono_due(now, e->syn[e->first_syn].until)) {
		struct packet *p = &e->syn[e->first_syn].packet;

		e->first_syn = (e->first_syn + 1) % HELD_SYNS;
		e->n_syns--;
		nat_end_syn(&e->nat, p, now);
		dispatch(e, p, 1, now);
	}
}

/* ---- the turn ---- */

static unsigned receive(struct engine *e, enum side side, mono_t now)
{
	struct packet burst[BURST_MAX];
	unsigned n = e->io->ops->rx(e->io, side, burst, BURST_MAX);

	if (!n)
		return 0;
	count_packets(e, rx_packets[side], burst, n);
	nat_burst(&e->nat, burst, n, now);
	dispatch(e, burst, n, now);
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

	if ((e->n_held || e->fragments.n) && mono_due(now, e->retry)) {
		e->retry = mono_after(now, retry_every);
		retry_held(e, now);
		retry_fragments(e, now);
	}
	end_syns(e, now);
	if (n)
		counter_add(&e->nat.actor->counters[COUNTER_bursts], 1);
	nat_flush_counters(&e->nat);
	e->io->ops->flush(e->io);
	if (mono_due(now, e->housekeep)) {
		e->behind = nat_housekeep(&e->nat, now);
		e->housekeep = e->behind ? now : mono_after(now, housekeep_every);
		counter_set(&e->nat.actor->counters[COUNTER_held_packets], e->n_held + e->fragments.n + e->n_syns);
	}
	return n;
}
