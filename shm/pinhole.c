#include "shm/pinhole.h"

#include <errno.h>
#include <string.h>

static void put_words(_Atomic uint64_t *to, const void *from, size_t bytes)
{
	uint64_t word;

	for (size_t i = 0; i < bytes / sizeof word; i++) {
		memcpy(&word, (const uint8_t *)from + i * sizeof word, sizeof word);
		atomic_store_explicit(&to[i], word, memory_order_relaxed);
	}
}

static void get_words(void *to, const _Atomic uint64_t *from, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++) {
		uint64_t word = atomic_load_explicit(&from[i], memory_order_relaxed);

		memcpy((uint8_t *)to + i * sizeof word, &word, sizeof word);
	}
}

/* ---- mgmtd ---- */

int64_t pinhole_post(struct arena *a, unsigned engine, const struct pinhole_request *r)
{
	struct pinhole_ring *ring = pinhole_ring_of(a, engine);
	uint32_t number = atomic_load_explicit(&ring->last, memory_order_relaxed) + 1;

	if (!pinhole_is_done(ring, number - PINHOLE_SLOTS))
		return -EBUSY;
	put_words(ring->slot[number % PINHOLE_SLOTS].request, r, sizeof *r);
	atomic_store_explicit(&ring->last, number, memory_order_release);
	return number;
}

bool pinhole_answer(const struct arena *a, unsigned engine, uint32_t number, struct pinhole_answer *out)
{
	const struct pinhole_ring *ring = pinhole_ring_of(a, engine);

	if (!pinhole_is_done(ring, number))
		return false;
	get_words(out, ring->slot[number % PINHOLE_SLOTS].answer, sizeof *out);
	return true;
}

/* ---- the engine ---- */

uint32_t pinhole_next(const struct pinhole_ring *ring, struct pinhole_request *out)
{
	uint32_t number = atomic_load_explicit(&ring->done, memory_order_relaxed) + 1;

	if ((int32_t)(atomic_load_explicit(&ring->last, memory_order_acquire) - number) < 0)
		return 0;
	get_words(out, ring->slot[number % PINHOLE_SLOTS].request, sizeof *out);
	return number;
}

void pinhole_done(struct pinhole_ring *ring, uint32_t number, const struct pinhole_answer *answer)
{
	put_words(ring->slot[number % PINHOLE_SLOTS].answer, answer, sizeof *answer);
	atomic_store_explicit(&ring->done, number, memory_order_release);
}
