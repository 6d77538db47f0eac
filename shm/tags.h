/* tags: comparing what the eight words of a bucket hold, all at once.
 *
 * What       a set of bits, one for each of the eight 64-bit words of a cache line, of those whose chosen half fits.
 * Units      none. Ownership  reads the line only.
 * Calls      any thread. The words may be written meanwhile: each is seen as it was or as it is (x86 loads 16 aligned
 *            bytes without tearing words), and in order, so what a word names is as complete as after an acquire load.
 * Errors     none.
 *
 * The thread sanitizer and the interleaving explorer know no such loads: for them it is a loop of atomic ones.
 */
#ifndef CORENAT_SHM_TAGS_H
#define CORENAT_SHM_TAGS_H

#include <stdatomic.h>
#include <stdint.h>
#include <tmmintrin.h>

enum { TAGS_WORDS = 8 };

#if defined(__SANITIZE_THREAD__) || defined(EXPLORE_ATOMICS)
#define TAGS_BY_WORD

static inline unsigned tags_match_high(const _Atomic uint64_t *words, uint32_t tag)
{
	unsigned fits = 0;

	for (unsigned i = 0; i < TAGS_WORDS; i++)
		fits |= (unsigned)((uint32_t)(atomic_load_explicit(&words[i], memory_order_acquire) >> 32) == tag) << i;
	return fits;
}

static inline unsigned tags_match_low(const _Atomic uint64_t *words, unsigned shift, uint32_t tag)
{
	unsigned fits = 0;

	for (unsigned i = 0; i < TAGS_WORDS; i++)
		fits |= (unsigned)((uint32_t)atomic_load_explicit(&words[i], memory_order_acquire) >> shift == tag)
			<< i;
	return fits;
}

#else

static inline unsigned tags_bits(__m128i first, __m128i second)
{
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(first, second), _mm_setzero_si128()));
}

/* The upper halves, compared with `tag`. */
static inline unsigned tags_match_high(const _Atomic uint64_t *words, uint32_t tag)
{
	const __m128 *w = (const __m128 *)(const void *)words;
	__m128 one = _mm_shuffle_ps(w[0], w[1], _MM_SHUFFLE(3, 1, 3, 1));
	__m128 two = _mm_shuffle_ps(w[2], w[3], _MM_SHUFFLE(3, 1, 3, 1));
	__m128i want = _mm_set1_epi32((int)tag);

	return tags_bits(_mm_cmpeq_epi32(_mm_castps_si128(one), want), _mm_cmpeq_epi32(_mm_castps_si128(two), want));
}

/* The lower halves, shifted right by `shift`, compared with `tag`. */
static inline unsigned tags_match_low(const _Atomic uint64_t *words, unsigned shift, uint32_t tag)
{
	const __m128 *w = (const __m128 *)(const void *)words;
	__m128 one = _mm_shuffle_ps(w[0], w[1], _MM_SHUFFLE(2, 0, 2, 0));
	__m128 two = _mm_shuffle_ps(w[2], w[3], _MM_SHUFFLE(2, 0, 2, 0));
	__m128i want = _mm_set1_epi32((int)tag), by = _mm_cvtsi32_si128((int)shift);

	return tags_bits(_mm_cmpeq_epi32(_mm_srl_epi32(_mm_castps_si128(one), by), want),
		_mm_cmpeq_epi32(_mm_srl_epi32(_mm_castps_si128(two), by), want));
}

#endif

#endif
