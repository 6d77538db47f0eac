/* The aggregator answers any request line with one line of JSON: what was asked, or what is wrong with it. */
#include "aggregator/answer.h"
#include "tests/fuzz/fuzz.h"

#include <json-c/json.h>

static void check_answer(char *line)
{
	struct json_object *o, *error;

	FUZZ_EXPECT(line != NULL);
	size_t size = strlen(line);

	FUZZ_EXPECT(size > 2 && strchr(line, '\n') == line + size - 1);
	o = json_tokener_parse(line);
	FUZZ_EXPECT(json_object_is_type(o, json_type_object));
	if (json_object_object_get_ex(o, "error", &error))
		FUZZ_EXPECT(json_object_is_type(error, json_type_string) && json_object_object_length(o) == 1);
	else
		FUZZ_EXPECT(json_object_object_length(o) == 4);
	json_object_put(o);
	free(line);
}

/* Engine 0 is up, engine 1 never answered, engine 2 is silent. */
static struct board_view *board(void)
{
	static struct board_view view = {.n = 3};

	for (unsigned e = 0; e < view.n; e++) {
		view.engine[e].state = e == 0 ? ENGINE_UP : e == 1 ? ENGINE_NEVER : ENGINE_SILENT;
		view.engine[e].answered = (mono_t){1000000000ull * e};
		view.engine[e].total.counters[0] = UINT64_MAX / 4;
	}
	return &view;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;

	/* As the agent cuts what a client sends: a line with its newline. */
	while (data < end) {
		const uint8_t *newline = memchr(data, '\n', (size_t)(end - data));

		if (!newline)
			break;
		check_answer(answer_request(
			(const char *)data, (size_t)(newline - data) + 1, board(), 1000, (mono_t){5000000000u}, 1e9));
		data = newline + 1;
	}
	return 0;
}
