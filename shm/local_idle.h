/* local_idle: which entries of a bucket of an engine's table have been idle for so long that their sessions may have to end.
 *
 * What       all eight entries at once, each against the limit of its class.
 * Units      seconds, as local_entry has them.
 * Ownership  the limits are the engine's own. Calls: the owner of the table. Errors: none.
 */
#ifndef CORENAT_SHM_LOCAL_IDLE_H
#define CORENAT_SHM_LOCAL_IDLE_H

#include "shm/local_table.h"

/* How long an entry may be idle, by its class, as local_idle_in wants it. */
struct local_limits {
	_Alignas(16) uint8_t byte[3][1 << LOCAL_CLASS_BITS]; /* of limit + LOCAL_AHEAD_S, the lowest first */
};

/* Entries of a class of which nothing is said are never idle; limit <= LOCAL_IDLE_S. */
static inline void local_limit(struct local_limits *l, unsigned class, uint32_t limit)
{
	for (unsigned i = 0; i < 3; i++)
		l->byte[i][class] = (uint8_t)((limit + LOCAL_AHEAD_S) >> 8 * i);
}

#ifdef TAGS_BY_WORD

static inline unsigned local_idle_in(const struct local_bucket *b, const struct local_limits *l, uint32_t now_s)
{
	unsigned idle = 0;

	for (unsigned i = 0; i < LOCAL_ENTRIES; i++) {
		uint64_t e = atomic_load_explicit(&b->entry[i], memory_order_acquire);
		unsigned class = local_class(e);
		uint32_t limit =
			l->byte[0][class] | (uint32_t)l->byte[1][class] << 8 | (uint32_t)l->byte[2][class] << 16;

		idle |= (unsigned)(e && !local_fresh(e, now_s + LOCAL_AHEAD_S, limit - LOCAL_AHEAD_S)) << i;
	}
	return idle;
}

#else

/* Of four entries, a word of ones for each that is empty or was touched lately enough. */
static inline __m128i local_fresh_four(const _Atomic uint64_t *entry, const struct local_limits *l, __m128i ahead)
{
	const __m128 *e = (const __m128 *)(const void *)entry;
	const __m128i *byte = (const __m128i *)(const void *)l->byte;
	__m128i low = _mm_castps_si128(_mm_shuffle_ps(e[0], e[1], _MM_SHUFFLE(2, 0, 2, 0)));
	__m128i high = _mm_castps_si128(_mm_shuffle_ps(e[0], e[1], _MM_SHUFFLE(3, 1, 3, 1)));
	__m128i ago = _mm_and_si128(_mm_sub_epi32(ahead, low), _mm_set1_epi32(LOCAL_SEEN_MASK));
	/* Each class picks its limit's bytes; all but the lowest byte of a word pick nothing. */
	__m128i class = _mm_or_si128(
		_mm_and_si128(high, _mm_set1_epi32((1 << LOCAL_CLASS_BITS) - 1)), _mm_set1_epi32((int)0x80808000u));
	__m128i limit = _mm_or_si128(
		_mm_shuffle_epi8(byte[0], class), _mm_or_si128(_mm_slli_epi32(_mm_shuffle_epi8(byte[1], class), 8),
							  _mm_slli_epi32(_mm_shuffle_epi8(byte[2], class), 16)));

	return _mm_or_si128(_mm_cmpgt_epi32(limit, ago), _mm_cmpeq_epi32(high, _mm_setzero_si128()));
}

/* The entries, a bit for each, that were not touched for as long as their class may be idle. All eight alike, without a jump:
 * most of what a sweep sees is in use. */
static inline unsigned local_idle_in(const struct local_bucket *b, const struct local_limits *l, uint32_t now_s)
{
	__m128i ahead = _mm_set1_epi32((int)(now_s + LOCAL_AHEAD_S));

	return ~tags_bits(local_fresh_four(&b->entry[0], l, ahead), local_fresh_four(&b->entry[4], l, ahead)) &
	       ((1u << LOCAL_ENTRIES) - 1);
}

#endif

#endif
