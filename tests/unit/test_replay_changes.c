/* replay_changes: what a list of later configurations may say, and the sentence when it may not; a list that was accepted
 * gives each change once, when it is due. */
#include "pe/replay_changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static struct config first;
static struct replay_changes changes;
static struct config_error err;

#define CONFIG(engines, port_last)                                                                                     \
	"{\"arena\":{\"engines\":" #engines "},\"inside\":{\"interface\":\"in\",\"prefixes\":[\"100.64.0.0/10\"]},"    \
	"\"outside\":{\"interface\":\"out\"},\"pools\":[{\"name\":\"main\",\"addresses\":[\"198.51.100.0\"]}],"        \
	"\"nat\":{\"port_last\":" #port_last "}}"

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static const char *const files[] = {"list", "a.json", "b.json", "engines.json", "broken.json"};

static int make_files(void **state)
{
	snprintf(dir, sizeof dir, "/dev/shm/corenat-changes-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	write_file("a.json", CONFIG(1, 65535));
	write_file("b.json", CONFIG(1, 4095));
	write_file("engines.json", CONFIG(2, 65535));
	write_file("broken.json", CONFIG(1, 0));
	return config_load(&first, path_of("a.json"), &err) ? 0 : -1;
}

static int remove_files(void **state)
{
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		unlink(path_of(files[i]));
	return rmdir(dir);
}

static bool load(const char *text)
{
	write_file("list", text);
	return replay_changes_load(&changes, path_of("list"), &first, &err);
}

static void each_comes_once_when_it_is_due(void **state)
{
	const struct replay_change *c;

	assert_true(load("# later\n\n10 b.json\n10.000000001\ta.json\n1795788187.5 b.json\n"));
	assert_null(replay_change_due(&changes, (mono_t){9999999999u}));
	c = replay_change_due(&changes, (mono_t){10000000000u});
	assert_non_null(c);
	assert_true(c->at.ns == 10000000000u && c->config.nat.port_last == 4095);
	assert_null(replay_change_due(&changes, (mono_t){10000000000u}));
	c = replay_change_due(&changes, (mono_t){UINT64_MAX});
	assert_non_null(c);
	assert_true(c->at.ns == 10000000001u && c->config.nat.port_last == 65535);
	c = replay_change_due(&changes, (mono_t){UINT64_MAX});
	assert_non_null(c);
	assert_true(c->at.ns == 1795788187500000000u);
	assert_null(replay_change_due(&changes, (mono_t){UINT64_MAX}));
	replay_changes_free(&changes);
	assert_true(load(""));
	assert_null(replay_change_due(&changes, (mono_t){UINT64_MAX}));
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *list, *said;
	} row[] = {
		{"soon b.json\n", "line 1: does not begin with a time"},
		{"-1 b.json\n", "line 1: does not begin with a time"},
		{"99999999999 b.json\n", "line 1: does not begin with a time"},
		{"1 b.json\n2\n", "line 2: has no file behind its time"},
		{"1.5x b.json\n", "line 1: has no file behind its time"},
		{"1.5 \n", "line 1: has no file behind its time"},
		{"# x\n2 b.json\n1.9 b.json\n", "line 3: is earlier than the one before it"},
		{"1 none.json\n", "none.json: cannot be read"},
		{"1 broken.json\n", "nat.port_last"},
		{"1 engines.json\n", "changes arena.engines, which takes a restart"},
	};

	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		assert_false(load(row[i].list));
		if (!strstr(err.text, row[i].said))
			fail_msg("\"%s\" instead of \"%s\"", err.text, row[i].said);
		assert_null(changes.list);
	}
	assert_false(replay_changes_load(&changes, path_of("nothing"), &first, &err));
	assert_non_null(strstr(err.text, "nothing: cannot be read"));
}

static void there_may_be_64(void **state)
{
	char text[65 * 16 + 1] = "";

	for (unsigned i = 0; i < 64; i++)
		strcat(text, "1 b.json\n");
	assert_true(load(text));
	replay_changes_free(&changes);
	strcat(text, "1 b.json\n");
	assert_false(load(text));
	assert_non_null(strstr(err.text, "line 65: is change 65; at most 64 are possible"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_comes_once_when_it_is_due),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(there_may_be_64),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
