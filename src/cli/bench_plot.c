/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Benchmark: a plot
 *
 * Runs at depths 1, 2, 4 ... and draws, as SVG, throughput over depth on the left, and on the
 * right what share of requests took at most how long, a line a depth. SVG is text, so no library
 * is needed for two panels of lines.
 */

#include "cli/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 16
#define WIDTH 1000
#define HEIGHT 420
#define PANEL_WIDTH 380
#define PANEL_HEIGHT 290
#define PANEL_TOP 70
#define LEFT_PANEL 80
#define RIGHT_PANEL 560

struct point {
    uint64_t depth;
    struct bench_result *result;
};

static const char *const colours[] = {"#1b6ca8", "#d1495b", "#2e933c", "#8a4fff",
                                      "#e08e0b", "#0fa3b1", "#6b705c", "#c1121f"};

static double rate(const struct bench_result *result)
{
    return (double)result->requests / result->seconds;
}

static void text(FILE *file, double x, double y, const char *anchor, const char *content)
{
    fprintf(file, "<text x='%.1f' y='%.1f' text-anchor='%s'>%s</text>\n", x, y, anchor, content);
}

static void frame(FILE *file, double left, const char *title, const char *x_label)
{
    fprintf(file, "<rect x='%.0f' y='%d' width='%d' height='%d' fill='none' stroke='#999'/>\n",
            left, PANEL_TOP, PANEL_WIDTH, PANEL_HEIGHT);
    text(file, left + PANEL_WIDTH / 2.0, PANEL_TOP - 12, "middle", title);
    text(file, left + PANEL_WIDTH / 2.0, PANEL_TOP + PANEL_HEIGHT + 38, "middle", x_label);
}

static void draw_throughput(FILE *file, const struct point *points, unsigned n)
{
    double most = 0, step = n > 1 ? (double)PANEL_WIDTH / (n - 1) : 0;
    char label[32];

    for (unsigned i = 0; i < n; i++)
        most = fmax(most, rate(points[i].result));
    most = most > 0 ? most * 1.1 : 1;
    frame(file, LEFT_PANEL, "requests per second", "depth");
    for (unsigned i = 0; i <= 4; i++) {
        double y = PANEL_TOP + PANEL_HEIGHT - PANEL_HEIGHT * i / 4.0;

        fprintf(file, "<path d='M%d %.1fh%d' stroke='#ddd'/>\n", LEFT_PANEL, y, PANEL_WIDTH);
        snprintf(label, sizeof(label), most >= 1e6 ? "%.2f M" : "%.1f k",
                 most * i / 4 / (most >= 1e6 ? 1e6 : 1e3));
        text(file, LEFT_PANEL - 6, y + 4, "end", label);
    }
    fprintf(file, "<polyline fill='none' stroke='%s' stroke-width='2' points='", colours[0]);
    for (unsigned i = 0; i < n; i++)
        fprintf(file, "%.1f,%.1f ", LEFT_PANEL + i * step,
                PANEL_TOP + PANEL_HEIGHT * (1 - rate(points[i].result) / most));
    fprintf(file, "'/>\n");
    for (unsigned i = 0; i < n; i++) {
        snprintf(label, sizeof(label), "%" PRIu64, points[i].depth);
        text(file, LEFT_PANEL + i * step, PANEL_TOP + PANEL_HEIGHT + 18, "middle", label);
    }
}

/* Latencies on a logarithmic axis from 100 ns to 100 ms. */
static double latency_x(double ns)
{
    double share = (log10(fmax(ns, 100)) - 2) / 6;

    return RIGHT_PANEL + PANEL_WIDTH * fmin(share, 1);
}

static void draw_distribution(FILE *file, const struct histogram *latency, const char *colour)
{
    uint64_t seen = 0;

    fprintf(file, "<polyline fill='none' stroke='%s' stroke-width='1.5' points='", colour);
    for (unsigned i = 0; i < HISTOGRAM_SLOTS; i++) {
        if (!latency->slots[i])
            continue;
        seen += latency->slots[i];
        fprintf(file, "%.1f,%.1f ", latency_x((double)histogram_value(i)),
                PANEL_TOP + PANEL_HEIGHT * (1 - (double)seen / (double)latency->count));
    }
    fprintf(file, "'/>\n");
}

static void draw_latencies(FILE *file, const struct point *points, unsigned n)
{
    static const char *const units[] = {"100 ns", "1 us",  "10 us", "100 us",
                                        "1 ms",   "10 ms", "100 ms"};
    char label[48];

    frame(file, RIGHT_PANEL, "share of requests that took at most", "latency");
    for (unsigned i = 0; i < array_size(units); i++) {
        double x = RIGHT_PANEL + PANEL_WIDTH * i / 6.0;

        fprintf(file, "<path d='M%.1f %dv%d' stroke='#ddd'/>\n", x, PANEL_TOP, PANEL_HEIGHT);
        text(file, x, PANEL_TOP + PANEL_HEIGHT + 18, "middle", units[i]);
    }
    for (unsigned i = 0; i <= 4; i++) {
        double y = PANEL_TOP + PANEL_HEIGHT - PANEL_HEIGHT * i / 4.0;

        snprintf(label, sizeof(label), "%u %%", i * 25);
        text(file, RIGHT_PANEL - 6, y + 4, "end", label);
    }
    for (unsigned i = 0; i < n; i++) {
        const char *colour = colours[i % array_size(colours)];

        draw_distribution(file, &points[i].result->latency, colour);
        snprintf(label, sizeof(label), "depth %" PRIu64, points[i].depth);
        fprintf(file, "<g fill='%s'>", colour);
        text(file, RIGHT_PANEL + PANEL_WIDTH - 6, PANEL_TOP + PANEL_HEIGHT - 8 - 15.0 * i, "end",
             label);
        fprintf(file, "</g>");
    }
}

static int draw(const struct bench_options *options, const struct point *points, unsigned n)
{
    FILE *file = fopen(options->plot, "we");

    if (!file) {
        cli_complain("cannot write '%s': %s", options->plot, strerror(errno));
        return CLI_FAILED;
    }
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' "
            "font-size='12' fill='#222'>\n<rect width='100%%' height='100%%' fill='#fff'/>\n"
            "<text x='%d' y='28' font-size='15'>%s of %" PRIu64 " bytes, %" PRIu64
            " queue%s, %s ring</text>\n",
            WIDTH, HEIGHT, LEFT_PANEL, bench_patterns[options->pattern], options->size,
            options->queues, options->queues > 1 ? "s" : "", options->packed ? "packed" : "split");
    draw_throughput(file, points, n);
    draw_latencies(file, points, n);
    fprintf(file, "</svg>\n");
    if (fclose(file) == 0)
        return 0;
    cli_complain("cannot write '%s': %s", options->plot, strerror(errno));
    return CLI_FAILED;
}

int bench_plot(const struct bench_options *options)
{
    struct point points[RUNS_MAX] = {0};
    unsigned n = 0;
    int status = 0;

    for (uint64_t depth = 1; depth <= options->depth && n < RUNS_MAX && !status; depth *= 2) {
        struct bench_options at_depth = *options;

        at_depth.depth = depth;
        points[n].depth = depth;
        points[n].result = calloc(1, sizeof(*points[n].result));
        if (!points[n].result || bench_run(&at_depth, points[n].result))
            status = CLI_FAILED;
        else if (options->json)
            bench_print_json(&at_depth, points[n].result);
        else
            bench_print(&at_depth, points[n].result);
        n++;
    }
    if (!status)
        status = draw(options, points, n);
    while (n--)
        free(points[n].result);
    return status;
}
