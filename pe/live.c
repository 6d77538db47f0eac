#include "pe/live.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/service.h"
#include "pe/engine.h"
#include "pe/guests.h"
#include "pe/io_afxdp.h"
#include "pe/turns.h"
#include "shm/mailbox.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

static const span_t awake_for = {100000u};       /* spin this long after the last packet */
static const span_t look_every = {20000000u};    /* configuration, routes */
static const span_t report_every = {100000000u}; /* heartbeat, counters of the backend */
static const span_t stalls_told_every = {1000000000u};
enum { SLEEP_MS = 10, SLEEP_BUSY_MS = 1, CLAIM_TRIES = 150, CLAIM_PAUSE_US = 20000, PRIORITY = -15 };

struct live {
	const struct config *config;
	unsigned number;
	struct arena *arena;
	struct io *io;
	struct mailbox *mailbox;
	struct engine engine;
	mono_t last_packet, look, report, next_stall;
	struct turns turns;
	bool untold;              /* the XDP program does not know all that is in force */
	struct io_stats reported; /* what io had counted when it was last asked */
	/* For the XDP program. */
	struct snapshot_prefix subscribers[SNAPSHOT_PREFIXES_MAX];
	struct snapshot_prefix local[ROUTES_MAX]; /* the appliance's own addresses */
	struct snapshot_prefix bypass[NAT_BYPASS_PREFIXES];
};

/* ---- opening ---- */

/* Onto its core, and ahead of what else may run there: while an engine waits for the processor its ring fills. */
static void pin(struct live *l, unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		log_warning("engine %u: cannot run on CPU %u: %s", l->number, cpu, strerror(errno));
	if (setpriority(PRIO_PROCESS, 0, PRIORITY) != 0)
		log_debug("engine %u: no priority over other processes: %s", l->number, strerror(errno));
	atomic_store(&actor_of(l->arena, l->number)->cpu, cpu);
}

/* A neighbour that looked after this engine's sessions gives them back when it sees the configuration: wait for it, also
 * when it has no processor for a while. */
static bool claim_role(struct live *l)
{
	for (int tries = 0; tries < CLAIM_TRIES; tries++) {
		if (arena_claim(l->arena, l->number) == 0)
			return true;
		usleep(CLAIM_PAUSE_US);
	}
	return false;
}

static bool open_arena(struct live *l)
{
	struct arena_error err;

	l->arena = arena_open(l->config, &err);
	if (!l->arena) {
		log_error("%s", err.text);
		return false;
	}
	if (l->number >= l->arena->header->geometry.engines) {
		log_error("engine %u: the arena %s was made for %u engines (0 to %u)", l->number, l->arena->name,
			l->arena->header->geometry.engines, l->arena->header->geometry.engines - 1);
		return false;
	}
	if (!claim_role(l)) {
		log_error("engine %u is already run by process %d", l->number,
			atomic_load(&actor_of(l->arena, l->number)->pid));
		return false;
	}
	log_notice("engine %u: arena %s on %s", l->number, l->arena->name, l->arena->backing);
	return true;
}

static bool open_io(struct live *l)
{
	const struct config *c = l->config;
	struct actor *actor = actor_of(l->arena, l->number);
	struct io_afxdp_params params = {
		.interface = {c->net.side[SIDE_INSIDE].name, c->net.side[SIDE_OUTSIDE].name},
		.bpffs = c->system.bpffs,
		.queue = l->number,
		.ring_size = c->engine.ring_size,
		.mode = c->engine.xdp,
		.zero_copy = c->engine.zero_copy,
		.busy_poll = c->engine.busy_poll,
		.busy_poll_budget = c->engine.busy_poll_budget,
		.realms = c->n_realms > 0,
	};

	l->io = io_afxdp_open(&params);
	if (!l->io)
		return false;
	for (int side = 0; side < N_SIDES; side++) {
		snprintf(actor->io[side], sizeof actor->io[side], "%s", io_afxdp_describe(l->io, side));
		log_notice("engine %u: %s queue %u: %s", l->number, params.interface[side], l->number, actor->io[side]);
	}
	return true;
}

static bool open_mailbox(struct live *l)
{
	l->mailbox = mailbox_open(l->arena->name, l->number);
	if (!l->mailbox)
		log_error("engine %u: cannot open its mailbox: %s", l->number, mailbox_explain(errno));
	return l->mailbox != NULL;
}

/* ---- between turns ---- */

static bool tell_xdp(struct live *l)
{
	const struct nat *n = &l->engine.nat;
	unsigned n_local = 0;

	for (uint32_t i = 0; i < n->fib.set.n; i++) {
		const struct route *r = &n->fib.set.route[i];

		if (r->kind == ROUTE_LOCAL)
			l->local[n_local++] = (struct snapshot_prefix){r->realm, r->prefix, r->length};
	}
	/* Of no realm: what is tagged for none does not get past the engine either. */
	for (uint32_t i = 0; i < n->config.n_prefixes; i++) {
		l->subscribers[i] = n->config.prefixes[i];
		l->subscribers[i].realm = 0;
	}
	struct xdp_rules rules = {
		.subscribers = l->subscribers,
		.n_subscribers = n->config.n_prefixes,
		.local = l->local,
		.n_local = n_local,
		.pool = n->config.ranges,
		.n_pool = n->config.n_ranges,
		.bypass = l->bypass,
		.n_bypass = nat_bypass_prefixes(n, l->bypass),
	};
	return xdp_sync(l->io, &rules) == 0;
}

static void look_for_news(struct live *l)
{
	struct nat *n = &l->engine.nat;
	bool configured = nat_configure(n), routed = nat_load_routes(n);

	/* The kernel may be short of memory just now: until it was told all, it is told again. */
	if (l->untold || configured || (routed && n->configured))
		l->untold = !tell_xdp(l);
	if (configured) {
		atomic_store_explicit(&n->actor->config_ack, n->config.generation, memory_order_release);
		log_notice("engine %u: configuration %u in force, %u NAT addresses", l->number, n->config.generation,
			n->config.n_addresses);
	}
	if (routed)
		atomic_store_explicit(&n->actor->routes_ack, n->fib.generation, memory_order_release);
}

/* At once, since a port taken by a configuration that is not in force any more may have to go back. */
static void look_at_once(struct live *l)
{
	const struct nat *n = &l->engine.nat;

	if (snapshot_news(n->arena, n->configured ? n->config.generation : 0))
		look_for_news(l);
}

static void report(struct live *l, mono_t now)
{
	struct actor *actor = l->engine.nat.actor;
	struct io_stats stats;

	l->io->ops->stats(l->io, &stats);
	counter_add(&actor->counters[COUNTER_kicks], stats.kicks - l->reported.kicks);
	counter_add(&actor->counters[COUNTER_polls], stats.polls - l->reported.polls);
	counter_add(&actor->counters[COUNTER_rx_ring_drops], stats.rx_ring_drops - l->reported.rx_ring_drops);
	counter_set(&actor->counters[COUNTER_xdp_no_engine], stats.xdp_no_engine);
	counter_set(&actor->counters[COUNTER_xdp_to_kernel], stats.xdp_to_kernel);
	l->reported = stats;
	atomic_store_explicit(&actor->heartbeat_ns, now.ns, memory_order_release);
	service_alive(now);
}

static void answer_mailbox(struct live *l, mono_t now)
{
	const struct actor *actor = l->engine.nat.actor;
	struct engine_report r = {.time_ns = now.ns};

	for (int c = 0; c < N_COUNTERS; c++)
		r.counters[c] = counter_get(&actor->counters[c]);
	for (int v = 0; v < N_VERDICTS; v++)
		r.verdicts[v] = counter_get(&actor->verdicts[v]);
	mailbox_write(l->mailbox, &r);
}

static void between_turns(struct live *l, mono_t now)
{
	if (mailbox_requested(l->mailbox))
		answer_mailbox(l, now);
	look_at_once(l);
	if (mono_due(now, l->look)) {
		l->look = mono_after(now, look_every);
		look_for_news(l);
		guests_tend(&l->engine.nat, now);
	}
	if (mono_due(now, l->report)) {
		l->report = mono_after(now, report_every);
		report(l, now);
	}
}

/* Sleeps until a packet comes or something is due. */
static void rest(struct live *l)
{
	if (l->engine.behind)
		return;
	counter_add(&l->engine.nat.actor->counters[COUNTER_idle_waits], 1);
	l->io->ops->wait(l->io,
		l->engine.n_held || l->engine.fragments.n || l->engine.nat.clearing.number ? SLEEP_BUSY_MS : SLEEP_MS);
}

/* To be compared with what else went on then: the kernel's tracepoints show the same clock. */
static void tell_stall(struct live *l, mono_t from, mono_t to, span_t own)
{
	if (!own.ns || !mono_due(to, l->next_stall))
		return;
	l->next_stall = mono_after(to, stalls_told_every);
	log_warning("engine %u: a turn from %.6f to %.6f s had %.3f ms of its own work", l->number,
		(double)from.ns / 1e9, (double)to.ns / 1e9, (double)own.ns / 1e6);
}

/* Polls while there is work and shortly after. Where a turn ends the next begins. */
static void loop(struct live *l)
{
	mono_t now = mono_now(), then;

	turns_wake(&l->turns, now, turns_cpu());
	for (; !service_stop_asked(); now = then) {
		bool idle = !engine_turn(&l->engine, now);

		if (!idle)
			l->last_packet = now;
		between_turns(l, now);
		then = mono_now();
		tell_stall(
			l, now, then, turns_count(&l->turns, l->engine.nat.actor, now, then, l->io->kernel, turns_cpu));
		if (!idle || mono_since(then, l->last_packet).ns < awake_for.ns)
			continue;
		rest(l);
		look_at_once(l);
		then = mono_now();
		turns_wake(&l->turns, then, turns_cpu());
	}
}

/* ---- the whole ---- */

static void announce(struct live *l, uint32_t sessions)
{
	struct actor *actor = l->engine.nat.actor;
	char status[128];

	atomic_store(&actor->heartbeat_ns, mono_now().ns);
	atomic_store(&actor->pid, getpid());
	atomic_fetch_add(&actor->incarnation, 1);
	snprintf(status, sizeof status, "engine %u: forwarding, %u sessions taken over", l->number, sessions);
	service_ready(status);
}

static bool run(struct live *l)
{
	uint64_t random;
	mono_t now = mono_now();

	if (!open_arena(l) || !open_mailbox(l))
		return false;
	unsigned cpu = config_engine_cpu(l->config, l->number);

	pin(l, cpu);
	arena_settle(l->arena, cpu);
	if (!open_io(l) || getrandom(&random, sizeof random, 0) != sizeof random)
		return false;
	uint32_t sessions = engine_init(&l->engine, l->arena, l->number, l->io, random, now);
	atomic_store(&l->engine.nat.actor->config_ack, 0);
	look_for_news(l);
	announce(l, sessions);
	loop(l);
	return true;
}

bool live_run(const struct config *c, unsigned engine)
{
	struct live *l = calloc(1, sizeof *l);

	if (!l)
		return false;
	l->config = c;
	l->number = engine;
	bool ok = run(l);

	service_close();
	guests_leave(&l->engine.nat);
	if (l->io)
		l->io->ops->close(l->io);
	if (l->mailbox)
		mailbox_close(l->mailbox);
	arena_close(l->arena);
	free(l);
	return ok;
}
