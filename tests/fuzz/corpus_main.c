/* Replays inputs: the files named, or the fuzzer's own committed corpus. Says what cmocka says, for tests/run-unit. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

enum { INPUT_MAX = 1 << 20 };

static void replay(const char *path)
{
	uint8_t *data = malloc(INPUT_MAX);
	FILE *f = fopen(path, "rb");

	if (!f || !data) {
		perror(path);
		exit(1);
	}
	size_t size = fread(data, 1, INPUT_MAX, f);
	uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees the end */

	if (!exact)
		abort();
	memcpy(exact, data, size);
	fclose(f);
	free(data);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int replay_folder(const char *program)
{
	const char *name = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
	char folder[256], path[768];
	struct dirent **entry;
	int n;

	snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name);
	n = scandir(folder, &entry, is_input, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
		fprintf(stderr, "%s\n", path);
		replay(path);
		free(entry[i]);
	}
	if (n <= 0) {
		fprintf(stderr, "%s: nothing to replay; run it from the top of the tree\n", folder);
		return -1;
	}
	free(entry);
	return n;
}

int main(int argc, char **argv)
{
	int n = argc - 1;

	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (argc == 1)
		n = replay_folder(argv[0]);
	if (n < 0)
		return 1;
	printf("[==========] %d test(s) run.\n", n);
	return 0;
}
