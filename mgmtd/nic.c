#include "mgmtd/nic.h"

#include "common/log.h"
#include "common/rss_nic.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask(int fd, const char *interface, void *question)
{
	struct ifreq request = {.ifr_data = question};

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

/* Two questions: how large it is, and what it is. The answer, malloced; NULL: errno says why not. */
static struct ethtool_rxfh *ask_rss(int fd, const char *interface, size_t *size)
{
	struct ethtool_rxfh head = {.cmd = ETHTOOL_GRSSH}, *all;
	int err = ask(fd, interface, &head);

	*size = sizeof head + head.indir_size * sizeof(uint32_t) + head.key_size;
	all = err ? NULL : calloc(1, *size);
	if (all) {
		*all = (struct ethtool_rxfh){
			.cmd = ETHTOOL_GRSSH, .indir_size = head.indir_size, .key_size = head.key_size};
		err = ask(fd, interface, all);
	}
	if (err) {
		free(all);
		all = NULL;
		errno = -err;
	}
	return all;
}

/* NULL: the driver does not say. */
static const uint64_t *ask_fields(int fd, const char *interface, uint32_t flow, uint64_t *fields)
{
	struct ethtool_rxnfc question = {.cmd = ETHTOOL_GRXFH, .flow_type = flow};

	if (ask(fd, interface, &question) != 0)
		return NULL;
	*fields = question.data;
	return fields;
}

static bool read_one(
	int fd, const struct config_interface *side, unsigned engines, struct rss *out, struct config_error *err)
{
	size_t size;
	struct ethtool_rxfh *answer = ask_rss(fd, side->name, &size);
	uint64_t tcp, udp;

	if (!answer) {
		snprintf(err->text, sizeof err->text,
			"%s: its RSS cannot be read (%s); rss.mode \"nic\" needs a driver that shows it: give "
			"`rss.key` and "
			"`rss.table` with mode \"toeplitz\", or mode \"single\"",
			side->name, strerror(errno));
		return false;
	}
	bool ok = rss_of_nic(out, side->name, engines, answer, size, err) &&
		  rss_fields_of_nic(out, side->name, ask_fields(fd, side->name, TCP_V4_FLOW, &tcp),
			  ask_fields(fd, side->name, UDP_V4_FLOW, &udp), err);

	if (ok)
		log_notice("%s: RSS read from the interface: a key of %u bytes, a table of %u entries", side->name,
			answer->key_size, answer->indir_size);
	free(answer);
	return ok;
}

bool nic_read_rss(struct config *c, struct config_error *err)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0;

	if (!ok)
		snprintf(err->text, sizeof err->text, "cannot ask for RSS: %s", strerror(errno));
	for (unsigned side = 0; ok && side < N_SIDES; side++)
		if (c->net.side[side].rss.mode == RSS_NIC)
			ok = read_one(fd, &c->net.side[side], c->arena.engines, &c->net.side[side].rss, err);
	if (fd >= 0)
		close(fd);
	return ok;
}
