#include "tests/crash/stepper.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

extern const char __executable_start, etext; /* set by the linker */

static int complain(const char *what)
{
	fprintf(stderr, "stepper: %s: %s\n", what, strerror(errno));
	return -1;
}

/* ---- the child ---- */

static void child(const struct stepper *s)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	s->operate(s->context);
	_exit(0);
}

/* ---- its tracer ---- */

/* Waits for the child to stand still: 1; 0 when it has ended well, -1 when not. */
static int stands(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return complain("waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSTOPPED(status) && (WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP))
		return 1;
	if (WIFSTOPPED(status))
		fprintf(stderr, "stepper: the operation itself died of %s\n", strsignal(WSTOPSIG(status)));
	else
		fprintf(stderr, "stepper: the operation ended with status %#x\n", (unsigned)status);
	return -1;
}

static uintptr_t reg(pid_t pid, size_t offset)
{
	return (uintptr_t)ptrace(PTRACE_PEEKUSER, pid, (void *)offset, NULL);
}

#define RIP offsetof(struct user, regs.rip)
#define RSP offsetof(struct user, regs.rsp)

static bool is_over(const struct stepper *s, uintptr_t at)
{
	if (at < (uintptr_t)&__executable_start || at >= (uintptr_t)&etext)
		return true;
	for (const void *const *f = s->over; f && *f; f++)
		if ((uintptr_t)*f == at)
			return true;
	return false;
}

/* Runs a function that was just entered to its return, by a breakpoint there. */
static int step_over(pid_t pid)
{
	uintptr_t back = (uintptr_t)ptrace(PTRACE_PEEKDATA, pid, (void *)reg(pid, RSP), NULL);
	long word = ptrace(PTRACE_PEEKTEXT, pid, (void *)back, NULL);

	ptrace(PTRACE_POKETEXT, pid, (void *)back, (void *)((word & ~0xffl) | 0xcc));
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	int r = stands(pid);
	if (r <= 0)
		return r;
	ptrace(PTRACE_POKETEXT, pid, (void *)back, (void *)word);
	ptrace(PTRACE_POKEUSER, pid, (void *)RIP, (void *)back);
	return 1;
}

static int step(const struct stepper *s, pid_t pid)
{
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
		return complain("cannot single-step");
	return stands(pid);
}

/* Out of raise(), whose stop the child stands in, to its return into this program. */
static int leave_raise(const struct stepper *s, pid_t pid)
{
	int r = 1;

	while (r > 0 && is_over(s, reg(pid, RIP)))
		r = step(s, pid);
	return r;
}

long stepper_run(const struct stepper *s)
{
	pid_t pid = fork();
	long n = 0;

	if (pid == 0)
		child(s);
	if (pid < 0)
		return complain("fork");
	int r = stands(pid);

	if (r > 0)
		ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL);
	if (r > 0)
		r = leave_raise(s, pid);
	while (r > 0) {
		s->at(s->context, n++);
		r = step(s, pid);
		if (r > 0 && is_over(s, reg(pid, RIP)))
			r = step_over(pid);
	}
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return r < 0 ? -1 : n;
}
