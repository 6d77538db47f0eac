/* The checker's rules: for each one a corruption, found by that rule and no other, with the object named; and garbage. */
#include "pe/nat_internal.h"
#include "shm/blocks.h"
#include "shm/nexthop.h"
#include "shm/quota.h"
#include "shm/shared_slab.h"
#include "tests/unit/check_box.h"
#include "tests/unit/port_tools.h"

/* ---- a scene in which there is one of everything ---- */

struct scene {
	struct box *b;
	uint32_t carrier; /* engine 0's, home, carries a mapping that `sharer` uses */
	uint32_t sharer;  /* engine 0's, home */
	uint32_t away;    /* engine 0's, carries; adopted by engine 1 */
	uint32_t other;   /* engine 1's, carries; nobody else has to do with it */
	struct tuple away_flow, other_flow, sharer_flow;
	char names[64]; /* what the object of the violation must begin with */
};

static uint32_t newest(const struct box *b, unsigned engine)
{
	uint32_t found = 0;

	for (uint32_t i = 0; (i = slab_next_live(b->arena, SLAB_session, i + 1));)
		if (session_at(b->arena, i)->owner == engine)
			found = i;
	return found;
}

static uint32_t make(struct box *b, unsigned engine, struct tuple t)
{
	assert_int_equal(box_out(b, engine, t), VERDICT_fwd_out_new);
	return newest(b, engine);
}

/* Tries remotes until a flow from `engine` has its replies land where they should. */
static uint32_t make_landing(struct box *b, unsigned engine, unsigned inside, bool away, struct tuple *t)
{
	for (unsigned remote = 1;; remote++) {
		*t = tuple_of(L4_UDP, inside, 5000, remote, 53);
		uint32_t i = make(b, engine, *t);

		if (session_has(session_at(b->arena, i), SESSION_AWAY) == away)
			return i;
		nat_session_end(&b->nat[engine], i);
	}
}

static struct scene scene_make(void)
{
	struct scene s = {.b = box_open(1024, PORTS)};
	struct tuple t;

	/* One is freed before: the page has seen generations come and go. */
	nat_session_end(&s.b->nat[0], make(s.b, 0, tuple_of(L4_UDP, 9, 5000, 1, 53)));
	s.carrier = make_landing(s.b, 0, 1, false, &t);
	for (unsigned remote = 100; !s.sharer; remote++) {
		s.sharer_flow = tuple_of(L4_UDP, 1, 5000, remote, 53);
		s.sharer = make(s.b, 0, s.sharer_flow);
		if (!session_has(session_at(s.b->arena, s.sharer), SESSION_AWAY))
			break;
		nat_session_end(&s.b->nat[0], s.sharer);
		s.sharer = 0;
	}
	s.away = make_landing(s.b, 0, 2, true, &s.away_flow);
	assert_int_equal(box_out(s.b, 0, s.away_flow), VERDICT_fwd_out_hit);
	assert_int_equal(box_in(s.b), VERDICT_fwd_in_adopted);
	s.other_flow = tuple_of(L4_UDP, 3, 5000, 1, 53);
	s.other = make(s.b, 1, s.other_flow);
	expect_clean(s.b, NULL);
	return s;
}

static struct session *at(const struct scene *s, uint32_t index)
{
	return session_at(s->b->arena, index);
}

static void name_session(struct scene *s, uint32_t index)
{
	snprintf(s->names, sizeof s->names, "session %u (udp 100.64.0.", index);
}

static struct page *page_of(const struct scene *s, uint32_t number)
{
	return (struct page *)arena_region(s->b->arena, ARENA_page_map) + number - 1;
}

static uint32_t page_number(uint32_t session)
{
	return session / slab_per_page(SLAB_session);
}

static uint32_t free_page(const struct scene *s)
{
	uint32_t n = 1;

	while (page_of(s, n)->owner & UINT32_MAX)
		n++;
	return n;
}

static uint64_t hash_of(const struct scene *s, struct flow_key key)
{
	return flow_key_hash(key, s->b->arena->header->seed);
}

/* The place of a session in one of its engine's tables. */
static local_place place(const struct scene *s, unsigned engine, enum dir dir, uint32_t index)
{
	local_place p = local_find(&s->b->nat[engine].local[dir], hash_of(s, session_key(at(s, index), dir)), index);

	assert_non_null(p);
	return p;
}

/* The place of a session in a global table. */
static _Atomic uint64_t *global_place(const struct global_table *t, uint32_t index)
{
	for (uint32_t b = 0; b < t->n; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			if ((uint32_t)t->bucket[b].entry[i] == index)
				return &t->bucket[b].entry[i];
	fail_msg("session %u is not there", index);
	return NULL;
}

static _Atomic uint64_t *global_room(const struct global_table *t)
{
	for (uint32_t b = 0;; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			if (!t->bucket[b].entry[i])
				return &t->bucket[b].entry[i];
}

static struct port_table *table_of(const struct scene *s, uint32_t index)
{
	for (uint32_t i = 0; (i = slab_next_live(s->b->arena, SLAB_port_table, i + 1));)
		if (port_table_at(s->b->arena, i)->address.net == at(s, index)->nat.net)
			return port_table_at(s->b->arena, i);
	fail_msg("no port table");
	return NULL;
}

static struct slab *slab_of(const struct scene *s, unsigned actor)
{
	return &actor_of(s->b->arena, actor)->slab[actor == ACTOR_SHARED ? SLAB_port_table : SLAB_session];
}

/* ---- corruptions: one rule each ---- */

static void break_page_owner(struct scene *s)
{
	uint32_t n = free_page(s);

	page_of(s, n)->owner = 0x7799;
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
	uint32_t n = free_page(s);

	page_of(s, n)->owner += (1ull << 32) + 1;
	snprintf(s->names, sizeof s->names, "page %u", n);
}

static void name_page(struct scene *s, uint32_t session, const char *of)
{
	snprintf(s->names, sizeof s->names, "page %u (session of %s)", page_number(session), of);
}

static void break_page_free_list(struct scene *s)
{
	struct page *p = page_of(s, page_number(s->carrier));
	struct session *first_free = at(s, page_number(s->carrier) * slab_per_page(SLAB_session) + p->free - 1);

	first_free->link = p->free; /* to itself */
	name_page(s, s->carrier, "engine 0");
}

static void break_page_used(struct scene *s)
{
	page_of(s, page_number(s->carrier))->used++;
	name_page(s, s->carrier, "engine 0");
}

static void break_page_top(struct scene *s)
{
	page_of(s, page_number(s->carrier))->top = 0;
	name_page(s, s->carrier, "engine 0");
}

static void break_slab_partial(struct scene *s)
{
	slab_of(s, 0)->partial = 0;
	name_page(s, s->carrier, "engine 0");
}

static void break_slab_count(struct scene *s)
{
	slab_of(s, 1)->used++;
	snprintf(s->names, sizeof s->names, "slab of engine 1's session objects");
}

static void break_slab_remote(struct scene *s)
{
	slab_of(s, 1)->remote = s->carrier;
	snprintf(s->names, sizeof s->names, "slab of engine 1's session objects");
}

static void break_lock_held(struct scene *s)
{
	s->b->nat[0].mappings.bucket[0].lock = 2;
	snprintf(s->names, sizeof s->names, "bucket 0 of the mapping table");
}

static void break_lock_held_shared(struct scene *s)
{
	slab_of(s, ACTOR_SHARED)->lock = ACTOR_MGMTD + 1;
	snprintf(s->names, sizeof s->names, "shared allocator");
}

static void break_intent_open(struct scene *s)
{
	s->b->nat[1].actor->intent.step = INTENT_INSERT;
	snprintf(s->names, sizeof s->names, "engine 1");
}

static void break_session_owner(struct scene *s)
{
	at(s, s->carrier)->owner = 1;
	name_session(s, s->carrier);
}

static void break_session_flags(struct scene *s)
{
	at(s, s->other)->flags |= 0x80;
	name_session(s, s->other);
}

/* An engine's part of subscriber `inside`. */
static struct subscriber_part *part_of(const struct scene *s, unsigned engine, uint32_t inside)
{
	struct subscriber_key key = {be32_of(SUBSCRIBERS + inside), 0};
	struct subscriber_part *p =
		part_find(s->b->arena, &s->b->nat[engine].subscribers.parts, key, subscriber_hash(s->b->arena, key));

	assert_non_null(p);
	return p;
}

/* Its subscriber's part accounts for it. */
static uint32_t adrift(struct scene *s)
{
	struct subscriber_part *p = part_of(s, 0, 1);

	uint32_t i = slab_take(s->b->arena, slab_of(s, 0), 0, SLAB_session);
	struct session *x = at(s, i);

	memset((uint8_t *)x + sizeof x->generation, 0, sizeof *x - sizeof x->generation);
	x->inside = be32_of(SUBSCRIBERS + 1);
	p->amount[QUOTA_sessions].used++;
	p->amount[QUOTA_memory].used += QUOTA_SESSION_MEMORY;
	x->l4 = L4_UDP;
	slab_publish(x);
	name_session(s, i);
	return i;
}

static void break_session_leaked(struct scene *s)
{
	adrift(s);
}

static void break_session_leaked_dying(struct scene *s)
{
	at(s, adrift(s))->flags = SESSION_DYING;
}

static void break_session_outbound(struct scene *s)
{
	*place(s, 0, DIR_OUTBOUND, s->sharer) = 0;
	name_session(s, s->sharer);
}

/* A copy in the other bucket: what a move cut in half leaves. */
static void break_session_outbound_twice(struct scene *s)
{
	local_place p = place(s, 0, DIR_OUTBOUND, s->sharer);
	struct local_table *t = &s->b->nat[0].local[DIR_OUTBOUND];
	uint32_t b = (uint32_t)((uint8_t *)p - (uint8_t *)t->bucket) / sizeof *t->bucket;

	t->bucket[local_other(t, b, local_tag(*p))].entry[7] = *p;
	name_session(s, s->sharer);
}

static void break_session_inbound(struct scene *s)
{
	*place(s, 0, DIR_INBOUND, s->sharer) = 0;
	name_session(s, s->sharer);
}

static void break_session_global(struct scene *s)
{
	*global_place(&s->b->nat[0].sessions, s->away) = 0;
	name_session(s, s->away);
}

static void break_session_adopters(struct scene *s)
{
	at(s, s->away)->adopters |= 1ull << 5;
	name_session(s, s->away);
}

static void break_session_adopters_entry(struct scene *s)
{
	*place(s, 1, DIR_INBOUND, s->away) = 0;
	name_session(s, s->away);
}

/* The same packet while its session is out of the table: a second session for it. */
static void break_session_unique(struct scene *s)
{
	local_place p = place(s, 0, DIR_OUTBOUND, s->sharer);
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
	name_session(s, s->sharer);
}

static void break_session_mapping(struct scene *s)
{
	at(s, s->other)->mapping = 0;
	name_session(s, s->other);
}

/* Another endpoint's mapping, with the counts to match. */
static void break_session_mapping_foreign(struct scene *s)
{
	at(s, s->sharer)->mapping = s->other;
	at(s, s->carrier)->refs -= session_weight(at(s, s->sharer));
	at(s, s->other)->refs += session_weight(at(s, s->sharer));
	name_session(s, s->sharer);
}

static void break_mapping_listed(struct scene *s)
{
	*global_place(&s->b->nat[0].mappings, s->other) = 0;
	name_session(s, s->other);
}

static void break_filter_listed(struct scene *s)
{
	*global_place(&s->b->nat[0].filters, s->other) = 0;
	name_session(s, s->other);
}

/* A second filter of a NAT endpoint, made while the first was out of the table. */
static void break_filter_unique(struct scene *s)
{
	_Atomic uint64_t *p = global_place(&s->b->nat[0].filters, s->other);
	struct session *other = at(s, s->other);
	uint64_t entry = *p;
	struct global_pair pair;

	*p = 0;
	session_set(other, 0, SESSION_FILTERS);
	assert_int_equal(box_out(s->b, 1, tuple_of(L4_UDP, 3, 5000, 99, 53)), VERDICT_fwd_out_new);
	session_set(other, SESSION_FILTERS, 0);
	assert_true(global_lock(&s->b->nat[0].filters, hash_of(s, filter_key(other)), &pair));
	assert_true(global_insert(&s->b->nat[0].filters, &pair, (uint32_t)entry));
	global_unlock(&s->b->nat[0].filters, &pair);
	name_session(s, s->other < newest(s->b, 1) ? s->other : newest(s->b, 1));
}

static void break_filter_entry(struct scene *s)
{
	*global_room(&s->b->nat[0].filters) = 1ull << 32 | 1;
	snprintf(s->names, sizeof s->names, "bucket 0 of the filter table");
}

static void break_mapping_refs(struct scene *s)
{
	at(s, s->carrier)->refs++;
	name_session(s, s->carrier);
}

/* A second mapping of an endpoint, made while the first was out of the table. */
static void break_mapping_unique(struct scene *s)
{
	_Atomic uint64_t *p = global_place(&s->b->nat[0].mappings, s->other);
	uint64_t entry = *p;

	*p = 0;
	assert_int_equal(box_out(s->b, 1, tuple_of(L4_UDP, 3, 5000, 99, 53)), VERDICT_fwd_out_new);
	struct global_pair pair;
	assert_true(global_lock(&s->b->nat[0].mappings, hash_of(s, mapping_key(at(s, s->other))), &pair));
	assert_true(global_insert(&s->b->nat[0].mappings, &pair, (uint32_t)entry));
	global_unlock(&s->b->nat[0].mappings, &pair);
	name_session(s, s->other < newest(s->b, 1) ? s->other : newest(s->b, 1));
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
	local_place p = place(s, 0, DIR_INBOUND, s->sharer);

	*p ^= 1ull << LOCAL_SEEN_BITS;
	snprintf(s->names, sizeof s->names, "bucket ");
}

static void break_global_entry(struct scene *s)
{
	*global_room(&s->b->nat[0].sessions) = UINT64_MAX;
	snprintf(s->names, sizeof s->names, "bucket 0 of the global session table");
}

static void break_mapping_entry(struct scene *s)
{
	*global_room(&s->b->nat[0].mappings) = 1ull << 32 | 1;
	snprintf(s->names, sizeof s->names, "bucket 0 of the mapping table");
}

static struct subscriber *subscriber_of(const struct scene *s, unsigned engine, uint32_t inside)
{
	return subscriber_at(s->b->arena, part_of(s, engine, inside)->subscriber);
}

static void name_subscriber(struct scene *s, unsigned engine, uint32_t inside)
{
	snprintf(s->names, sizeof s->names, "subscriber %u (100.64.0.%u", part_of(s, engine, inside)->subscriber,
		inside);
}

/* A table in plain order, of the address that `other` has its port of. */
static uint32_t plain_table(struct scene *s);

static struct block_wish wish_in(uint32_t table)
{
	return (struct block_wish){.table = table, .ports = 64, .first = 1984, .last = 4095};
}

static uint64_t make_block(struct scene *s, uint32_t inside)
{
	struct block_wish w = wish_in(plain_table(s));
	_Atomic uint64_t intent = 0;

	w.last = 2047; /* the one that `other`'s port is in */
	return block_make(s->b->arena, subscriber_of(s, 0, inside), part_of(s, 0, inside)->subscriber, &w, &intent);
}

static void break_intent_open_block(struct scene *s)
{
	s->b->nat[1].actor->intent.block = 7;
	snprintf(s->names, sizeof s->names, "engine 1");
}

static void break_block_listed(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	b.first += 64;
	subscriber_of(s, 0, 1)->block[3] = block_word(b);
	name_subscriber(s, 0, 1);
}

static void break_block_listed_table(struct scene *s)
{
	subscriber_of(s, 0, 1)->block[3] = block_word((struct block){s->carrier, 2048, 64, 1});
	name_subscriber(s, 0, 1);
}

static void break_block_labelled(struct scene *s)
{
	make_block(s, 1);
	subscriber_of(s, 0, 1)->block[0] = 0;
	snprintf(s->names, sizeof s->names, "ports 198.51.100.");
}

static void break_block_overlap(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	b.since_s++;
	subscriber_of(s, 0, 1)->block[1] = block_word(b);
	name_subscriber(s, 0, 1);
}

static void break_block_chunk(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	port_table_at(s->b->arena, b.table)->chunk[PORTS_TCP][3000 / CHUNK_PORTS] = (uint64_t)CHUNK_BLOCK
										    << CHUNK_HOLDER;
	snprintf(s->names, sizeof s->names, "chunk %u (set 0) of port table %u", 3000 / CHUNK_PORTS, b.table);
}

static void break_block_chunk_free(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));

	port_table_at(s->b->arena, b.table)->chunk[PORTS_OTHER][b.first / CHUNK_PORTS] = 0;
	snprintf(s->names, sizeof s->names, "chunk %u (set 1) of port table %u", b.first / CHUNK_PORTS, b.table);
}

static void break_block_hint(struct scene *s)
{
	port_table_at(s->b->arena, plain_table(s))->block[5] = 1;
	snprintf(s->names, sizeof s->names, "ports 198.51.100.");
}

/* A block of somebody else's over the port of a session. */
static void break_block_port(struct scene *s)
{
	struct block b = block_of_word(make_block(s, 1));
	struct port_table *t = port_table_at(s->b->arena, b.table);
	struct port_order o = port_hand_order(t);
	uint16_t port = be16_host(at(s, s->other)->nat_port);
	_Atomic uint64_t intent = 0;

	assert_true(port_hand_put(table_of(s, s->other), PORTS_OTHER, port));
	assert_true(ports_take_one(t, b.table, &o, PORTS_OTHER, port, true, 0, &intent));
	name_session(s, s->other);
}

static void break_port_leaked(struct scene *s)
{
	struct port_table *t = table_of(s, s->other);

	struct port_order o = port_hand_order(t);
	struct port_place p = port_place_of(&o, 2000);

	t->chunk[PORTS_TCP][p.chunk] |= 1ull << p.place;
	snprintf(s->names, sizeof s->names, "port 198.51.100.%u:2000 (tcp)", be32_host(t->address) & 0xff);
}

static void break_port_unmarked(struct scene *s)
{
	assert_true(port_hand_put(table_of(s, s->other), PORTS_OTHER, be16_host(at(s, s->other)->nat_port)));
	name_session(s, s->other);
}

/* Every port is taken, then one is freed behind its owner's back, and another endpoint gets it. */
static void break_port_shared(struct scene *s)
{
	unsigned inside = 20;

	while (box_out(s->b, 1, tuple_of(L4_UDP, inside, 6000, 1, 53)) == VERDICT_fwd_out_new)
		inside++;
	expect_clean(s->b, NULL);
	assert_true(port_hand_put(table_of(s, s->other), PORTS_OTHER, be16_host(at(s, s->other)->nat_port)));
	s->b->now = mono_after(s->b->now, span_ms(25)); /* what was full is looked through again */
	assert_int_equal(box_out(s->b, 1, tuple_of(L4_UDP, inside, 6000, 2, 53)), VERDICT_fwd_out_new);
	*global_place(&s->b->nat[0].filters, newest(s->b, 1)) = 0; /* a port's filter would be there twice as well */
	session_set(at(s, newest(s->b, 1)), 0, SESSION_FILTERS);
	name_session(s, newest(s->b, 1));
}

/* A table more of an address that has one. */
static void build_like(void *object, void *context)
{
	const struct port_table *like = context;
	struct port_table *t = object;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	t->address = like->address;
	t->basis = like->basis;
}

static uint32_t one_more_table(struct scene *s)
{
	return shared_make(s->b->arena, ACTOR_MGMTD, SLAB_port_table, build_like, table_of(s, s->other));
}

static uint32_t plain_table(struct scene *s)
{
	uint32_t i = one_more_table(s);

	port_order_plain(&port_table_at(s->b->arena, i)->basis);
	return i;
}

static void break_port_table_unique(struct scene *s)
{
	snprintf(s->names, sizeof s->names, "port table %u", one_more_table(s));
}

static void break_port_table_valid(struct scene *s)
{
	uint32_t i = one_more_table(s);

	memset(port_table_at(s->b->arena, i)->basis.port, 0, sizeof(uint16_t[2]));
	snprintf(s->names, sizeof s->names, "port table %u", i);
}

/* In another order, but taken there too. */
static void break_port_twice(struct scene *s)
{
	uint32_t i = one_more_table(s);
	struct port_table *t = port_table_at(s->b->arena, i);
	uint16_t was = t->basis.port[5], port = be16_host(at(s, s->other)->nat_port);
	char text[INET_ADDRSTRLEN];

	t->basis.port[5] = t->basis.port[6];
	t->basis.port[6] = was;
	assert_true(port_hand_take(s->b->arena, i, PORTS_OTHER, port));
	inet_ntop(AF_INET, &t->address, text, sizeof text);
	snprintf(s->names, sizeof s->names, "port %s:%u", text, port);
}

static void break_port_holder(struct scene *s)
{
	struct port_table *t = table_of(s, s->other);

	t->chunk[PORTS_TCP][17] |= 60ull << CHUNK_HOLDER;
	snprintf(s->names, sizeof s->names, "chunk 17 (tcp)");
}

static void break_pinhole_valid(struct scene *s)
{
	struct pinhole_ring *ring = pinhole_ring_of(s->b->arena, 1);

	atomic_store(&ring->done, atomic_load(&ring->last) + 1);
	snprintf(s->names, sizeof s->names, "engine 1");
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

#define BREAK(r) .name = #r, .rule = CHECK_##r, .corrupt = break_##r
#define BREAK_TOO(r, how) .name = #r " " #how, .rule = CHECK_##r, .corrupt = break_##r##_##how

static const struct corruption {
	const char *name;
	enum check_rule rule;
	void (*corrupt)(struct scene *s);
} corruptions[] = {
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
	{BREAK_TOO(intent_open, block)},
	{BREAK(block_listed)},
	{BREAK_TOO(block_listed, table)},
	{BREAK(block_labelled)},
	{BREAK(block_overlap)},
	{BREAK(block_chunk)},
	{BREAK_TOO(block_chunk, free)},
	{BREAK(block_hint)},
	{BREAK(block_port)},
	{BREAK(port_leaked)},
	{BREAK(port_unmarked)},
	{BREAK(port_shared)},
	{BREAK(port_table_unique)},
	{BREAK(port_table_valid)},
	{BREAK(port_twice)},
	{BREAK(port_holder)},
	{BREAK(pinhole_valid)},
	{BREAK(snapshot_valid)},
	{BREAK_TOO(snapshot_valid, pools)},
	{BREAK_TOO(snapshot_valid, rules)},
	{BREAK(snapshot_address)},
	{BREAK(clear_valid)},
	{BREAK_TOO(clear_valid, place)},
	{BREAK(nexthop_seq)},
};

static bool is_named(const struct said *s, const char *name)
{
	for (unsigned i = 0; i < s->n && i < SAID_MAX; i++)
		if (strncmp(s->object[i], name, strlen(name)) == 0)
			return true;
	return false;
}

static void expect_rule(const struct corruption *how, const struct scene *scene, struct said s)
{
	if (!s.of[how->rule])
		fail_msg("%s: not found; %u others, the last: %s", how->name, s.n, s.last);
	if (s.n != s.of[how->rule])
		fail_msg("%s: found, but so are %u others, the last: %s", how->name, s.n - s.of[how->rule], s.last);
	if (!is_named(&s, scene->names))
		fail_msg("%s: found, but the object is not \"%s\": %s", how->name, scene->names, s.last);
}

static void test_each_rule(void **state)
{
	bool tried[N_CHECK_RULES] = {false};

	for (unsigned i = 0; i < sizeof corruptions / sizeof corruptions[0]; i++) {
		const struct corruption *how = &corruptions[i];
		struct scene s = scene_make();

		how->corrupt(&s);
		struct said said = box_ask(s.b, CHECK_EXACT, NULL);

		expect_rule(how, &s, said);
		print_message("%s\n", said.last);
		box_close(s.b);
		tried[how->rule] = true;
	}
	for (int r = 0; r < N_CHECK_RULES; r++)
		if (!tried[r] && !(r >= CHECK_session_part && r <= CHECK_record_owner)) /* test_check_subscribers.c */
			fail_msg("no corruption for %s", check_rule_info[r].name);
}

/* What does not move is found on a live box too; locks and intents of the living are their business. */
static void test_each_rule_live(void **state)
{
	for (unsigned i = 0; i < sizeof corruptions / sizeof corruptions[0]; i += 5) {
		const struct corruption *how = &corruptions[i];
		struct scene s = scene_make();
		struct check_counts n;

		how->corrupt(&s);
		if (how->rule != CHECK_lock_held && how->rule != CHECK_intent_open && how->rule != CHECK_nexthop_seq)
			expect_rule(how, &s, box_ask(s.b, CHECK_LIVE, &n));
		else
			assert_int_equal(box_ask(s.b, CHECK_LIVE, &n).n, 0);
		box_close(s.b);
	}
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
			uint32_t *word = (uint32_t *)at(&s, s.carrier) + rnd_below(&r, 16 * 64);

			*word = (uint32_t)(rnd_next(&r) >> rnd_below(&r, 64));
		}
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
