#include "tests/unit/check_scene.h"

uint32_t scene_newest(const struct box *b, unsigned engine)
{
	uint32_t found = 0;

	for (uint32_t i = 0; (i = slab_next_live(b->arena, SLAB_session, i + 1));)
		if (session_at(b->arena, i)->owner == engine)
			found = i;
	return found;
}

uint32_t scene_make_session(struct box *b, unsigned engine, struct tuple t)
{
	assert_int_equal(box_out(b, engine, t), VERDICT_fwd_out_new);
	return scene_newest(b, engine);
}

/* Tries remotes until a flow from `engine` has its replies land where they should. */
static uint32_t make_landing(struct box *b, unsigned engine, unsigned inside, bool away, struct tuple *t)
{
	for (unsigned remote = 1;; remote++) {
		*t = tuple_of(L4_UDP, inside, 5000, remote, 53);
		uint32_t i = scene_make_session(b, engine, *t);

		if (session_has(session_at(b->arena, i), SESSION_AWAY) == away)
			return i;
		nat_session_end(&b->nat[engine], i);
	}
}

struct scene scene_make(void)
{
	struct scene s = {.b = box_open(1024, PORTS)};
	struct tuple t;

	/* One is freed before: the page has seen generations come and go. */
	nat_session_end(&s.b->nat[0], scene_make_session(s.b, 0, tuple_of(L4_UDP, 9, 5000, 1, 53)));
	s.carrier = make_landing(s.b, 0, 1, false, &t);
	for (unsigned remote = 100; !s.sharer; remote++) {
		s.sharer_flow = tuple_of(L4_UDP, 1, 5000, remote, 53);
		s.sharer = scene_make_session(s.b, 0, s.sharer_flow);
		if (!session_has(session_at(s.b->arena, s.sharer), SESSION_AWAY))
			break;
		nat_session_end(&s.b->nat[0], s.sharer);
		s.sharer = 0;
	}
	s.away = make_landing(s.b, 0, 2, true, &s.away_flow);
	assert_int_equal(box_out(s.b, 0, s.away_flow), VERDICT_fwd_out_hit);
	assert_int_equal(box_in(s.b), VERDICT_fwd_in_adopted);
	s.other_flow = tuple_of(L4_UDP, 3, 5000, 1, 53);
	s.other = scene_make_session(s.b, 1, s.other_flow);
	expect_clean(s.b, NULL);
	return s;
}

struct session *scene_at(const struct scene *s, uint32_t index)
{
	return session_at(s->b->arena, index);
}

void scene_name_session(struct scene *s, uint32_t index)
{
	snprintf(s->names, sizeof s->names, "session %u (udp 100.64.0.", index);
}

struct page *scene_page_of(const struct scene *s, uint32_t number)
{
	return (struct page *)arena_region(s->b->arena, ARENA_page_map) + number - 1;
}

uint32_t scene_page_number(uint32_t session)
{
	return session / slab_per_page(SLAB_session);
}

uint32_t scene_free_page(const struct scene *s)
{
	uint32_t n = 1;

	while (scene_page_of(s, n)->owner & UINT32_MAX)
		n++;
	return n;
}

uint64_t scene_hash_of(const struct scene *s, struct flow_key key)
{
	return flow_key_hash(key, s->b->arena->header->seed);
}

/* The place of a session in one of its engine's tables. */
local_place scene_place(const struct scene *s, unsigned engine, enum dir dir, uint32_t index)
{
	local_place p = local_find(
		&s->b->nat[engine].local[dir], scene_hash_of(s, session_key(scene_at(s, index), dir)), index);

	assert_non_null(p);
	return p;
}

/* The place of a session in a global table. */
_Atomic uint64_t *scene_global_place(const struct global_table *t, uint32_t index)
{
	for (uint32_t b = 0; b < t->n; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			if ((uint32_t)t->bucket[b].entry[i] == index)
				return &t->bucket[b].entry[i];
	fail_msg("session %u is not there", index);
	return NULL;
}

_Atomic uint64_t *scene_global_room(const struct global_table *t)
{
	for (uint32_t b = 0;; b++)
		for (unsigned i = 0; i < GLOBAL_ENTRIES; i++)
			if (!t->bucket[b].entry[i])
				return &t->bucket[b].entry[i];
}

struct port_table *scene_table_of(const struct scene *s, uint32_t index)
{
	for (uint32_t i = 0; (i = slab_next_live(s->b->arena, SLAB_port_table, i + 1));)
		if (port_table_at(s->b->arena, i)->address.net == scene_at(s, index)->nat.net)
			return port_table_at(s->b->arena, i);
	fail_msg("no port table");
	return NULL;
}

struct slab *scene_slab_of(const struct scene *s, unsigned actor)
{
	return &actor_of(s->b->arena, actor)->slab[actor == ACTOR_SHARED ? SLAB_port_table : SLAB_session];
}

/* An engine's part of subscriber `inside`. */
struct subscriber_part *scene_part_of(const struct scene *s, unsigned engine, uint32_t inside)
{
	struct subscriber_key key = {be32_of(SUBSCRIBERS + inside), 0};
	struct subscriber_part *p =
		part_find(s->b->arena, &s->b->nat[engine].subscribers.parts, key, subscriber_hash(s->b->arena, key));

	assert_non_null(p);
	return p;
}

/* ---- each corruption is found, by its rule alone ---- */

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

void scene_try_each(const struct corruption *how, unsigned n, bool tried[N_CHECK_RULES])
{
	for (unsigned i = 0; i < n; i++) {
		struct scene s = scene_make();

		how[i].corrupt(&s);
		struct said said = box_ask(s.b, CHECK_EXACT, NULL);

		expect_rule(&how[i], &s, said);
		print_message("%s\n", said.last);
		box_close(s.b);
		tried[how[i].rule] = true;
	}
}

void scene_try_live(const struct corruption *how, unsigned n)
{
	for (unsigned i = 0; i < n; i += 5) {
		struct scene s = scene_make();
		struct check_counts counts;

		how[i].corrupt(&s);
		if (how[i].rule != CHECK_lock_held && how[i].rule != CHECK_intent_open &&
			how[i].rule != CHECK_nexthop_seq)
			expect_rule(&how[i], &s, box_ask(s.b, CHECK_LIVE, &counts));
		else
			assert_int_equal(box_ask(s.b, CHECK_LIVE, &counts).n, 0);
		box_close(s.b);
	}
}
