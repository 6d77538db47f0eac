/* Toeplitz hash; see toeplitz.h. */
#include "common/toeplitz.h"

/* The 32 key bits that begin at bit `at`. */
static uint32_t key_window(const uint8_t *key, size_t key_size, size_t at)
{
	uint64_t bits = 0; /* the five bytes that hold them */

	for (size_t i = at / 8; i < at / 8 + 5; i++)
		bits = bits << 8 | (i < key_size ? key[i] : 0);
	return (uint32_t)(bits >> (8 - at % 8));
}

uint32_t toeplitz_hash(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size)
{
	uint32_t hash = 0;

	for (size_t at = 0; at < size * 8; at++)
		if (data[at / 8] & 0x80 >> at % 8)
			hash ^= key_window(key, key_size, at);
	return hash;
}

void toeplitz_init(struct toeplitz *t, const uint8_t *key, size_t key_size)
{
	for (unsigned i = 0; i < TOEPLITZ_TUPLE; i++) {
		uint8_t data[TOEPLITZ_TUPLE] = {0};

		for (unsigned value = 0; value < 256; value++) {
			data[i] = (uint8_t)value;
			t->byte[i][value] = toeplitz_hash(key, key_size, data, sizeof(data));
		}
	}
}
