#include "pe/xdp.h"

#include "common/log.h"
#include "pe/bpf/corenat_xdp.h"
#include "pe/nat.h"
#include "pe/xdp_dir.h"
#include "pe/xdp_internal.h"
#include "shm/nexthop.h"
#include "shm/snapshot.h"

#include <arpa/inet.h>
#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static_assert(XDP_QUEUES == ENGINE_MAX, "one queue per engine");
static_assert(XDP_INSIDE == (int)SIDE_INSIDE && XDP_OUTSIDE == (int)SIDE_OUTSIDE, "sides");
static_assert(XDP_SUBSCRIBERS_MAX == 2 * SNAPSHOT_PREFIXES_MAX, "room for the old and the new");
static_assert(XDP_LOCAL_MAX == 2 * ROUTES_MAX, "room for the old and the new");
static_assert(XDP_POOL_MAX == 2 * CONFIG_ADDRESSES_MAX, "room for the old and the new");
static_assert(XDP_BYPASS_MAX == 2 * NAT_BYPASS_PREFIXES, "room for the old and the new");

/* ---- a sorted list of prefixes without duplicates ---- */

struct prefix_list {
	struct xdp_prefix *at;
	size_t len, room;
};

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct xdp_prefix));
}

enum { REALM_BITS = 32 };

static int list_add(struct prefix_list *l, uint32_t realm, uint32_t addr, unsigned bits)
{
	if (l->len == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct xdp_prefix *at = realloc(l->at, room * sizeof *at);

		if (!at)
			return -ENOMEM;
		l->at = at;
		l->room = room;
	}
	l->at[l->len++] = (struct xdp_prefix){.len = REALM_BITS + bits, .realm = realm, .addr = htonl(addr)};
	return 0;
}

static void list_sort(struct prefix_list *l)
{
	size_t kept = 0;

	if (!l->len)
		return;
	qsort(l->at, l->len, sizeof *l->at, compare);
	for (size_t i = 1; i < l->len; i++) {
		if (compare(&l->at[kept], &l->at[i]))
			l->at[++kept] = l->at[i];
	}
	l->len = kept + 1;
}

static bool list_has(const struct prefix_list *l, const struct xdp_prefix *p)
{
	return l->len && bsearch(p, l->at, l->len, sizeof *p, compare);
}

/* The fewest prefixes that cover exactly first..last: each as large as alignment and what is left allow. */
static int list_add_range(struct prefix_list *l, struct address_range r)
{
	uint64_t first = r.first;

	while (first <= r.last) {
		uint64_t left = (uint64_t)r.last - first + 1;
		unsigned host_bits = first ? (unsigned)__builtin_ctzll(first) : 32;
		unsigned fits = 63 - (unsigned)__builtin_clzll(left);
		int err;

		if (fits < host_bits)
			host_bits = fits;
		err = list_add(l, 0, (uint32_t)first, 32 - host_bits);
		if (err)
			return err;
		first += 1ull << host_bits;
	}
	return 0;
}

static int list_of_prefixes(struct prefix_list *l, const struct snapshot_prefix *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int err = list_add(l, p[i].realm, p[i].addr, p[i].len);

		if (err)
			return err;
	}
	list_sort(l);
	return 0;
}

static int list_of_ranges(struct prefix_list *l, const struct address_range *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int err = list_add_range(l, r[i]);

		if (err)
			return err;
	}
	list_sort(l);
	return 0;
}

static int list_of_map(struct prefix_list *l, int map)
{
	struct xdp_prefix key, next;
	const void *from = NULL;

	int got;

	while (!(got = bpf_map_get_next_key(map, from, &next))) {
		int err = list_add(l, next.realm, ntohl(next.addr), next.len - REALM_BITS);

		if (err)
			return err;
		key = next;
		from = &key;
	}
	if (got != -ENOENT) /* not the end */
		return got;
	list_sort(l);
	return 0;
}

/* ---- one map, one list ---- */

static int make_equal(int map, const struct prefix_list *want, const struct prefix_list *have)
{
	uint32_t one = 1;
	int err = 0;

	for (size_t i = 0; i < want->len && !err; i++) {
		if (!list_has(have, &want->at[i]))
			err = bpf_map_update_elem(map, &want->at[i], &one, BPF_ANY);
	}
	for (size_t i = 0; i < have->len && !err; i++) {
		if (!list_has(want, &have->at[i]))
			err = bpf_map_delete_elem(map, &have->at[i]);
	}
	return err;
}

static int sync_map(int map, const char *what, size_t max, const struct prefix_list *want)
{
	struct prefix_list have = {0};
	int err;

	if (want->len > max) {
		log_error("%s: %zu prefixes, the XDP program has room for %zu", what, want->len, max);
		return -E2BIG;
	}
	err = list_of_map(&have, map);
	if (!err)
		err = make_equal(map, want, &have);
	free(have.at);
	if (err)
		log_error("cannot tell the XDP program the %s: %s", what, strerror(-err));
	return err;
}

/* What each map of prefixes is to hold. */
struct prefix_lists {
	struct prefix_list subscribers, local, pool, bypass;
};

/* Whatever fails, the rest is done: above all the subscribers must be known, or they would go past the engine. */
static int sync_all(struct xdp *x, const struct prefix_lists *l)
{
	int pool = sync_map(x->map[XDP_MAP_pool], "pools", XDP_POOL_MAX / 2, &l->pool);
	int bypass = sync_map(x->map[XDP_MAP_bypass], "exempt subscribers", XDP_BYPASS_MAX / 2, &l->bypass);
	int local = sync_map(x->map[XDP_MAP_local], "appliance's addresses", XDP_LOCAL_MAX / 2, &l->local);
	int err = sync_map(x->map[XDP_MAP_subscribers], "subscribers", XDP_SUBSCRIBERS_MAX / 2, &l->subscribers);

	err = err ? err : local;
	err = err ? err : bypass;
	return err ? err : pool;
}

static int make_lists(struct prefix_lists *l, const struct xdp_rules *rules)
{
	int err = list_of_prefixes(&l->subscribers, rules->subscribers, rules->n_subscribers);

	if (!err)
		err = list_of_prefixes(&l->local, rules->local, rules->n_local);
	if (!err)
		err = list_of_prefixes(&l->bypass, rules->bypass, rules->n_bypass);
	if (!err)
		err = list_of_ranges(&l->pool, rules->pool, rules->n_pool);
	return err;
}

int xdp_apply(struct xdp *x, const struct xdp_rules *rules)
{
	struct prefix_lists lists = {0};
	int lock = xdp_dir_lock(x->dir, true);
	int err;

	if (lock < 0) {
		log_error("cannot lock %s: %s", x->dir, strerror(-lock));
		return lock;
	}
	err = make_lists(&lists, rules);
	if (!err)
		err = sync_all(x, &lists);
	free(lists.subscribers.at);
	free(lists.local.at);
	free(lists.bypass.at);
	free(lists.pool.at);
	close(lock);
	return err;
}

/* ---- counts ---- */

int xdp_count(struct xdp *x, unsigned queue, struct xdp_counts *out)
{
	struct xdp_queue_stats *of_cpu = calloc((size_t)x->n_cpus, sizeof *of_cpu);
	int err = of_cpu ? 0 : -ENOMEM;

	*out = (struct xdp_counts){0};
	for (unsigned side = 0; side < N_SIDES && !err; side++) {
		uint32_t index = side * XDP_QUEUES + queue % XDP_QUEUES;

		err = bpf_map_lookup_elem(x->map[XDP_MAP_queue_stats], &index, of_cpu);
		for (int cpu = 0; cpu < x->n_cpus && !err; cpu++) {
			out->redirected += of_cpu[cpu].redirected;
			out->no_engine += of_cpu[cpu].no_engine;
			out->to_kernel += of_cpu[cpu].to_kernel;
		}
	}
	free(of_cpu);
	return err;
}
