/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOARD_LOG_H
#define OUTBOARD_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

/** How much a message matters; lower is worse. */
enum ob_log_level {
    OB_LOG_ERROR,   /**< something was lost or refused, and somebody should act */
    OB_LOG_WARNING, /**< a peer did something wrong; we went on */
    OB_LOG_INFO,    /**< a connection came or went, a device started or stopped */
    OB_LOG_DEBUG,   /**< each control message */
};

/**
 * Where messages go. The library never prints: whoever creates an object hands it
 * one of these, which must outlive the object.
 *
 * write: called from any thread, so it must be thread-safe; text has no newline.
 *        NULL drops all messages.
 * level: messages above it are not formatted at all.
 */
struct ob_log {
    void (*write)(void *ctx, enum ob_log_level level, const char *text);
    void *ctx;
    enum ob_log_level level;
};

#ifdef __cplusplus
}
#endif

#endif
