/* The burst: parse all, look up all, translate all, then the few that have no session yet. */
#include "pe/nat_internal.h"

/* ---- lookup ---- */

local_place nat_find_local(const struct nat *n, enum dir dir, struct flow_key key, uint64_t hash)
{
	unsigned cursor = 0;
	local_place place;

	while ((place = local_next(&n->local[dir], hash, &cursor))) {
		uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

		if (flow_key_equal(session_key(session_at(n->arena, local_index(e)), dir), key))
			return place;
	}
	return NULL;
}

/* ---- the burst ---- */

static const enum verdict hit_verdict[N_DIRS] = {VERDICT_fwd_out_hit, VERDICT_fwd_in_hit};

/* A packet whose session is not in the local table, or was not when the burst was looked up. */
static enum verdict first_packet(struct nat *n, struct packet *p, const struct flow *f)
{
	local_place place = nat_find_hosted(&n, f);
	enum verdict verdict = hit_verdict[f->dir];

	if (!place)
		place = nat_first_packet(n, f, &verdict);
	return place ? nat_translate(n, p, f, place, verdict) : verdict;
}

static void burst_parse(struct nat *n, struct packet *burst, struct flow *flow, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		burst[i].forward = 0;
		burst[i].verdict = (uint8_t)flow_parse(&flow[i], &burst[i]);
		if (burst[i].verdict != N_VERDICTS)
			continue;
		flow[i].hash = flow_key_hash(flow[i].key, n->seed);
		local_prefetch(&n->local[flow[i].dir], flow[i].hash);
	}
}

static local_place place_at(const struct local_table *t, uint64_t hash, unsigned entry)
{
	uint32_t first = local_first(t, hash);
	uint32_t b = entry < LOCAL_ENTRIES ? first : local_other(t, first, local_hash_tag(hash));

	return &t->bucket[b].entry[entry % LOCAL_ENTRIES];
}

static void prefetch_session(const struct nat *n, const struct local_table *t, const struct flow *f)
{
	local_place place = place_at(t, f->hash, (unsigned)__builtin_ctz(f->fits));

	__builtin_prefetch(session_at(n->arena, local_index(atomic_load_explicit(place, memory_order_relaxed))));
}

/* Compares tags; the sessions, or for those that are not in their first bucket the other bucket, are fetched while the
 * rest of the burst is looked at. */
static void burst_first_buckets(struct nat *n, const struct packet *burst, struct flow *flow, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct flow *f = &flow[i];

		if (burst[i].verdict != N_VERDICTS)
			continue;
		const struct local_table *t = &n->local[f->dir];
		uint32_t tag = local_hash_tag(f->hash), first = local_first(t, f->hash);
		f->fits = (uint16_t)local_match(t, first, tag);
		if (f->fits)
			prefetch_session(n, t, f);
		else
			__builtin_prefetch(&t->bucket[local_other(t, first, tag)]);
	}
}

static void burst_other_buckets(struct nat *n, const struct packet *burst, struct flow *flow, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct flow *f = &flow[i];

		if (burst[i].verdict != N_VERDICTS || f->fits)
			continue;
		const struct local_table *t = &n->local[f->dir];
		uint32_t tag = local_hash_tag(f->hash);
		f->fits =
			(uint16_t)(local_match(t, local_other(t, local_first(t, f->hash), tag), tag) << LOCAL_ENTRIES);
		if (f->fits)
			prefetch_session(n, t, f);
	}
}

/* The place whose session has the packet's key, among those whose tag fitted. */
static local_place find_fitting(const struct nat *n, const struct flow *f)
{
	for (unsigned fits = f->fits; fits; fits &= fits - 1) {
		local_place place = place_at(&n->local[f->dir], f->hash, (unsigned)__builtin_ctz(fits));
		uint64_t e = atomic_load_explicit(place, memory_order_relaxed);

		if (e && flow_key_equal(session_key(session_at(n->arena, local_index(e)), f->dir), f->key))
			return place;
	}
	return NULL;
}

void nat_burst(struct nat *n, struct packet *burst, unsigned count, mono_t now)
{
	struct flow flow[BURST_MAX];
	unsigned first[BURST_MAX], n_first = 0;

	assert(count <= BURST_MAX);
	for (struct nat *host = n; host; host = host->guest)
		host->now_s = (uint32_t)(now.ns / 1000000000u);
	burst_parse(n, burst, flow, count);
	burst_first_buckets(n, burst, flow, count);
	burst_other_buckets(n, burst, flow, count);
	for (unsigned i = 0; i < count; i++) {
		const struct flow *f = &flow[i];

		if (burst[i].verdict != N_VERDICTS)
			continue;
		local_place place = find_fitting(n, f);
		if (place && nat_still_good(n, place))
			burst[i].verdict = (uint8_t)nat_translate(n, &burst[i], f, place, hit_verdict[f->dir]);
		else
			first[n_first++] = i;
	}
	for (unsigned i = 0; i < n_first; i++)
		burst[first[i]].verdict = (uint8_t)first_packet(n, &burst[first[i]], &flow[first[i]]);
}

void nat_host(struct nat *n, struct nat *guest)
{
	guest->guest = n->guest;
	n->guest = guest;
}

void nat_unhost(struct nat *n, struct nat *guest)
{
	struct nat **link = &n->guest;

	while (*link != guest)
		link = &(*link)->guest;
	*link = guest->guest;
}

void nat_count(struct nat *n, enum verdict v)
{
	n->verdicts[v]++;
}

void nat_flush_counters(struct nat *n)
{
	for (int v = 0; v < N_VERDICTS; v++) {
		if (n->verdicts[v])
			counter_add(&n->actor->verdicts[v], n->verdicts[v]);
		n->verdicts[v] = 0;
	}
}
