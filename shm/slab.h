/* slab: objects of one size cut from 2 MiB pages; the page is the unit of ownership.
 *
 * What       an actor (an engine, or mgmtd) takes a page from the arena, cuts it into objects of one class, and
 *            allocates and frees in it alone. Anyone else hands an object back through the owner's remote list.
 * Units      an index names an object of a class for ever: page number * objects per page + slot. Page numbers
 *            start at 1, so index 0 names nothing and zeroed memory is safe.
 * Ownership  take, put, drain, attach: the owner's thread only. put_remote, pointer, owner: anyone.
 * Errors     take: 0 when no page is left.
 * Calls      never blocks, no system call.
 *
 * Page map entry: `owner` is one atomic word {epoch, class, actor + 1}; zero means free. Taking a page is one
 *            compare-exchange, giving it back one store: an actor that dies holds the page or does not. A page that
 *            comes back is whole, and is cut anew only for another class.
 * Objects    hold a generation word at offset 0: odd while live, even while free or being built or torn down. It
 *            survives freeing, so a handle {index, generation} of a former object never names the next one. A page
 *            remembers the highest it ever gave, and its next life starts there.
 * Publish    fill the object, then slab_publish (generation odd, release).
 * Retire     unreachable from every table, then slab_put (generation even, release).
 * Death      free lists are the owner's private business and are rebuilt by its successor (slab_attach), which walks
 *            its pages: what is even is free. An object being built or torn down at that moment is named by the actor's
 *            intent (engine.h) and settled first.
 */
#ifndef CORENAT_SHM_SLAB_H
#define CORENAT_SHM_SLAB_H

#include "shm/arena.h"

#include <assert.h>

/* Class, size in bytes, whose its pages are, struct. One table: a new class is a new row. */
#define SLAB_CLASSES(S)                                                                                                \
	S(session, 64, own, "session")                                                                                 \
	S(port_table, 72000, shared, "port table of one NAT address")                                                  \
	S(port_view, 3200, own, "an engine's view of a port table")                                                    \
	S(subscriber, 256, shared, "what all engines know of a subscriber")                                            \
	S(record, 128, shared, "name and limits of a subscriber that is known by name")                                \
	S(part, 192, own, "one engine's part of a subscriber")

/* own: each engine allocates in pages of its own; shared: all allocate by the shared allocator (shared_slab.h). */
enum slab_whose { SLABS_own, SLABS_shared };

enum slab_class {
#define S(name, bytes, whose, help) SLAB_##name,
	SLAB_CLASSES(S)
#undef S
		N_SLAB_CLASSES
};

/* Who may own pages: engines by number, mgmtd, and the pseudo actor of the shared allocator (shared_slab.h). */
enum { ACTOR_MGMTD = ENGINE_MAX, ACTOR_SHARED, ACTOR_MAX };

static const uint32_t slab_bytes[N_SLAB_CLASSES] = {
#define S(name, bytes, whose, help) [SLAB_##name] = bytes,
	SLAB_CLASSES(S)
#undef S
};

static const enum slab_whose slab_whose[N_SLAB_CLASSES] = {
#define S(name, bytes, whose, help) [SLAB_##name] = SLABS_##whose,
	SLAB_CLASSES(S)
#undef S
};

/* What every object begins with. */
struct slab_object {
	_Atomic uint32_t generation; /* [G] odd: live */
	uint32_t link;               /* [F] while free: next free slot + 1; while on a remote list: next index */
};

/* Legend  [P] anyone by compare-exchange  [O] owner of the page */
struct page {
	_Atomic uint64_t owner; /* [P] epoch << 32 | class << 8 | (actor + 1); low half 0: free */
	uint32_t used;          /* [O] live objects, or being built */
	uint32_t free;          /* [O] first free slot + 1 */
	uint32_t next, prev; /* [O] list of the owner's pages of this class that have room; page numbers. Nobody's: next
				 * says of which class its free objects are, all of them in its list */
	_Atomic uint32_t
		cut;  /* [O] epoch for which the page was cut; differs: being cut, or its owner died before that */
	uint32_t top; /* [O] no generation was ever higher here; outlives the owner */
};
_Static_assert(sizeof(struct page) == 32, "see memory map");

/* One actor's pages of one class. Lives in the actor's block.
 * Legend  [O] the actor; ACTOR_SHARED: who holds the lock  [R] anyone  [K] ACTOR_SHARED only */
struct slab {
	uint32_t partial;                             /* [O] first page with room */
	uint32_t pages;                               /* [O] */
	uint32_t used;                                /* [O] */
	uint32_t hint;                                /* [O] where to look for a free page next */
	_Alignas(CACHE_LINE) _Atomic uint32_t remote; /* [R] anyone pushes, the owner takes all */
	_Atomic uint32_t lock;                        /* [K] times inherited << 8 | actor + 1 of the holder; 0: free */
};

static const uint32_t slab_per[N_SLAB_CLASSES] = {
#define S(name, bytes, whose, help) [SLAB_##name] = ARENA_PAGE / (bytes),
	SLAB_CLASSES(S)
#undef S
};

static inline uint32_t slab_per_page(enum slab_class c)
{
	return slab_per[c];
}

/* Where an object lies behind a->pages; far beyond any arena for an index of page 0. */
static inline uint64_t slab_offset(enum slab_class c, uint32_t index)
{
	uint32_t per = slab_per_page(c);

	/* Objects that fill their pages follow each other from page to page: no division. Page numbers start at 1. */
	if (ARENA_PAGE % slab_bytes[c] == 0)
		return (uint64_t)index * slab_bytes[c] - ARENA_PAGE;
	return (uint64_t)(index / per - 1) * ARENA_PAGE + (uint64_t)(index % per) * slab_bytes[c];
}

static inline void *slab_pointer(const struct arena *a, enum slab_class c, uint32_t index)
{
	uint64_t offset = slab_offset(c, index);

	assert(offset < a->pages_bytes);
	return a->pages + offset;
}

/* False for an index no page of this class holds (yet): what another process wrote may be anything. */
bool slab_valid(const struct arena *a, enum slab_class c, uint32_t index);
/* The same, and the page is the actor's. */
bool slab_owned(const struct arena *a, unsigned actor, enum slab_class c, uint32_t index);

/* Cuts all pages of a new arena for what nearly all of them will be: an engine that cuts one stalls for a millisecond. The maker's
 * thread, before anybody else has the arena. */
void slab_cut_for_sessions(struct arena *a);

/* Takes an object for `actor`; its generation is even: being built. 0 when the arena is full. */
uint32_t slab_take(struct arena *a, struct slab *s, unsigned actor, enum slab_class c);

/* The same, of a page that is at hand and has another one besides, which is fetched. 0: nothing was done. */
static inline uint32_t slab_take_at_once(struct arena *a, struct slab *s, enum slab_class c)
{
	uint32_t number = s->partial, per = slab_per_page(c);

	if (!number)
		return 0;
	struct page *p = (struct page *)arena_region(a, ARENA_page_map) + number - 1;
	uint32_t slot = p->free - 1, index = number * per + slot;
	const uint8_t *o = slab_pointer(a, c, index);
	uint32_t next = ((const struct slab_object *)o)->link;

	if (!next)
		return 0;
	p->free = next;
	p->used++;
	s->used++;
	__builtin_prefetch(o + ((int64_t)next - 1 - slot) * slab_bytes[c], 1);
	return index;
}

static inline void slab_publish(void *object)
{
	struct slab_object *o = object;
	uint32_t g = atomic_load_explicit(&o->generation, memory_order_relaxed);

	atomic_store_explicit(&o->generation, g | 1, memory_order_release);
}

static inline bool slab_live(const void *object)
{
	const struct slab_object *o = object;

	return atomic_load_explicit(&o->generation, memory_order_acquire) & 1;
}

/* Frees; a page that falls empty goes back to the arena unless it is the last with room. */
void slab_put(struct arena *a, struct slab *s, enum slab_class c, uint32_t index);

/* Gives every empty page back, the last one too: the owner is leaving. */
void slab_give_back(struct arena *a, struct slab *s);

/* Queues an object to its owner, for the owner to look at: anybody. An object may be queued once at a time. */
void slab_put_remote(struct arena *a, struct slab *owner, enum slab_class c, uint32_t index);
/* Takes everything queued; walk it by slab_next_remote before the objects are put. 0: nothing. */
uint32_t slab_drain(struct slab *s);
uint32_t slab_next_remote(const struct arena *a, enum slab_class c, uint32_t index);

/* Rebuilds the private state of `actor` from the page map and calls `visit` for each live object. What is queued on
 * the remote list stays queued. */
void slab_attach(struct arena *a, struct slab *s, unsigned actor, enum slab_class c,
	void (*visit)(void *context, uint32_t index, void *object), void *context);

/* Walks live objects of a class, any owner, from index `from` on; 0 at the end. For listings: the caller copies the
 * object and checks its generation again. */
uint32_t slab_next_live(const struct arena *a, enum slab_class c, uint32_t from);

#endif
