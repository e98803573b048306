/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: what a person and what a program read of a result
 *
 * The JSON names every parameter of the run beside what it measured, so that a file of results
 * explains itself.
 */

#include "cli/bench.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>

static const struct {
    const char *name; /* in JSON */
    const char *label;
    double share;
} percentiles[] = {
    {"p50", "50 %", 0.5},       {"p90", "90 %", 0.9},          {"p99", "99 %", 0.99},
    {"p99_9", "99.9 %", 0.999}, {"p99_99", "99.99 %", 0.9999},
};

/* A rate in a readable unit. */
static const char *scaled(double value, char *buf, size_t size)
{
    static const char units[] = " kMGT";
    unsigned unit = 0;

    while (value >= 1000 && unit + 1 < sizeof(units) - 1) {
        value /= 1000;
        unit++;
    }
    snprintf(buf, size, "%.*f%s%c",
             value < 10    ? 2
             : value < 100 ? 1
                           : 0,
             value, unit ? " " : "", unit ? units[unit] : '\0');
    return buf;
}

static const char *duration(double ns, char *buf, size_t size)
{
    if (ns < 1000)
        snprintf(buf, size, "%.0f ns", ns);
    else if (ns < 1e6)
        snprintf(buf, size, "%.2f us", ns / 1e3);
    else
        snprintf(buf, size, "%.2f ms", ns / 1e6);
    return buf;
}

void bench_print(const struct bench_options *options, const struct bench_result *result)
{
    double rate = (double)result->requests / result->seconds;
    char a[32], b[32];

    printf("%s of %" PRIu64 " bytes, depth %" PRIu64 ", %" PRIu64 " queue%s, %s ring%s\n",
           bench_patterns[options->pattern], options->size, options->depth, options->queues,
           options->queues > 1 ? "s" : "", options->packed ? "packed" : "split",
           options->poll ? ", polling" : "");
    printf("  requests   %s/s\n", scaled(rate, a, sizeof(a)));
    printf("  bandwidth  %sB/s\n", scaled(rate * (double)options->size, a, sizeof(a)));
    if (!result->latency.count)
        return; /* a loop of copies has none */
    printf("  latency    mean %s", duration(histogram_mean(&result->latency), a, sizeof(a)));
    for (unsigned i = 0; i < array_size(percentiles); i++)
        printf(", %s %s", percentiles[i].label,
               duration((double)histogram_percentile(&result->latency, percentiles[i].share), a,
                        sizeof(a)));
    printf("\n  CPU        %.0f %% here", 100 * result->cpu_front / result->seconds);
    if (result->cpu_back >= 0) {
        printf(", %.0f %% at the back-end", 100 * result->cpu_back / result->seconds);
        if (result->cpu_back > 0)
            printf(": %s requests a CPU second",
                   scaled((double)result->requests / result->cpu_back, b, sizeof(b)));
    }
    printf("\n");
    if (result->line_before > 0)
        printf("  line       %.0f ns a round trip before, %.0f ns after\n", result->line_before,
               result->line_after);
    if (result->errors)
        printf("  ERRORS     %" PRIu64 " requests failed%s\n", result->errors,
               options->verify ? " or read what was not written" : "");
}

static void put_u64(struct json_object *object, const char *key, uint64_t value)
{
    json_object_object_add(object, key, json_object_new_uint64(value));
}

static void put_double(struct json_object *object, const char *key, double value)
{
    json_object_object_add(object, key, json_object_new_double(value));
}

static void put_bool(struct json_object *object, const char *key, bool value)
{
    json_object_object_add(object, key, json_object_new_boolean(value));
}

static void put_string(struct json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

static void put_parameters(struct json_object *root, const struct bench_options *options)
{
    put_string(root, "endpoint", options->endpoint);
    put_string(root, "pattern", bench_patterns[options->pattern]);
    put_u64(root, "size", options->size);
    put_u64(root, "depth", options->depth);
    put_u64(root, "queues", options->queues);
    put_u64(root, "queue_size", options->queue_size);
    put_bool(root, "packed", options->packed);
    put_bool(root, "in_order", options->in_order);
    put_bool(root, "direct", options->direct);
    put_bool(root, "poll", options->poll);
    put_bool(root, "verify", options->verify);
    put_u64(root, "rate", options->rate);
    put_double(root, "time", options->seconds);
    put_double(root, "warm_up", options->warm_up);
    put_u64(root, "span", options->span);
}

void bench_print_json(const struct bench_options *options, const struct bench_result *result)
{
    struct json_object *root = json_object_new_object();
    struct json_object *latency = json_object_new_object(), *cpu = json_object_new_object();
    double rate = (double)result->requests / result->seconds;

    put_parameters(root, options);
    put_u64(root, "features", result->features);
    put_u64(root, "capacity", result->capacity);
    put_double(root, "seconds", result->seconds);
    put_u64(root, "requests", result->requests);
    put_u64(root, "errors", result->errors);
    put_double(root, "iops", rate);
    put_double(root, "bytes_per_s", rate * (double)options->size);
    put_double(latency, "mean", histogram_mean(&result->latency));
    for (unsigned i = 0; i < array_size(percentiles); i++)
        put_u64(latency, percentiles[i].name,
                histogram_percentile(&result->latency, percentiles[i].share));
    json_object_object_add(root, "latency_ns", latency);
    put_double(cpu, "front_end", result->cpu_front);
    if (result->cpu_back >= 0)
        put_double(cpu, "back_end", result->cpu_back);
    json_object_object_add(root, "cpu_s", cpu);
    if (result->line_before > 0) {
        put_double(root, "line_ns_before", result->line_before);
        put_double(root, "line_ns_after", result->line_after);
    }
    printf("%s\n", json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
    json_object_put(root);
}
