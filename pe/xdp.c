#include "pe/xdp.h"

#include "common/log.h"
#include "pe/xdp_dir.h"
#include "pe/xdp_internal.h"

#include "corenat_xdp.skel.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIN_SIZE = CONFIG_PATH_SIZE + 32 };

static const struct {
	const char *link, *prog;
} pins[N_SIDES] = {
	[SIDE_INSIDE] = {"link_inside", "prog_inside"},
	[SIDE_OUTSIDE] = {"link_outside", "prog_outside"},
};

static const char *const map_names[N_XDP_MAPS] = {
#define M(name) [XDP_MAP_##name] = #name,
	XDP_MAPS(M)
#undef M
};

static const char *pin_path(char path[PIN_SIZE], const char *dir, const char *name)
{
	snprintf(path, PIN_SIZE, "%s/%s", dir, name);
	return path;
}

static int open_pin(const char *dir, const char *name)
{
	char path[PIN_SIZE];

	return bpf_obj_get(pin_path(path, dir, name));
}

/* Pins fd under this name, in place of what was there. */
static int replace_pin(const char *dir, const char *name, int fd)
{
	char path[PIN_SIZE];

	if (unlink(pin_path(path, dir, name)) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path);
}

/* ---- loading ---- */

static int log_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[512];
	int n = vsnprintf(line, sizeof line, format, args);

	if (n > 0 && level != LIBBPF_DEBUG) {
		line[strcspn(line, "\n")] = '\0';
		log_debug("%s", line);
	}
	return n;
}

static bool map_is_like(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {0};
	__u32 size = sizeof info;

	return !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) && info.map_flags == bpf_map__map_flags(map);
}

/* Maps hold the sockets of running engines, so those of another layout cannot be replaced under them. */
static int check_maps(const char *dir, const struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map (map, object) {
		int fd = open_pin(dir, bpf_map__name(map));
		bool good = fd < 0 || map_is_like(fd, map);

		if (fd >= 0)
			close(fd);
		if (good)
			continue;
		log_error("map %s/%s belongs to another version of CoreNAT: stop its engines and "
			  "take it away "
			  "with corenatctl arena remove",
			dir, bpf_map__name(map));
		return -EPROTO;
	}
	return 0;
}

/* Loads the programs; maps that are pinned already are taken from there, others made and pinned. */
static int load(const char *dir, struct corenat_xdp **out)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = dir);
	struct corenat_xdp *skel = corenat_xdp__open_opts(&opts);
	int err;

	if (!skel)
		return -errno;
	err = check_maps(dir, skel->obj);
	if (!err) {
		err = corenat_xdp__load(skel);
		if (err)
			log_error("cannot load the XDP programs: %s (needs CAP_BPF and "
				  "CAP_NET_ADMIN; "
				  "CORENAT_DEBUG=1 shows more)",
				strerror(-err));
	}
	if (err) {
		corenat_xdp__destroy(skel);
		return err;
	}
	*out = skel;
	return 0;
}

static int take_maps(struct xdp *x, const struct bpf_object *object)
{
	for (int i = 0; i < N_XDP_MAPS; i++) {
		int fd = bpf_object__find_map_fd_by_name(object, map_names[i]);

		x->map[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (x->map[i] < 0)
			return -errno;
	}
	return 0;
}

/* ---- attaching ---- */

/* The program of a link, and the interface it is attached to: 0 when that is gone. */
static int link_ifindex(int link, uint32_t *prog_id)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof info;

	if (bpf_obj_get_info_by_fd(link, &info, &size) || info.type != BPF_LINK_TYPE_XDP)
		return 0;
	*prog_id = info.prog_id;
	return (int)info.xdp.ifindex;
}

struct prog_identity {
	uint32_t id;
	uint8_t tag[BPF_TAG_SIZE];
	uint32_t n_maps;
	uint32_t maps[N_XDP_MAPS];
};

static int identify(int prog, struct prog_identity *out)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof info;

	memset(out, 0, sizeof *out);
	info.nr_map_ids = N_XDP_MAPS;
	info.map_ids = (uintptr_t)out->maps;
	if (bpf_obj_get_info_by_fd(prog, &info, &size))
		return -errno;
	out->id = info.id;
	out->n_maps = info.nr_map_ids;
	memcpy(out->tag, info.tag, sizeof out->tag);
	return 0;
}

/* True when the attached program is the pinned one and does what ours would, with the same maps. Any doubt
 * answers no: then it is replaced, which is safe. */
static bool is_current(const char *dir, enum side s, uint32_t attached_id, int prog)
{
	int pinned = open_pin(dir, pins[s].prog);
	struct prog_identity have, want;
	bool same;

	if (pinned < 0)
		return false;
	same = !identify(pinned, &have) && !identify(prog, &want) && have.id == attached_id &&
	       have.n_maps == want.n_maps && !memcmp(have.tag, want.tag, sizeof have.tag) &&
	       !memcmp(have.maps, want.maps, sizeof have.maps);
	close(pinned);
	return same;
}

static int refuse_foreign(const char *interface, uint32_t id)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof info;
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &size);
		close(fd);
	}
	if (!strncmp(info.name, "corenat_", 8))
		log_error("interface %s is in use by a CoreNAT whose pins are in another "
			  "directory: set "
			  "system.bpffs to that one, or remove that appliance first",
			interface);
	else
		log_error("interface %s carries another XDP program (%s, id %u): detach it first "
			  "(ip link set dev %s xdp off), or configure another interface",
			interface, info.name[0] ? info.name : "unknown", id, interface);
	return -EBUSY;
}

static int create_link(int prog, int ifindex, enum xdp_mode mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int link = -EOPNOTSUPP;

	if (mode != XDP_MODE_GENERIC)
		link = bpf_link_create(prog, ifindex, BPF_XDP, &opts);
	if (mode == XDP_MODE_NATIVE || link >= 0 || link == -EBUSY || link == -EEXIST || link == -EPERM)
		return link;
	opts.flags = XDP_FLAGS_SKB_MODE;
	return bpf_link_create(prog, ifindex, BPF_XDP, &opts);
}

/* The kernel detaches a link that nobody holds, so dying before the pin is made leaves nothing behind. */
static int attach_new(const char *dir, enum side s, int prog, const char *interface, int ifindex, enum xdp_mode mode)
{
	uint32_t id = 0;
	int err, link;

	if (!bpf_xdp_query_id(ifindex, 0, &id) && id)
		return refuse_foreign(interface, id);
	link = create_link(prog, ifindex, mode);
	if (link < 0) {
		log_error("cannot attach the XDP program to %s: %s%s", interface, strerror(-link),
			mode == XDP_MODE_NATIVE ? "; engine.xdp = \"auto\" falls back to generic mode" : "");
		return link;
	}
	err = replace_pin(dir, pins[s].link, link);
	if (!err)
		err = replace_pin(dir, pins[s].prog, prog);
	if (err)
		log_error("cannot pin the XDP program in %s: %s", dir, strerror(-err));
	close(link);
	return err;
}

/* An earlier engine's attachment: keeps it, or puts our build's program in its place without a gap. */
static int attach_again(const char *dir, enum side s, int link, uint32_t attached_id, int prog, const char *interface)
{
	int err;

	if (is_current(dir, s, attached_id, prog))
		return 0;
	err = bpf_link_update(link, prog, NULL);
	if (!err)
		err = replace_pin(dir, pins[s].prog, prog);
	if (err)
		log_error("cannot replace the XDP program of %s: %s", interface, strerror(-err));
	else
		log_notice("%s: XDP program of another build replaced", interface);
	return err;
}

static bool is_native(int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);

	return !bpf_xdp_query(ifindex, 0, &opts) && opts.attach_mode == XDP_ATTACHED_DRV;
}

static int attach(struct xdp *x, enum side s, int prog, const struct xdp_params *params)
{
	const char *interface = params->interface[s];
	int ifindex = (int)if_nametoindex(interface);
	int link = open_pin(x->dir, pins[s].link);
	uint32_t attached_id = 0;
	int err;

	if (!ifindex) {
		err = -errno;
		log_error("there is no interface %s", interface);
	} else if (link >= 0 && link_ifindex(link, &attached_id) == ifindex) {
		err = attach_again(x->dir, s, link, attached_id, prog, interface);
	} else {
		if (link >= 0) /* the interface was deleted, or another one is configured now */
			bpf_link_detach(link);
		err = attach_new(x->dir, s, prog, interface, ifindex, params->mode);
	}
	if (link >= 0)
		close(link);
	if (err)
		return err;
	x->native[s] = is_native(ifindex);
	if (!x->native[s] && params->mode == XDP_MODE_NATIVE)
		log_warning("%s: the XDP program runs in generic mode since an earlier start; to "
			    "change that "
			    "stop the engines and remove it with corenatctl arena remove",
			interface);
	return 0;
}

/* ---- public ---- */

static int set_up(struct xdp *x, const struct xdp_params *params)
{
	struct corenat_xdp *skel = NULL;
	int err = load(x->dir, &skel);

	if (err)
		return err;
	err = take_maps(x, skel->obj);
	if (!err)
		err = attach(x, SIDE_INSIDE, bpf_program__fd(skel->progs.corenat_inside), params);
	if (!err)
		err = attach(x, SIDE_OUTSIDE, bpf_program__fd(skel->progs.corenat_outside), params);
	corenat_xdp__destroy(skel);
	return err;
}

int xdp_open(struct xdp **out, const struct xdp_params *params)
{
	struct xdp *x = calloc(1, sizeof *x);
	int lock, err;

	if (!x)
		return -ENOMEM;
	libbpf_set_print(log_libbpf);
	for (int i = 0; i < N_XDP_MAPS; i++)
		x->map[i] = -1;
	x->n_cpus = libbpf_num_possible_cpus();
	snprintf(x->dir, sizeof x->dir, "%s", params->bpffs);
	lock = xdp_dir_lock(x->dir, true);
	if (lock < 0) {
		err = lock;
		log_error("cannot use %s as bpffs directory: %s", x->dir, strerror(-err));
	} else {
		err = x->n_cpus < 1 ? -EINVAL : set_up(x, params);
		close(lock);
	}
	if (err) {
		xdp_close(x);
		return err;
	}
	*out = x;
	return 0;
}

void xdp_close(struct xdp *x)
{
	if (!x)
		return;
	for (int i = 0; i < N_XDP_MAPS; i++) {
		if (x->map[i] >= 0)
			close(x->map[i]);
	}
	free(x);
}

int xdp_socket_map(const struct xdp *x, enum side side)
{
	static_assert(XDP_MAP_xsks_inside == (int)SIDE_INSIDE, "map table starts with the socket maps");
	static_assert(XDP_MAP_xsks_outside == (int)SIDE_OUTSIDE, "in the order of the sides");
	return x->map[side];
}

bool xdp_is_native(const struct xdp *x, enum side side)
{
	return x->native[side];
}

static int remove_pin(const char *dir, const char *name)
{
	char path[PIN_SIZE];

	return unlink(pin_path(path, dir, name)) && errno != ENOENT ? -errno : 0;
}

int xdp_remove(const char *bpffs)
{
	int lock = xdp_dir_lock(bpffs, false);
	int err = 0;

	if (lock < 0)
		return lock == -ENOENT ? 0 : lock;
	for (int s = 0; s < N_SIDES; s++) {
		int link = open_pin(bpffs, pins[s].link);

		if (link >= 0) {
			bpf_link_detach(link);
			close(link);
		}
		err = err ? err : remove_pin(bpffs, pins[s].link);
		err = err ? err : remove_pin(bpffs, pins[s].prog);
	}
	for (int i = 0; i < N_XDP_MAPS; i++)
		err = err ? err : remove_pin(bpffs, map_names[i]);
	if (err)
		log_error("cannot remove the pins in %s: %s", bpffs, strerror(-err));
	else
		rmdir(bpffs); /* stays when it is a mount point, or somebody else keeps something there */
	close(lock);
	return err;
}
