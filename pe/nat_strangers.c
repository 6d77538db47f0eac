/* Sessions begun from outside. Whoever a filter lets in may begin as many as there are endpoints to send from, and to forge.
 * So until the inside has answered they have a bounded share only: of what their subscriber may have (nat_quota_ask), of
 * what the engine can hold, and none of the last of the room, which is the inside's. */
#include "pe/nat_internal.h"

enum { SHARE = 8 }; /* of an engine's sessions: unanswered ones at most, and what is kept free of them */

/* ---- may one begin ---- */

static uint32_t free_pages(const struct arena *a)
{
	const struct page *map = arena_region(a, ARENA_page_map);
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->header->geometry.pages; i++)
		n += (uint32_t)atomic_load_explicit(&map[i].owner, memory_order_relaxed) == 0;
	return n;
}

/* Sessions that this engine's tables are planned for. */
static uint32_t planned(const struct nat *n)
{
	const struct arena_geometry *g = &n->arena->header->geometry;
	uint32_t share = g->sessions / g->engines;

	return share < SHARE ? SHARE : share;
}

/* Objects there are for new sessions, looked at once a second. */
static uint64_t room(struct nat *n)
{
	const struct slab *own = &n->actor->slab[SLAB_session];

	if (n->session_room.looked_s != n->now_s || !n->session_room.looked)
		n->session_room = (struct session_room){
			true, n->now_s, (uint64_t)(own->pages + free_pages(n->arena)) * slab_per_page(SLAB_session)};
	return n->session_room.sessions > own->used ? n->session_room.sessions - own->used : 0;
}

static bool is_kept_for_inside(struct nat *n)
{
	uint32_t share = planned(n) / SHARE;
	uint64_t used = n->actor->slab[SLAB_session].used, entries = (uint64_t)n->local[0].n * LOCAL_ENTRIES;

	return n->unanswered >= share || used >= entries - entries / SHARE * 2 || room(n) < share;
}

enum verdict nat_may_ask(struct nat *n, const struct session *want, struct subscriber_part **part)
{
	return is_kept_for_inside(n) ? VERDICT_drop_room_kept : nat_quota_ask(n, want, part);
}

/* ---- answers ---- */

/* The owner looks in its next turn. */
static void tell_owner(struct nat *n, unsigned owner, uint32_t index)
{
	struct answers *a = &actor_of(n->arena, owner)->answers;
	unsigned slot = index % BELL_SLOTS;

	atomic_store_explicit(&a->session[slot], index, memory_order_relaxed);
	atomic_fetch_or_explicit(&a->told, 1ull << slot, memory_order_release);
}

void nat_note_answer(struct nat *n, uint32_t index, uint32_t generation)
{
	struct session *s = session_at(n->arena, index);
	uint32_t life = atomic_load_explicit(&s->life, memory_order_relaxed);
	const uint32_t until_answered = LIFE_UNANSWERED | LIFE_BRIEF;

	if (!(life & LIFE_UNANSWERED) || !(life & LIFE_LIVES) ||
		atomic_load_explicit(&s->generation, memory_order_acquire) != generation)
		return;
	/* What fails is tried again by the next packet. */
	if (nat_counts_unanswered(s) && !nat_count_answered(n, index, generation))
		return;
	if (!atomic_compare_exchange_strong_explicit(
		    &s->life, &life, life & ~until_answered, memory_order_relaxed, memory_order_relaxed))
		return;
	if (s->owner == n->engine)
		nat_quota_asked_back(n, s, NULL);
	else
		tell_owner(n, s->owner, index);
}

void nat_see_answer(struct nat *n, uint32_t index)
{
	struct session *s = session_at(n->arena, index);

	if (session_is_counted(s) && !(atomic_load_explicit(&s->life, memory_order_relaxed) & LIFE_UNANSWERED))
		nat_quota_asked_back(n, s, NULL);
}

void nat_answers_slice(struct nat *n)
{
	struct answers *a = &n->actor->answers;

	if (!atomic_load_explicit(&a->told, memory_order_relaxed))
		return;
	uint64_t told = atomic_exchange_explicit(&a->told, 0, memory_order_acquire);
	for (; told; told &= told - 1) {
		uint32_t index = atomic_load_explicit(&a->session[__builtin_ctzll(told)], memory_order_relaxed);

		if (slab_owned(n->arena, n->engine, SLAB_session, index) && slab_live(session_at(n->arena, index)))
			nat_see_answer(n, index);
	}
}
