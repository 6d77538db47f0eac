#include "pe/xdp_dir.h"

#include "common/config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { TURNS_MAX = 16 };

static int make_path(const char *path)
{
	char partial[CONFIG_PATH_SIZE];

	if (snprintf(partial, sizeof partial, "%s", path) >= (int)sizeof partial)
		return -ENAMETOOLONG;
	for (char *at = partial + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(partial, 0755) && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(partial, 0700) && errno != EEXIST ? -errno : 0;
}

static int open_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX)) {
		if (errno != EINTR) {
			int err = -errno;

			close(fd);
			return err;
		}
	}
	return fd;
}

/* False when, while we waited, somebody removed the directory or mounted over it. */
static bool still_at(int fd, const char *path)
{
	struct stat here, there;

	return !fstat(fd, &here) && !stat(path, &there) && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static bool on_bpffs(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == BPF_FS_MAGIC;
}

int xdp_dir_lock(const char *path, bool make)
{
	for (int turn = 0; turn < TURNS_MAX; turn++) {
		int err = make ? make_path(path) : 0;
		int fd = err ? err : open_locked(path);

		if (fd < 0)
			return fd;
		if (still_at(fd, path)) {
			if (on_bpffs(fd))
				return fd;
			if (!make)
				err = -ENOENT;
			else if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
				err = -errno;
		}
		close(fd); /* of the directory below the mount, or of one that is gone: look again */
		if (err)
			return err;
	}
	return -EAGAIN;
}
