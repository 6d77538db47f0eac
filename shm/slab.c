#include "shm/slab.h"

static struct page *page_of(const struct arena *a, uint32_t number)
{
	return (struct page *)arena_region(a, ARENA_page_map) + number - 1;
}

static uint64_t owner_word(uint32_t epoch, enum slab_class c, unsigned actor)
{
	return (uint64_t)epoch << 32 | (uint32_t)c << 8 | (actor + 1);
}

/* True when the word names this class and actor, whatever its epoch. */
static bool owned_by(uint64_t word, enum slab_class c, unsigned actor)
{
	return (uint32_t)word == ((uint32_t)c << 8 | (actor + 1));
}

static struct slab_object *object_at(const struct arena *a, enum slab_class c, uint32_t page, uint32_t slot)
{
	return slab_pointer(a, c, page * slab_per_page(c) + slot);
}

/* ---- pages ---- */

/* page.next while nobody owns it: all its objects of this class are free, and in its list. No page has such a number. */
static uint32_t page_whole(enum slab_class c)
{
	return 1u << 31 | (uint32_t)c;
}

static void partial_add(struct arena *a, struct slab *s, uint32_t number)
{
	struct page *p = page_of(a, number);

	p->prev = 0;
	p->next = s->partial;
	if (s->partial)
		page_of(a, s->partial)->prev = number;
	s->partial = number;
}

static void partial_remove(struct arena *a, struct slab *s, uint32_t number)
{
	struct page *p = page_of(a, number);

	if (p->prev)
		page_of(a, p->prev)->next = p->next;
	else
		s->partial = p->next;
	if (p->next)
		page_of(a, p->next)->prev = p->prev;
}

/* Every object free, generations above all of its former lives so that no old handle fits. */
static void page_link(struct arena *a, enum slab_class c, uint32_t number)
{
	struct page *p = page_of(a, number);
	uint32_t per = slab_per_page(c);

	for (uint32_t slot = 0; slot < per; slot++) {
		struct slab_object *o = object_at(a, c, number, slot);

		atomic_store_explicit(&o->generation, p->top, memory_order_relaxed);
		o->link = slot + 2 <= per ? slot + 2 : 0;
	}
	p->free = 1;
}

/* For the actor that has just taken it. One that was left whole needs no work, a page's worth of which is a stall. */
static void page_cut(struct arena *a, enum slab_class c, uint32_t number, uint32_t epoch)
{
	struct page *p = page_of(a, number);

	if (p->next != page_whole(c))
		page_link(a, c, number);
	p->used = p->next = 0;
	atomic_store_explicit(&p->cut, epoch, memory_order_release);
}

/* Whether the page is of this process's memory node; they are dealt in turn (numa.h). */
static bool is_near(const struct arena *a, uint32_t number)
{
	return a->nodes < 2 || (number - 1) % a->nodes == a->node;
}

static bool page_take_of(struct arena *a, struct slab *s, unsigned actor, enum slab_class c, bool near)
{
	uint32_t n = a->header->geometry.pages;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t number = 1 + (s->hint + i) % n;

		if (is_near(a, number) != near)
			continue;
		struct page *p = page_of(a, number);
		uint64_t was = atomic_load_explicit(&p->owner, memory_order_relaxed);
		uint32_t epoch = (uint32_t)(was >> 32) + 1;

		if ((uint32_t)was != 0)
			continue;
		if (!atomic_compare_exchange_strong_explicit(
			    &p->owner, &was, owner_word(epoch, c, actor), memory_order_acquire, memory_order_relaxed))
			continue;
		page_cut(a, c, number, epoch);
		partial_add(a, s, number);
		s->pages++;
		s->hint = number % n;
		return true;
	}
	return false;
}

/* Memory of another node is better than none. */
static bool page_take(struct arena *a, struct slab *s, unsigned actor, enum slab_class c)
{
	return page_take_of(a, s, actor, c, true) || (a->nodes > 1 && page_take_of(a, s, actor, c, false));
}

static void page_give_back(struct arena *a, struct slab *s, uint32_t number)
{
	struct page *p = page_of(a, number);
	uint64_t was = atomic_load_explicit(&p->owner, memory_order_relaxed);

	partial_remove(a, s, number);
	s->pages--;
	p->next = page_whole((enum slab_class)((uint32_t)was >> 8));
	atomic_store_explicit(&p->owner, was >> 32 << 32, memory_order_release);
}

void slab_cut_for_sessions(struct arena *a)
{
	for (uint32_t number = 1; number <= a->header->geometry.pages; number++) {
		page_link(a, SLAB_session, number);
		page_of(a, number)->next = page_whole(SLAB_session);
	}
}

/* ---- objects ---- */

uint32_t slab_take(struct arena *a, struct slab *s, unsigned actor, enum slab_class c)
{
	uint32_t index = slab_take_at_once(a, s, c);

	if (index)
		return index;
	if (!s->partial && !page_take(a, s, actor, c))
		return 0;
	index = slab_take_at_once(a, s, c);
	if (index)
		return index;
	uint32_t number = s->partial; /* the page's last */
	struct page *p = page_of(a, number);

	index = number * slab_per_page(c) + p->free - 1;
	p->free = 0;
	p->used++;
	s->used++;
	partial_remove(a, s, number);
	return index;
}

void slab_put(struct arena *a, struct slab *s, enum slab_class c, uint32_t index)
{
	uint32_t per = slab_per_page(c), number = index / per;
	struct page *p = page_of(a, number);
	struct slab_object *o = slab_pointer(a, c, index);
	/* Even and different from every value a handle to the former object could hold. */
	uint32_t g = (atomic_load_explicit(&o->generation, memory_order_relaxed) | 1) + 1;

	assert(p->used > 0);
	if ((int32_t)(g - p->top) > 0)
		p->top = g;
	atomic_store_explicit(&o->generation, g, memory_order_release);
	if (!p->free)
		partial_add(a, s, number);
	o->link = p->free;
	p->free = index % per + 1;
	p->used--;
	s->used--;
	if (p->used == 0 && (s->partial != number || p->next))
		page_give_back(a, s, number);
}

void slab_give_back(struct arena *a, struct slab *s)
{
	for (uint32_t number = s->partial, next; number; number = next) {
		next = page_of(a, number)->next;
		if (page_of(a, number)->used == 0)
			page_give_back(a, s, number);
	}
}

bool slab_valid(const struct arena *a, enum slab_class c, uint32_t index)
{
	uint32_t number = index / slab_per_page(c);

	if (number == 0 || number > a->header->geometry.pages)
		return false;
	struct page *p = page_of(a, number);
	uint64_t word = atomic_load_explicit(&p->owner, memory_order_acquire);

	return (uint32_t)word != 0 && (uint32_t)word >> 8 == (uint32_t)c &&
	       atomic_load_explicit(&p->cut, memory_order_acquire) == (uint32_t)(word >> 32);
}

bool slab_owned(const struct arena *a, unsigned actor, enum slab_class c, uint32_t index)
{
	return slab_valid(a, c, index) &&
	       owned_by(atomic_load_explicit(&page_of(a, index / slab_per_page(c))->owner, memory_order_relaxed), c,
		       actor);
}

/* ---- remote list ---- */

void slab_put_remote(struct arena *a, struct slab *owner, enum slab_class c, uint32_t index)
{
	struct slab_object *o = slab_pointer(a, c, index);
	uint32_t first = atomic_load_explicit(&owner->remote, memory_order_relaxed);

	do
		o->link = first;
	while (!atomic_compare_exchange_weak_explicit(
		&owner->remote, &first, index, memory_order_release, memory_order_relaxed));
}

uint32_t slab_drain(struct slab *s)
{
	if (!atomic_load_explicit(&s->remote, memory_order_relaxed))
		return 0;
	return atomic_exchange_explicit(&s->remote, 0, memory_order_acquire);
}

uint32_t slab_next_remote(const struct arena *a, enum slab_class c, uint32_t index)
{
	return ((const struct slab_object *)slab_pointer(a, c, index))->link;
}

/* ---- after a restart, and for listings ---- */

static void page_attach(struct arena *a, struct slab *s, enum slab_class c, uint32_t number,
	void (*visit)(void *, uint32_t, void *), void *context)
{
	struct page *p = page_of(a, number);
	uint32_t per = slab_per_page(c);

	p->used = p->free = 0;
	for (uint32_t slot = per; slot-- > 0;) {
		struct slab_object *o = object_at(a, c, number, slot);

		if (slab_live(o)) {
			p->used++;
			if (visit)
				visit(context, number * per + slot, o);
		} else {
			o->link = p->free;
			p->free = slot + 1;
		}
	}
	s->pages++;
	s->used += p->used;
	if (p->free)
		partial_add(a, s, number);
}

void slab_attach(struct arena *a, struct slab *s, unsigned actor, enum slab_class c,
	void (*visit)(void *context, uint32_t index, void *object), void *context)
{
	s->partial = s->pages = s->used = s->hint = 0;
	for (uint32_t number = 1; number <= a->header->geometry.pages; number++) {
		struct page *p = page_of(a, number);
		uint64_t word = atomic_load_explicit(&p->owner, memory_order_acquire);

		if (!owned_by(word, c, actor))
			continue;
		if (atomic_load_explicit(&p->cut, memory_order_relaxed) != (uint32_t)(word >> 32))
			page_cut(a, c, number, (uint32_t)(word >> 32));
		page_attach(a, s, c, number, visit, context);
	}
}

uint32_t slab_next_live(const struct arena *a, enum slab_class c, uint32_t from)
{
	uint32_t per = slab_per_page(c), i = from < per ? per : from;

	while (i / per <= a->header->geometry.pages) {
		uint32_t end = (i / per + 1) * per;

		/* Asked for each page, also the first: `from` may be anything. */
		for (bool valid = slab_valid(a, c, i); valid && i < end; i++)
			if (slab_live(slab_pointer(a, c, i)))
				return i;
		i = end;
	}
	return 0;
}
