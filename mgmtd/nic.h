/* nic: asks the kernel for an interface's RSS, where the configuration says mode "nic".
 *
 * What       fills in what config.net.side[].rss leaves to the interface, by ethtool's ioctl; rss_nic.h reads the answers.
 * Units      none.
 * Ownership  the configuration is the caller's. Calls  main thread; may ask a driver, which takes a moment.
 * Errors     false, and one sentence that names the interface.
 * Use        nic_read_rss(&config, &err), before the configuration is compiled.
 */
#ifndef CORENAT_MGMTD_NIC_H
#define CORENAT_MGMTD_NIC_H

#include "common/config.h"

bool nic_read_rss(struct config *c, struct config_error *err);

#endif
