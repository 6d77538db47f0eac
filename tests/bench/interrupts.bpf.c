/* interrupts: when the kernel took the processor from one thread's own code, and for how long.
 *
 * A kernel without time accounting of interrupts books what they take, and what soft interrupts take after them, to the
 * thread that they interrupted: its processor's clock cannot tell. This can: from the first entry to the last exit, unless
 * the thread was in a system call, whose time it measures itself. Interruptions of SHORTEST_NS and more are kept. */
#include "tests/bench/interrupts.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct watched);
} watched_thread SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INTERRUPTIONS);
	__type(key, __u32);
	__type(value, struct interruption);
} interruptions SEC(".maps");

/* NULL: another thread's processor. */
static __always_inline struct watched *watched(void)
{
	__u32 first = 0;
	struct watched *w = bpf_map_lookup_elem(&watched_thread, &first);

	return w && w->thread == (__u32)bpf_get_current_pid_tgid() ? w : NULL;
}

static __always_inline int enter(void)
{
	struct watched *w = watched();

	if (w && !w->in_call && w->depth++ == 0)
		w->from = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int leave(void)
{
	struct watched *w = watched();

	if (!w || w->in_call || !w->depth || --w->depth)
		return 0;
	struct interruption now = {w->from, bpf_ktime_get_ns()};
	__u32 at = w->kept % INTERRUPTIONS;

	if (now.to - now.from < SHORTEST_NS)
		return 0;
	bpf_map_update_elem(&interruptions, &at, &now, BPF_ANY);
	w->kept++;
	return 0;
}

SEC("raw_tp/sys_enter")
int call_begins(void *ctx)
{
	struct watched *w = watched();

	if (w)
		w->in_call = 1;
	return 0;
}

SEC("raw_tp/sys_exit")
int call_ends(void *ctx)
{
	struct watched *w = watched();

	if (w) {
		w->in_call = 0;
		w->depth = 0;
	}
	return 0;
}

#define ENTRY(name)                                                                                                    \
	SEC("raw_tp/" #name) int name(void *ctx)                                                                       \
	{                                                                                                              \
		return enter();                                                                                        \
	}
#define EXIT(name)                                                                                                     \
	SEC("raw_tp/" #name) int name(void *ctx)                                                                       \
	{                                                                                                              \
		return leave();                                                                                        \
	}

ENTRY(irq_handler_entry)
EXIT(irq_handler_exit)
ENTRY(softirq_entry)
EXIT(softirq_exit)
ENTRY(local_timer_entry)
EXIT(local_timer_exit)
ENTRY(reschedule_entry)
EXIT(reschedule_exit)
ENTRY(call_function_entry)
EXIT(call_function_exit)
ENTRY(call_function_single_entry)
EXIT(call_function_single_exit)
ENTRY(irq_work_entry)
EXIT(irq_work_exit)

const char _license[] SEC("license") = "GPL";
