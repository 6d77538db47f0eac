/* fuzz: what the fuzzers share.
 *
 * What       each fuzz_*.c has one LLVMFuzzerTestOneInput. With clang's libFuzzer it is a fuzzer (tests/fuzz/run); with
 *            corpus_main.c it is a test that replays tests/fuzz/corpus/<name> in every build.
 * Units      bytes.
 * Ownership  the input belongs to the caller.
 * Calls      one thread. An input always does the same, whatever came before it.
 * Errors     a property that does not hold aborts with its text.
 * Use        struct input in = {data, data + size}; uint8_t op = input_byte(&in); FUZZ_EXPECT(sent == 1);
 */
#ifndef CORENAT_TESTS_FUZZ_H
#define CORENAT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at, *end;
};

/* A test may take its time with each input; a fuzzer has millions. */
#ifdef CORENAT_FUZZING
enum { FUZZ_REPLAYS = 0 };
#else
enum { FUZZ_REPLAYS = 1 };
#endif

/* Zero past the end. */
static inline uint8_t input_byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* Takes up to `want` bytes; the length it got. */
static inline size_t input_bytes(struct input *in, const uint8_t **out, size_t want)
{
	size_t left = (size_t)(in->end - in->at), size = want < left ? want : left;

	*out = in->at;
	in->at += size;
	return size;
}

#define FUZZ_EXPECT(what)                                                                                              \
	do {                                                                                                           \
		if (!(what)) {                                                                                         \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);                      \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
