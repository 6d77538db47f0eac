/* The byte map in docs/ is what the code says. */
#include "shm/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The whole of a file that is open for reading, as text; malloced. */
static char *slurp(FILE *f)
{
	size_t size = 0, room = 1 << 16;
	char *text = malloc(room);

	assert_non_null(text);
	while (!feof(f) && size + 1 < room)
		size += fread(text + size, 1, room - 1 - size, f);
	text[size] = '\0';
	return text;
}

static void test_docs_show_this_layout(void **state)
{
	FILE *page = fopen("docs/arena-map.md", "re"), *printed = tmpfile();

	(void)state;
	assert_non_null(printed);
	if (!page)
		fail_msg("docs/arena-map.md is not there; tests run from the top of the tree");
	layout_print(printed);
	rewind(printed);
	char *is = slurp(printed), *said = slurp(page);

	if (strcmp(is, said) != 0)
		fail_msg("docs/arena-map.md is old: write it anew with `corenatctl arena map`");
	free(is);
	free(said);
	fclose(page);
	fclose(printed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_docs_show_this_layout)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
