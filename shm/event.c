#include "shm/event.h"

#include <string.h>

_Static_assert((EVENT_SLOTS & (EVENT_SLOTS - 1)) == 0, "a power of two");

const struct event_info event_info[N_EVENT_KINDS] = {
#define K(id, help) {#id, help},
	EVENT_KINDS(K)
#undef K
};

struct events events_of(const struct arena *a, unsigned actor)
{
	unsigned n = actor == ACTOR_MGMTD ? a->header->geometry.engines : actor;
	uint8_t *rings = arena_region(a, ARENA_events);

	assert(n < event_rings(a));
	return (struct events){(struct event_ring *)(rings + (uint64_t)n * EVENT_RING_BYTES), EVENT_SLOTS - 1};
}

/* One writer per word: no locked instruction. */
bool event_put(const struct events *v, const struct event *e)
{
	struct event_ring *r = v->ring;
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&r->tail, memory_order_acquire) > v->mask) { /* the oldest stay */
		uint64_t lost = atomic_load_explicit(&r->lost, memory_order_relaxed);

		atomic_store_explicit(&r->lost, lost + 1, memory_order_relaxed);
		return false;
	}
	memcpy(&r->slot[head & v->mask], e, sizeof *e);
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return true;
}

unsigned event_peek(const struct events *v, uint64_t from, struct event *out, unsigned max)
{
	const struct event_ring *r = v->ring;
	uint64_t there = atomic_load_explicit(&r->head, memory_order_acquire) - from;
	unsigned n = there < max ? (unsigned)there : max;

	if (there > v->mask + 1) /* somebody wrote what is not his: nothing to be had */
		return 0;
	for (unsigned i = 0; i < n; i++)
		memcpy(&out[i], &r->slot[(from + i) & v->mask], sizeof out[i]);
	return n;
}

void event_taken(const struct events *v, uint64_t next)
{
	atomic_store_explicit(&v->ring->tail, next, memory_order_release);
}
