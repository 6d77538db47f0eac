#include "tests/bench/churn.h"

#include "common/log.h"
#include "pe/nat_internal.h"
#include "pe/nat_ports.h"

#include <stdlib.h>

enum {
	TURNS = 8,           /* of a stretch */
	ENDED_LEAST = BLOCK, /* in stretches that make one figure */
	SHORT_S = 2,         /* sessions live for one to two seconds, */
	ROUND_MS = 4096,     /* and all flows come once in that time: then they have ended */
};
static const span_t busy_turn = {10000}, idle_turn = {1000000};

static uint32_t sessions(const struct workload *w)
{
	return w->engine->nat.actor->slab[SLAB_session].used;
}

/* Of the last stretch, by the processor's time: whatever interrupted it for long is not in it. */
static double cycles_of_stretch(const struct workload *w)
{
	return w->meter.us * 1e3 * w->meter.core_ghz;
}

/* ---- ending ---- */

static void turns(struct workload *w)
{
	meter_begin(&w->meter);
	for (unsigned i = 0; i < TURNS; i++) {
		bool more = nat_housekeep(&w->engine->nat, w->now);

		w->now = mono_after(w->now, more ? busy_turn : idle_turn);
	}
	meter_end(&w->meter);
}

bool churn_end(struct workload *w, unsigned most, struct churn *c)
{
	uint32_t left = sessions(w), until = left > most ? left - most : 0, begun = left;
	double *each = calloc(left / ENDED_LEAST + 1, sizeof *each), cycles = 0, all = 0;
	unsigned n = 0;

	if (!each)
		return false;
	w->meter.timed = true;
	w->now = mono_after(w->now, span_s(w->config->nat.udp_timeout_s + 1));
	for (uint32_t from = left; left > until;) {
		turns(w);
		cycles += w->meter.cycles;
		all += cycles_of_stretch(w);
		left = sessions(w);
		if (from - left < ENDED_LEAST)
			continue;
		each[n++] = cycles / (from - left);
		cycles = 0;
		from = left;
	}
	*c = (struct churn){.cycles = all / (begun - left), .middle = median(each, n), .ended = begun - left};
	free(each);
	return true;
}

/* ---- made, answered, ended ---- */

static span_t turn_time(const struct workload *w)
{
	return (span_t){ROUND_MS * 1000000ull * BURST_USUAL / w->n};
}

static void through_turns(struct workload *w, unsigned burst)
{
	span_t each = turn_time(w);

	for (unsigned i = 0; i < BLOCK; i += burst) {
		nat_burst(&w->engine->nat, &w->block.packet[i], burst, w->now);
		nat_housekeep(&w->engine->nat, w->now);
		w->now = mono_after(w->now, each);
	}
}

static const struct measure coming_measure = {
	"churn", make_outbound, through_turns, BURST_USUAL, VERDICT_fwd_out_new, VERDICT_fwd_out_new};

/* Rests as short as the sessions, or their ports would be short. */
static void live_short(struct nat *n)
{
	n->config.timeout_s[TIMEOUT_UDP] = SHORT_S;
	n->config.hold_s = 1;
	nat_ports_configure(n);
	nat_sweep_configure(n);
}

static void begin(struct workload *w)
{
	workload_expire(w);
	workload_rest(w);
	w->live = w->n;
	for (uint32_t i = 0; i < w->n; i++)
		w->flow[i].nat = 0;
	live_short(&w->engine->nat);
}

/* A block of new flows, and the replies to an earlier one. Adds to what all took; each[0] and each[1] are of this one. */
static bool block_of_churn(struct workload *w, unsigned at, struct churn *c, double each[2])
{
	unsigned blocks = w->n / BLOCK;

	create_block_as(w, at, &coming_measure);
	if (astray(w, &coming_measure, true))
		return false;
	c->cycles += cycles_of_stretch(w);
	each[0] = w->meter.cycles / BLOCK;
	w->at = (at + blocks - REPLY_LAG) % blocks * BLOCK;
	if (!w->flow[w->at].nat)
		return true;
	stretch(w, &reply_measure);
	c->cycles += cycles_of_stretch(w);
	each[1] = w->meter.cycles / BLOCK;
	return astray(w, &reply_measure, true) == 0;
}

/* All flows once. */
static bool round_of_churn(struct workload *w, struct churn *c)
{
	unsigned blocks = w->n / BLOCK;
	double *middle = calloc(2 * (size_t)blocks, sizeof *middle), *reply = middle + blocks, each[2] = {0};
	bool ok = middle != NULL;

	*c = (struct churn){.made = blocks * BLOCK, .ended = sessions(w) + blocks * BLOCK};
	for (unsigned i = 0; ok && i < blocks; i++) {
		ok = block_of_churn(w, i, c, each);
		middle[i] = each[0] + each[1];
		reply[i] = each[1];
	}
	c->ended -= sessions(w);
	c->cycles /= c->made;
	c->middle = median(middle, blocks);
	c->reply = median(reply, blocks);
	free(middle);
	return ok;
}

bool churn_run(struct workload *w, bool first, struct churn *c)
{
	w->meter.timed = true;
	if (first)
		begin(w);
	if (first && !round_of_churn(w, c))
		return false;
	meter_calibrate(&w->meter);
	return round_of_churn(w, c);
}
