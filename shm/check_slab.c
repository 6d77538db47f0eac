/* Pages, and the slabs made of them. */
#include "shm/check_internal.h"

#include <string.h>

/* Enough for the class with the most objects per page. */
enum { SLOTS_MAX = ARENA_PAGE / 64 };
_Static_assert(sizeof(struct session) == 64, "the smallest object");

static const char *const class_name[N_SLAB_CLASSES] = {
#define S(name, bytes, whose, help) [SLAB_##name] = #name,
	SLAB_CLASSES(S)
#undef S
};

static struct page *page_at(const struct check *c, uint32_t number)
{
	return (struct page *)arena_region(c->a, ARENA_page_map) + number - 1;
}

static const struct slab_object *object_at(const struct check *c, uint32_t number, uint32_t slot)
{
	enum slab_class class = c->page[number].class;

	return slab_pointer(c->a, class, number * slab_per_page(class) + slot);
}

static bool actor_exists(const struct check *c, uint32_t actor)
{
	return actor < c->a->header->geometry.engines || actor == ACTOR_MGMTD || actor == ACTOR_SHARED;
}

static struct check_text page_text(const struct check *c, uint32_t number)
{
	const struct page_note *p = &c->page[number];

	if (!p->owned)
		return check_textf("page %u", number);
	return check_textf("page %u (%s of %s)", number, class_name[p->class], check_actor_text(p->actor).text);
}

/* ---- whose a page is ---- */

static void note_owner(struct check *c, uint32_t number)
{
	const struct page *p = page_at(c, number);
	struct page_note *note = &c->page[number];
	uint64_t word = atomic_load_explicit(&p->owner, memory_order_acquire);
	uint32_t actor = (uint32_t)(word & 0xff) - 1, class = (uint32_t)word >> 8;
	uint32_t cut = atomic_load_explicit(&p->cut, memory_order_acquire);

	if ((uint32_t)word == 0) {
		c->counts->pages_free++;
		return;
	}
	if (!actor_exists(c, actor) || class >= N_SLAB_CLASSES) {
		check_violated(c, CHECK_page_owner, 0, page_text(c, number),
			check_textf("its owner word says %s, class %u", check_actor_text(actor).text, class),
			check_textf("the arena has %u engines and %u classes", c->a->header->geometry.engines,
				N_SLAB_CLASSES));
		return;
	}
	note->actor = (uint8_t)actor;
	note->class = (uint8_t) class;
	note->owned = cut == (uint32_t)(word >> 32);
	if (note->owned)
		c->counts->pages[actor][class]++;
	else
		check_violated(c, CHECK_page_cut, 0, page_text(c, number),
			check_textf("%s took it in epoch %u", check_actor_text(actor).text, (uint32_t)(word >> 32)),
			check_textf("it was last cut for epoch %u", cut));
	if ((slab_whose[class] == SLABS_shared) != (actor == ACTOR_SHARED))
		check_violated(c, CHECK_page_owner, 0, page_text(c, number),
			check_textf("its owner word says %s", check_actor_text(actor).text),
			check_textf("%ss are %s", class_name[class],
				slab_whose[class] == SLABS_shared ? "the shared allocator's" : "each engine's own"));
}

/* ---- its objects ---- */

static void count_objects(struct check *c, uint32_t number)
{
	uint32_t top = PEEK(page_at(c, number)->top), highest = top;
	bool shared = slab_whose[c->page[number].class] == SLABS_shared;

	for (uint32_t slot = 0; slot < slab_per_page(c->page[number].class); slot++) {
		uint32_t g = atomic_load_explicit(&object_at(c, number, slot)->generation, memory_order_relaxed);

		c->page[number].live += g & 1;
		c->page[number].mix = shared ? c->page[number].mix * 0x9e3779b97f4a7c15u + g : 0;
		if ((int32_t)((g & ~1u) - highest) > 0)
			highest = g & ~1u;
	}
	if (highest != top)
		check_violated(c, CHECK_page_top, 0, page_text(c, number),
			check_textf("an object has generation %u", highest),
			check_textf("the page says that none was above %u", top));
}

/* Walks the free list; says in *end how it came to its end, when not as it should. */
static uint32_t free_list_length(const struct check *c, uint32_t number, struct check_text *end)
{
	uint64_t seen[SLOTS_MAX / 64];
	uint32_t per = slab_per_page(c->page[number].class), n = 0;

	memset(seen, 0, sizeof seen);
	*end = check_textf("%s", "");
	for (uint32_t next = PEEK(page_at(c, number)->free); next; n++) {
		uint32_t slot = next - 1;

		if (slot >= per)
			*end = check_textf(", then leads to slot %u of %u", slot, per);
		else if (seen[slot / 64] >> slot % 64 & 1)
			*end = check_textf(", then comes back to slot %u", slot);
		else if (slab_live(object_at(c, number, slot)))
			*end = check_textf(", then holds live object %u", number * per + slot);
		if (end->text[0])
			return n;
		seen[slot / 64] |= 1ull << slot % 64;
		next = PEEK(object_at(c, number, slot)->link);
	}
	return n;
}

static void check_objects(struct check *c, uint32_t number)
{
	struct page_note *note = &c->page[number];
	const struct page *p = page_at(c, number);
	uint32_t used = PEEK(p->used), free_now;
	struct check_text end;

	count_objects(c, number);
	note->room = PEEK(p->free) != 0;
	if (used != note->live)
		check_violated(c, CHECK_page_used, note->mix, page_text(c, number),
			check_textf("its use count is %u", used), check_textf("%u of its objects live", note->live));
	free_now = slab_per_page(note->class) - note->live;
	uint32_t n = free_list_length(c, number, &end);
	if (n != free_now || end.text[0])
		check_violated(c, CHECK_page_free_list, note->mix, page_text(c, number),
			check_textf("its free list has %u objects%s", n, end.text),
			check_textf("%u of its objects are free", free_now));
}

void check_pages(struct check *c)
{
	uint32_t n = c->a->header->geometry.pages;

	for (uint32_t number = 1; number <= n; number++) {
		note_owner(c, number);
		if (c->page[number].owned)
			check_objects(c, number);
		check_progress(c, STAGE_PAGES, number, n);
	}
}

/* ---- slabs ---- */

static struct check_text slab_text(unsigned actor, enum slab_class class)
{
	return check_textf("slab of %s's %s objects", check_actor_text(actor).text, class_name[class]);
}

/* Walks the list of pages with room, as far as it is one. */
static void check_partial(struct check *c, unsigned actor, enum slab_class class, const struct slab *s)
{
	uint32_t last = 0;

	for (uint32_t number = PEEK(s->partial); number;) {
		bool there = number <= c->a->header->geometry.pages;
		struct page_note *note = there ? &c->page[number] : NULL;
		uint32_t prev = there ? PEEK(page_at(c, number)->prev) : 0;

		if (!there || !note->owned || note->actor != actor || note->class != class || note->listed) {
			check_violated(c, CHECK_slab_partial, 0, slab_text(actor, class),
				check_textf("its list of pages with room leads from page %u to page %u", last, number),
				note && note->listed ? check_textf("that page was on the list before")
						     : check_textf("that page is not one of its own"));
			return;
		}
		note->listed++;
		if (prev != last)
			check_violated(c, CHECK_slab_partial, 0, page_text(c, number),
				check_textf("page %u comes before it on the list of pages with room", last),
				check_textf("it says page %u does", prev));
		last = number;
		number = PEEK(page_at(c, number)->next);
	}
}

static void check_listed(
	struct check *c, unsigned actor, enum slab_class class, uint32_t *pages, uint32_t *live, uint64_t *mix)
{
	for (uint32_t number = 1; number <= c->a->header->geometry.pages; number++) {
		const struct page_note *note = &c->page[number];

		if (!note->owned || note->actor != actor || note->class != class)
			continue;
		++*pages;
		*live += note->live;
		*mix ^= note->mix;
		if (note->room != note->listed)
			check_violated(c, CHECK_slab_partial, 0, page_text(c, number),
				check_textf("it has %s", note->room ? "room" : "no room"),
				check_textf("the list of pages with room has it %u times", note->listed));
	}
}

/* No more steps than there are objects: a list that closes on itself ends here too. */
static void check_remote(struct check *c, unsigned actor, enum slab_class class, const struct slab *s, uint32_t live)
{
	uint32_t n = 0, per = slab_per_page(class);

	for (uint32_t i = atomic_load_explicit(&s->remote, memory_order_acquire); i; n++) {
		const struct slab_object *o = check_known(c, class, i) ? object_at(c, i / per, i % per) : NULL;

		if (!o || check_owner(c, class, i) != actor || !slab_live(o) || n >= live) {
			check_violated(c, CHECK_slab_remote, 0, slab_text(actor, class),
				check_textf("its remote list has object %u after %u others", i, n),
				n >= live ? check_textf("it has %u live objects", live)
					  : check_textf("that is no live object of its own"));
			return;
		}
		i = PEEK(o->link);
	}
}

void check_slabs(struct check *c)
{
	for (unsigned actor = 0; actor < ACTOR_MAX; actor++)
		for (int class = 0; class < N_SLAB_CLASSES; class ++) {
			const struct slab *s = &actor_of(c->a, actor)->slab[class];
			uint32_t pages = 0, live = 0;
			uint64_t mix = 0;
			uint32_t pages_said = PEEK(s->pages), used_said = PEEK(s->used);

			check_partial(c, actor, class, s);
			check_listed(c, actor, class, &pages, &live, &mix);
			if (pages != pages_said || live != used_said)
				check_violated(c, CHECK_slab_count, mix, slab_text(actor, class),
					check_textf("it counts %u objects in %u pages", used_said, pages_said),
					check_textf("%u objects live in %u pages", live, pages));
			check_remote(c, actor, class, s, live);
		}
}
