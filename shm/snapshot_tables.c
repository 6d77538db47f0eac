/* Port tables and the configuration: which are given from, which are kept because something is in them, which can go. */
#include "shm/blocks.h"
#include "shm/port_view.h"
#include "shm/shared_slab.h"
#include "shm/snapshot_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tables there are ---- */

/* By address; and those that the configuration in force names, by index. */
struct tables {
	struct table_of {
		uint32_t host, index;
	} * at;
	uint32_t n;
	uint32_t *named, n_named;
	uint32_t in_force;
};

static int by_host(const void *x, const void *y)
{
	const struct table_of *a = x, *b = y;

	if (a->host != b->host)
		return a->host < b->host ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int by_index(const void *x, const void *y)
{
	const uint32_t *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

static bool list_live(const struct arena *a, struct tables *out)
{
	uint32_t i = 0, room = 0;

	while ((i = slab_next_live(a, SLAB_port_table, i + 1)))
		room++;
	out->at = malloc((room + 1) * sizeof *out->at);
	while (out->at && out->n < room && (i = slab_next_live(a, SLAB_port_table, i + 1)))
		out->at[out->n++] = (struct table_of){be32_host(port_table_at(a, i)->address), i};
	if (out->at)
		qsort(out->at, out->n, sizeof *out->at, by_host);
	return out->at != NULL;
}

static bool list_named(const struct arena *a, struct tables *out)
{
	const struct snapshot *s = snapshot_slot(a, out->in_force);
	uint32_t n = out->in_force ? s->n_addresses + s->n_leaving : 0;

	out->named = malloc((n + 1) * (1 + SNAPSHOT_OLDER_MAX) * sizeof *out->named);
	for (uint32_t i = 0; out->named && i < n; i++) {
		out->named[out->n_named++] = s->addresses[i].ports;
		for (unsigned k = 0; k < SNAPSHOT_OLDER_MAX && s->addresses[i].older[k]; k++)
			out->named[out->n_named++] = s->addresses[i].older[k];
	}
	if (out->named)
		qsort(out->named, out->n_named, sizeof *out->named, by_index);
	return out->named != NULL;
}

static bool tables_list(const struct arena *a, struct tables *out)
{
	*out = (struct tables){.in_force = atomic_load_explicit(&a->header->config_generation, memory_order_acquire)};
	return list_live(a, out) && list_named(a, out);
}

static void tables_free(struct tables *t)
{
	free(t->at);
	free(t->named);
}

static const struct table_of *tables_first(const struct tables *list, uint32_t host)
{
	uint32_t lo = 0, hi = list->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (list->at[mid].host < host)
			lo = mid + 1;
		else
			hi = mid;
	}
	return &list->at[lo];
}

static bool is_named(const struct tables *list, uint32_t index)
{
	return bsearch(&index, list->named, list->n_named, sizeof index, by_index) != NULL;
}

/* Something may be in it, or come to be before all engines use the next configuration. */
static bool is_kept(const struct arena *a, const struct tables *list, uint32_t index)
{
	return is_named(list, index) &&
	       atomic_load_explicit(&port_table_at(a, index)->drained, memory_order_relaxed) != list->in_force;
}

struct table_build {
	be32_t address;
	const struct port_basis *basis;
};

static void port_table_build(void *object, void *context)
{
	const struct table_build *b = context;
	struct port_table *t = object;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	t->address = b->address;
	t->basis = *b->basis;
	memset((void *)t->unheld, 0xff, sizeof t->unheld);
}

static bool is_configured(const struct config *c, uint32_t host)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct config_pool *p = &c->pools[i];

		if (ranges_find(p->ranges, p->n_ranges, host) && !ranges_find(p->exclude, p->n_exclude, host))
			return true;
	}
	return false;
}

/* No page is left for a table more: the addresses that fit are those that have one. Tables of addresses that left the
 * configuration stay, and do not count. */
static bool refuse_addresses(
	const struct arena *a, const struct config *c, const struct snapshot *s, struct config_error *err)
{
	uint32_t fit = 0;

	if (s->n_addresses && s->addresses[s->n_addresses - 1].ports) {
		snprintf(err->text, sizeof err->text,
			"pools: the order of ports changed more than %d times while ports given out in the first order "
			"are "
			"still in use; wait until these have ended, or end them with `corenatctl sessions clear`",
			SNAPSHOT_OLDER_MAX);
		return false;
	}
	for (uint32_t i = 0; (i = slab_next_live(a, SLAB_port_table, i + 1));)
		fit += is_configured(c, be32_host(port_table_at(a, i)->address));
	snprintf(err->text, sizeof err->text,
		"pools: no arena page left: port tables of %u of these %u addresses fit; name at most %u, or remove "
		"the arena (`corenatctl arena remove`) so that it is made anew for all of them",
		fit, config_address_count(c), fit);
	return false;
}

/* Its table in the pool's order, and others that are kept. False: no page left, or a third order. */
static bool add_address(struct arena *a, const struct tables *list, struct snapshot *s, uint32_t order, uint32_t host)
{
	struct table_build build = {be32_of(host), &s->basis[order]};
	struct snapshot_address *x = &s->addresses[s->n_addresses++];
	const struct table_of *end = list->at + list->n;
	unsigned older = 0;

	*x = (struct snapshot_address){.address = build.address};
	for (const struct table_of *at = tables_first(list, host); at < end && at->host == host; at++) {
		const struct port_table *t = port_table_at(a, at->index);

		if (!x->ports && port_basis_equal(&t->basis, build.basis))
			x->ports = at->index;
		else if (is_kept(a, list, at->index) && older++ < SNAPSHOT_OLDER_MAX)
			x->older[older - 1] = at->index;
	}
	if (!x->ports)
		x->ports = shared_make(a, ACTOR_MGMTD, SLAB_port_table, port_table_build, &build);
	return x->ports && older <= SNAPSHOT_OLDER_MAX;
}

/* Either those of the pool's pieces that give new mappings, or the others. */
static bool add_addresses(
	struct arena *a, const struct tables *list, const struct config_pool *p, bool usable, struct snapshot *s)
{
	uint32_t order = s->pools[s->n_pools - 1].order;
	struct address_range piece;
	uint32_t range = 0;
	uint64_t at = 0;

	while (config_pool_next(p, &range, &at, &piece))
		for (uint64_t host = piece.first; host <= piece.last; host++) {
			bool kept = ranges_find(p->drain, p->n_drain, (uint32_t)host) ||
				    snapshot_is_taken(s, (uint32_t)host);

			if (kept != usable && !add_address(a, list, s, order, (uint32_t)host))
				return false;
		}
	return true;
}

/* The rules that use the pool agree (config_check). One that no rule uses is as nat.ports says. */
static uint32_t order_of(const struct snapshot *s, const struct config *c, uint32_t pool)
{
	for (uint32_t i = 0; i < c->n_rules; i++)
		if (c->rules[i].overflow[0] && config_pool_find(c, c->rules[i].overflow) == pool)
			return PORT_ORDER_PLAIN;
	for (uint32_t i = 0; i < s->n_rules; i++)
		if (s->rules[i].pool == pool && s->rules[i].action == ACTION_TRANSLATE)
			return s->rules[i].ports == PORTS_SHUFFLED ? PORT_ORDER_SHUFFLED : PORT_ORDER_PLAIN;
	return c->nat.ports == PORTS_SHUFFLED ? PORT_ORDER_SHUFFLED : PORT_ORDER_PLAIN;
}

static bool add_pool(struct arena *a, const struct tables *list, const struct config *c, struct snapshot *s)
{
	const struct config_pool *p = &c->pools[s->n_pools];
	struct snapshot_pool *pool = &s->pools[s->n_pools];
	uint32_t range = 0;
	uint64_t at = 0;

	pool->order = order_of(s, c, s->n_pools++);
	pool->block_size = p->block_size;
	pool->blocks_max = p->blocks_max;
	pool->block_hold_s = p->block_hold_s;
	pool->active_block_s = p->active_block_s;
	while (config_pool_next(p, &range, &at, &s->ranges[s->n_ranges]))
		s->n_ranges++;
	pool->first = s->n_addresses;
	if (!add_addresses(a, list, p, true, s))
		return false;
	pool->usable = s->n_addresses - pool->first;
	if (!add_addresses(a, list, p, false, s))
		return false;
	pool->n = s->n_addresses - pool->first;
	return true;
}

/* ---- what leaves ---- */

/* An address more that packets may come for. Contiguous ones are one range. */
static void add_range(struct snapshot *s, uint32_t first_leaving, uint32_t host)
{
	struct address_range *last = &s->ranges[s->n_ranges - 1];

	if (s->n_ranges > first_leaving && last->last + 1 == host)
		last->last = host;
	else
		s->ranges[s->n_ranges++] = (struct address_range){host, host};
}

/* The tables of an address that is not configured, as far as they are kept. False: no room. */
static bool add_leaving(const struct arena *a, const struct tables *list, const struct table_of *at, struct snapshot *s)
{
	struct snapshot_address x = {.address = be32_of(at->host)};
	unsigned older = 0;

	for (uint32_t host = at->host; at < list->at + list->n && at->host == host; at++)
		if (is_kept(a, list, at->index)) {
			if (!x.ports)
				x.ports = at->index;
			else if (older < SNAPSHOT_OLDER_MAX)
				x.older[older++] = at->index;
		}
	if (!x.ports)
		return true;
	if (s->n_addresses + s->n_leaving == CONFIG_ADDRESSES_MAX)
		return false;
	s->addresses[s->n_addresses + s->n_leaving++] = x;
	return true;
}

static bool refuse_leaving(const struct snapshot *s, struct config_error *err)
{
	snprintf(err->text, sizeof err->text,
		"pools: %u addresses, and more than %u that were removed and have sessions still: at most %d are "
		"possible "
		"together; wait until these have ended, or end them with `corenatctl sessions clear`",
		s->n_addresses, s->n_leaving, CONFIG_ADDRESSES_MAX);
	return false;
}

static bool add_all_leaving(const struct arena *a, const struct config *c, const struct tables *list,
	struct snapshot *s, struct config_error *err)
{
	uint32_t first = s->n_ranges;

	for (uint32_t i = 0; i < list->n; i++) {
		uint32_t host = list->at[i].host, n = s->n_leaving;

		if ((i && list->at[i - 1].host == host) || is_configured(c, host))
			continue;
		if (!add_leaving(a, list, &list->at[i], s))
			return refuse_leaving(s, err);
		if (s->n_leaving > n)
			add_range(s, first, host);
	}
	return true;
}

bool snapshot_add_pools(struct arena *a, const struct config *c, struct snapshot *s, struct config_error *err)
{
	struct tables list;
	bool listed = tables_list(a, &list), fit = listed;

	for (uint32_t p = 0; fit && p < c->n_pools; p++)
		fit = add_pool(a, &list, c, s);
	if (listed && !fit)
		refuse_addresses(a, c, s, err);
	bool ok = fit && add_all_leaving(a, c, &list, s, err);

	if (!listed)
		snprintf(err->text, sizeof err->text, "no memory for a list of port tables");
	tables_free(&list);
	return ok;
}

/* ---- what has drained ---- */

static bool is_idle(const struct arena *a, uint32_t index, uint8_t epoch)
{
	return !index || ports_are_idle(port_table_at(a, index), epoch);
}

static bool all_idle(const struct arena *a, const struct snapshot_address *x, uint8_t epoch)
{
	bool idle = is_idle(a, x->ports, epoch);

	for (unsigned i = 0; idle && i < SNAPSHOT_OLDER_MAX; i++)
		idle = is_idle(a, x->older[i], epoch);
	return idle;
}

static int by_address(const void *x, const void *y)
{
	uint32_t a = be32_host(((const struct snapshot_address *)x)->address);
	uint32_t b = be32_host(((const struct snapshot_address *)y)->address);

	return (a > b) - (a < b);
}

/* Which of those that leave have nothing in their tables and no session either: some hold no port, being mapped 1:1 or
 * queries between subscribers. One walk for all of them. */
static bool *find_left(const struct arena *a, const struct snapshot *s, uint8_t epoch)
{
	const struct snapshot_address *leaving = s->addresses + s->n_addresses;
	bool *left = calloc(s->n_leaving + 1, sizeof *left), any = false;
	uint32_t session = 0;

	for (uint32_t i = 0; left && i < s->n_leaving; i++)
		any |= left[i] = all_idle(a, &leaving[i], epoch);
	while (any && (session = slab_next_live(a, SLAB_session, session + 1))) {
		struct snapshot_address key = {.address = session_at(a, session)->nat};
		const struct snapshot_address *at = bsearch(&key, leaving, s->n_leaving, sizeof key, by_address);

		if (at)
			left[at - leaving] = false;
	}
	return left;
}

static unsigned mark(const struct arena *a, uint32_t index, uint32_t generation)
{
	atomic_store_explicit(&port_table_at(a, index)->drained, generation, memory_order_relaxed);
	return 1;
}

static unsigned mark_older(const struct arena *a, const struct snapshot_address *x, uint32_t generation, uint8_t epoch)
{
	unsigned marked = 0;

	for (unsigned i = 0; i < SNAPSHOT_OLDER_MAX && x->older[i]; i++)
		if (is_idle(a, x->older[i], epoch))
			marked += mark(a, x->older[i], generation);
	return marked;
}

/* One that stays gives from its table. One that leaves is kept with all its tables until nothing lives there. */
unsigned snapshot_drain(struct arena *a, uint32_t now_s)
{
	uint32_t generation = atomic_load_explicit(&a->header->config_generation, memory_order_acquire);
	const struct snapshot *s = snapshot_slot(a, generation);
	uint8_t epoch = port_epoch(s->hold_s, now_s);
	unsigned marked = 0;

	if (!generation || !snapshot_is_settled(a))
		return 0;
	bool *left = find_left(a, s, epoch);
	for (uint32_t i = 0; left && i < s->n_addresses + s->n_leaving; i++) {
		bool gone = i >= s->n_addresses && left[i - s->n_addresses];

		if (gone)
			marked += mark(a, s->addresses[i].ports, generation);
		if (gone || i < s->n_addresses)
			marked += mark_older(a, &s->addresses[i], generation, epoch);
	}
	free(left);
	return marked;
}

/* ---- freeing ---- */

/* A dead engine's intent is looked at by its successor. */
static bool is_intended(const struct arena *a, uint32_t index)
{
	for (unsigned e = 0; e < ACTOR_MAX; e++) {
		const struct intent *in = &actor_of(a, e)->intent;
		uint64_t block = atomic_load_explicit(&in->block, memory_order_acquire);

		if (atomic_load_explicit(&in->port, memory_order_acquire) >> 32 == index ||
			(block && block_of_word(block).table == index))
			return true;
	}
	return false;
}

unsigned snapshot_free_drained(struct arena *a)
{
	struct tables list;
	unsigned freed = 0;
	bool ok = tables_list(a, &list) && list.in_force && snapshot_is_settled(a);

	for (uint32_t i = 0; ok && i < list.n; i++)
		if (!is_named(&list, list.at[i].index) && !is_intended(a, list.at[i].index))
			freed += shared_drop(a, ACTOR_MGMTD, SLAB_port_table, list.at[i].index);
	tables_free(&list);
	return freed;
}
