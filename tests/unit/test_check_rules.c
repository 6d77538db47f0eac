/* The checker's rules: for each one a corruption, found by that rule and no other, with the object named; and garbage. */
#include "pe/nat_internal.h"
#include "shm/nexthop.h"
#include "shm/quota.h"
#include "shm/shared_slab.h"
#include "tests/unit/check_scene.h"

/* ---- corruptions: one rule each ---- */

static void break_page_owner(struct scene *s)
{
	uint32_t n = scene_free_page(s);

	scene_page_of(s, n)->owner = 0x7799;
	snprintf(s->names, sizeof s->names, "page %u", n);
}

/* An engine takes a page for what only the shared allocator allocates. */
static void break_page_owner_whose(struct scene *s)
{
	struct slab *slab = &actor_of(s->b->arena, 0)->slab[SLAB_port_table];
	uint32_t i = slab_take(s->b->arena, slab, 0, SLAB_port_table);

	slab_put(s->b->arena, slab, SLAB_port_table, i);
	snprintf(s->names, sizeof s->names, "page %u (port_table of engine 0)", i / slab_per_page(SLAB_port_table));
}

/* What death between taking a page and cutting it leaves. */
static void break_page_cut(struct scene *s)
{
	uint32_t n = scene_free_page(s);

	scene_page_of(s, n)->owner += (1ull << 32) + 1;
	snprintf(s->names, sizeof s->names, "page %u", n);
}

static void name_page(struct scene *s, uint32_t session, const char *of)
{
	snprintf(s->names, sizeof s->names, "page %u (session of %s)", scene_page_number(session), of);
}

static void break_page_free_list(struct scene *s)
{
	struct page *p = scene_page_of(s, scene_page_number(s->carrier));
	struct session *first_free =
		scene_at(s, scene_page_number(s->carrier) * slab_per_page(SLAB_session) + p->free - 1);

	first_free->link = p->free; /* to itself */
	name_page(s, s->carrier, "engine 0");
}

static void break_page_used(struct scene *s)
{
	scene_page_of(s, scene_page_number(s->carrier))->used++;
	name_page(s, s->carrier, "engine 0");
}

static void break_page_top(struct scene *s)
{
	scene_page_of(s, scene_page_number(s->carrier))->top = 0;
	name_page(s, s->carrier, "engine 0");
}

static void break_slab_partial(struct scene *s)
{
	scene_slab_of(s, 0)->partial = 0;
	name_page(s, s->carrier, "engine 0");
}

static void break_slab_count(struct scene *s)
{
	scene_slab_of(s, 1)->used++;
	snprintf(s->names, sizeof s->names, "slab of engine 1's session objects");
}

static void break_slab_remote(struct scene *s)
{
	scene_slab_of(s, 1)->remote = s->carrier;
	snprintf(s->names, sizeof s->names, "slab of engine 1's session objects");
}

static void break_lock_held(struct scene *s)
{
	s->b->nat[0].mappings.bucket[0].lock = 2;
	snprintf(s->names, sizeof s->names, "bucket 0 of the mapping table");
}

static void break_lock_held_shared(struct scene *s)
{
	scene_slab_of(s, ACTOR_SHARED)->lock = ACTOR_MGMTD + 1;
	snprintf(s->names, sizeof s->names, "shared allocator");
}

static void break_intent_open(struct scene *s)
{
	s->b->nat[1].actor->intent.step = INTENT_INSERT;
	snprintf(s->names, sizeof s->names, "engine 1");
}

static void break_session_owner(struct scene *s)
{
	scene_at(s, s->carrier)->owner = 1;
	scene_name_session(s, s->carrier);
}

static void break_session_flags(struct scene *s)
{
	scene_at(s, s->other)->flags |= 0x80;
	scene_name_session(s, s->other);
}

/* Its part counts it, though nobody outside began it. */
static void break_session_flags_counted(struct scene *s)
{
	struct session *x = scene_at(s, s->carrier);

	x->life |= LIFE_COUNTED;
	scene_part_of(s, 0, be32_host(x->inside) - SUBSCRIBERS)->unanswered++;
	scene_name_session(s, s->carrier);
}

/* Its subscriber's part accounts for it. */
static uint32_t adrift(struct scene *s)
{
	struct subscriber_part *p = scene_part_of(s, 0, 1);

	uint32_t i = slab_take(s->b->arena, scene_slab_of(s, 0), 0, SLAB_session);
	struct session *x = scene_at(s, i);

	memset((uint8_t *)x + sizeof x->generation, 0, sizeof *x - sizeof x->generation);
	x->inside = be32_of(SUBSCRIBERS + 1);
	p->amount[QUOTA_sessions].used++;
	p->amount[QUOTA_memory].used += QUOTA_SESSION_MEMORY;
	x->l4 = L4_UDP;
	slab_publish(x);
	scene_name_session(s, i);
	return i;
}

static void break_session_leaked(struct scene *s)
{
	adrift(s);
}

static void break_session_leaked_dying(struct scene *s)
{
	scene_at(s, adrift(s))->flags = SESSION_DYING;
}

static void break_session_outbound(struct scene *s)
{
	*scene_place(s, 0, DIR_OUTBOUND, s->sharer) = 0;
	scene_name_session(s, s->sharer);
}

/* A copy in the other bucket: what a move cut in half leaves. */
static void break_session_outbound_twice(struct scene *s)
{
	local_place p = scene_place(s, 0, DIR_OUTBOUND, s->sharer);
	struct local_table *t = &s->b->nat[0].local[DIR_OUTBOUND];
	uint32_t b = (uint32_t)((uint8_t *)p - (uint8_t *)t->bucket) / sizeof *t->bucket;

	t->bucket[local_other(t, b, local_tag(*p))].entry[7] = *p;
	scene_name_session(s, s->sharer);
}

static void break_session_inbound(struct scene *s)
{
	*scene_place(s, 0, DIR_INBOUND, s->sharer) = 0;
	scene_name_session(s, s->sharer);
}

static void break_session_global(struct scene *s)
{
	*scene_global_place(&s->b->nat[0].sessions, s->away) = 0;
	scene_name_session(s, s->away);
}

static void break_session_adopters(struct scene *s)
{
	scene_at(s, s->away)->adopters |= 1ull << 5;
	scene_name_session(s, s->away);
}

static void break_session_adopters_entry(struct scene *s)
{
	*scene_place(s, 1, DIR_INBOUND, s->away) = 0;
	scene_name_session(s, s->away);
}

/* The same packet while its session is out of the table: a second session for it. */
static void break_session_unique(struct scene *s)
{
	local_place p = scene_place(s, 0, DIR_OUTBOUND, s->sharer);
	uint64_t entry = *p;

	*p = 0;
	assert_int_equal(box_out(s->b, 0, s->sharer_flow), VERDICT_fwd_out_new);
	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) { /* wherever there is room in that bucket */
		p = (local_place)((uintptr_t)p & ~(uintptr_t)(CACHE_LINE - 1)) + i;
		if (*p == 0)
			break;
	}
	assert_int_equal(*p, 0);
	*p = entry;
	scene_name_session(s, s->sharer);
}

static void break_session_mapping(struct scene *s)
{
	scene_at(s, s->other)->mapping = 0;
	scene_name_session(s, s->other);
}

/* Another endpoint's mapping, with the counts to match. */
static void break_session_mapping_foreign(struct scene *s)
{
	scene_at(s, s->sharer)->mapping = s->other;
	scene_at(s, s->carrier)->refs -= session_weight(scene_at(s, s->sharer));
	scene_at(s, s->other)->refs += session_weight(scene_at(s, s->sharer));
	scene_name_session(s, s->sharer);
}

static void break_mapping_listed(struct scene *s)
{
	*scene_global_place(&s->b->nat[0].mappings, s->other) = 0;
	scene_name_session(s, s->other);
}

static void break_filter_listed(struct scene *s)
{
	*scene_global_place(&s->b->nat[0].filters, s->other) = 0;
	scene_name_session(s, s->other);
}

/* A second filter of a NAT endpoint, made while the first was out of the table. */
static void break_filter_unique(struct scene *s)
{
	_Atomic uint64_t *p = scene_global_place(&s->b->nat[0].filters, s->other);
	struct session *other = scene_at(s, s->other);
	uint64_t entry = *p;
	struct global_pair pair;

	*p = 0;
	session_set(other, 0, SESSION_FILTERS);
	assert_int_equal(box_out(s->b, 1, tuple_of(L4_UDP, 3, 5000, 99, 53)), VERDICT_fwd_out_new);
	session_set(other, SESSION_FILTERS, 0);
	assert_true(global_lock(&s->b->nat[0].filters, scene_hash_of(s, filter_key(other)), &pair));
	assert_true(global_insert(&s->b->nat[0].filters, &pair, (uint32_t)entry));
	global_unlock(&s->b->nat[0].filters, &pair);
	scene_name_session(s, s->other < scene_newest(s->b, 1) ? s->other : scene_newest(s->b, 1));
}

static void break_filter_entry(struct scene *s)
{
	*scene_global_room(&s->b->nat[0].filters) = 1ull << 32 | 1;
	snprintf(s->names, sizeof s->names, "bucket 0 of the filter table");
}

static void break_mapping_refs(struct scene *s)
{
	scene_at(s, s->carrier)->refs++;
	scene_name_session(s, s->carrier);
}

/* A second mapping of an endpoint, made while the first was out of the table. */
static void break_mapping_unique(struct scene *s)
{
	_Atomic uint64_t *p = scene_global_place(&s->b->nat[0].mappings, s->other);
	uint64_t entry = *p;

	*p = 0;
	assert_int_equal(box_out(s->b, 1, tuple_of(L4_UDP, 3, 5000, 99, 53)), VERDICT_fwd_out_new);
	struct global_pair pair;
	assert_true(global_lock(&s->b->nat[0].mappings, scene_hash_of(s, mapping_key(scene_at(s, s->other))), &pair));
	assert_true(global_insert(&s->b->nat[0].mappings, &pair, (uint32_t)entry));
	global_unlock(&s->b->nat[0].mappings, &pair);
	scene_name_session(s, s->other < scene_newest(s->b, 1) ? s->other : scene_newest(s->b, 1));
}

static void break_local_entry(struct scene *s)
{
	struct local_table *t = &s->b->nat[1].local[DIR_INBOUND];

	for (unsigned i = 0; i < LOCAL_ENTRIES; i++)
		if (!t->bucket[3].entry[i])
			t->bucket[3].entry[i] = local_entry(s->carrier + 5000, 0, 7, 0);
	snprintf(s->names, sizeof s->names, "bucket 3 of engine 1's inbound table");
}

/* The right session under a wrong tag: no packet finds it. */
static void break_local_entry_tag(struct scene *s)
{
	local_place p = scene_place(s, 0, DIR_INBOUND, s->sharer);

	*p ^= 1ull << LOCAL_SEEN_BITS;
	snprintf(s->names, sizeof s->names, "bucket ");
}

static void break_global_entry(struct scene *s)
{
	*scene_global_room(&s->b->nat[0].sessions) = UINT64_MAX;
	snprintf(s->names, sizeof s->names, "bucket 0 of the global session table");
}

static void break_mapping_entry(struct scene *s)
{
	*scene_global_room(&s->b->nat[0].mappings) = 1ull << 32 | 1;
	snprintf(s->names, sizeof s->names, "bucket 0 of the mapping table");
}

static void break_pinhole_valid(struct scene *s)
{
	struct pinhole_ring *ring = pinhole_ring_of(s->b->arena, 1);

	atomic_store(&ring->done, atomic_load(&ring->last) + 1);
	snprintf(s->names, sizeof s->names, "engine 1");
}

/* Mgmtd has taken what was never there. */
static void break_event_valid(struct scene *s)
{
	struct events v = events_of(s->b->arena, 1);

	atomic_store(&v.ring->tail, atomic_load(&v.ring->head) + 1);
	snprintf(s->names, sizeof s->names, "engine 1");
}

static void break_event_valid_kind(struct scene *s)
{
	struct events v = events_of(s->b->arena, ACTOR_MGMTD);

	event_put(&v, &(struct event){.kind = EVENT_lost});
	snprintf(s->names, sizeof s->names, "mgmtd");
}

static struct snapshot *snapshot_of(const struct scene *s)
{
	return (struct snapshot *)arena_region(s->b->arena, ARENA_snapshots) +
	       (s->b->arena->header->config_generation & 1);
}

static void break_snapshot_valid(struct scene *s)
{
	snapshot_of(s)->n_addresses = UINT32_MAX;
	snprintf(s->names, sizeof s->names, "configuration 1");
}

static void break_snapshot_valid_pools(struct scene *s)
{
	snapshot_of(s)->pools[0].usable = snapshot_of(s)->pools[0].n + 1;
	snprintf(s->names, sizeof s->names, "configuration 1");
}

static void break_snapshot_valid_rules(struct scene *s)
{
	snapshot_of(s)->rules[0].pool = (uint8_t)snapshot_of(s)->n_pools;
	snprintf(s->names, sizeof s->names, "configuration 1");
}

static void break_snapshot_address(struct scene *s)
{
	snapshot_of(s)->addresses[1].ports = snapshot_of(s)->addresses[0].ports;
	snprintf(s->names, sizeof s->names, "address 1 in force, 198.51.100.1");
}

static void break_clear_valid(struct scene *s)
{
	s->b->nat[1].actor->clear_done = 1;
	snprintf(s->names, sizeof s->names, "engine 1");
}

static void break_clear_valid_place(struct scene *s)
{
	clear_ring_of(s->b->arena)->last = 3;
	snprintf(s->names, sizeof s->names, "request 3");
}

static void break_nexthop_seq(struct scene *s)
{
	struct nexthop *nh = arena_region(s->b->arena, ARENA_nexthop);
	uint32_t i = nexthop_find(nh, SIDE_INSIDE, 0, (be32_t){0x020200c0});

	assert_true(i != ADJACENCY_NONE);
	nh->adjacency[i].seq |= 1;
	snprintf(s->names, sizeof s->names, "adjacency %u (192.0.2.2:0)", i);
}

/* ---- each corruption is found, by its rule alone ---- */

static const struct corruption corruptions[] = {
	{BREAK(page_owner)},
	{BREAK_TOO(page_owner, whose)},
	{BREAK(page_cut)},
	{BREAK(page_free_list)},
	{BREAK(page_used)},
	{BREAK(page_top)},
	{BREAK(slab_partial)},
	{BREAK(slab_count)},
	{BREAK(slab_remote)},
	{BREAK(lock_held)},
	{BREAK_TOO(lock_held, shared)},
	{BREAK(intent_open)},
	{BREAK(session_owner)},
	{BREAK(session_flags)},
	{BREAK_TOO(session_flags, counted)},
	{BREAK(session_leaked)},
	{BREAK_TOO(session_leaked, dying)},
	{BREAK(session_outbound)},
	{BREAK_TOO(session_outbound, twice)},
	{BREAK(session_inbound)},
	{BREAK(session_global)},
	{BREAK(session_adopters)},
	{BREAK_TOO(session_adopters, entry)},
	{BREAK(session_unique)},
	{BREAK(session_mapping)},
	{BREAK_TOO(session_mapping, foreign)},
	{BREAK(mapping_listed)},
	{BREAK(filter_listed)},
	{BREAK(filter_unique)},
	{BREAK(filter_entry)},
	{BREAK(mapping_refs)},
	{BREAK(mapping_unique)},
	{BREAK(local_entry)},
	{BREAK_TOO(local_entry, tag)},
	{BREAK(global_entry)},
	{BREAK(mapping_entry)},
	{BREAK(pinhole_valid)},
	{BREAK(event_valid)},
	{BREAK_TOO(event_valid, kind)},
	{BREAK(snapshot_valid)},
	{BREAK_TOO(snapshot_valid, pools)},
	{BREAK_TOO(snapshot_valid, rules)},
	{BREAK(snapshot_address)},
	{BREAK(clear_valid)},
	{BREAK_TOO(clear_valid, place)},
	{BREAK(nexthop_seq)},
};
enum { N_CORRUPTIONS = sizeof corruptions / sizeof corruptions[0] };

static void test_each_rule(void **state)
{
	bool tried[N_CHECK_RULES] = {false};

	scene_try_each(corruptions, N_CORRUPTIONS, tried);
	for (int r = 0; r < N_CHECK_RULES; r++) {
		bool elsewhere = (r >= CHECK_session_part && r <= CHECK_record_owner) || /* test_check_subscribers.c */
				 (r >= FIRST_OF_PORTS && r <= LAST_OF_PORTS);            /* test_check_ports.c */

		if (!tried[r] && !elsewhere)
			fail_msg("no corruption for %s", check_rule_info[r].name);
	}
}

static void test_each_rule_live(void **state)
{
	scene_try_live(corruptions, N_CORRUPTIONS);
}

/* ---- garbage ---- */

/* Whatever stands in the arena, the checker comes back and has something to say. */
static void test_garbage(void **state)
{
	static const enum arena_region regions[] = {ARENA_actors, ARENA_nexthop, ARENA_snapshots, ARENA_page_map,
		ARENA_sessions, ARENA_mappings, ARENA_filters, ARENA_subscribers, ARENA_clears, ARENA_locals,
		ARENA_parts};

	for (uint64_t seed = 1; seed <= (UNDER_TSAN ? 2 : 20); seed++) {
		struct scene s = scene_make();
		struct rnd r = {seed};
		const struct arena_span *span = s.b->arena->header->region;

		for (unsigned k = 0; k < sizeof regions / sizeof regions[0]; k++) {
			uint8_t *at_ = s.b->arena->base + span[regions[k]].offset;

			for (unsigned n = 0; n < 2000; n++) /* small values are the cunning ones */
				*(uint32_t *)(at_ + (uint64_t)rnd_below(&r, (uint32_t)span[regions[k]].bytes / 4) * 4) =
					(uint32_t)(rnd_next(&r) >> rnd_below(&r, 64));
		}
		for (unsigned n = 0; n < 2000; n++) { /* the sessions there are, and their neighbours */
			uint32_t *word = (uint32_t *)scene_at(&s, s.carrier) + rnd_below(&r, 16 * 64);

			*word = (uint32_t)(rnd_next(&r) >> rnd_below(&r, 64));
		}
		for (unsigned n = 0; n < ACTOR_MAX; n++) /* none is waited for: that is another test's */
			atomic_store(&actor_of(s.b->arena, n)->heartbeat_ns, 0);
		assert_true(check_arena(s.b->arena, CHECK_EXACT, NULL, NULL, NULL) > 0);
		assert_true(check_arena(s.b->arena, CHECK_LIVE, NULL, NULL, NULL) > 0);
		box_close(s.b);
	}
}

/* The rule table is printed and parsed by others: names are there and differ. */
static void test_rule_table(void **state)
{
	for (int r = 0; r < N_CHECK_RULES; r++) {
		assert_true(check_rule_info[r].name[0] && check_rule_info[r].help[0]);
		for (int other = 0; other < r; other++)
			assert_string_not_equal(check_rule_info[r].name, check_rule_info[other].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rule_table),
		cmocka_unit_test(test_each_rule),
		cmocka_unit_test(test_each_rule_live),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
