/* When the kernel interrupted a thread's own code: attaches interrupts.bpf.c, says `ready`, waits for the end of standard
 * input, and prints a line for each interruption it kept: CLOCK_MONOTONIC nanoseconds of its begin and end, oldest first. */
#include "common/args.h"
#include "common/log.h"
#include "tests/bench/interrupts.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Tracepoints that this kernel or processor does not have are not needed; one must be there. */
static unsigned attach_all(struct bpf_object *obj)
{
	struct bpf_program *p;
	unsigned attached = 0;

	bpf_object__for_each_program(p, obj) attached += libbpf_get_error(bpf_program__attach(p)) == 0;
	return attached;
}

static int watch(const struct bpf_object *obj, unsigned thread)
{
	const struct watched w = {.thread = thread};
	__u32 first = 0;

	return bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "watched_thread"), &first, &w, BPF_ANY);
}

static void wait_for_end(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static int print_kept(const struct bpf_object *obj)
{
	int kept = bpf_object__find_map_fd_by_name(obj, "interruptions");
	struct interruption one;
	struct watched w;
	__u32 at = 0;

	if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "watched_thread"), &at, &w))
		return 1;
	for (__u32 n = w.kept > INTERRUPTIONS ? w.kept - INTERRUPTIONS : 0; n != w.kept; n++) {
		at = n % INTERRUPTIONS;
		if (bpf_map_lookup_elem(kept, &at, &one))
			return 1;
		printf("%llu %llu\n", one.from, one.to);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const char *program;
	static unsigned thread;
	static const struct arg args[] = {
		{"program", "FILE", "the object of interrupts.bpf.c", .text = &program, .required = true},
		{"thread", "ID", "whose interruptions", .number = &thread, .min = 1, .max = 1 << 22, .required = true},
		{0}};
	int status = args_parse(argc, argv, "bench_interrupts", "when a thread was interrupted", args, NULL);

	if (status != ARGS_RUN)
		return status;
	log_open("bench_interrupts");
	libbpf_set_print(NULL); /* what is wrong is said here, in a sentence */
	struct bpf_object *obj = bpf_object__open_file(program, NULL);

	if (libbpf_get_error(obj) || bpf_object__load(obj) || !attach_all(obj) || watch(obj, thread)) {
		log_error("cannot attach %s: it takes root and a kernel with tracepoints of interrupts", program);
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	wait_for_end();
	return print_kept(obj);
}
