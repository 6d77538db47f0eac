#include "shm/nexthop.h"

#include <assert.h>
#include <string.h>

/* ---- adjacencies ---- */

enum { PROBES_MAX = 64 };

static uint32_t slot_of(enum side side, uint16_t realm, be32_t address, unsigned probe)
{
	uint32_t h = (be32_host(address) ^ (uint32_t)side << 31 ^ (uint32_t)realm << 16) * 2654435761u;

	return 1 + ((h >> 12) + probe) % (ADJACENCY_MAX - 1);
}

static struct link_header link_load(const struct adjacency *a)
{
	uint64_t word[2];
	struct link_header link;

	for (int i = 0; i < 2; i++)
		word[i] = atomic_load_explicit(&a->link_word[i], memory_order_relaxed);
	memcpy(&link, word, sizeof link);
	return link;
}

static void link_store(struct adjacency *a, const struct link_header *link)
{
	uint64_t word[2];

	memcpy(word, link, sizeof word);
	for (int i = 0; i < 2; i++)
		atomic_store_explicit(&a->link_word[i], word[i], memory_order_relaxed);
}

/* The slot of a neighbour, or of the free place where it would go; ADJACENCY_NONE when neither is near. */
static uint32_t slot_find(const struct nexthop *nh, enum side side, uint16_t realm, be32_t address)
{
	for (unsigned probe = 0; probe < PROBES_MAX; probe++) {
		uint32_t i = slot_of(side, realm, address, probe);
		const struct adjacency *a = &nh->adjacency[i];
		struct link_header link = link_load(a);

		if (link.state == ADJACENCY_FREE)
			return i;
		if (atomic_load_explicit(&a->address_word, memory_order_relaxed) == address.net && link.side == side &&
			link.vlan == realm)
			return i;
	}
	return ADJACENCY_NONE;
}

uint32_t nexthop_find(const struct nexthop *nh, enum side side, uint16_t realm, be32_t address)
{
	uint32_t i = slot_find(nh, side, realm, address);

	if (i == ADJACENCY_NONE || link_load(&nh->adjacency[i]).state == ADJACENCY_FREE)
		return ADJACENCY_NONE;
	return i;
}

bool nexthop_is(const struct nexthop *nh, uint32_t index, enum side side, uint16_t realm, be32_t address)
{
	const struct adjacency *a = &nh->adjacency[index];
	struct link_header link = link_load(a);

	return index != ADJACENCY_NONE && link.state != ADJACENCY_FREE && link.side == side && link.vlan == realm &&
	       atomic_load_explicit(&a->address_word, memory_order_relaxed) == address.net;
}

static void adjacency_write(struct adjacency *a, be32_t address, const struct link_header *link)
{
	uint32_t seq = atomic_load_explicit(&a->seq, memory_order_relaxed) | 1;

	atomic_store_explicit(&a->seq, seq, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&a->address_word, address.net, memory_order_relaxed);
	link_store(a, link);
	atomic_store_explicit(&a->seq, seq + 1, memory_order_release);
}

uint32_t nexthop_set_adjacency(struct nexthop *nh, be32_t address, const struct link_header *link)
{
	uint32_t i = slot_find(nh, link->side, link->vlan, address);

	assert(link->state != ADJACENCY_FREE);
	if (i != ADJACENCY_NONE)
		adjacency_write(&nh->adjacency[i], address, link);
	return i;
}

struct link_header nexthop_read(const struct nexthop *nh, uint32_t index)
{
	const struct adjacency *a = &nh->adjacency[index];
	struct link_header copy;

	for (int tries = 0; tries < 4; tries++) {
		uint32_t seq = atomic_load_explicit(&a->seq, memory_order_acquire);

		copy = link_load(a);
		atomic_thread_fence(memory_order_acquire);
		if (!(seq & 1) && atomic_load_explicit(&a->seq, memory_order_relaxed) == seq)
			return copy;
	}
	copy.state = ADJACENCY_UNRESOLVED;
	return copy;
}

void nexthop_repair(struct nexthop *nh)
{
	for (uint32_t i = 1; i < ADJACENCY_MAX; i++) {
		struct adjacency *a = &nh->adjacency[i];

		if (!(atomic_load_explicit(&a->seq, memory_order_relaxed) & 1))
			continue;
		struct link_header link = link_load(a);

		link.state = ADJACENCY_UNRESOLVED;
		link_store(a, &link);
		atomic_fetch_add_explicit(&a->seq, 1, memory_order_release);
	}
}

bool nexthop_take_used(struct nexthop *nh, uint32_t i)
{
	_Atomic uint32_t *used = &nh->adjacency[i].used;

	return atomic_load_explicit(used, memory_order_relaxed) &&
	       atomic_exchange_explicit(used, 0, memory_order_relaxed);
}

/* ---- routes ---- */

struct route_set *nexthop_spare_routes(struct nexthop *nh)
{
	uint32_t generation = atomic_load_explicit(&nh->generation, memory_order_relaxed);

	/* Nothing written there is seen before the generation that retired it. */
	atomic_thread_fence(memory_order_release);
	return &nh->routes[(generation + 1) & 1];
}

void nexthop_publish_routes(struct nexthop *nh)
{
	uint32_t generation = atomic_load_explicit(&nh->generation, memory_order_relaxed);

	assert(nh->routes[(generation + 1) & 1].n <= ROUTES_MAX);
	atomic_store_explicit(&nh->generation, generation + 1, memory_order_release);
}

uint32_t nexthop_read_routes(const struct nexthop *nh, struct route_set *out)
{
	for (;;) {
		uint32_t generation = atomic_load_explicit(&nh->generation, memory_order_acquire);
		const struct route_set *set = &nh->routes[generation & 1];
		uint32_t n = set->n;

		out->n = n <= ROUTES_MAX ? n : ROUTES_MAX;
		memcpy(out->route, set->route, out->n * sizeof out->route[0]);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&nh->generation, memory_order_relaxed) == generation)
			return generation;
	}
}

/* ---- requests ---- */

bool nexthop_request(struct nexthop *nh, unsigned e, enum side side, uint16_t realm, be32_t address)
{
	struct nexthop_ring *r = &nh->ring[e];
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&r->tail, memory_order_acquire) >= NEXTHOP_REQUESTS)
		return false;
	r->request[head % NEXTHOP_REQUESTS] = (struct nexthop_request){address, side, realm};
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return true;
}

bool nexthop_next_request(struct nexthop *nh, unsigned e, struct nexthop_request *out)
{
	struct nexthop_ring *r = &nh->ring[e];
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
		return false;
	*out = r->request[tail % NEXTHOP_REQUESTS];
	atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
	return true;
}
