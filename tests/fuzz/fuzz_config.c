/* Any text is a configuration or is refused with a sentence; what is printed of one parses to the very same. */
#include "common/config.h"
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

static void check_round_trip(const struct config *c)
{
	static struct config again;
	struct config_error err = {""};
	char *text = config_print(c), *twice;

	FUZZ_EXPECT(text != NULL);
	memset(&again, 0xa5, sizeof again);
	if (!config_parse(&again, text, strlen(text), &err)) {
		fprintf(stderr, "%s\n%s\n", err.text, text);
		abort();
	}
	FUZZ_EXPECT(memcmp(&again, c, sizeof again) == 0);
	twice = config_print(&again);
	FUZZ_EXPECT(twice && strcmp(text, twice) == 0);
	free(text);
	free(twice);
}

static void check_refusal(const struct config *c, const struct config_error *err)
{
	static struct config untouched;

	memset(&untouched, 0x5a, sizeof untouched);
	FUZZ_EXPECT(memcmp(c, &untouched, sizeof untouched) == 0);
	FUZZ_EXPECT(err->text[0] != '\0' && memchr(err->text, '\0', sizeof err->text) != NULL);
	FUZZ_EXPECT(strchr(err->text, '\n') == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c;
	struct config_error err;

	memset(&c, 0x5a, sizeof c);
	memset(&err, 0, sizeof err);
	if (config_parse(&c, (const char *)data, size, &err)) {
		FUZZ_EXPECT(config_address_count(&c) > 0 && config_address_count(&c) <= CONFIG_ADDRESSES_MAX);
		check_round_trip(&c);
	} else {
		check_refusal(&c, &err);
	}
	return 0;
}
