/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains, byte by byte
 *
 * A driver may cut a request into ranges as it likes (virtio 1.3, 2.6.4): a header may lie in
 * three ranges and share the last with data. A device therefore takes its header off the front
 * and its status off the back by these functions, and hands the ranges that are left to
 * whoever moves the data. What is taken is copied, once; guest addresses move along.
 */

#include "base/util.h"

#include <outboard/queue.h>
#include <string.h>

static size_t ranges_bytes(const struct iovec *iov, unsigned count)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

size_t ob_chain_readable(const struct ob_chain *chain)
{
    return ranges_bytes(chain->iov, chain->n_out);
}

size_t ob_chain_writable(const struct ob_chain *chain)
{
    return ranges_bytes(chain->iov + chain->n_out, chain->n_in);
}

bool ob_chain_take_front(struct ob_chain *chain, void *buf, size_t len)
{
    uint8_t *to = buf;

    if (len > ob_chain_readable(chain))
        return false;
    while (len) {
        size_t part = min_u64(len, chain->iov->iov_len);

        memcpy(to, chain->iov->iov_base, part);
        to += part;
        len -= part;
        chain->iov->iov_base = (uint8_t *)chain->iov->iov_base + part;
        chain->iov->iov_len -= part;
        *chain->guest += part;
        if (!chain->iov->iov_len) {
            chain->iov++;
            chain->guest++;
            chain->n_out--;
        }
    }
    return true;
}

bool ob_chain_take_back(struct ob_chain *chain, uint8_t **ret, size_t len)
{
    if (len > ob_chain_writable(chain))
        return false;
    while (len) {
        struct iovec *last = &chain->iov[chain->n_out + chain->n_in - 1];

        ret[--len] = (uint8_t *)last->iov_base + --last->iov_len;
        if (!last->iov_len)
            chain->n_in--;
    }
    return true;
}

size_t ob_chain_write(struct ob_chain *chain, size_t offset, const void *buf, size_t len)
{
    const uint8_t *from = buf;
    size_t done = 0;

    for (unsigned i = chain->n_out; i < chain->n_out + chain->n_in && done < len; i++) {
        const struct iovec *iov = &chain->iov[i];
        size_t part;

        if (offset >= iov->iov_len) {
            offset -= iov->iov_len;
            continue;
        }
        part = min_u64(len - done, iov->iov_len - offset);
        memcpy((uint8_t *)iov->iov_base + offset, from + done, part);
        done += part;
        offset = 0;
    }
    return done;
}
