/* Intents, the configuration in force, and next hops. */
#include "shm/check_internal.h"
#include "shm/clear.h"
#include "shm/event.h"
#include "shm/nexthop.h"
#include "shm/pinhole.h"
#include "shm/snapshot.h"

/* ---- intents ---- */

static const char *step_name(uint32_t step)
{
	static const char *const name[] = {
		[INTENT_NONE] = "none",
		[INTENT_BUILD] = "build",
		[INTENT_MAPPING] = "mapping",
		[INTENT_MAPPED] = "mapped",
		[INTENT_INSERT] = "insert",
		[INTENT_END] = "end",
		[INTENT_UNMAPPING] = "unmapping",
		[INTENT_UNMAPPED] = "unmapped",
		[INTENT_ANSWERED] = "answered",
		[INTENT_ADOPT] = "adopt",
		[INTENT_PINHOLE] = "pinhole",
	};

	return step < sizeof name / sizeof name[0] ? name[step] : "one there is not";
}

static void check_intent(struct check *c, unsigned actor)
{
	const struct intent *in = &actor_of(c->a, actor)->intent;
	uint32_t step = atomic_load_explicit(&in->step, memory_order_acquire);
	uint64_t port = atomic_load_explicit(&in->port, memory_order_relaxed);
	uint64_t subscriber = atomic_load_explicit(&in->subscriber, memory_order_relaxed);
	uint64_t block = atomic_load_explicit(&in->block, memory_order_relaxed);

	if (step == INTENT_NONE && port == 0 && subscriber == 0 && block == 0)
		return;
	c->counts->intents++;
	if (!c->stopped[actor])
		return;
	check_violated(c, CHECK_intent_open, 0, check_actor_text(actor),
		check_textf("step: %s; session %u, mapping %u, port %u of port table %u, subscriber %#llx, block %#llx",
			step_name(step), PEEK(in->session), PEEK(in->mapping), (uint16_t)port, (uint32_t)(port >> 32),
			(unsigned long long)subscriber, (unsigned long long)block),
		c->mode == CHECK_EXACT ? check_textf("nothing runs") : check_textf("no process has that role"));
}

/* ---- requests to clear ---- */

/* What engines have done is read first: meanwhile more may be asked, and done. */
static void check_clears(struct check *c)
{
	const struct clear_ring *ring = clear_ring_of(c->a);
	uint32_t done[ENGINE_MAX], engines = c->a->header->geometry.engines;

	for (unsigned e = 0; e < engines; e++)
		done[e] = atomic_load_explicit(&actor_of(c->a, e)->clear_done, memory_order_acquire);
	uint32_t last = atomic_load_explicit(&ring->last, memory_order_acquire);
	uint32_t there = atomic_load_explicit(&ring->slot[last % CLEAR_SLOTS].number, memory_order_relaxed);
	for (unsigned e = 0; e < engines; e++)
		if (!clear_is_done(last, done[e]))
			check_violated(c, CHECK_clear_valid, 0, check_actor_text(e),
				check_textf("it has done request %u", done[e]), check_textf("the newest is %u", last));
	if (last && there != last)
		check_violated(c, CHECK_clear_valid, 0, check_textf("request %u, the newest", last),
			check_textf("its place is %u", last % CLEAR_SLOTS), check_textf("request %u is there", there));
}

/* ---- requests for pinholes ---- */

static void check_pinholes(struct check *c)
{
	for (unsigned e = 0; e < c->a->header->geometry.engines; e++) {
		const struct pinhole_ring *ring = pinhole_ring_of(c->a, e);
		uint32_t done = atomic_load_explicit(&ring->done, memory_order_acquire);
		uint32_t last = atomic_load_explicit(&ring->last, memory_order_acquire);

		if (last - done > PINHOLE_SLOTS)
			check_violated(c, CHECK_pinhole_valid, 0, check_actor_text(e),
				check_textf("it has answered request %u", done),
				check_textf("the newest is %u, and %d fit", last, PINHOLE_SLOTS));
	}
}

/* ---- events ---- */

/* Places are written again, so a record counts only if it is still there afterwards. */
static void check_event(struct check *c, unsigned actor, const struct events *v, uint64_t n)
{
	struct event e = PEEK(v->ring->slot[n & v->mask]);

	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&v->ring->head, memory_order_relaxed) - n > v->mask + 1 ||
		(e.kind <= EVENT_refusal && e.verdict < N_VERDICTS && (e.kind == EVENT_refusal || e.ports)))
		return;
	check_violated(c, CHECK_event_valid, 0, check_actor_text(actor),
		check_textf("event %llu is of kind %u, of verdict %u", (unsigned long long)n, e.kind, e.verdict),
		check_textf("there are %u and %u", EVENT_refusal + 1u, (unsigned)N_VERDICTS));
}

/* Mgmtd's tail is read first: it only grows towards the head. */
static void check_ring(struct check *c, unsigned actor)
{
	const struct events v = events_of(c->a, actor);
	uint64_t tail = atomic_load_explicit(&v.ring->tail, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&v.ring->head, memory_order_acquire);

	if (head - tail > v.mask + 1 && atomic_load_explicit(&v.ring->tail, memory_order_acquire) == tail) {
		check_violated(c, CHECK_event_valid, 0, check_actor_text(actor),
			check_textf("it has put %llu events", (unsigned long long)head),
			check_textf("%llu were taken, and %llu fit", (unsigned long long)tail,
				(unsigned long long)v.mask + 1));
		return;
	}
	c->counts->events += head - tail;
	for (uint64_t n = tail; n < head; n++)
		check_event(c, actor, &v, n);
}

static void check_events(struct check *c)
{
	for (unsigned n = 0; n < event_rings(c->a); n++)
		check_ring(c, event_actor(c->a, n));
}

/* ---- configuration ---- */

static void note_named(const struct check *c, uint32_t table)
{
	struct port_use *use = check_port_table(c, table);

	if (use)
		use->named = true;
}

static bool check_address(struct check *c, uint32_t n, struct snapshot_address at)
{
	note_named(c, at.ports);
	for (unsigned i = 0; i < SNAPSHOT_OLDER_MAX; i++)
		note_named(c, at.older[i]);
	bool live = check_known(c, SLAB_port_table, at.ports) && slab_live(port_table_at(c->a, at.ports));
	be32_t of = live ? PEEK(port_table_at(c->a, at.ports)->address) : (be32_t){0};

	for (unsigned i = 0; i < SNAPSHOT_OLDER_MAX; i++)
		if (at.older[i] && !(check_known(c, SLAB_port_table, at.older[i]) &&
					   PEEK(port_table_at(c->a, at.older[i])->address).net == at.address.net))
			live = false;
	if (live && of.net == at.address.net)
		return true;
	check_violated(c, CHECK_snapshot_address, 0,
		check_textf("address %u in force, %s", n, check_endpoint_text(at.address, (be16_t){0}).text),
		check_textf("it names port table %u", at.ports),
		live ? check_textf("that is of %s", check_endpoint_text(of, (be16_t){0}).text)
		     : check_textf("there is no live one"));
	return false;
}

/* Pools lie one behind the other; there is always a rule. */
static bool check_parts(struct check *c, const struct snapshot *s, uint32_t n_addresses)
{
	uint32_t pools = PEEK(s->n_pools), rules = PEEK(s->n_rules), statics = PEEK(s->n_static), next = 0;
	bool ok =
		pools <= CONFIG_POOLS_MAX && rules > 0 && rules <= SNAPSHOT_RULES_MAX && statics <= CONFIG_STATICS_MAX;

	for (uint32_t p = 0; ok && p < pools; p++) {
		struct snapshot_pool pool = PEEK(s->pools[p]);

		ok = pool.first == next && pool.usable <= pool.n && pool.n <= n_addresses - next;
		next += pool.n;
	}
	for (uint32_t r = 0; ok && r < rules; r++)
		ok = PEEK(s->rules[r].pool) < pools;
	if (!ok || next != n_addresses)
		check_violated(c, CHECK_snapshot_valid, 0,
			check_textf("configuration %u, which is in force", s->generation),
			check_textf("it has %u pools over %u of %u addresses, %u rules, %u static mappings", pools,
				next, n_addresses, rules, statics),
			check_textf("pools hold all addresses, rules name pools, and there are 1 to %u, %u at most",
				SNAPSHOT_RULES_MAX, CONFIG_STATICS_MAX));
	return ok && next == n_addresses;
}

/* Engines find a subscriber's prefix by halving. */
static void check_prefixes(struct check *c, const struct snapshot *s)
{
	for (uint32_t i = 0; i < PEEK(s->n_prefixes); i++) {
		struct snapshot_prefix p = PEEK(s->prefixes[i]), before = i ? PEEK(s->prefixes[i - 1]) : p;

		if (p.realm <= VLAN_MAX && p.len <= 32 &&
			(i == 0 || before.realm < p.realm || (before.realm == p.realm && before.addr < p.addr)))
			continue;
		check_violated(c, CHECK_snapshot_valid, 0,
			check_textf("configuration %u, which is in force", s->generation),
			check_textf("subscriber prefix %u is %#x/%u of realm %u", i, p.addr, p.len, p.realm),
			check_textf("the one before is %#x of realm %u; realms go to %u", before.addr, before.realm,
				VLAN_MAX));
		return;
	}
}

/* Engines look at tables that are named, and at no others. */
static void check_named(struct check *c, uint32_t generation)
{
	for (uint32_t i = 0; i < c->n_ports; i++) {
		const struct port_use *use = &c->port[i];

		if (!use->named && use->before)
			check_violated(c, CHECK_port_table_named, 0, check_textf("port table %u", use->index),
				check_textf("ports of %s are in use there",
					check_endpoint_text(use->address, (be16_t){0}).text),
				check_textf("configuration %u, which is in force, does not name it", generation));
	}
}

static void check_snapshot(struct check *c)
{
	uint32_t g = atomic_load_explicit(&c->a->header->config_generation, memory_order_acquire);
	const struct snapshot *s = (const struct snapshot *)arena_region(c->a, ARENA_snapshots) + (g & 1);

	if (!g)
		return;
	uint32_t n = PEEK(s->n_addresses), leaving = PEEK(s->n_leaving), is = PEEK(s->generation);
	if (is != g || n > CONFIG_ADDRESSES_MAX || leaving > CONFIG_ADDRESSES_MAX - n ||
		PEEK(s->n_prefixes) > SNAPSHOT_PREFIXES_MAX || PEEK(s->n_ranges) > SNAPSHOT_RANGES_MAX) {
		check_violated(c, CHECK_snapshot_valid, 0, check_textf("configuration %u, which is in force", g),
			check_textf("its slot holds generation %u, %u addresses, %u prefixes, %u ranges", is, n,
				s->n_prefixes, s->n_ranges),
			check_textf("there are at most %u, %u, %u of them", CONFIG_ADDRESSES_MAX, SNAPSHOT_PREFIXES_MAX,
				SNAPSHOT_RANGES_MAX));
		return;
	}
	if (!check_parts(c, s, n))
		return;
	check_prefixes(c, s);
	c->counts->addresses = n;
	bool ok = true;
	for (uint32_t i = 0; i < n + leaving; i++)
		ok &= check_address(c, i, PEEK(s->addresses[i]));
	if (ok)
		check_named(c, g);
}

/* ---- next hops ---- */

static void check_adjacencies(struct check *c)
{
	struct nexthop *nh = arena_region(c->a, ARENA_nexthop);

	for (uint32_t i = 1; i < ADJACENCY_MAX; i++) {
		const struct adjacency *adj = &nh->adjacency[i];
		uint32_t seq = atomic_load_explicit(&adj->seq, memory_order_relaxed);
		be32_t address = {atomic_load_explicit(&adj->address_word, memory_order_relaxed)};

		c->counts->adjacencies += seq != 0;
		if ((seq & 1) && c->stopped[ACTOR_MGMTD])
			check_violated(c, CHECK_nexthop_seq, 0,
				check_textf("adjacency %u (%s)", i, check_endpoint_text(address, (be16_t){0}).text),
				check_textf("its sequence %u says that it is being written", seq),
				c->mode == CHECK_EXACT ? check_textf("nothing runs")
						       : check_textf("mgmtd does not run"));
	}
}

void check_rest(struct check *c)
{
	for (unsigned actor = 0; actor < ACTOR_MAX; actor++)
		check_intent(c, actor);
	check_clears(c);
	check_pinholes(c);
	check_events(c);
	check_snapshot(c);
	check_adjacencies(c);
	check_progress(c, STAGE_REST, 1, 1);
}
